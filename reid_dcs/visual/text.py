"""Text of figures."""


def plain_text(text: str) -> str:
    """Text to draw as it is: ``$`` begins no formula, and bytes of names that are not UTF-8 are
    escaped."""
    return text.encode(errors="backslashreplace").decode().replace("$", r"\$")
