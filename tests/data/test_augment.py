"""Batched augmentation against one image at a time, and its statistics."""

import random as pyrandom

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchreid import data as torchreid_data
from torchvision import transforms
from torchvision.transforms import functional as torchvision

from reid_dcs.data.augment import IMAGENET_MEAN, IMAGENET_STD, Augmentation, normalize
from reid_dcs.data.draws import draw_boxes

STILL = Augmentation(flip=0, padding=0, erasing=0)


@pytest.fixture
def images():
    random = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (64, 24, 12, 3), generator=random, dtype=torch.uint8)


def everything(images):
    """All images of a store, in order."""
    return images, torch.arange(len(images))


def flipped_and_cropped(augmentation, images):
    return as_bytes(augmentation(*everything(images), seeded()))


def as_bytes(batch):
    """(B, 3, H, W) normalized -> (B, H, W, 3) uint8."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (255 * (batch * std + mean)).round().to(torch.uint8).permute(0, 2, 3, 1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "mean, std", [(IMAGENET_MEAN, IMAGENET_STD), ((0.5, 0.4, 0.1), (0.2, 1.0, 0.3))]
)
def test_normalize_is_torchvisions(images, mean, std):
    expected = torchvision.normalize(images.permute(0, 3, 1, 2) / 255, mean, std)
    normalized = normalize(images, mean, std)
    torch.testing.assert_close(normalized, expected, rtol=1e-5, atol=1e-5)
    assert normalized.is_contiguous(memory_format=torch.channels_last)
    if mean == IMAGENET_MEAN:
        assert torch.equal(normalize(images), normalized)


def test_an_augmentation_normalizes_by_its_statistics(images):
    mean, std = (0.5, 0.4, 0.1), (0.2, 1.0, 0.3)
    still = Augmentation(flip=0, padding=0, erasing=0, mean=mean, std=std)
    found = still(*everything(images), seeded())
    torch.testing.assert_close(found, normalize(images, mean, std))


def test_nothing_happens_at_probability_zero(images):
    torch.testing.assert_close(STILL(*everything(images), seeded()), normalize(images))


def test_flip_at_probability_one_mirrors_every_image(images):
    flipped = Augmentation(flip=1, padding=0, erasing=0)(*everything(images), seeded())
    torch.testing.assert_close(flipped, normalize(images).flip(3))


def test_every_crop_is_a_shift_of_its_image_on_black(images):
    p = 3
    cropped = flipped_and_cropped(Augmentation(flip=0, padding=p, erasing=0), images)
    padded = torch.nn.functional.pad(images, (0, 0, p, p, p, p))
    shifts = []
    for image, result in zip(padded, cropped, strict=True):
        found = [
            (y, x)
            for y in range(2 * p + 1)
            for x in range(2 * p + 1)
            if torch.equal(image[y : y + 24, x : x + 12], result)
        ]
        assert len(found) == 1
        shifts += found
    assert len(set(shifts)) > 20  # of 49, drawn 64 times, each image on its own


def test_flips_and_crops_have_their_probabilities():
    marked = torch.zeros(4000, 9, 9, 3, dtype=torch.uint8)
    marked[:, 4, 3] = 255  # one pixel left of the center
    result = flipped_and_cropped(Augmentation(flip=0.3, padding=2, erasing=0), marked)
    rows, columns = result[..., 0].nonzero()[:, 1:].T
    # flipping follows the shift: column 3 - dx, or 8 - (3 - dx)
    for shift in range(-2, 3):
        assert abs((rows == 4 - shift).float().mean() - 0.2) < 0.03
    expected = {c: 0.7 / 5 * (1 <= c <= 5) + 0.3 / 5 * (3 <= c <= 7) for c in range(9)}
    for column, probability in expected.items():
        assert abs((columns == column).float().mean() - probability) < 0.03


def test_flips_are_as_frequent_as_in_torchreids_pil_transforms():
    n = 2000
    image = Image.fromarray(np.array([[[9] * 3, [0] * 3]], dtype=np.uint8))
    torch.manual_seed(0)
    flip = transforms.RandomHorizontalFlip()  # which torchreid's build_transforms takes
    theirs = sum(flip(image).getpixel((0, 0))[0] == 0 for _ in range(n)) / n
    marked = torch.tensor([[[9] * 3, [0] * 3]], dtype=torch.uint8).expand(n, 1, 2, 3).contiguous()
    ours = flipped_and_cropped(Augmentation(flip=0.5, padding=0, erasing=0), marked)
    assert abs((ours[:, 0, 0, 0] == 0).float().mean() - theirs) < 0.05


@pytest.mark.slow
def test_crop_offsets_are_distributed_as_torchvisions_and_over_torchreids_range():
    height, width, p, n = 128, 64, 8, 3000
    torch.manual_seed(0), pyrandom.seed(0)
    crop = transforms.RandomCrop.get_params
    padded = Image.new("RGB", (width + 2 * p, height + 2 * p))
    pil = np.array([crop(padded, (height, width))[:2] for _ in range(n)])
    marked = torch.zeros(n, height, width, 3, dtype=torch.uint8)
    marked[:, height // 2, width // 2] = 255
    result = flipped_and_cropped(Augmentation(flip=0, padding=p, erasing=0), marked)
    rows, columns = result[..., 0].nonzero()[:, 1:].T.numpy()
    ours = np.stack([p + height // 2 - rows, p + width // 2 - columns], 1)
    assert ours.min() == 0 and ours.max() == 2 * p
    for axis in range(2):
        assert ks_2samp(ours[:, axis], pil[:, axis]).statistic < 0.05
    # torchreid enlarges by 1.125, which is 16 pixels here, instead of padding; it rounds, so that
    # the two ends get half their share
    theirs = torchreid_crop_rows(height, width, n)
    assert max(theirs) == 2 * p and ks_2samp(ours[:, 0], theirs).statistic < 0.07


def torchreid_crop_rows(height: int, width: int, n: int) -> list[int]:
    """Where torchreid's Random2DTranslation begins its crops."""

    class Recorder:
        def resize(self, size, interpolation):
            assert size[1] == height + 16
            return self

        def crop(self, box):
            rows.append(box[1])

    rows: list[int] = []
    translate = torchreid_data.transforms.Random2DTranslation(height, width, p=1)
    for _ in range(n):
        translate(Recorder())
    return rows


def test_erased_boxes_are_distributed_as_torchreids():
    height, width, n = 128, 64, 2000
    boxes = draw_boxes(n, height, width, 0.4, seeded())
    erased = boxes[:, 2] > 0
    assert abs(erased.float().mean() - 0.4) < 0.03 and not boxes[~erased].any()
    theirs = torchreid_boxes(height, width, 800)
    for name, measure in {
        "area": lambda top, left, h, w: h * w / (height * width),
        "ratio": lambda top, left, h, w: h / w,
        "top": lambda top, left, h, w: top / (height - h + 1),
        "left": lambda top, left, h, w: left / (width - w + 1),
    }.items():
        ours, reference = (measure(*v.double().T).numpy() for v in (boxes[erased], theirs))
        assert ks_2samp(ours, reference).statistic < 0.08, name
        assert abs(ours.min() - reference.min()) < 0.02 * reference.max(), name


def torchreid_boxes(height: int, width: int, n: int) -> torch.Tensor:
    """(n, 4) boxes that torchreid's own RandomErasing erases: top, left, height, width."""
    pyrandom.seed(0)
    erase = torchreid_data.transforms.RandomErasing(probability=1, mean=[0, 0, 0])
    boxes = []
    for _ in range(n):
        gone = erase(torch.ones(3, height, width))[0] == 0
        rows, columns = gone.any(1).nonzero().flatten(), gone.any(0).nonzero().flatten()
        boxes.append([rows[0], columns[0], len(rows), len(columns)])
    return torch.tensor(boxes)


def test_jitter_is_torchvisions_for_the_same_factors(images):
    """Each result is the PIL result of some brightness and contrast in the range."""
    images = images // 2 + 60  # nothing saturates, so that both orders of the two agree
    jitter = Augmentation(0, 0, 0, brightness=0.2, contrast=0.15)
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    slopes = []
    for image, result in zip(images, jitter(*everything(images), seeded()), strict=True):
        x, y = image.permute(2, 0, 1).double() / 255, (result * std + mean).double()
        gray = (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0).mean()
        slope = torch.linalg.lstsq(
            torch.stack([x.flatten(), torch.ones(x.numel())], 1).double(), y.flatten()[:, None]
        ).solution.flatten()
        b = slope[0] + slope[1] / gray  # y = b c x + b (1 - c) gray
        c = slope[0] / b
        assert 0.8 <= b <= 1.2 and 0.85 <= c <= 1.15
        pil = Image.fromarray(image.numpy())
        expected = torchvision.adjust_contrast(
            torchvision.adjust_brightness(pil, b.item()), c.item()
        )
        assert (y * 255 - torch.tensor(np.array(expected)).permute(2, 0, 1)).abs().max() < 2.5
        slopes.append((b.item(), c.item()))
    b, c = torch.tensor(slopes).T
    assert (
        b.std() > 0.08 and c.std() > 0.06 and abs(torch.corrcoef(torch.stack([b, c]))[0, 1]) < 0.4
    )


def test_jitter_stays_within_black_and_white(images):
    bright = Augmentation(0, 0, 0, brightness=1.0)(*everything(images), seeded())
    white = normalize(torch.full((1, 1, 1, 3), 255, dtype=torch.uint8)).flatten()
    black = normalize(torch.zeros(1, 1, 1, 3, dtype=torch.uint8)).flatten()
    torch.testing.assert_close(bright.amax((0, 2, 3)), white)  # saturated, as in PIL
    assert (bright.amin((0, 2, 3)) >= black - 1e-6).all()


def test_a_box_is_erased_where_it_says():
    images = torch.full((32, 64, 32, 3), 200, dtype=torch.uint8)
    augmentation = Augmentation(0, 0, erasing=0.5)
    result = augmentation(*everything(images), seeded())
    random = seeded()
    torch.rand(32, 1, generator=random), torch.randint(1, (64,), generator=random)  # flips, shifts
    boxes = draw_boxes(32, 64, 32, augmentation.erasing, random)
    assert 5 < (boxes[:, 2] > 0).sum() < 27
    for image, (top, left, h, w) in zip(result, boxes.tolist(), strict=True):
        gone = torch.zeros(64, 32, dtype=torch.bool)
        gone[top : top + h, left : left + w] = True
        assert torch.equal((image == 0).all(0), gone)


def test_a_batch_is_drawn_from_anywhere_in_the_store(images):
    """The first and the last image too, whose shifted rows reach past the store's ends."""
    index = torch.tensor([63, 0, 5, 0, 63])
    for seed in range(20):
        augmentation = Augmentation(flip=0.5, padding=4, erasing=0)
        drawn = as_bytes(augmentation(images, index, seeded(seed)))
        random = seeded(seed)
        flip = torch.rand(5, 1, generator=random) < 0.5
        dy, dx = (torch.randint(-4, 5, (5, 1), generator=random) for _ in range(2))
        padded = torch.nn.functional.pad(images[index], (0, 0, 4, 4, 4, 4))
        for i in range(5):
            image = padded[i].flip(1) if flip[i] else padded[i]
            y, x = 4 + int(dy[i]), 4 + int(dx[i])
            assert torch.equal(drawn[i], image[y : y + 24, x : x + 12])


@pytest.mark.parametrize(
    "augmentation",
    [
        STILL,
        Augmentation(flip=0.5, padding=4, erasing=0.5),
        Augmentation(flip=1, padding=3, erasing=1, brightness=0.3, contrast=0.4),
        Augmentation(0.3, 0, 0.3, contrast=0.4, mean=(0.5, 0.4, 0.1), std=(0.2, 1.0, 0.3)),
    ],
)
def test_the_path_for_accelerators_gives_the_pixels_of_the_one_for_a_cpu(
    images, augmentation, monkeypatch
):
    index = torch.tensor([63, 0, 5, 0, 63, *range(20)])
    expected = [augmentation(images, index, seeded(seed)) for seed in range(5)]
    monkeypatch.setattr("reid_dcs.data.augment.is_accelerator", lambda device: True)
    for seed, batch in enumerate(expected):
        found = augmentation(images, index, seeded(seed))
        assert torch.equal(found, batch)
        assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(normalize(images), STILL(*everything(images), seeded()))


def test_a_store_in_memory_sends_its_batch_to_an_accelerator(images):
    found = Augmentation()(images, torch.arange(8), seeded(), torch.device("meta"))
    assert found.device.type == "meta" and found.shape == (8, 3, 24, 12)


def test_an_erased_pixel_is_the_mean_color():
    images = torch.full((8, 16, 8, 3), 200, dtype=torch.uint8)
    result = Augmentation(0, 0, erasing=1)(*everything(images), seeded())
    assert ((result == 0).any(1) == (result == 0).all(1)).all() and (result == 0).any()


def test_a_seed_gives_one_result(images):
    augmentation = Augmentation()
    assert torch.equal(
        augmentation(*everything(images), seeded(3)), augmentation(*everything(images), seeded(3))
    )
    assert not torch.equal(
        augmentation(*everything(images), seeded(3)), augmentation(*everything(images), seeded(4))
    )
