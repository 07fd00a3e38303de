"""Images by class: listing, subsets, label maps, stores, modes, augmentation, wrong folders."""

import shutil

import numpy as np
import pytest
import torch
from helpers.small_pictures import CLASSES, write_pictures
from PIL import Image
from torchvision import transforms

from reid_dcs import InputError
from reid_dcs.config import compose
from reid_dcs.tasks.classification.data import (
    as_evaluated,
    check_outside_splits,
    list_evaluation_images,
    list_images,
    stored,
)
from reid_dcs.tasks.classification.loader import evaluation_loader
from reid_dcs.tasks.classification.settings import ClassifyTrainRun
from reid_dcs.tasks.classification.sources import chosen_classes
from reid_dcs.tasks.classification.transforms import evaluation_transform, training_transform
from reid_dcs.weights import Preprocessing


def settings(root, **data):
    return compose(ClassifyTrainRun, {"data": {"root": str(root)} | data}).data


@pytest.fixture
def changed(tmp_path):
    """A data set of its own, to be damaged."""
    return write_pictures(tmp_path / "colors", train=2, val=1)


def test_folders_are_classes_in_the_order_of_their_names(pictures):
    train, val = list_images(settings(pictures), seed=1)
    assert train.classes == sorted(CLASSES) and val.classes == train.classes
    assert train.labels.bincount().tolist() == [8] * 4 and len(val.names) == 16
    for name, label in zip(train.names, train.labels.tolist(), strict=True):
        assert f"/train/{train.classes[label]}/" in name


def test_the_evaluations_folder_may_be_named_test(changed):
    (changed / "val").rename(changed / "test")
    assert len(list_images(settings(changed), seed=1).val.names) == 4


def test_hidden_and_other_files_are_no_images(changed):
    for name in ("._000.png", "notes.txt"):
        shutil.copy(changed / "train/red/000.png", changed / "train/red" / name)
    assert len(list_images(settings(changed), seed=1).train.names) == 8


@pytest.mark.parametrize("place", [".thumbnails/t.jpg", "@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg"])
def test_thumbnails_are_no_images(changed, place):
    for folder in ("train/red", "train", "val"):
        path = changed / folder / place
        path.parent.mkdir(parents=True)
        shutil.copy(changed / "train/red/000.png", path)
    nested = changed / "train/red/more/0.png"
    nested.parent.mkdir()
    shutil.copy(changed / "train/red/000.png", nested)
    train, val = list_images(settings(changed), seed=1)
    assert train.classes == sorted(CLASSES) and len(val.names) == 4
    assert len(train.names) == 9 and str(nested) in train.names


def test_classes_that_the_weights_lack_are_counted(changed, capsys):
    found = list_evaluation_images(settings(changed), ["red", "blue"])
    assert len(found.names) == 2
    said = "val: 2 class(es) that the weights lack are left out, such as 'green'"
    assert capsys.readouterr().err == f"warning: {changed}/{said}\n"
    list_evaluation_images(settings(changed), sorted(CLASSES))
    list_evaluation_images(settings(changed), ())
    assert capsys.readouterr().err == ""


def test_a_crop_that_would_enlarge_images_without_bounds_is_refused():
    for crop in (0.0001, 0.099):
        with pytest.raises(InputError, match=f"data.crop={crop}: give 0.1 to 1, or 0"):
            settings(".", crop=crop)
    assert [settings(".", crop=crop).crop for crop in (0, 0.1, 1)] == [0, 0.1, 1]


def test_a_subset_of_the_classes_is_drawn_by_the_seed(pictures):
    names = [f"n{i:03}" for i in range(50)]
    first = chosen_classes(names, 10, seed=1)
    assert first == sorted(first) == chosen_classes(names, 10, seed=1) != names[:10]
    assert first != chosen_classes(names, 10, seed=2) and len(set(first)) == 10
    train, val = list_images(settings(pictures, classes=2), seed=3)
    assert len(train.classes) == 2 and train.classes == val.classes
    assert sorted(set(train.labels.tolist())) == [0, 1] and len(train.names) == 16


def test_a_label_map_orders_the_outputs(pictures, tmp_path):
    order = ["white", "red", "green", "blue"]
    (tmp_path / "map.txt").write_text("\n".join(order) + "\n")
    data = settings(pictures, label_map=str(tmp_path / "map.txt"))
    assert list_images(data, seed=1).train.classes == order
    assert list_evaluation_images(data, ()).classes == order


@pytest.mark.parametrize("storage", ["memory", "mapped"])
def test_a_store_has_the_pixels_that_an_evaluation_reads(changed, storage):
    data, pixels = settings(changed, storage=storage), Preprocessing(16, 16, center_crop=0.875)
    files = list_images(data, seed=1).val
    kept = stored(files, data, "val", pixels)
    assert kept.classes == files.classes and torch.equal(kept.labels, files.labels)
    of_files, of_store = as_evaluated(files, pixels), as_evaluated(kept, pixels)
    for i in range(len(files.names)):
        assert torch.equal(of_store(kept.read(i)), of_files(files.read(i)))
    assert storage == "memory" or len(list((changed / "stores").glob("*-val-16x16.npy"))) == 1


@pytest.mark.parametrize("target", [".", "..", "../blue", "elsewhere"])
def test_links_to_folders_give_no_image_twice_and_end(changed, target):
    elsewhere = changed.parent / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(changed / "train/red/000.png", elsewhere / "more.png")
    (elsewhere / "again").symlink_to(elsewhere)
    found = list_images(settings(changed), seed=1).train
    link = elsewhere if target == "elsewhere" else target
    (changed / "train/red/link").symlink_to(link)
    names = list_images(settings(changed), seed=1).train.names
    assert len(names) == len(found.names) + (target == "elsewhere")


def test_an_image_too_long_for_its_crop_is_named(changed):
    Image.new("RGB", (60_000, 4)).save(changed / "val/red/000.png")
    data, pixels = settings(changed), Preprocessing(224, 224, center_crop=0.875)
    files = list_images(data, seed=1).val
    loader = evaluation_loader(files, as_evaluated(files, pixels), 4, workers=0)
    assert any("red/000.png" in error for batch in loader for error in batch["errors"])


def test_stores_of_two_interpolations_are_two_files(changed):
    data = settings(changed, storage="mapped")
    files = list_images(data, seed=1).val
    for interpolation in ("bilinear", "bicubic"):
        stored(files, data, "val", Preprocessing(12, 12, interpolation=interpolation))
    names = [path.name for path in (changed / "stores").glob("*-val-12x12*.npy")]
    assert len(names) == 2 and sum("bicubic" in name for name in names) == 1


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (23, 57), (16, 16)])
@pytest.mark.parametrize("crop", [0.875, 1.0])
def test_an_evaluation_resizes_and_crops_as_torchvision_does(size, crop):
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8))
    expected = transforms.Compose([transforms.Resize(round(24 / crop)), transforms.CenterCrop(24)])(
        image
    )
    found = evaluation_transform(Preprocessing(24, 24, center_crop=crop))(image)
    assert np.array_equal(found.numpy(), np.asarray(expected))


def test_augmentation_is_drawn_from_the_seed_and_none_is_none():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8))
    varied = training_transform(settings(".", height=16, width=16, policy="trivialaugment"))
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(varied(image))
    assert drawn[0].shape == (16, 16, 3) and drawn[0].dtype == torch.uint8
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    plain = training_transform(settings(".", height=20, width=24, crop_scale=1.0, flip=0.0))
    assert np.array_equal(plain(image).numpy(), np.asarray(image))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16", "1"])
def test_images_of_any_mode_are_read_as_rgb(changed, mode):
    path = changed / "train/red/000.png"
    image = Image.fromarray(np.full((20, 20), 128, np.uint8))
    if mode == "I;16":
        image = Image.fromarray(np.full((20, 20), 32768, np.uint16))
    else:
        image = image.convert(mode)
    path.unlink()
    image.save(path.with_suffix(".tif"))
    train, _ = list_images(settings(changed), seed=1)
    index = train.names.index(str(path.with_suffix(".tif")))
    assert train.read(index).mode == "RGB"


def empty(folder):
    for file in folder.iterdir():
        file.unlink()


def keep_one(folder):
    for name in list(CLASSES)[1:]:
        shutil.rmtree(folder / name)


@pytest.mark.parametrize(
    "harm, said",
    [
        (lambda root: empty(root / "train/red"), "train/red: the class has no images"),
        (lambda root: empty(root / "val/red"), "val/red: the class has no images"),
        (lambda root: keep_one(root / "train"), "only the class blue: .* two classes or more"),
        (lambda root: shutil.rmtree(root / "val/red"), "val: no folder of the class 'red'"),
        (lambda root: (root / "val/red").rename(root / "val/rot"), "no folder of the class 'red'"),
        (lambda root: (root / "val/pink").mkdir(), "the training images have no class 'pink'"),
        (lambda root: shutil.rmtree(root / "val"), "no folder val or test in it"),
        (lambda root: shutil.rmtree(root / "train"), "no folder train in it"),
    ],
)
def test_wrong_folders_are_one_line(changed, harm, said):
    harm(changed)
    with pytest.raises(InputError, match=said) as error:
        list_images(settings(changed), seed=1)
    assert "\n" not in str(error.value)


def test_wrong_settings_are_one_line(pictures, tmp_path):
    with pytest.raises(InputError, match="data.classes=5: the data set has 4"):
        list_images(settings(pictures, classes=5), seed=1)
    with pytest.raises(InputError, match="data.classes=1: "):
        list_images(settings(pictures, classes=1), seed=1)
    (tmp_path / "map.txt").write_text("red\nblue\n")
    with pytest.raises(InputError, match=r"map.txt lacks 'green', which has a folder"):
        list_images(settings(pictures, label_map=str(tmp_path / "map.txt")), seed=1)
    (tmp_path / "map.txt").write_text("red\nred\n")
    with pytest.raises(InputError, match="'red' stands there twice"):
        list_images(settings(pictures, label_map=str(tmp_path / "map.txt")), seed=1)
    with pytest.raises(InputError, match="absent.txt cannot be read"):
        list_images(settings(pictures, label_map=str(tmp_path / "absent.txt")), seed=1)


@pytest.mark.parametrize("splits", [("train", "val"), ("train", "test"), ("val",), ("test",)])
def test_an_output_folder_is_not_among_the_images(changed, splits):
    """An evaluation needs no folder train."""
    if "test" in splits:
        (changed / "val").rename(changed / "test")
    if "train" not in splits:
        shutil.rmtree(changed / "train")
    for split in splits:
        for place in (split, f"{split}/out", f"{split}/red/out"):
            with pytest.raises(InputError, match=f"{place} is in .*, a folder of the data set"):
                check_outside_splits(changed / place, settings(changed))
            check_outside_splits(changed / place, settings(changed, val_shards="val/*.tar"))
    check_outside_splits(changed / "out", settings(changed))
