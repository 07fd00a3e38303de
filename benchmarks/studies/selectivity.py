"""Is DCS "more selective in higher layers", as the paper says (its introduction)?

    python benchmarks/studies/selectivity.py --root DIR --weights FILE [FILE ...]

For each checkpoint the share of the channels that a position's windows select, stage by stage, over
query images of the data set that it was trained on. The finding holds for a network where the share
falls from every stage to the next. Prints a table in Markdown.
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
    """The model's name, mean and deviation of the share at each stage, and whether it falls."""
    weights = read_trained(source, {"data": {"root": root}})
    config, pixels = weights.config, weights.card.preprocessing
    model = load_trained(weights, torch.device("cpu"))
    items = load_dataset(config.data.name, root, config.data.options).query
    items = [items[i] for i in torch.linspace(0, len(items) - 1, count).round().long().tolist()]
    size = (pixels.height, pixels.width)
    store = ImageStore.decode(items, *size, "queries", pixels.interpolation)
    batches = store.images.split(64)
    found = selections(model, (normalize(batch, pixels.mean, pixels.std) for batch in batches))
    means = [own.selected.mean() for own in found]
    cells = [f"{100 * own.selected.mean():.1f} ± {100 * own.selected.std():.1f}" for own in found]
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
        where = "/".join(Path(path).parts[-3:-1])
        print(f"| {name}, {where} | {' | '.join(cells)} | {'yes' if falls else 'no'} |")


if __name__ == "__main__":
    main()
