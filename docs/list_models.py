"""Write docs/models.md: every named network and its cost, and the backbones.

python docs/list_models.py
"""

from pathlib import Path

import reid_dcs
from reid_dcs.models import build_backbone
from reid_dcs.models.complexity import complexity
from reid_dcs.zoo.sources import address

PAGE = Path(__file__).with_name("models.md")

HEAD = """\
# Models

`--model`, `reid_dcs.build_model` and torchreid's `models.build_model` accept these names.
`reid_dcs.models.build_backbone` builds their backbones for any task, and
`reid_dcs.models.with_attention` inserts the same attention blocks into any other network.

Parameters and multiply-adds are those of the feature of one 256x128 image, including affinity
products and without the classifier (`reid_dcs.models.complexity`). The last column has the ImageNet
weights that `model.pretrained=true` downloads; `model.pretrained=FILE` reads the same weights from
a file. The networks of `fbnetv2` here are the largest of their search spaces;
`model.options.architecture=FILE` builds any other.

| name | parameters, M | multiply-adds, G | feature | ImageNet weights |
|---|---|---|---|---|
"""

TAIL = """
Written by `python docs/list_models.py`. [table1.md](../benchmarks/studies/results/table1.md) has
these counts with one window for each position, next to those of the paper.

## Backbones for other tasks

```python
from reid_dcs.models import ClassificationNetwork, build_backbone

backbone = build_backbone("resnet50", attention="dcs", last_stride=2)
backbone(images)  # (B, backbone.out_channels, H/32, W/32)
backbone.forward_stages(images)  # the attended stages' maps, for a feature pyramid
backbone.stage_channels  # [256, 512, 1024, 2048]
backbone.stage_strides  # [4, 8, 16, 32]
ClassificationNetwork(backbone, num_classes=1000)(images)  # logits
```

`last_stride` is the stride of the last downsampling stage: 2 is usual in classification, 1 in
re-identification. By default strides are those of the table: 1, and for `fbnetv2` 2 as the paper
prints. `osnet_x1_0` has 1 alone. Weights fit any of them. For a Re-ID network it is
`model.options.last_stride`.

| backbone | channels | channels of the stages | strides of the stages |
|---|---|---|---|
"""


def backbone_row(name: str) -> str:
    """A backbone's line of the second table."""
    backbone = build_backbone(name, "base")
    channels, strides = (
        ", ".join(map(str, values)) for values in (backbone.stage_channels, backbone.stage_strides)
    )
    return f"| `{name}` | {backbone.out_channels} | {channels} | {strides} |\n"


def row(name: str) -> str:
    """A model's line of the first table."""
    model = reid_dcs.build_model(name, num_classes=1)
    counted = complexity(model)
    donor = model.trunk.donor
    weights = "none are official"
    if donor:
        weights = f"[{donor.title}]({address(donor.weights.sources[0])})"
    return (
        f"| `{name}` | {counted.params / 1e6:.2f} | {counted.total_macs / 1e9:.3f} "
        f"| {model.feature_dim} | {weights} |\n"
    )


if __name__ == "__main__":
    models = reid_dcs.list_models()
    backbones = [name.removesuffix("_base") for name in models if name.endswith("_base")]
    PAGE.write_text(HEAD + "".join(map(row, models)) + TAIL + "".join(map(backbone_row, backbones)))
