"""Recovery of informative channels by gradient descent on one window: `mask` against `interp`.

    python benchmarks/studies/recovery.py

Of 64 channels, 40 to 55 distinguish two groups of positions; the others are noise. One static
window is trained for 600 steps to make affinities high within a group and low between groups, from
nine initial windows with two seeds each. A run succeeds if the intersection over union of its
window and the informative channels exceeds 0.7. Prints a table in Markdown.
"""

import torch
from torch import Tensor

from reid_dcs.attention import squash_window, windowed_query

CHANNELS, FIRST, LAST = 64, 40, 56
POSITIONS, STEPS, SEEDS = 32, 600, 2
INITIAL_LOGITS = [(start, length) for start in (-2.0, 0.0, 2.0) for length in (-2.0, 0.0, 2.0)]
OPTIMIZERS = {
    "SGD 0.3": lambda logits: torch.optim.SGD(logits, lr=0.3, momentum=0.9),
    "Adam 0.03": lambda logits: torch.optim.Adam(logits, lr=0.03),
}


def batch(prototypes: Tensor) -> tuple[Tensor, Tensor]:
    """Features (1, N, C) of two groups; 1 for pairs of one group and 0 for others, (N, N)."""
    group = torch.randint(0, 2, (POSITIONS,))
    x = torch.randn(POSITIONS, CHANNELS)
    x[:, FIRST:LAST] = prototypes[group] + 0.3 * torch.randn(POSITIONS, LAST - FIRST)
    return x.unsqueeze(0), (group.unsqueeze(1) == group).float()


def overlap(start: float, length: float) -> float:
    """Intersection over union of a window and the informative channels."""
    shared = max(0.0, min(start + length, LAST) - max(start, FIRST))
    return shared / (length + LAST - FIRST - shared)


def recover(
    mode: str, optimizer_name: str, initial_logits: tuple[float, float], seed: int
) -> float:
    """Overlap of the trained window with the informative channels."""
    torch.manual_seed(seed)
    prototypes = torch.randn(2, LAST - FIRST)
    logits = [torch.tensor([v], requires_grad=True) for v in initial_logits]
    optimizer = OPTIMIZERS[optimizer_name](logits)
    for _ in range(STEPS):
        x, same = batch(prototypes)
        query = windowed_query(x, *squash_window(*logits, CHANNELS), mode=mode)
        affinity = (query @ x.mT).squeeze(0) / (LAST - FIRST)  # (N, N)
        loss = (affinity - same).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return overlap(*(v.item() for v in squash_window(*logits, CHANNELS)))


def main() -> None:
    torch.set_num_threads(1)
    print("| mode | optimizer | windows found | mean overlap |\n|---|---|---|---|")
    for mode in ("interp", "mask"):
        for optimizer in OPTIMIZERS:
            overlaps = [
                recover(mode, optimizer, logits, seed)
                for logits in INITIAL_LOGITS
                for seed in range(SEEDS)
            ]
            found = sum(value > 0.7 for value in overlaps)
            mean = sum(overlaps) / len(overlaps)
            print(f"| {mode} | {optimizer} | {found} of {len(overlaps)} | {mean:.2f} |", flush=True)


if __name__ == "__main__":
    main()
