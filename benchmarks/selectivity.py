"""Is DCS "more selective in higher layers", as the paper says (its introduction)?

    python benchmarks/selectivity.py --root DIR --weights FILE [FILE ...]

For each checkpoint the share of the channels that a position's windows select, stage by stage, over
query images of the data set that it was trained on. The finding holds for a network where the share
falls from every stage to the next. Prints a table in Markdown.
"""

import argparse
from pathlib import Path

import torch

from reid_dcs import build_model
from reid_dcs.data.augment import normalise
from reid_dcs.data.datasets import load_dataset
from reid_dcs.data.store import ImageStore
from reid_dcs.search import describe_windows
from reid_dcs.weights import load_exactly, read_weights


def shares(path: str, root: str, count: int) -> tuple[str, list[str], bool]:
    """The model's name, mean and deviation of the share at each stage, and whether it falls."""
    content = read_weights(path)
    name, size = content["model"]["name"], content["preprocessing"]
    model = build_model(name, content["model"]["num_classes"], **content["model"]["options"])
    load_exactly(model, content["state_dict"], path)
    data = content["config"]["data"]
    items = load_dataset(data["name"], root, data.get("options", {})).query
    items = [items[i] for i in torch.linspace(0, len(items) - 1, count).round().long().tolist()]
    store = ImageStore.decode(items, size["height"], size["width"], "queries")
    batches = (normalise(images) for images in store.images.split(64))
    blocks = describe_windows(model, batches).values()
    means = [block["selected"]["mean"] for block in blocks]
    cells = [
        f"{100 * own['selected']['mean']:.1f} ± {100 * own['selected']['std']:.1f}"
        for own in blocks
    ]
    falls = all(later < earlier for earlier, later in zip(means[:-1], means[1:], strict=True))
    return f"{name} on {data['name']}", cells, falls


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
