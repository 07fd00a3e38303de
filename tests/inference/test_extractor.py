"""FeatureExtractor: any kind of image, any number, one function."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms
from torchvision.transforms import v2

from reid_dcs import FeatureExtractor, InputError, build_model
from reid_dcs.data.rgb import to_rgb
from reid_dcs.inference.load import read_trained
from reid_dcs.weights import ModelCard
from reid_dcs.weights.card import IMAGENET_MEAN, IMAGENET_STD

SIZE = {"height": 64, "width": 32}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "osnet.pth"
    torch.save(build_model("osnet_x0_25", 5).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def extractor(weights):
    return FeatureExtractor(weights, "osnet_x0_25", **SIZE, batch_size=4, device="cpu")


@pytest.fixture(scope="module")
def files(tiny_root):
    return sorted((tiny_root / "synthetic/query").iterdir())[:6]


@pytest.fixture(scope="module")
def expected(extractor, files):
    """By torchvision and the bare network, an image at a time."""
    transform = v2.Compose(
        [
            v2.Resize((64, 32)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    with torch.inference_mode():
        images = [transform(Image.open(file).convert("RGB"))[None] for file in files]
        return F.normalize(torch.cat([extractor.model(image) for image in images]))


def assert_close(features, expected):
    assert features.dtype == torch.float32 and features.device.type == "cpu"
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_files_in_any_number(extractor, files, expected):
    assert_close(extractor(files), expected)  # a batch of four and one of two
    assert_close(extractor(str(files[1])), expected[1:2])
    assert_close(extractor(str(file) for file in files), expected)
    torch.testing.assert_close(extractor(files).norm(dim=1), torch.ones(6))


def test_arrays_and_tensors(extractor, files, expected):
    arrays = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    tensors = [torch.from_numpy(array.copy()).permute(2, 0, 1) for array in arrays]
    assert_close(extractor(arrays), expected)
    assert_close(extractor(np.stack(arrays)), expected)
    assert_close(extractor(torch.stack(tensors)), expected)
    assert_close(extractor([files[0], arrays[1], tensors[2]]), expected[:3])
    assert_close(extractor(arrays[3][:, ::-1][:, ::-1]), expected[3:4])  # strides below zero


def test_floats_are_the_networks_input(extractor):
    images = torch.randn(5, 3, 64, 32)
    with torch.inference_mode():
        expected = F.normalize(extractor.model(images))
    assert_close(extractor(images), expected)
    assert_close(extractor(images[0]), expected[:1])
    with pytest.raises(ValueError, match=r"floats must be \(3, 64, 32\), not \(3, 64, 64\)"):
        extractor(torch.randn(5, 3, 64, 64))


def test_flip_is_the_mean_with_the_mirror_image(weights, extractor):
    images = torch.randn(3, 3, 64, 32)
    flipping = FeatureExtractor(weights, "osnet_x0_25", **SIZE, flip=True, device="cpu")
    with torch.inference_mode():
        both = extractor.model(images) + extractor.model(images.flip(3))
    assert_close(flipping(images), F.normalize(both))


def test_a_checkpoint_of_ours_says_everything(tmp_path):
    options = {"windows": 1}
    network = build_model("mobilenetv2_dcs", 5, **options)
    content = {
        "model": {"name": "mobilenetv2_dcs", "options": options, "num_classes": 5},
        "preprocessing": {"height": 64, "width": 48},
        "config": {"data": {"name": "market1501"}},
        "state_dict": network.state_dict(),
    }
    torch.save(content, tmp_path / "checkpoint.pt")
    extractor = FeatureExtractor(tmp_path / "checkpoint.pt", device="cpu")
    assert (extractor.height, extractor.width) == (64, 48)
    images = torch.randn(2, 3, 64, 48)
    with torch.inference_mode():
        assert_close(extractor(images), F.normalize(network.eval()(images)))


def test_what_is_no_image_is_refused(extractor, files, tmp_path):
    with pytest.raises(TypeError, match="float is not an image"):
        extractor([1.5])
    with pytest.raises(ValueError, match=r"not \(64, 32, 2\)"):
        extractor(np.zeros((64, 32, 2), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"not \(3, 64, 32\)"):
        extractor(np.zeros((3, 64, 32), dtype=np.uint8))
    with pytest.raises(ValueError, match="two or three axes"):
        extractor(np.zeros(64, dtype=np.uint8))
    with pytest.raises(ValueError, match="numbers, not complex128"):
        extractor(np.zeros((64, 32, 3), dtype=complex))
    with pytest.raises(InputError, match="no images in"):
        extractor(tmp_path)
    (tmp_path / "cut.jpg").write_bytes(files[0].read_bytes()[:500])
    with pytest.raises(InputError, match="2 unreadable.*absent.jpg.*cut.jpg"):
        extractor([*files[:2], tmp_path / "cut.jpg", tmp_path / "absent.jpg"])


@pytest.mark.parametrize("shape", [(0, 32, 3), (64, 0, 3), (0, 0), (0, 32, 4)])
def test_an_image_without_pixels_has_no_feature(shape, extractor):
    with pytest.raises(ValueError, match="no pixels"):
        extractor([np.zeros(shape, dtype=np.uint8)])
    if len(shape) == 3:
        with pytest.raises(ValueError, match="no pixels"):
            extractor([torch.zeros(*shape, dtype=torch.uint8).permute(2, 0, 1)])
        with pytest.raises(ValueError, match="no pixels"):
            extractor(Image.new("RGB", shape[1::-1]))


@pytest.mark.parametrize("nothing", [[], (), np.zeros((0, 64, 32, 3), np.uint8), iter([])])
def test_no_images_have_no_features(nothing, extractor, expected):
    features = extractor(nothing)
    assert features.shape == (0, expected.shape[1]) and features.dtype == torch.float32


def test_a_folder_holds_its_images_by_name(extractor, files, expected, tmp_path, monkeypatch):
    for file in reversed(files[:3]):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "._0001.jpg").write_bytes(b"of macOS")
    (tmp_path / "notes.txt").write_text("not an image")
    assert_close(extractor(tmp_path), expected[:3])
    assert_close(extractor([str(tmp_path), files[4]]), expected[[0, 1, 2, 4]])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert_close(extractor(f"~/{files[1].name}"), expected[1:2])


def test_numbers_of_every_type_are_the_same_image(extractor, files, expected):
    array = np.asarray(Image.open(files[0]).convert("RGB"))
    for same in (
        array.astype(np.float64),
        array / 255,
        (array / 255).astype(np.float32),
        array.astype(np.int64),
        array.astype(np.uint16) * 257,
        np.dstack([array, np.full(array.shape[:2], 9, np.uint8)]),
    ):
        assert_close(extractor(same), expected[:1])


def test_channels_may_be_blue_first(weights, extractor, files, expected):
    arrays = [np.asarray(Image.open(file).convert("RGB"))[..., ::-1] for file in files[:2]]
    assert_close(extractor(arrays, bgr=True), expected[:2])
    blue_first = FeatureExtractor(weights, "osnet_x0_25", **SIZE, bgr=True, device="cpu")
    assert_close(blue_first(arrays), expected[:2])
    assert_close(blue_first([files[0], Image.open(files[1])]), expected[:2])
    tensor = torch.from_numpy(arrays[0].copy()).permute(2, 0, 1)
    assert_close(blue_first(tensor), expected[:1])


def test_grey_is_three_equal_channels(extractor, files):
    grey = np.asarray(Image.open(files[0]).convert("L"))
    expected = extractor(np.dstack([grey] * 3))
    for same in (grey, grey[..., None], Image.fromarray(grey), torch.from_numpy(grey.copy())[None]):
        assert_close(extractor(same), expected)


MODES = ["RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "P", "L", "LA", "La", "PA", "RGBa", "1", "I", "F"]


@pytest.mark.parametrize("mode", [*MODES, "I;16", "LAB"])
def test_pillow_images_of_any_mode_are_rgb(mode, files):
    original = Image.open(files[0]).convert("RGB")
    if mode in ("1", "L", "LA", "La", "PA", "I", "F", "I;16"):
        original = original.convert("1" if mode == "1" else "L")
    through = {"La": "LA", "RGBa": "RGBA", "PA": "P"}
    if mode == "I;16":
        image = Image.fromarray(np.asarray(original).astype(np.uint16) * 257)
    elif mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(original, *profiles, outputMode="LAB")
    else:
        image = original.convert(through.get(mode, mode)).convert(mode)
    assert image.mode == mode
    difference = np.asarray(to_rgb(image)).astype(int) - np.asarray(original.convert("RGB"))
    bound = {"P": 60, "HSV": 12, "LAB": 12, "YCbCr": 3}.get(mode, 0)
    assert np.abs(difference).max() <= bound


def test_a_pillow_image_is_turned_upright(files):
    upright = Image.open(files[0]).convert("RGB")
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6  # to be rotated by 270 degrees
    assert np.array_equal(np.asarray(to_rgb(turned)), np.asarray(upright))


@pytest.mark.parametrize("number", [np.nan, np.inf, -1, 1e9])
def test_numbers_that_are_no_brightness_are_refused(number, extractor):
    with pytest.raises(ValueError, match="numbers from 0 to"):
        extractor(np.full((4, 4), number))


def test_features_are_finite_or_refused(weights, extractor, tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        extractor(torch.full((3, 64, 32), torch.nan))
    with pytest.raises(InputError, match="features are not finite"):
        extractor(torch.full((3, 64, 32), 3e38))
    state = torch.load(weights, weights_only=True)
    name = next(name for name, tensor in state.items() if tensor.ndim > 1)
    for number in (torch.nan, torch.inf):
        state[name].view(-1)[3] = number
        torch.save(state, tmp_path / "diverged.pth")
        with pytest.raises(InputError, match=f"not finite in {name}"):
            FeatureExtractor(tmp_path / "diverged.pth", "osnet_x0_25", device="cpu")


def test_a_name_that_begins_with_a_tilde_is_a_name(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (32, 64)).save("~a.jpg")
    shutil.copy(weights, "~w.pt")
    assert FeatureExtractor("~w.pt", "osnet_x0_25", device="cpu")("~a.jpg").shape == (1, 512)


def test_a_picture_that_is_too_long_to_be_resized_is_refused():
    long = np.zeros((2_000_000, 2, 3), np.uint8)
    extractor = FeatureExtractor("mobilenetv2_dcs_synthetic", device="cpu")
    for image in (long, Image.fromarray(long)):
        with pytest.raises(InputError, match="unusable image"):
            extractor(image)


def test_wrong_weights_are_refused(weights, tmp_path):
    with pytest.raises(InputError, match="pass --model"):
        FeatureExtractor(weights)
    with pytest.raises(InputError, match="another architecture"):
        FeatureExtractor(weights, "mobilenetv2_base")
    with pytest.raises(InputError, match="no weights at"):
        FeatureExtractor(tmp_path / "absent.pt")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "interp"}, "was trained with mode=bilinear, and is read with mode=interp here"),
        ({"last_stride": 2}, "was trained with the default of last_stride, and is read with"),
        ({"mode": "bilinear"}, ""),
    ],
)
def test_options_other_than_those_of_the_file_are_a_warning(options, said, capsys):
    read_trained("mobilenetv2_dcs_synthetic", {"model": {"options": options}})
    warned = capsys.readouterr().err
    assert said in warned and bool(said) == bool(warned)


@pytest.mark.parametrize(
    "given, said",
    [
        ({"device": "cuda"}, "runs on the CPU: its model, .* device cannot be chosen"),
        ({"height": 96}, "its model, options, size"),
        ({"precision": "float16"}, "its model, options, size, precision"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
    ],
)
def test_settings_that_a_graph_cannot_have(monkeypatch, given, said):
    graph = SimpleNamespace(card=ModelCard("mobilenetv2_dcs"))
    monkeypatch.setattr("reid_dcs.inference.extractor.OnnxModel", lambda path: graph)
    assert FeatureExtractor("model.onnx", device="cpu", precision="auto").model is graph
    with pytest.raises(InputError, match=said):
        FeatureExtractor("model.onnx", **given)
