"""What comparisons of networks share: their networks, images and pages."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from matplotlib.figure import Figure
from tqdm import tqdm

from reid_dcs.attention import AttentionBlock
from reid_dcs.data.decode import read_images
from reid_dcs.data.image_files import images_in
from reid_dcs.errors import InputError
from reid_dcs.files import create_folder, written_whole
from reid_dcs.inference.extractor import FeatureExtractor
from reid_dcs.inference.load import BUILDERS


def open_networks(
    weights: Sequence[str], model: str | None
) -> tuple[list[FeatureExtractor], list[str]]:
    """The networks and their titles; the end of the file's path tells equal titles apart."""
    networks = [FeatureExtractor(source, model, tasks=BUILDERS) for source in weights]
    titles = [network.card.title for network in networks]
    return networks, [
        title if titles.count(title) == 1 else f"{title}\n{Path(*Path(source).parts[-3:])}"
        for title, source in zip(titles, weights, strict=True)
    ]


def open_with_attention(
    weights: Sequence[str], model: str | None
) -> tuple[list[FeatureExtractor], list[str]]:
    """The same of networks that all have attention.

    Raises:
        InputError: one has none.
    """
    networks, titles = open_networks(weights, model)
    for network, name in zip(networks, weights, strict=True):
        if not any(isinstance(module, AttentionBlock) for module in network.model.modules()):
            raise InputError(f"{name} has no attention: choose a network such as mobilenetv2_dcs")
    return networks, titles


def find_images(given: Sequence[str]) -> list[Path]:
    """The given files, and the images in the given folders sorted by name.

    Raises:
        InputError: a missing file, a folder without images, or an unreadable image.
    """
    files: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            files += images_in(path)
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(f"no image or folder at {path}: check the path")
    names = [str(file) for file in files]
    for _ in read_images(names, 8, 8, "images"):  # raises if an image is unreadable
        pass
    return files


def write_pages(
    name: str,
    images: Sequence[str],
    output: str,
    pages: Callable[[list[Path], Path], Iterator[tuple[Figure, int]]],
) -> list[Path]:
    """Write the figures of ``pages``, each with the number of images that it completes."""
    files, folder, written = find_images(images), Path(output), []
    with tqdm(total=len(files), desc=name, unit="img", leave=False, disable=None) as bar:
        for number, (figure, done) in enumerate(pages(files, folder), 1):
            written.append(folder / f"{name}-{number:03}.png")
            save_figure(written[-1], figure)
            bar.update(done)
    print(f"{len(written)} page(s) written to {folder}/{name}-*.png")
    return written


def save_figure(path: Path, figure: Figure) -> None:
    with created(path) as file:
        figure.savefig(file, format="png", dpi=130)


@contextmanager
def created(path: Path) -> Iterator[IO[bytes]]:
    """Create a file and its folder."""
    create_folder(path.parent)
    with written_whole(path) as file:
        yield file
