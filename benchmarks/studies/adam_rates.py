"""Does Adam at 0.05, the rate of Section 3.3, train MobileNetV2 from scratch? Which rate does?

    python benchmarks/studies/adam_rates.py --root cifar10 \\
        > benchmarks/studies/results/adam_rates.md

`mobilenetv2_base` on 2,000 images of CIFAR-10, 200 a class, at 32x32 with a last stride of 1, in
batches of 128: five epochs (75 steps) of Adam with a cosine schedule, no warm-up and no weight
decay, one seed. The loss of chance is ln 10 = 2.303; top-1 is on 500 test images, 50 a class.
"""

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

from reid_dcs import InputError
from reid_dcs.engine import read_checkpoint
from reid_dcs.tasks.classification import runs
from reid_dcs.tasks.classification.sources import class_names, split_folder

RATES = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
IMAGES = {"train": 200, "val": 50}  # of each class
SETTINGS = {
    "model": {"name": "mobilenetv2_base", "options": {"last_stride": 1}},
    "device": "cpu",
    "data": {
        "height": 32,
        "width": 32,
        "crop": 0.0,
        "crop_scale": 1.0,
        "padding": 4,
        "workers": 0,
        "storage": "memory",
    },
}
RECIPE = {"optimizer": "adam", "epochs": 5, "warmup_epochs": 0, "weight_decay": 0.0}


def link_subset(root: Path, target: Path) -> None:
    """Link the first images of every class."""
    for split, count in IMAGES.items():
        folder = split_folder(root, split)
        for name in class_names(folder):
            (target / split / name).mkdir(parents=True)
            for file in sorted((folder / name).iterdir())[:count]:
                (target / split / name / file.name).symlink_to(file.resolve())


def row(root: Path, output: Path, rate: float) -> str:
    """Losses and accuracies of a training at a rate."""
    settings = {
        **SETTINGS,
        "data": {**SETTINGS["data"], "root": str(root)},
        "output_dir": str(output),
        "train": {**RECIPE, "learning_rate": rate},
    }
    try:
        metrics = runs.train(settings)
    except InputError as error:
        return f"| {rate:g} | {error} | | |"
    history = read_checkpoint(output / "checkpoint.pt")["history"]
    losses = ", ".join(f"{entry['loss']:.2f}" for entry in history)
    return f"| {rate:g} | {losses} | {history[-1]['accuracy']:.1%} | {metrics['top1']:.1%} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="CIFAR-10 as folders")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "subset")
        link_subset(options.root, root)
        with contextlib.redirect_stdout(io.StringIO()):
            rows = [row(root, Path(folder, f"{rate}"), rate) for rate in RATES]
    print(f"# {__doc__}")
    print("| rate | training loss by epoch | accuracy in training | top-1 |")
    print("|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
