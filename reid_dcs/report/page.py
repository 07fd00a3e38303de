"""Self-contained HTML page from sections of text, tables and figures.

Figures are embedded, plots as SVG and images as JPEG, so that the page makes no network request.
Its layout adapts to narrow screens, dark mode and print. Nothing here depends on Re-ID.
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

_HEIGHT, _WIDTH = 128, 64  # pixels of a thumbnail
_JPEG_QUALITY = 85
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text; ``warning`` highlights it."""

    kind: ClassVar = "paragraph"
    text: str
    warning: bool = False


@dataclass(frozen=True)
class Column:
    """A table column.

    Attributes:
        title: heading of the column.
        format: Python format of the numbers, such as ``.1%``; empty for text.
    """

    title: str
    format: str = ""

    def show(self, value: str | float | None) -> str:
        return "–" if value is None else format(value, self.format)


@dataclass(frozen=True)
class Table:
    """A sortable table: rows of one value per column, None where there is none."""

    kind: ClassVar = "table"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str | float | None]]


@dataclass(frozen=True)
class VectorFigure:
    """A plot, embedded as SVG; black becomes the text color of the page."""

    kind: ClassVar = "vector_figure"
    caption: str
    figure: Figure
    alt: str


@dataclass(frozen=True)
class RasterFigure:
    """A figure that contains images, embedded as JPEG."""

    kind: ClassVar = "raster_figure"
    caption: str
    figure: Figure
    alt: str


@dataclass(frozen=True)
class Thumbnail:
    """A small image with a label; ``match`` is None for a query."""

    path: str
    label: str
    match: bool | None = None


@dataclass(frozen=True)
class RankedImages:
    """A query with gallery images, nearest first."""

    kind: ClassVar = "ranked_images"
    caption: str
    query: Thumbnail
    gallery: Sequence[Thumbnail]


@dataclass(frozen=True)
class Verbatim:
    """Preformatted text, such as a command or a configuration."""

    kind: ClassVar = "verbatim"
    caption: str
    text: str


Part = Paragraph | Table | VectorFigure | RasterFigure | RankedImages | Verbatim


@dataclass(frozen=True)
class Section:
    """A heading with parts below it."""

    title: str
    parts: Sequence[Part]

    @property
    def anchor(self) -> str:
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Report:
    """Title, summary and sections of a page."""

    title: str
    summary: Sequence[Paragraph]
    sections: Sequence[Section]


def write_report(report: Report, path: Path) -> None:
    """Write the page to a file, atomically.

    Raises:
        InputError: an image cannot be read, or the page cannot be written.
    """
    page = render(report)
    with written_whole(path) as file:
        file.write(page.encode(errors="backslashreplace"))  # names that are not UTF-8


def render(report: Report) -> str:
    """The page as HTML; all text is escaped.

    Raises:
        InputError: an image cannot be read.
    """
    templates = Environment(
        loader=PackageLoader("reid_dcs.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"svg": _svg, "jpeg": _jpeg, "thumbnail": _thumbnail}
    return templates.get_template("report.html.j2").render(report=report)


def _svg(part: VectorFigure) -> Markup:
    """Inline SVG; unused ids are removed, the others are unique to this figure."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": part.caption}):
        part.figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace("#000000", "currentColor")
    used = set(re.findall(r"#([\w.-]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda id: id[0] if id[1] in used else "", svg)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(part.alt)}"', 1))


def _jpeg(part: RasterFigure) -> str:
    file = io.BytesIO()
    part.figure.savefig(file, format="jpeg", dpi=130, pil_kwargs={"quality": _JPEG_QUALITY})
    return _data_url(file)


def _thumbnail(image: Thumbnail) -> str:
    try:
        pixels = read_image(image.path, _HEIGHT, _WIDTH)
    except OSError as error:
        raise InputError(
            f"{image.path} cannot be shown: unreadable or truncated; replace it"
        ) from error
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=_JPEG_QUALITY)
    return _data_url(file)


def _data_url(jpeg: io.BytesIO) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}"
