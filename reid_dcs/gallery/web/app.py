"""The pages: a question and its answer, crops, uploads, marks as CSV."""

import csv
import io
import os
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from reid_dcs.errors import InputError
from reid_dcs.gallery.crops import read_crop
from reid_dcs.gallery.filters import check_cameras
from reid_dcs.gallery.gallery import Gallery
from reid_dcs.gallery.pictures import Hit, Picture, printable
from reid_dcs.gallery.times import format_time
from reid_dcs.gallery.web.question import KEY, Question
from reid_dcs.gallery.web.security import Guard
from reid_dcs.gallery.web.uploads import (
    MOST_BYTES,
    MOST_FILES,
    Upload,
    Uploads,
    decode,
    thumbnail,
)

FIRST = 24
"""Pictures on the first page."""
_KEPT = 30.0  # seconds that the list of cameras and the first pictures are kept
_HERE = Path(__file__).parent


class Pages:
    """Answers the requests for one gallery.

    Args:
        gallery: the gallery, with its network.
    """

    def __init__(self, gallery: Gallery) -> None:
        self.gallery, self.uploads = gallery, Uploads()
        self._network = Lock()
        title = os.path.basename(gallery.address.rstrip("/"))
        nothing: dict[str, Any] = {"cameras": [], "count": None, "first": [], "title": title}
        self._overview: tuple[float, dict[str, Any]] = (-_KEPT, nothing)
        environment = Environment(
            loader=PackageLoader("reid_dcs.gallery.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {"time": format_time, "file": _file_name}
        self.template = environment.get_template("page.html.j2")

    # --- pages -----------------------------------------------------------------------------------

    def page(self, request: Request) -> Response:
        """The question and its answer; without a question, some pictures to click."""
        question = Question.read(request.query_params.multi_items())
        store = self.gallery.store
        hits = [] if question.is_empty else self._answer(question)
        marked = {
            name: [each.picture for each in store.get(getattr(question, name))]
            for name in ("like", "same", "other")
        }
        text = self.template.render(
            **self._summary(),
            hits=hits,
            error="",
            question=question,
            marked=marked,
            threshold=self.gallery.threshold(),
        )
        return HTMLResponse(text)

    def error(self, message: str) -> HTMLResponse:
        """The first page with an error of one line, and what was last read of the gallery.

        It reads nothing, because the gallery may be what fails.
        """
        text = self.template.render(
            **self._overview[1], hits=[], error=message, question=Question(), threshold=None
        )
        return HTMLResponse(text, 400)

    def _summary(self) -> dict[str, Any]:
        """Cameras, number of pictures and the first ones, for half a minute."""
        read, found = self._overview
        if time.monotonic() - read > _KEPT:
            store = self.gallery.store
            found = {
                "cameras": store.values("camera"),
                "count": store.count(),
                "first": store.some(FIRST),
                "title": found["title"],
            }
            self._overview = time.monotonic(), found
        return found

    def _answer(self, question: Question) -> list[Hit]:
        positives = self.gallery.store.get(question.positives)
        features = [each.vector[None] for each in positives]
        if question.upload:
            features.append(self.uploads.get(question.upload).features)
        if not features:
            raise InputError("this picture is no longer in the gallery: start again")
        exclude = (*question.like, *question.asked)
        check_cameras(self.gallery.store, question.camera or None, question.not_camera or None)
        return self.gallery.search_vector(
            np.concatenate(features), question.top, question.where, exclude
        )

    # --- pictures --------------------------------------------------------------------------------

    def crop(self, request: Request) -> Response:
        """A picture of the gallery, small; never a file outside its indexed folder."""
        key = request.path_params["key"]
        found = self.gallery.store.get([key]) if KEY.fullmatch(key) else []
        if not found or not _is_inside(found[0].picture):
            return PlainTextResponse("no such picture", 404)
        try:
            content = thumbnail(read_crop(found[0].picture))
        except OSError:
            return PlainTextResponse("the file is missing or damaged", 404)
        return _jpeg(content)

    def uploaded(self, request: Request) -> Response:
        return _jpeg(self.uploads.get(request.path_params["key"]).thumbnail)

    async def upload(self, request: Request) -> Response:
        """Take pictures of one person, and go to the page that searches for them."""
        length = request.headers.get("content-length", "")
        if not length.isdigit() or int(length) > MOST_FILES * MOST_BYTES:
            raise InputError(f"upload at most {MOST_FILES} pictures of {MOST_BYTES // 2**20} MB")
        form = request.form(max_files=MOST_FILES, max_fields=20, max_part_size=MOST_BYTES)
        async with form as fields:
            images = (v for v in fields.getlist("image") if isinstance(v, UploadFile))
            files = [image.file for image in images if image.size]
            key = await run_in_threadpool(self._take, files)
            filters = [(k, v) for k, v in fields.multi_items() if isinstance(v, str)]
        question = Question.read([*filters, ("upload", key)])
        return RedirectResponse(question.url(), 303)

    def _take(self, files: Sequence[Any]) -> str:
        images = decode(files)
        with self._network:
            features = self.gallery.extractor()(images)
        return self.uploads.add(Upload(features.numpy(), thumbnail(images[0])))

    # --- marks -----------------------------------------------------------------------------------

    def marks(self, request: Request) -> Response:
        """The marks as a table of ``--dataset folder``: ``query.csv`` or ``gallery.csv``.

        The pictures of the question are the queries, the marked ones the gallery. People in boxes
        of photographs are left out: a table names whole files.
        """
        question = Question.read(request.query_params.multi_items())
        store = self.gallery.store
        name = request.query_params.get("identity", "").strip()[:100] or "1"
        if name == "-1":
            raise InputError("identity -1 is junk: choose another label")
        split = request.path_params["split"]
        chosen = {
            "query": {name: question.like},
            "gallery": {name: question.same, f"not {name}": question.other},
        }
        rows = {
            table: [
                (each.picture, label)
                for label, keys in labels.items()
                for each in store.get(keys)
                if not each.picture.box
            ]
            for table, labels in chosen.items()
        }
        # both tables have a camera, or neither
        has_cameras = all(picture.camera for table in rows.values() for picture, _ in table)
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("path", "identity", "camera") if has_cameras else ("path", "identity"))
        for picture, label in rows[split]:
            row = (picture.path, label, picture.camera)
            writer.writerow(row if has_cameras else row[:2])
        headers = {"Content-Disposition": f'attachment; filename="{split}.csv"'}
        return Response(text.getvalue(), media_type="text/csv", headers=headers)


def build_app(gallery: Gallery, token: str = "", hosts: frozenset[str] = frozenset()) -> Starlette:
    """The application of a gallery.

    Args:
        gallery: the gallery.
        token, hosts: see :class:`~reid_dcs.gallery.web.security.Guard`.
    """
    pages = Pages(gallery)
    routes = [
        Route("/", _one_line(pages, pages.page)),
        Route("/upload", _one_line_async(pages, pages.upload), methods=["POST"]),
        Route("/crop/{key}", _one_line(pages, pages.crop)),
        Route("/uploaded/{key}", _one_line(pages, pages.uploaded)),
        Route("/{split:str}.csv", _one_line(pages, _only_splits(pages.marks))),
        Mount("/static", StaticFiles(directory=_HERE / "static")),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, token=token, hosts=hosts)])


Endpoint = Callable[[Request], Response]


def _one_line(pages: Pages, endpoint: Endpoint) -> Endpoint:
    """An endpoint whose InputErrors are a page."""

    @wraps(endpoint)
    def answer(request: Request) -> Response:
        try:
            return endpoint(request)
        except InputError as error:
            return pages.error(str(error))

    return answer


def _one_line_async(pages: Pages, endpoint: Callable[[Request], Any]) -> Callable[[Request], Any]:
    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return PlainTextResponse("interrupted", 400)
        except InputError as error:
            return pages.error(str(error))

    return answer


def _only_splits(endpoint: Endpoint) -> Endpoint:
    @wraps(endpoint)
    def answer(request: Request) -> Response:
        if request.path_params["split"] not in ("query", "gallery"):
            return PlainTextResponse("no such table", 404)
        return endpoint(request)

    return answer


def _is_inside(picture: Picture) -> bool:
    """Whether the file is below the folder that was indexed, symbolic links resolved."""
    root, path = os.path.realpath(picture.root), os.path.realpath(picture.path)
    return bool(picture.root) and path.startswith(root.rstrip("/") + "/")


def _jpeg(content: bytes) -> Response:
    return Response(
        content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"}
    )


def _file_name(picture: Picture) -> str:
    """The file's path below the indexed folder, and the frame."""
    place = os.path.relpath(picture.path, picture.root) if picture.root else picture.path
    return printable(place) + (f", frame {picture.frame}" if picture.frame >= 0 else "")
