"""Is it the selection that counts in a trained network, or the scale of its affinities?

    python benchmarks/studies/affinity_scale.py --weights FILE_OR_NAME --root DIR

Affinities that read all channels are larger than those through windows, and a trained network has
weights for these. Here both are evaluated at both scales: over 64 queries, all channels enlarge
what a block attends to, ``(1/N) R X``, by a factor f; affinities through windows are multiplied by
f, and those of all channels divided by it. The test split, per cent. Prints f of each block, and a
table in Markdown.
"""

import argparse
import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from reid_dcs.attention import SUBSTITUTIONS
from reid_dcs.attention.affinity import channel_attention
from reid_dcs.attention.block import Reach, WindowedAttention, named_blocks
from reid_dcs.inference.load import load_trained, read_trained
from reid_dcs.runs.data import build_evaluation_loaders, load_test_data
from reid_dcs.runs.worth import evaluate_model

WINDOWS, ALL = "windows as trained", SUBSTITUTIONS["all_channels"]
QUERIES = 64


class Rescaled(nn.Module):
    """A trained block, its affinities through windows or from all channels, times a factor."""

    def __init__(self, block: WindowedAttention, selected: bool, factor: float) -> None:
        super().__init__()
        self.block, self.selected, self.factor = block, selected, factor

    def forward(self, x: Tensor, reach: Reach = None, mask: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        tokens = x.flatten(2).mT  # (B, N, C)
        query = self.block.query(tokens, self.block.windows(x)) if self.selected else tokens
        attended = channel_attention(query, tokens, tokens) * self.factor  # (B, N, C)
        return x + self.block.norm(self.block.project(attended.mT.unflatten(2, x.shape[2:])))


def rescaled(network: nn.Module, selected: bool, factors: Mapping[str, float]) -> nn.Module:
    """A copy of a network, each attention block rescaled by its factor."""
    changed = copy.deepcopy(network)
    for name, block in named_blocks(changed).items():
        assert isinstance(block, WindowedAttention)
        changed.set_submodule(name, Rescaled(block, selected, factors[name]))
    return changed


@torch.no_grad()
def enlargements(network: nn.Module, images: Tensor) -> dict[str, float]:
    """By block, the norm of ``(1/N) R X`` with all channels over that with its windows."""
    found = {}

    def compare(name: str, block: WindowedAttention, x: Tensor) -> None:
        tokens = x.flatten(2).mT
        whole, windowed = channel_attention(tokens, tokens, tokens), block.attend_map(x)
        found[name] = (whole.norm() / windowed.norm()).item()

    blocks = named_blocks(network)
    hooks = [
        block.register_forward_pre_hook(lambda b, inputs, name=name: compare(name, b, inputs[0]))
        for name, block in blocks.items()
    ]
    network(images)
    for hook in hooks:
        hook.remove()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True, help="a file, or a name of the model zoo")
    parser.add_argument("--root", default="datasets")
    options = parser.parse_args()
    device = torch.device("cpu")
    weights = read_trained(options.weights, {"data": {"root": options.root}})
    network = load_trained(weights, device)
    dataset = load_test_data(weights.config)
    loaders = build_evaluation_loaders(weights.config, dataset, device, weights.card.preprocessing)
    factors = enlargements(network, next(iter(loaders["query"]))["img"][:QUERIES])
    for name, factor in factors.items():
        print(f"{name}: f = {factor:.2f}")
    print("\n| affinities from | scale of | mAP | R1 | mINP |\n|---|---|---|---|---|")
    for selected, power in ((True, 0), (True, 1), (False, 0), (False, -1)):
        changed = rescaled(network, selected, {key: f**power for key, f in factors.items()})
        metrics = evaluate_model(weights.config, changed, loaders, device).metrics()
        scores = " | ".join(f"{100 * metrics[name]:.2f}" for name in ("mAP", "rank1", "mINP"))
        kinds = (WINDOWS, ALL) if selected else (ALL, WINDOWS)
        print(f"| {kinds[0]} | {kinds[bool(power)]} | {scores} |", flush=True)


if __name__ == "__main__":
    main()
