"""Selectivity by depth: the paper's introduction finds DCS "more selective in higher layers".

    python benchmarks/studies/selectivity.py --root DIR --weights FILE [FILE ...]

For each checkpoint, measures the share of the channels that the windows of a position select at
each stage, over query images of the data set that the checkpoint was trained on. The finding holds
for a network if the share falls from every stage to the next. Prints a table in Markdown.
"""

import argparse
from pathlib import Path

import torch

from reid_dcs.data.augment import normalize
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.store import ImageStore
from reid_dcs.inference.load import load_trained, read_trained
from reid_dcs.visual.windows import selections


def shares(source: str, root: str, count: int) -> tuple[str, list[str], bool]:
    """Selected share at each stage of a checkpoint.

    Args:
        source: checkpoint file or name in the model zoo.
        root: folder that holds the data sets.
        count: number of query images.

    Returns:
        Names of the model and data set, mean and standard deviation at each stage in percent, and
        whether the mean falls at every stage.
    """
    weights = read_trained(source, {"data": {"root": root}})
    config, pixels = weights.config, weights.card.preprocessing
    model = load_trained(weights, torch.device("cpu"))
    items = load_dataset(config.data.name, root, config.data.options).query
    items = [items[i] for i in torch.linspace(0, len(items) - 1, count).round().long().tolist()]
    size = (pixels.height, pixels.width)
    store = ImageStore.decode(items, *size, "queries", pixels.interpolation)
    batches = store.images.split(64)
    blocks = selections(model, (normalize(batch, pixels.mean, pixels.std) for batch in batches))
    means = [block.selected.mean() for block in blocks]
    cells = [f"{100 * b.selected.mean():.1f} ± {100 * b.selected.std():.1f}" for b in blocks]
    falls = all(later < earlier for earlier, later in zip(means[:-1], means[1:], strict=True))
    return f"{config.model.name} on {config.data.name}", cells, falls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="datasets")
    parser.add_argument("--weights", nargs="+", required=True)
    parser.add_argument("--images", type=int, default=256)
    options = parser.parse_args()
    print("| checkpoint | stage 1 | stage 2 | stage 3 | stage 4 | falls at every stage |")
    print("|---|---|---|---|---|---|")
    for path in options.weights:
        name, cells, falls = shares(path, options.root, options.images)
        folder = "/".join(Path(path).parts[-3:-1])
        print(f"| {name}, {folder} | {' | '.join(cells)} | {'yes' if falls else 'no'} |")


if __name__ == "__main__":
    main()
