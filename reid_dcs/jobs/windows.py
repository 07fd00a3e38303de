"""The windows of a trained network, measured on training images: windows.json."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from reid_dcs.files import write_json
from reid_dcs.search import describe_windows, pruned
from reid_dcs.search.prune import compare


def write_windows(
    network: nn.Module, images: Callable[[], Iterable[Tensor]], output: Path
) -> dict[str, Any]:
    """Measure the windows of a trained network, write ``windows.json`` and print a summary.

    Args:
        network: any network with attention of this package.
        images: yields batches of normalized images (B, 3, H, W), the same at each call.
        output: folder of the file.

    Returns:
        the content of the file.
    """
    blocks = describe_windows(network, images())
    smaller = pruned(network, images())
    macs, pruned_macs = (sum(b[key] for b in blocks.values()) for key in ("macs", "pruned_macs"))
    content = {
        "images": sum(map(len, images())),
        "blocks": blocks,
        "macs": macs,
        "pruned_macs": pruned_macs,
        **compare(network, smaller, next(iter(images()))),
    }
    write_json(output / "windows.json", content)
    if blocks:
        _print(content)
    return content


def _print(content: dict[str, Any]) -> None:
    """A line for each block, and what leaving out channels saves."""
    print("\nblock                   channels   start  length  selected  saturated")
    for name, block in content["blocks"].items():
        start, length = (
            f"{block[key]['mean']:6.1f}" if key in block else "-" for key in ("start", "length")
        )
        print(
            f"{name:22}  {block['channels']:8}  {start:>6}  {length:>6}  "
            f"{block['selected']['mean']:8.1%}  {block['saturated']['selected']:9.1%}"
        )
    print(
        f"affinity products: {content['macs'] / 1e6:.2f} M multiply-adds per image, "
        f"{content['pruned_macs'] / 1e6:.2f} M without channels that no window selects; "
        f"features differ by {content['difference']:.0e}"
    )
