"""Is it the selection that counts in a trained network, or the scale of its affinities?

    python benchmarks/studies/affinity_scale.py --weights FILE_OR_NAME --root DIR

Affinities that read all channels are larger than those through windows, and a trained network has
weights for these. Each position's affinities are read through its windows or from all channels, and
multiplied by a factor that gives them the scale of the other kind: with s the share of the channels
that the position selects, 1 / s for windows and s for all channels. Evaluations of the test split;
per cent. Prints a table in Markdown.
"""

import argparse
import copy

import torch
from torch import Tensor, nn

from reid_dcs.attention import SUBSTITUTIONS
from reid_dcs.attention.affinity import channel_attention
from reid_dcs.attention.block import Reach, WindowedAttention, named_blocks
from reid_dcs.inference.load import load_trained, read_trained
from reid_dcs.runs.data import build_evaluation_loaders, load_test_data
from reid_dcs.runs.worth import evaluate_model

WINDOWS, ALL = "windows as trained", SUBSTITUTIONS["all_channels"]


class Rescaled(nn.Module):
    """A trained block, its affinities through windows or from all channels, times a factor.

    Args:
        block: the trained block.
        selected: read the affinities through the block's windows; otherwise from all channels.
        power: the factor is the selected share of the position to this power.
    """

    def __init__(self, block: WindowedAttention, selected: bool, power: int) -> None:
        super().__init__()
        self.block, self.selected, self.power = block, selected, power

    def forward(self, x: Tensor, reach: Reach = None, mask: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        tokens = x.flatten(2).mT  # (B, N, C)
        share = self.block.channel_weights(x).mean(2, keepdim=True)  # (B, N, 1)
        query = self.block.query(tokens, self.block.windows(x)) if self.selected else tokens
        attended = channel_attention(query, tokens, tokens) * share**self.power  # (B, N, C)
        return x + self.block.norm(self.block.project(attended.mT.unflatten(2, x.shape[2:])))


def rescaled(network: nn.Module, selected: bool, power: int) -> nn.Module:
    """A copy of a network with all attention blocks rescaled; see :class:`Rescaled`."""
    changed = copy.deepcopy(network)
    for name, block in named_blocks(changed).items():
        assert isinstance(block, WindowedAttention)
        changed.set_submodule(name, Rescaled(block, selected, power))
    return changed


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
    print("| affinities from | scale of | mAP | R1 | mINP |\n|---|---|---|---|---|")
    for selected, power in ((True, 0), (True, -1), (False, 0), (False, 1)):
        changed = rescaled(network, selected, power)
        metrics = evaluate_model(weights.config, changed, loaders, device).metrics()
        scores = " | ".join(f"{100 * metrics[name]:.2f}" for name in ("mAP", "rank1", "mINP"))
        kinds = (WINDOWS, ALL) if selected else (ALL, WINDOWS)
        print(f"| {kinds[0]} | {kinds[bool(power)]} | {scores} |", flush=True)


if __name__ == "__main__":
    main()
