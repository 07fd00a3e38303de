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

from reid_dcs.attention import SUBSTITUTIONS, substitute
from reid_dcs.attention.affinity import channel_attention
from reid_dcs.attention.block import AttentionBlock, named_blocks
from reid_dcs.inference.load import load_trained, read_trained
from reid_dcs.runs.data import build_evaluation_loaders, load_test_data
from reid_dcs.runs.worth import evaluate_model

WINDOWS, ALL = "windows as trained", SUBSTITUTIONS["all_channels"]
QUERIES = 64


@torch.no_grad()
def rescaled(network: nn.Module, factors: Mapping[str, float]) -> nn.Module:
    """A copy of a network, the affinities of each block times its factor.

    The depthwise convolution that follows is linear and has no bias: its weights get the factor.
    """
    changed = copy.deepcopy(network)
    for name, block in named_blocks(changed).items():
        block.project.weight *= factors[name]
    return changed


@torch.no_grad()
def enlargements(network: nn.Module, images: Tensor) -> dict[str, float]:
    """By block, the norm of ``(1/N) R X`` with all channels over that with its windows."""
    found = {}

    def compare(name: str, block: AttentionBlock, x: Tensor) -> None:
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
    whole = substitute(network, "all_channels")
    for form, power in ((network, 0), (network, 1), (whole, 0), (whole, -1)):
        changed = rescaled(form, {name: factor**power for name, factor in factors.items()})
        metrics = evaluate_model(weights.config, changed, loaders, device).metrics()
        scores = " | ".join(f"{100 * metrics[key]:.2f}" for key in ("mAP", "rank1", "mINP"))
        kinds = (ALL, WINDOWS) if form is whole else (WINDOWS, ALL)
        print(f"| {kinds[0]} | {kinds[bool(power)]} | {scores} |", flush=True)


if __name__ == "__main__":
    main()
