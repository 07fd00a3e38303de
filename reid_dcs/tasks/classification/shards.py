"""Images in webdataset's tar files: ``KEY.jpg`` with its label in ``KEY.cls``, side by side.

Members are found once, from the headers of the files, and then read at their offsets. So a set in
shards is shuffled, divided among processes and resumed exactly as one in folders.
"""

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from reid_dcs.data.decode import read_rgb
from reid_dcs.data.image_files import IMAGE_SUFFIXES
from reid_dcs.errors import InputError
from reid_dcs.files import regular


class Member(NamedTuple):
    """Position of an image in a tar file."""

    file: str
    offset: int
    size: int


@dataclass(frozen=True)
class ShardImages:
    """Images in tar files: see LabelledImages."""

    classes: Sequence[str]
    labels: Tensor
    names: Sequence[str]
    members: Sequence[Member]

    def read(self, index: int) -> Image.Image:
        """Read and decode a member."""
        file, offset, size = self.members[index]
        with open(file, "rb") as stream:
            stream.seek(offset)
            return read_rgb(io.BytesIO(stream.read(size)))


def list_shards(pattern: str, setting: str, classes: Sequence[str] = ()) -> ShardImages:
    """List the images of all tar files that match a pattern.

    Args:
        pattern: glob of local files, such as ``imagenet/train-*.tar``.
        setting: name of the setting, for errors.
        classes: names of the classes, from a label map; by default their numbers.

    Raises:
        InputError: no files, a damaged file, an image without a label, or a label out of range.
    """
    files = sorted(glob(pattern))
    if not files:
        raise InputError(f"{setting}={pattern}: no files match it")
    members, labels, names = [], [], []
    for file in files:
        for key, member, label in _read_index(file, setting):
            members.append(member)
            labels.append(label)
            names.append(f"{Path(file).name}/{key}")
    if not members:
        raise InputError(
            f"{setting}={pattern}: no images with labels: expected KEY.jpg and KEY.cls"
        )
    count = max(labels) + 1
    if classes and count > len(classes):
        raise InputError(
            f"{setting}={pattern}: label {count - 1} has no name among the {len(classes)} of "
            "data.label_map"
        )
    classes = classes or [str(label) for label in range(count)]
    found = torch.tensor(labels, dtype=torch.int64)
    for label in (found.bincount(minlength=len(classes)) == 0).nonzero().flatten().tolist():
        raise InputError(f"{setting}={pattern}: the class {classes[label]} has no images")
    if len(classes) < 2:
        raise InputError(f"{setting}={pattern}: a classification needs two classes or more")
    return ShardImages(list(classes), found, names, members)


def with_classes(images: ShardImages, classes: Sequence[str]) -> ShardImages:
    """The images of some of the classes, whose indices become the labels."""
    new = {images.classes.index(name): label for label, name in enumerate(classes)}
    kept = [i for i, label in enumerate(images.labels.tolist()) if label in new]
    return ShardImages(
        list(classes),
        torch.tensor([new[int(images.labels[i])] for i in kept], dtype=torch.int64),
        [images.names[i] for i in kept],
        [images.members[i] for i in kept],
    )


def _read_index(file: str, setting: str) -> list[tuple[str, Member, int]]:
    """Key, member and label of each image of a tar file, in its order."""
    images: dict[str, Member] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(regular(file), "r:") as tar:
            for entry in tar:
                key, _, suffix = entry.name.rpartition("/")[2].partition(".")
                key = f"{entry.name.rpartition('/')[0]}/{key}".lstrip("/")
                is_image = f".{suffix.lower()}" in IMAGE_SUFFIXES
                if not entry.isfile() or not (is_image or suffix == "cls"):
                    continue
                if key in (images if is_image else labels):
                    what = "image" if is_image else "label"
                    raise InputError(f"{setting}: {file}: {entry.name}: {key} has another {what}")
                if is_image:
                    images[key] = Member(file, entry.offset_data, entry.size)
                else:
                    content = tar.extractfile(entry)
                    assert content is not None  # a regular file
                    labels[key] = int(content.read(32))
            _check_end(tar)
    except (OSError, tarfile.TarError) as error:
        raise InputError(
            f"{setting}: {file} is not a tar file, or it is damaged: {error}"
        ) from error
    except ValueError as error:
        raise InputError(f"{setting}: {file}: {entry.name} holds no class number") from error
    for key in images:
        if labels.get(key, -1) < 0:
            raise InputError(f"{setting}: {file}: {key} has no label {key}.cls of 0 or more")
    return [(key, member, labels[key]) for key, member in images.items()]


def _check_end(tar: tarfile.TarFile) -> None:
    """Check that a tar file that was listed has nothing but zeros left, as it ends with.

    tarfile stops without an error at a header that is damaged or cut off, and at the end of the
    first of two files that were joined.

    Raises:
        TarError: it has not.
    """
    assert tar.fileobj is not None  # an open file
    tar.fileobj.seek(tar.offset)
    blocks = iter(lambda: tar.fileobj.read(2**20), b"")
    count = 0
    for block in blocks:
        if block.strip(b"\0"):
            raise tarfile.ReadError(f"no header of a member at byte {tar.offset:,}")
        count += len(block)
    if count < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it is cut off")
