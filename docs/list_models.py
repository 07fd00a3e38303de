"""Write docs/models.md: all models with their cost, and all backbones.

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

`model.options` are those of the attention and of the backbone:

| option | of | default |
|---|---|---|
| `windows`: M, windows of a position | `dcs`, `dcs_pos` | 2 |
| the same | `dcs_dim` | 1 |
| `mode`: how fractions are read, `bilinear`, `mask` or `interp` | all but `dcs_mask` | `bilinear` |
| `union`: how windows join, `max` or `sum` | all but `dcs_mask` | `max` |
| `bounds`: `clamp`, `softplus`, `reflect`, `sigmoid` | kinds with learned windows | `clamp` |
| `min_length`: of a window, in channels | `dcs`, `dcs_dim`, `dcs_sw` | 1 |
| `ratio`: share of the channels | `sa`, `dcs_pos` | 0.5 |
| `normalization` of the affinities: `positions` (by N) or `softmax` | `dcs_mask` | `positions` |
| `temperature` of the Gumbel softmax; a search sets it | `gsa`, `dcs_mask` | 1 |
| `zero_init`: blocks begin as the identity | all | true |
| `last_stride` | all backbones | [below](#backbones-for-other-tasks) |
| `architecture`: a file, or a name of `reid_dcs/models/found/` | search spaces | the largest |
| `drop_path`: stochastic depth | `convnext_*` | 0.1 (tiny), 0.4 (small), 0.5 (base) |

[paper.md](paper.md) gives the reasons.

Parameters and multiply-adds are counted for one 256x128 image, with affinity products and without
the classifier (`reid_dcs.models.complexity`). The last column names the ImageNet weights that
`model.pretrained=true` downloads; `model.pretrained=FILE` reads the same weights from a file. The
`fbnetv2` networks listed are the largest of their search spaces, except those that our searches
found, `fbnetv2_synthetic_*`; `model.options.architecture=FILE` builds any other.

| name | parameters, M | multiply-adds, G | feature | ImageNet weights |
|---|---|---|---|---|
"""

TAIL = """
Written by `python docs/list_models.py`. [table1.md](../benchmarks/studies/results/table1.md) has
these counts for one window per position, next to those of the paper.

## Backbones for other tasks

```python
from reid_dcs.models import ClassificationNetwork, build_backbone

backbone = build_backbone("resnet50", attention="dcs", last_stride=2)
backbone(images)  # (B, backbone.out_channels, H/32, W/32)
backbone.forward_stages(images)  # feature maps of the stages with attention, for a feature pyramid
backbone.stage_channels  # [256, 512, 1024, 2048]
backbone.stage_strides  # [4, 8, 16, 32]
ClassificationNetwork(backbone, num_classes=1000)(images)  # logits
```

`last_stride` is the stride of the last downsampling stage: usually 2 in classification and 1 in
re-identification. The default gives the strides of the table: 1, and 2 for `fbnetv2`, as the paper
prints. `osnet_x1_0` supports only 1. Weights fit every stride. For a Re-ID network the setting is
`model.options.last_stride`.

| backbone | channels | channels of the stages | strides of the stages |
|---|---|---|---|
"""


def backbone_row(name: str) -> str:
    """Row of a backbone in the second table."""
    backbone = build_backbone(name, "base")
    channels, strides = (
        ", ".join(map(str, values)) for values in (backbone.stage_channels, backbone.stage_strides)
    )
    return f"| `{name}` | {backbone.out_channels} | {channels} | {strides} |\n"


def row(name: str) -> str:
    """Row of a model in the first table."""
    model = reid_dcs.build_model(name, num_classes=1)
    counted = complexity(model)
    donor = model.trunk.donor
    weights = "no official ones"
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
