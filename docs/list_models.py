"""Write docs/models.md: every network that has a name, and its cost.

python docs/list_models.py
"""

from pathlib import Path

import reid_dcs
from reid_dcs.models.complexity import complexity
from reid_dcs.zoo.sources import address

PAGE = Path(__file__).with_name("models.md")

HEAD = """\
# Models

Any of these names is a `--model`, and goes to `reid_dcs.build_model` or torchreid's
`models.build_model`; `reid_dcs.models.with_attention` puts the same blocks into any other network.

Parameters and multiply-adds are of the feature of one 256x128 image,
affinity products included and the classifier not (`reid_dcs.models.complexity`). What ImageNet
weights `model.pretrained=true` takes stands last; `model.pretrained=FILE` takes the same from a
file. Those of `fbnetv2` are the largest of their space; `model.options.architecture=FILE` makes any
other of it.

| name | parameters, M | multiply-adds, G | feature | ImageNet weights |
|---|---|---|---|---|
"""

TAIL = """
Written by `python docs/list_models.py`. [table1.md](../benchmarks/results/table1.md) has such
counts, at one window a position, beside the paper's.
"""


def row(name: str) -> str:
    """A model's line of the table."""
    model = reid_dcs.build_model(name, num_classes=1)
    counted = complexity(model)
    donor = getattr(model.trunk, "donor", None)
    weights = "none are official"
    if donor:
        weights = f"[{donor.title}]({address(donor.weights.sources[0])})"
    return (
        f"| `{name}` | {counted.params / 1e6:.2f} | {counted.total_macs / 1e9:.3f} "
        f"| {model.feature_dim} | {weights} |\n"
    )


if __name__ == "__main__":
    PAGE.write_text(HEAD + "".join(map(row, reid_dcs.list_models())) + TAIL)
