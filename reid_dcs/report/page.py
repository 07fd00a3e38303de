"""A report: sections of text, tables and pictures, set as one HTML page that needs nothing else.

Pictures lie in the page, drawings as SVG and photographs as JPEG; it asks no network for anything.
It reads on a phone and on paper, and by night. It knows no run: see :mod:`reid_dcs.report`.
"""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from PIL import Image

from reid_dcs.data.decode import read_image
from reid_dcs.errors import InputError
from reid_dcs.files import written_whole

_HEIGHT, _WIDTH = 128, 64  # pixels of a photograph in a list
_QUALITY = 85  # of a JPEG
_UNSAID = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True)
class Paragraph:
    """A few sentences; ``warning`` sets them apart."""

    kind: ClassVar = "paragraph"
    text: str
    warning: bool = False


@dataclass(frozen=True)
class Column:
    """Of a table; ``format`` is Python's for numbers, such as ``.1%``, and empty for words."""

    title: str
    format: str = ""

    def show(self, value: str | float | None) -> str:
        return "–" if value is None else format(value, self.format)


@dataclass(frozen=True)
class Table:
    """Rows of a value for each column, None where there is none; a click on a column sorts."""

    kind: ClassVar = "table"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str | float | None]]


@dataclass(frozen=True)
class Drawing:
    """A figure of lines and words: black becomes the colour of the page's text."""

    kind: ClassVar = "drawing"
    caption: str
    figure: Figure
    alt: str


@dataclass(frozen=True)
class Photograph:
    """A figure that has photographs in it."""

    kind: ClassVar = "photograph"
    caption: str
    figure: Figure
    alt: str


@dataclass(frozen=True)
class Shot:
    """A photograph of a list; ``match`` is None for a query."""

    path: str
    line: str
    match: bool | None = None


@dataclass(frozen=True)
class RankedShots:
    """A query and what was found for it, nearest first."""

    kind: ClassVar = "ranked_shots"
    caption: str
    query: Shot
    found: Sequence[Shot]


@dataclass(frozen=True)
class Verbatim:
    """What a machine wrote or reads."""

    kind: ClassVar = "verbatim"
    caption: str
    text: str


Part = Paragraph | Table | Drawing | Photograph | RankedShots | Verbatim


@dataclass(frozen=True)
class Section:
    """Parts under a heading."""

    title: str
    parts: Sequence[Part]

    @property
    def anchor(self) -> str:
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Report:
    """A title, what it comes to, and the sections."""

    title: str
    abstract: Sequence[Paragraph]
    sections: Sequence[Section]


def write_report(report: Report, path: Path) -> None:
    """Write the page, whole.

    Raises:
        InputError: a photograph cannot be read, or the page cannot be written.
    """
    page = render(report)
    with written_whole(path) as file:
        file.write(page.encode())


def render(report: Report) -> str:
    """The page as HTML; whatever the facts hold is text there, never markup.

    Raises:
        InputError: a photograph cannot be read.
    """
    pages = Environment(
        loader=PackageLoader("reid_dcs.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"svg": _svg, "jpeg": _jpeg, "thumbnail": _thumbnail}
    return pages.get_template("report.html.j2").render(report=report)


def _svg(drawing: Drawing) -> Markup:
    """Inline SVG; ids that nothing refers to go, and the others are of this drawing alone."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": drawing.caption}):
        drawing.figure.savefig(file, format="svg", transparent=True, metadata=_UNSAID)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace("#000000", "currentColor")
    used = set(re.findall(r"#([\w.-]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda id: id[0] if id[1] in used else "", svg)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(drawing.alt)}"', 1))


def _jpeg(photograph: Photograph) -> str:
    file = io.BytesIO()
    photograph.figure.savefig(file, format="jpeg", dpi=130, pil_kwargs={"quality": _QUALITY})
    return _data_url(file)


def _thumbnail(shot: Shot) -> str:
    try:
        pixels = read_image(shot.path, _HEIGHT, _WIDTH)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{shot.path} cannot be shown: unreadable or truncated; replace it"
        ) from error
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=_QUALITY)
    return _data_url(file)


def _data_url(jpeg: io.BytesIO) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}"
