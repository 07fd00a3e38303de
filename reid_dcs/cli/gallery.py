"""The command ``gallery``: index, search, serve, threshold."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reid_dcs.cli.parsers import Parser, choose, file_or_folder
from reid_dcs.errors import InputError

ACTIONS = {
    "index": "bring a gallery up to date with a folder of pictures or videos",
    "search": "find the pictures most similar to a person's",
    "serve": "a page to search and mark in the browser",
    "threshold": "the distance that gives a wanted false-accept rate",
}


def gallery(arguments: Sequence[str]) -> None:
    description = "Find people in a collection of pictures."
    action = choose("reid-dcs gallery", description, "action", ACTIONS, arguments)
    {"index": index, "search": search, "serve": serve, "threshold": threshold}[action](
        arguments[1:]
    )


class _GalleryParser(Parser):
    """Parser of an action: gallery, weights and device."""

    def __init__(self, action: str, gallery_required: bool = True) -> None:
        super().__init__(f"reid-dcs gallery {action}", ACTIONS[action].capitalize() + ".")
        self.add_argument(
            "--gallery",
            required=gallery_required,
            type=_address,
            metavar="PLACE",
            help="a path ending in .db, or http://HOST:PORT[/COLLECTION] of a Milvus server, "
            "whose token is MILVUS_TOKEN in the environment",
        )
        self.add_argument(
            "--weights",
            type=file_or_folder,
            metavar="FILE",
            help="checkpoint, ONNX file of reid-dcs export, or name of the model zoo; "
            "by default those that the gallery was made with",
        )
        self.add_argument("--model", help="network, if the weights do not name it")
        self.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
        self.add_debug()


def _address(text: str) -> str:
    return text if "://" in text else file_or_folder(text)


def index(arguments: Sequence[str]) -> None:
    parser = _GalleryParser("index")
    parser.add_argument("folder", metavar="FOLDER", type=file_or_folder, help="or a single file")
    parser.add_argument(
        "--table",
        type=file_or_folder,
        metavar="FILE.csv",
        help="names the pictures: path, and if known identity, camera, time",
    )
    parser.add_argument(
        "--detect",
        metavar="DETECTOR",
        help="find the people in photographs and videos with yolox_nano or a YOLOX file (.onnx)",
    )
    parser.add_argument(
        "--every",
        type=_seconds,
        metavar="SECONDS",
        help="between the frames of a video that are looked at; default 1",
    )
    parser.add_argument(
        "--confidence",
        type=_fraction,
        metavar="FRACTION",
        help="least confidence of a detection; default 0.5",
    )
    given = parser.parse_args(arguments)
    if not given.detect and (given.every or given.confidence):
        raise InputError("--every and --confidence are of a detector: pass --detect, or neither")
    from reid_dcs.gallery import Gallery
    from reid_dcs.gallery.crops import whole
    from reid_dcs.gallery.embedded import LARGEST

    reader, videos = whole, False
    if given.detect:
        from reid_dcs.gallery.detect import PeopleReader, load_detector

        detector = load_detector(given.detect, given.confidence or 0.5)
        reader, videos = PeopleReader(detector, given.every or 1.0), True
    with Gallery.open(given.gallery, given.device) as found:
        counts = found.add(
            given.folder,
            given.weights,
            model=given.model,
            table=given.table,
            reader=reader,
            videos=videos,
        )
        total = len(found)
        print(f"{given.gallery}: {counts}; {total:,} pictures in all")
        if found.store.folder and total > LARGEST:
            print(
                f"warning: with more than {LARGEST:,} pictures, a gallery in a file answers slowly "
                "and overlooks pictures: use a Milvus server, --gallery http://HOST:19530/NAME",
                file=sys.stderr,
            )


def search(arguments: Sequence[str]) -> None:
    parser = _GalleryParser("search")
    parser.add_argument(
        "--image",
        nargs="+",
        required=True,
        type=file_or_folder,
        metavar="FILE",
        help="picture of the person; several pictures of one person are one question",
    )
    parser.add_argument("--top", type=_count, default=10, metavar="N", help="hits; default 10")
    parser.add_argument("--camera", help="only pictures of this camera")
    parser.add_argument("--not-camera", metavar="CAMERA", help="no pictures of this camera")
    parser.add_argument(
        "--since",
        metavar="TIME",
        help="only pictures of 2026-05-31T18:30 (UTC) or later; "
        "a number is seconds from the start of a video",
    )
    parser.add_argument("--until", metavar="TIME", help="only pictures before this time")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--output", type=file_or_folder, metavar="FILE.png", help="draw the ranked list"
    )
    given = parser.parse_args(arguments)
    from reid_dcs.data.image_files import check_picture
    from reid_dcs.files import check_writable
    from reid_dcs.gallery import Gallery
    from reid_dcs.gallery.answers import answer_json, answer_table, draw_answer
    from reid_dcs.gallery.times import parse_time

    for path in given.image:
        check_picture(path, "--image")
    output = Path(given.output) if given.output else None
    if output:
        if output.suffix.lower() != ".png":
            raise InputError(f"cannot draw to {output}: its name must end in .png")
        check_writable(output)
    since, until = (
        None if text is None else parse_time(text, flag)
        for flag, text in (("--since", given.since), ("--until", given.until))
    )
    with Gallery.open(given.gallery, given.device, create=False) as found:
        found.extractor(given.weights, given.model)
        hits = found.search(
            given.image,
            given.top,
            camera=given.camera,
            not_camera=given.not_camera,
            since=since,
            until=until,
        )
        threshold = found.threshold()
    print((answer_json if given.json else answer_table)(hits, threshold))
    if output and hits:
        draw_answer(given.image[0], hits, output)
        print(f"ranked list: {output}", file=sys.stderr)


def serve(arguments: Sequence[str]) -> None:
    parser = _GalleryParser("serve")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 127.0.0.1")
    parser.add_argument("--port", type=_port, default=8000, help="default 8000; 0: any free one")
    given = parser.parse_args(arguments)
    from reid_dcs.gallery import Gallery
    from reid_dcs.gallery.web import serve as serve_page

    with Gallery.open(given.gallery, given.device, create=False) as found:
        found.extractor(given.weights, given.model)
        serve_page(found, given.host, given.port)


def threshold(arguments: Sequence[str]) -> None:
    parser = _GalleryParser("threshold", gallery_required=False)
    parser.add_argument("--dataset", required=True, help="data set, such as market1501 or folder")
    parser.add_argument(
        "--root", type=file_or_folder, default="datasets", help="folder that contains the data set"
    )
    parser.add_argument(
        "--far", type=_fraction, default=0.01, help="wanted false-accept rate; default 0.01"
    )
    parser.add_argument(
        "--output-dir", type=file_or_folder, metavar="DIR", help="for threshold.json and .png"
    )
    given = parser.parse_args(arguments)
    from reid_dcs.gallery import Gallery
    from reid_dcs.gallery.threshold import measure_threshold
    from reid_dcs.inference.extractor import FeatureExtractor

    def measure(extractor: FeatureExtractor) -> dict[str, Any]:
        output = Path(given.output_dir) if given.output_dir else None
        return measure_threshold(extractor, given.dataset, given.root, given.far, output)

    if given.gallery:
        with Gallery.open(given.gallery, given.device, create=False) as found:
            measured = measure(found.extractor(given.weights, given.model))
            found.set_threshold(measured)
    elif given.weights:
        measured = measure(FeatureExtractor(given.weights, given.model, device=given.device))
    else:
        raise InputError("no weights: pass --weights, or --gallery for those of a gallery")
    print(
        f"distance {measured['distance']:.4f}: false-accept rate {measured['far']:.2%}, "
        f"true-accept rate {measured['tar']:.2%} on {given.dataset}"
    )


def _number(text: str, kind: type, least: float, most: float) -> float:
    value = kind(text)
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text} is not from {least:g} to {most:g}")
    return value


def _count(text: str) -> int:
    return int(_number(text, int, 1, 16_000))


def _port(text: str) -> int:
    return int(_number(text, int, 0, 65_535))


def _fraction(text: str) -> float:
    return _number(text, float, 1e-9, 1)


def _seconds(text: str) -> float:
    return _number(text, float, 1e-3, 1e6)


# argparse names them in its errors
for _function, _name in (
    (_count, "count"),
    (_port, "port"),
    (_fraction, "fraction"),
    (_seconds, "seconds"),
):
    _function.__name__ = _name
