"""Synthetic pedestrians: determinism, appearance, and camera effects."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.synthetic import CAMERAS, draw_person, photograph, sample_person, scenes
from reid_dcs.data.synthetic.cloth import WEAVES, weave
from reid_dcs.data.synthetic.painting import EYE_COLOR
from reid_dcs.data.synthetic.person import (
    BAGS,
    BOTTOM_CUTS,
    BOTTOM_PATTERNS,
    HAIR_STYLES,
    OPEN_CUTS,
    TOP_CUTS,
    TOP_PATTERNS,
    Fabric,
)

PAPER = 200
RED, BLUE = (220, 20, 30), (20, 40, 220)
SEVERAL = [sample_person(np.random.default_rng(seed)) for seed in range(4)]
SCENES = [
    scenes.street,
    scenes.brick_wall,
    scenes.park,
    scenes.station,
    scenes.shop,
    scenes.fence,
]
OBSTACLES = [scenes.post, scenes.bicycle, scenes.bush, scenes.passer_by]
by_name = pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.name)


def plain_person(**changes):
    """A person in jumper and trousers without a bag, in easily distinguished colors."""
    cloth = Fabric((30, 140, 60), (30, 140, 60), "plain", 0.06)
    looks = dict(
        skin=(230, 184, 150),
        hair="short",
        hair_color=(150, 80, 40),
        beard=False,
        top=cloth,
        top_cut="jumper",
        long_sleeves=True,
        bottom=cloth,
        bottom_cut="trousers",
        bag="none",
        bag_side=1,
    )
    return replace(SEVERAL[0], **looks | changes)


def drawing(person, view=0.0, *, size=(384, 192), phase=0.8, center=96.0, foot=370.0, height=340.0):
    """Image of a person on gray background."""
    paper = np.full((*size, 3), PAPER, np.uint8)
    return draw_person(
        paper, person, view=view, phase=phase, center=center, foot=foot, height=height
    )


def columns_of(picture, color):
    """Columns of the pixels that have exactly this color."""
    return np.nonzero((picture == color).all(axis=-1))[1]


def test_same_generator_state_gives_same_bytes():
    first, second, other = (
        [photograph(SEVERAL[1], camera, rng) for camera in CAMERAS]
        for rng in map(np.random.default_rng, (3, 3, 4))
    )
    assert np.array_equal(first, second)
    assert not any(np.array_equal(*pair) for pair in zip(first, other, strict=True))


def test_global_random_state_is_neither_used_nor_changed():
    before = np.random.get_state()[1].copy()
    picture = photograph(SEVERAL[0], CAMERAS[3], np.random.default_rng(0))
    assert np.array_equal(before, np.random.get_state()[1])
    np.random.random(5)
    again = photograph(SEVERAL[0], CAMERAS[3], np.random.default_rng(0))
    assert np.array_equal(picture, again)


def test_thread_count_does_not_change_pictures():
    threads, images = cv2.getNumThreads(), []
    try:
        for count in (1, 4):
            cv2.setNumThreads(count)
            rng = np.random.default_rng(5)
            images.append([photograph(SEVERAL[2], camera, rng) for camera in CAMERAS])
    finally:
        cv2.setNumThreads(threads)
    assert np.array_equal(*images)


@pytest.mark.parametrize(("height", "width"), [(128, 64), (256, 128), (160, 64), (97, 53)])
def test_picture_has_the_size_asked_for(height, width):
    rng = np.random.default_rng(1)
    picture = photograph(SEVERAL[0], CAMERAS[0], rng, height=height, width=width)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8


def test_picture_is_128_by_64_by_default():
    assert photograph(SEVERAL[0], CAMERAS[0], np.random.default_rng(1)).shape == (128, 64, 3)


@by_name
def test_clothes_change_only_the_pixels_of_the_person(camera):
    """Only the clothes differ between the two people, so only pixels near the middle may."""
    people = [plain_person(top=Fabric(color, color, "plain", 0.06)) for color in (RED, BLUE)]
    for seed in range(5):
        red, blue = (photograph(p, camera, np.random.default_rng(seed)).astype(int) for p in people)
        rows, columns = np.nonzero(abs(red - blue).max(axis=-1) > 20)
        assert 0.03 < rows.size / (128 * 64) < 0.4
        assert 16 < columns.mean() < 48
        assert 25 < rows.mean() < 65
        tint = (red - blue)[rows, columns].mean(axis=0)
        assert tint[0] > 15 and tint[2] < -15


@by_name
@pytest.mark.parametrize("person", SEVERAL, ids=range(len(SEVERAL)))
def test_images_are_neither_flat_nor_saturated(camera, person):
    picture = photograph(person, camera, np.random.default_rng(9))
    assert picture.std() > 15
    assert 30 < picture.mean() < 225
    assert np.isin(picture, (0, 255)).mean() < 0.25


def test_cameras_differ_in_color():
    rng = np.random.default_rng(0)
    means = np.array(
        [
            np.mean([photograph(SEVERAL[0], camera, rng) for _ in range(6)], axis=(0, 1, 2))
            for camera in CAMERAS
        ]
    )
    distances = np.linalg.norm(means[:, None] - means, axis=-1)
    assert distances[~np.eye(len(CAMERAS), dtype=bool)].min() > 5


@pytest.mark.parametrize("paint", [*SCENES, *OBSTACLES], ids=lambda paint: paint.__name__)
def test_scene_looks_the_same_at_any_size(paint):
    views = []
    for scale in (1, 2):
        canvas = np.full((384 * scale, 192 * scale, 3), PAPER, np.uint8)
        paint(scenes.Stage(canvas, np.random.default_rng(2)))
        views.append(cv2.resize(canvas, (48, 96), interpolation=cv2.INTER_AREA).astype(float))
    assert abs(views[0] - PAPER).max() > 30
    assert abs(views[0] - views[1]).mean() < 3


@pytest.mark.parametrize("paint", SCENES, ids=lambda paint: paint.__name__)
def test_scene_covers_the_whole_canvas(paint):
    dark, light = (np.full((384, 192, 3), ground, np.uint8) for ground in (0, 255))
    for canvas in (dark, light):
        paint(scenes.Stage(canvas, np.random.default_rng(6)))
    assert np.array_equal(dark, light)


def test_two_people_differ():
    pictures = [drawing(person) for person in SEVERAL]
    for index, one in enumerate(pictures):
        for other in pictures[:index]:
            assert (abs(one.astype(int) - other) > 30).any(axis=-1).mean() > 0.05


def test_face_is_seen_from_the_front_only():
    person = plain_person()
    assert columns_of(drawing(person, 0.0), EYE_COLOR).size > 4
    assert columns_of(drawing(person, np.pi), EYE_COLOR).size == 0


def test_backpack_is_carried_behind():
    person = plain_person(bag="backpack", bag_color=RED)
    front, slanted, back = (columns_of(drawing(person, view), RED) for view in (0.0, 0.8, np.pi))
    assert back.size > 1000 > 5 * front.size
    assert slanted.size > 100 and slanted.mean() < 80


@pytest.mark.parametrize("phase", np.arange(6) * np.pi / 3)
def test_one_foot_is_always_on_the_ground(phase):
    picture = drawing(plain_person(shoes=RED), np.pi / 2, phase=phase)
    soles = np.nonzero((picture == RED).all(axis=-1).any(axis=1))[0].max()
    assert soles == pytest.approx(370, abs=8)


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("bag", ["handbag", "shoulder bag"])
def test_bag_hangs_on_its_side(bag, side):
    person = plain_person(bag=bag, bag_color=RED, bag_side=side)
    front, back = (columns_of(drawing(person, view), RED).mean() - 96 for view in (0.0, np.pi))
    assert front * side > 20
    assert back * side < -20


def test_faces_point_in_the_walking_direction():
    eyes = [columns_of(drawing(plain_person(), view), EYE_COLOR).mean() for view in (1.2, -1.2)]
    assert eyes[0] > 98 and eyes[1] < 94


@pytest.mark.parametrize("height", [120.0, 240.0, 340.0])
def test_body_is_as_tall_as_asked(height):
    rows = np.nonzero((drawing(plain_person(), height=height) != PAPER).any(axis=(1, 2)))[0]
    assert rows.min() == pytest.approx(370 - height, abs=0.05 * height)
    assert rows.max() == pytest.approx(370, abs=0.05 * height)


@pytest.mark.parametrize(("left", "top"), [(96, 0), (-90, 0), (0, 200), (0, -250), (90, 150)])
def test_person_partly_outside_the_canvas_is_cut(left, top):
    """A small canvas equals the corresponding window of a larger one."""
    person = plain_person(top=Fabric(RED, BLUE, "checks", 0.06))
    large = drawing(person, 0.7, size=(1000, 800), center=400, foot=700)
    window = large[330 + top :, 304 + left :][:384, :192]
    cut = drawing(person, 0.7, center=96 - left, foot=370 - top)
    assert (cut != PAPER).any()
    assert (cut != window).any(axis=-1).mean() < 0.002


def test_person_outside_the_canvas_draws_nothing():
    assert (drawing(SEVERAL[0], center=900.0) == PAPER).all()


def test_attributes_are_within_their_stated_ranges():
    rng = np.random.default_rng(0)
    crowd = [sample_person(rng) for _ in range(200)]
    for person in crowd:
        assert 0.93 <= person.stature <= 1.05
        assert 0.88 <= person.build <= 1.2
        assert 0.9 <= person.shoulders <= 1.06
        assert 0.49 <= person.legs <= 0.54
        assert person.hair != "hood" or person.top_cut != "t-shirt"
        assert person.top.pattern != "logo" or person.top_cut not in OPEN_CUTS
        assert person.long_sleeves or person.top_cut == "t-shirt"
        colors = [person.skin, person.hair_color, person.hat_color, person.shoes]
        colors += [person.top.color, person.top.accent, person.bottom.color, person.bag_color]
        assert np.shape(colors) == (8, 3)
        assert 0 <= np.min(colors) and np.max(colors) <= 255
    assert {person.hair for person in crowd} == set(HAIR_STYLES)
    assert {person.top_cut for person in crowd} == set(TOP_CUTS)
    assert {person.top.pattern for person in crowd} == set(TOP_PATTERNS)
    assert {person.bottom_cut for person in crowd} == set(BOTTOM_CUTS)
    assert {person.bottom.pattern for person in crowd} == set(BOTTOM_PATTERNS)
    assert {person.bag for person in crowd} == set(BAGS)
    assert {person.bag_side for person in crowd} == {-1, 1}
    assert len(set(crowd)) == len(crowd)


@pytest.mark.parametrize("pattern", WEAVES)
def test_weave_shows_both_colors(pattern):
    texture = weave(Fabric(RED, BLUE, pattern, 0.06), np.arange(80) / 300, np.arange(90) / 300)
    assert texture.shape == (90, 80, 3) and texture.dtype == np.uint8
    assert {RED, BLUE} <= set(map(tuple, texture.reshape(-1, 3).tolist()))


def test_stripes_are_horizontal_and_bars_vertical():
    grid = np.arange(60) / 300
    stripes = weave(Fabric(RED, BLUE, "stripes", 0.06), grid, grid)
    bars = weave(Fabric(RED, BLUE, "bars", 0.06), grid, grid)
    assert (stripes == stripes[:, :1]).all() and (stripes != stripes[:1]).any()
    assert (bars == bars[:1]).all() and (bars != bars[:, :1]).any()


def test_the_folder_of_a_generated_set_is_a_root_too(tiny_root):
    """As for every data set; nothing is generated inside it."""
    found = load_dataset("synthetic", str(tiny_root / "synthetic"), {})
    expected = load_dataset("synthetic", str(tiny_root), {})
    assert [path for path, *_ in found.train] == [path for path, *_ in expected.train]
    assert not (tiny_root / "synthetic/synthetic").exists()
