"""FeatureExtractor: any kind of image, any number, one function."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms import v2

from reid_dcs import FeatureExtractor, InputError, build_model
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
    with pytest.raises(ValueError, match="no images"):
        extractor([])
    with pytest.raises(TypeError, match="float is not an image"):
        extractor([1.5])
    with pytest.raises(ValueError, match=r"uint8, RGB, not \(64, 32, 3\) of float64"):
        extractor(np.zeros((64, 32, 3)))
    with pytest.raises(ValueError, match=r"not \(64, 32, 4\) of uint8"):
        extractor(np.zeros((64, 32, 4), dtype=np.uint8))
    with pytest.raises(ValueError, match="three axes"):
        extractor(np.zeros((64, 32), dtype=np.uint8))
    (tmp_path / "cut.jpg").write_bytes(files[0].read_bytes()[:500])
    with pytest.raises(InputError, match="2 unreadable.*absent.jpg.*cut.jpg"):
        extractor([*files[:2], tmp_path / "cut.jpg", tmp_path / "absent.jpg"])


def test_wrong_weights_are_refused(weights, tmp_path):
    with pytest.raises(InputError, match="pass --model"):
        FeatureExtractor(weights)
    with pytest.raises(InputError, match="another architecture"):
        FeatureExtractor(weights, "mobilenetv2_base")
    with pytest.raises(InputError, match="no weights at"):
        FeatureExtractor(tmp_path / "absent.pt")
