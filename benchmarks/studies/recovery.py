"""Does gradient descent move a window onto the channels that matter? The two readings compared.

    python benchmarks/studies/recovery.py

64 channels, of which 40 to 55 tell two groups of positions apart and the rest are noise; one
static window, trained for 600 steps so that affinities are high within a group and low between
them. Nine starting places times two seeds. A run succeeds where the window found overlaps the
informative channels with an intersection over union above 0.7. Prints a table in Markdown.
"""

import torch
from torch import Tensor

from reid_dcs.attention import squash_window, windowed_query

CHANNELS, FIRST, LAST = 64, 40, 56
POSITIONS, STEPS, SEEDS = 32, 600, 2
PLACES = [(start, length) for start in (-2.0, 0.0, 2.0) for length in (-2.0, 0.0, 2.0)]  # logits
OPTIMIZERS = {
    "SGD 0.3": lambda logits: torch.optim.SGD(logits, lr=0.3, momentum=0.9),
    "Adam 0.03": lambda logits: torch.optim.Adam(logits, lr=0.03),
}


def batch(prototypes: Tensor) -> tuple[Tensor, Tensor]:
    """Features (1, N, C) of two groups, and which pairs are of one group (N, N), 1 or 0."""
    group = torch.randint(0, 2, (POSITIONS,))
    x = torch.randn(POSITIONS, CHANNELS)
    x[:, FIRST:LAST] = prototypes[group] + 0.3 * torch.randn(POSITIONS, LAST - FIRST)
    return x.unsqueeze(0), (group.unsqueeze(1) == group).float()


def overlap(start: float, length: float) -> float:
    """Intersection over union with the informative channels."""
    shared = max(0.0, min(start + length, LAST) - max(start, FIRST))
    return shared / (length + LAST - FIRST - shared)


def recover(mode: str, optimizer: str, place: tuple[float, float], seed: int) -> float:
    """The overlap that training ends with."""
    torch.manual_seed(seed)
    prototypes = torch.randn(2, LAST - FIRST)
    logits = [torch.tensor([v], requires_grad=True) for v in place]
    stepper = OPTIMIZERS[optimizer](logits)
    for _ in range(STEPS):
        x, same = batch(prototypes)
        query = windowed_query(x, *squash_window(*logits, CHANNELS), mode=mode)
        affinity = (query @ x.mT).squeeze(0) / (LAST - FIRST)  # (N, N)
        loss = (affinity - same).square().mean()
        stepper.zero_grad()
        loss.backward()
        stepper.step()
    return overlap(*(v.item() for v in squash_window(*logits, CHANNELS)))


def main() -> None:
    torch.set_num_threads(1)
    print("| reading | optimizer | windows found | mean overlap |\n|---|---|---|---|")
    for mode in ("interp", "mask"):
        for optimizer in OPTIMIZERS:
            overlaps = [
                recover(mode, optimizer, place, seed) for place in PLACES for seed in range(SEEDS)
            ]
            found = sum(value > 0.7 for value in overlaps)
            mean = sum(overlaps) / len(overlaps)
            print(f"| {mode} | {optimizer} | {found} of {len(overlaps)} | {mean:.2f} |", flush=True)


if __name__ == "__main__":
    main()
