"""People in photographs and videos: found, cut out, indexed with frame, time and box."""

import hashlib
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from reid_dcs.data.synthetic import CAMERAS, photograph, sample_person
from reid_dcs.errors import InputError
from reid_dcs.gallery import Gallery
from reid_dcs.gallery.crops import read_crop
from reid_dcs.gallery.detect import Detection, PeopleReader, YoloX, load_detector
from reid_dcs.gallery.index import Indexer
from reid_dcs.gallery.times import parse_time
from reid_dcs.zoo.manifest import read_detectors


def scene(people, lefts):
    """A grey image of 640 x 480 with people of 128 x 256 at these places."""
    image = np.full((480, 640, 3), 150, dtype=np.uint8)
    random = np.random.default_rng(0)
    for person, left in zip(people, lefts, strict=True):
        image[120:376, left : left + 128] = photograph(
            person, CAMERAS[0], random, height=256, width=128
        )
    return image


@pytest.fixture(scope="module")
def persons():
    random = np.random.default_rng(0)
    return [sample_person(random) for _ in range(3)]


@pytest.fixture(scope="module")
def video(persons, tmp_path_factory):
    """Four seconds at 10 frames a second: first nobody, then one person, who walks."""
    path = tmp_path_factory.mktemp("video") / "c7_2026-05-31_18-30-00.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (640, 480))
    for frame in range(40):
        shown = persons[:1] if frame >= 10 else []
        writer.write(scene(shown, [5 * frame][: len(shown)])[:, :, ::-1])
    writer.release()
    return path


def colored(image):
    """A detector that finds the columns that are not grey."""
    columns = np.flatnonzero((np.abs(image[200:300].astype(int) - 150) > 40).any((0, 2)))
    if not len(columns):
        return []
    return [Detection((int(columns[0]), 120, int(columns[-1]) + 1, 376), 0.9)]


def test_the_detector_finds_generated_people(shared, persons):
    path = shared / "data/weights/yolox_nano.onnx"
    if not path.is_file():
        pytest.skip("no detector under REID_DCS_SHARED")
    entry = read_detectors()["yolox_nano"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
    lefts = (60, 260, 450)
    found = load_detector(str(path), 0.3)(scene(persons, lefts))
    assert len(found) == 3 and min(d.confidence for d in found) > 0.5
    for (left, top, right, bottom), at in zip(sorted(d.box for d in found), lefts, strict=True):
        assert at - 10 < left < right < at + 138 and 110 < top < bottom < 386
        assert bottom - top > 150
    assert YoloX(path)(np.full((480, 640, 3), 150, dtype=np.uint8)) == []


def test_what_is_no_detector_is_refused(tmp_path, monkeypatch):
    (tmp_path / "x.onnx").write_bytes(b"x")
    with pytest.raises(InputError, match="not a YOLOX network"):
        load_detector(str(tmp_path / "x.onnx"), 0.5)
    with pytest.raises(InputError, match="the zoo's detectors are yolox_nano"):
        load_detector("yolo", 0.5)


OTHERS = {  # type of the input, shape of the output; 189 anchors are right
    "of YOLOv8": ("FLOAT", (1, 84, 189)),
    "too few columns": ("FLOAT", (1, 189, 5)),
    "too many anchors": ("FLOAT", (1, 190, 85)),
    "no anchors": ("FLOAT", (1, 189)),
    "half precision": ("FLOAT16", (1, 189, 85)),
    "fails": ("FLOAT", (1, 189, -7)),
}


def network(path, kind, shape):
    """A network from (1, 3, 96, 96) to zeros of a shape that its graph does not state."""
    onnx = pytest.importorskip("onnx", reason="the extra [export] is not installed")
    helper, kinds = onnx.helper, onnx.TensorProto
    size = [abs(side) for side in shape]
    image = helper.make_tensor_value_info("image", getattr(kinds, kind), [1, 3, 96, 96])
    output = helper.make_tensor_value_info("output", kinds.FLOAT, None)
    zeros = helper.make_tensor("zeros", kinds.FLOAT, size, np.zeros(size).ravel())
    wanted = helper.make_tensor("wanted", kinds.INT64, [len(shape)], shape)
    nodes = [
        helper.make_node("Constant", [], ["zeros"], value=zeros),
        helper.make_node("Cast", ["image"], ["float"], to=kinds.FLOAT),
        helper.make_node("ReduceMin", ["float"], ["none"], keepdims=0),
        helper.make_node("Constant", [], ["wanted"], value=wanted),
        helper.make_node("Cast", ["none"], ["zero"], to=kinds.INT64),
        helper.make_node("Add", ["wanted", "zero"], ["shape"]),  # known only when it runs
        helper.make_node("Reshape", ["zeros", "shape"], ["output"]),
    ]
    graph = helper.make_graph(nodes, "network", [image], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("other", OTHERS)
def test_another_detector_is_refused_when_it_is_opened(tmp_path, capfd, other):
    path = network(tmp_path / "other.onnx", *OTHERS[other])
    with pytest.raises(InputError, match="other.onnx is not a YOLOX network: pass --detect"):
        load_detector(str(path), 0.5)
    assert capfd.readouterr() == ("", "")


def test_a_yolox_file_need_not_state_its_output(tmp_path):
    path = network(tmp_path / "yolox.onnx", "FLOAT", (1, 189, 85))
    assert load_detector(str(path), 0.5)(np.zeros((50, 70, 3), dtype=np.uint8)) == []


def test_a_video_is_indexed_by_frame_time_and_box(video, weights, tmp_path):
    reader = PeopleReader(colored, every=0.5)
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        counts = gallery.add(video, weights, reader=reader, videos=True)
        assert counts.added == 6  # at 1, 1.5, ..., 3.5 seconds
        hits = gallery.search(read_crop(gallery.store.some(1)[0]), top=10)
        pictures = sorted((hit.picture for hit in hits), key=lambda picture: picture.frame)
        assert [picture.frame for picture in pictures] == [10, 15, 20, 25, 30, 35]
        assert {picture.camera for picture in pictures} == {"7"}
        start = pictures[0].time - 1000
        assert [picture.time - start for picture in pictures] == [100 * p.frame for p in pictures]
        for picture in pictures:
            left, top, right, bottom = picture.corners
            assert abs(left - 5 * picture.frame) < 40 and (top, bottom) == (120, 376)
            assert read_crop(picture).size == (right - left, 256)
        since = start + 2500
        later = gallery.search(read_crop(pictures[0]), since=since)
        assert {hit.picture.frame for hit in later} == {25, 30, 35}
        assert gallery.add(video, reader=reader, videos=True)[:3] == (0, 1, 0)


def test_a_video_whose_indexing_was_interrupted_is_finished(video, weights, tmp_path, monkeypatch):
    monkeypatch.setattr("reid_dcs.gallery.index.WINDOW", 2)
    put, calls = Indexer._put, []

    def interrupted(self, batch):
        calls.append(len(batch))
        if len(calls) == 3:
            raise KeyboardInterrupt
        put(self, batch)

    reader = PeopleReader(colored, every=0.5)
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        monkeypatch.setattr(Indexer, "_put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gallery.add(video, weights, reader=reader, videos=True)
        assert len(gallery) == 4
        monkeypatch.setattr(Indexer, "_put", put)
        gallery.add(video, reader=reader, videos=True)
        assert len(gallery) == 6
        assert gallery.add(video, reader=reader, videos=True)[:2] == (0, 1)


def test_photographs_hold_several_people_and_are_detected_anew_when_asked(
    persons, weights, tmp_path
):
    Image.fromarray(scene(persons[:1], [300])).save(tmp_path / "photo.png")

    def twice(image):
        (found,) = colored(image)
        left, top, right, bottom = found.box
        return [found, found._replace(box=(left, top, right, bottom - 100))]

    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        assert gallery.add(tmp_path, weights).added == 1
        counts = gallery.add(tmp_path, reader=PeopleReader(twice))
        assert (counts.added, counts.removed, len(gallery)) == (2, 1, 2)
        assert gallery.add(tmp_path, reader=PeopleReader(twice)).unchanged == 1


def test_people_of_a_gallery_are_found_in_one_way(persons, video, weights, tmp_path):
    """Another way would leave alone what it would find otherwise, or remove what it would not."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(scene(persons[:1], [300])).save(folder / "photo.png")
    shutil.copy(video, folder)
    photo = tmp_path / "photo.png"
    Image.fromarray(scene(persons[1:2], [300])).save(photo)

    def sure(image):
        return colored(image)

    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        nobody = PeopleReader(lambda image: [])
        assert gallery.add(folder, weights, reader=nobody, videos=True).added == 0
        assert gallery.add(folder, reader=PeopleReader(colored, 0.5), videos=True).added == 7
        for other in (PeopleReader(colored, 1.0), PeopleReader(sure, 0.5)):
            with pytest.raises(InputError, match="detector colored, every 0.5, not with detector"):
                gallery.add(folder, reader=other, videos=True)
            with pytest.raises(InputError, match="pass the same, or index into another gallery"):
                gallery.add(photo, reader=other)
        for place in (folder, folder / "photo.png", folder / video.name):
            with pytest.raises(InputError, match="with detector colored.*: pass --detect again"):
                gallery.add(place)
        assert len(gallery) == 7
        assert gallery.add(photo).added == 1  # whole, and not in that folder
        about = gallery.about()
        del about["finding"]  # as of an earlier version
        gallery.store.describe(about)
        with pytest.raises(InputError, match="found with unknown settings, not with detector"):
            gallery.add(folder, reader=PeopleReader(colored, 0.5), videos=True)


def test_settings_of_a_detector_name_its_file_and_confidence(shared):
    path = shared / "data/weights/yolox_nano.onnx"
    if not path.is_file():
        pytest.skip("no detector under REID_DCS_SHARED")
    settings = PeopleReader(load_detector(str(path), 0.3), 2.0).settings
    name = f"yolox_nano (sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]})"
    assert settings == {"detector": name, "confidence": 0.3, "every": 2.0}


def test_a_table_relabels_a_video_without_reading_it(video, weights, tmp_path):
    shutil.copy(video, tmp_path)
    table, people = tmp_path / "table.csv", PeopleReader(colored, every=0.5)
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        gallery.add(tmp_path, weights, reader=people, videos=True)
        table.write_text(f"path,camera,time\n{video.name},hall,2027-01-01\n")
        counts = gallery.add(tmp_path, table=table, reader=people, videos=True)
        assert (counts.added, counts.relabeled, counts.unchanged) == (0, 6, 0)
        start = parse_time("2027-01-01", "")
        pictures = gallery.store.some(9)
        assert {p.camera for p in pictures} == {"hall"}
        assert all(p.time == start + 100 * p.frame for p in pictures)
        assert gallery.add(tmp_path, table=table, reader=people, videos=True)[:2] == (0, 1)
        table.write_text(f"path,camera\n{video.name},hall\n")
        assert gallery.add(tmp_path, table=table, reader=people).relabeled == 6
        assert all(p.time == 100 * p.frame for p in gallery.store.some(9))


@pytest.mark.parametrize("content", [b"", b"no video", b"RIFF\x00\x00\x00\x00AVI LIST"])
def test_a_damaged_video_is_named_and_left_out(content, weights, tmp_path):
    Image.new("RGB", (64, 128)).save(tmp_path / "a.png")
    (tmp_path / "x.avi").write_bytes(content)
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        counts = gallery.add(tmp_path, weights, reader=PeopleReader(colored), videos=True)
    (failed,) = counts.failed
    assert "x.avi (no video" in failed


def test_a_video_that_breaks_off_is_read_again_by_the_next_run(
    video, weights, tmp_path, monkeypatch
):
    monkeypatch.setattr("reid_dcs.gallery.index.WINDOW", 2)
    people = PeopleReader(colored, every=0.5)

    def broken(source):
        for number, crop in enumerate(people(source)):
            if number == 3:
                raise OSError("the file ends")
            yield crop

    broken.settings = people.settings
    with Gallery.open(tmp_path / "people.db", device="cpu") as gallery:
        assert gallery.add(video, weights, reader=broken, videos=True).failed
        assert len(gallery) == 3  # what was read is kept
        counts = gallery.add(video, reader=people, videos=True)
        assert (counts.unchanged, len(gallery)) == (0, 6)
