"""Checks of a command's answer to a user's mistake."""


def assert_refused(result, *said):
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    for part in said:
        assert part in lines[0]
