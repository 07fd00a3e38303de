"""Does gradient descent move a window onto the channels that matter?

    python benchmarks/studies/recovery.py > benchmarks/studies/results/recovery.md

Of C channels the quarter from 5/8 to 7/8 tells two groups of positions apart and the rest is
noise. One window, the same for all positions, is trained so that affinities are high within a
group and low between groups. Nine starting windows times four seeds; a run has found its window
where the intersection over union with the informative channels is above 0.7. Compared are the
readings (`mask`, `bilinear`, `interp`; `soft`: edges annealed from C/8 to 0.3 channels, then read
as `bilinear`), the bounds (reid_dcs/attention/bounds.py) and the optimizers: SGD 0.3 with momentum
0.9, and Adam by C / 200 channels a step, 0.03 for the logits of a sigmoid, at constant rates.
`steps` is the median step since which a window has been found, of those that were. Ten minutes on
one core.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from reid_dcs.attention import squash_window, windowed_query
from reid_dcs.attention.bounds import BOUNDS
from reid_dcs.search.softness import softness_at

SIZES = (24, 96, 320)
POSITIONS, STEPS, SEEDS = 32, 600, 4
PLACES = list(product((0.12, 0.5, 0.88), repeat=2))  # start in its room, length in its range
READINGS = ("interp", "mask", "bilinear", "soft")
FOUND = 0.7
OPTIMIZERS = {
    "SGD 0.3": lambda parameters, rate: torch.optim.SGD(parameters, lr=0.3, momentum=0.9),
    "Adam": lambda parameters, rate: torch.optim.Adam(parameters, lr=rate),
}


@dataclass
class Outcome:
    """Of R = places x seeds runs."""

    overlaps: Tensor
    """Intersection over union at the end, (R,)."""
    steps: Tensor
    """The step since which it has been above ``FOUND``, for those that found it."""

    @property
    def found(self) -> int:
        return int((self.overlaps > FOUND).sum())


def informative(channels: int) -> tuple[int, int]:
    """The channels [first, last) that tell the groups apart."""
    return 5 * channels // 8, 7 * channels // 8


def batch(prototypes: Tensor, channels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Features (S, N, C) of two groups for each seed, and which pairs are of one group."""
    first, last = informative(channels)
    seeds = len(prototypes)
    group = torch.randint(0, 2, (seeds, POSITIONS), generator=generator)
    x = torch.randn(seeds, POSITIONS, channels, generator=generator)
    x[..., first:last] *= 0.3
    x[..., first:last] += prototypes[torch.arange(seeds).unsqueeze(-1), group]
    return x, (group.unsqueeze(-1) == group.unsqueeze(-2)).float()  # (S, N, N)


def overlap(start: Tensor, length: Tensor, channels: int) -> Tensor:
    """Intersection over union with the informative channels."""
    first, last = informative(channels)
    shared = ((start + length).clamp(max=last) - start.clamp(min=first)).clamp(min=0)
    return shared / (length + last - first - shared)


def starting(bounds: str, channels: int, places: list[tuple[float, float]]) -> list[Tensor]:
    """The parameters of windows at these places: start and length, (P,) each."""
    at, share = torch.tensor(places).unbind(-1)
    if bounds == "sigmoid":
        return [torch.logit(at), torch.logit(share)]
    length = 1 + (channels - 1) * share
    return [(channels - length) * at - (channels - 1) / 4, length - (channels + 1) / 2]


def recover(
    reading: str,
    bounds: str,
    optimizer: str,
    channels: int,
    *,
    places: list[tuple[float, float]] = PLACES,
    seeds: int = SEEDS,
    steps: int = STEPS,
) -> Outcome:
    """Train the window from each place with each seed: all of them at once, independently."""
    generator = torch.Generator().manual_seed(0)
    first, last = informative(channels)
    prototypes = torch.randn(seeds, 2, last - first, generator=generator)
    parameters = [
        value.repeat(seeds).requires_grad_() for value in starting(bounds, channels, places)
    ]  # (R,), seed by seed
    rate = 0.03 if bounds == "sigmoid" else channels / 200
    stepper = OPTIMIZERS[optimizer](parameters, rate)
    above = torch.zeros(len(parameters[0]), dtype=torch.long)  # steps since it has been found
    for step in range(steps):
        x, same = (
            v.repeat_interleave(len(places), 0) for v in batch(prototypes, channels, generator)
        )
        start, length = squash_window(*parameters, channels, bounds=bounds)
        window = (v.view(-1, 1, 1) for v in (start, length))
        if reading == "soft":
            softness = softness_at(step / steps, channels)
            query = windowed_query(x, *window, softness=softness)
        else:
            query = windowed_query(x, *window, mode=reading)
        affinity = query @ x.mT / (last - first)  # (R, N, N)
        loss = (affinity - same).square().mean((1, 2)).sum()
        stepper.zero_grad()
        loss.backward()
        stepper.step()
        with torch.no_grad():
            now = overlap(*squash_window(*parameters, channels, bounds=bounds), channels)
        above = torch.where(now > FOUND, above + 1, 0)
    return Outcome(now, steps - above[now > FOUND])


def rows(options: argparse.Namespace) -> Iterator[str]:
    """The table, size by size."""
    titles = [f"{name}: found | IoU | steps" for name in options.optimizers]
    yield f"| C | reading | bounds | {' | '.join(titles)} |"
    yield "|---" * (3 + 3 * len(titles)) + "|"
    for channels, reading, bounds in product(options.sizes, options.readings, options.bounds):
        cells = []
        for optimizer in options.optimizers:
            outcome = recover(
                reading, bounds, optimizer, channels, steps=options.steps, seeds=options.seeds
            )
            median = int(outcome.steps.median()) if outcome.found else "-"
            total = len(outcome.overlaps)
            cells.append(f"{outcome.found}/{total} | {outcome.overlaps.mean():.2f} | {median}")
        yield f"| {channels} | {reading} | {bounds} | {' | '.join(cells)} |"


def starts_compared(options: argparse.Namespace) -> Iterator[str]:
    """Whether the starting window matters: by size and seed, the overlaps of soft edges."""
    yield f"| C |{''.join(f' seed {seed} |' for seed in range(1, options.seeds + 1))}"
    yield "|---" * (1 + options.seeds) + "|"
    for channels in options.sizes:
        outcome = recover(
            "soft", "clamp", "Adam", channels, steps=options.steps, seeds=options.seeds
        )
        by_seed = outcome.overlaps.view(options.seeds, len(PLACES))
        cells = (f"{seed.min():.2f} to {seed.max():.2f}" for seed in by_seed)
        yield f"| {channels} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--readings", nargs="+", choices=READINGS, default=READINGS)
    parser.add_argument("--bounds", nargs="+", choices=list(BOUNDS), default=list(BOUNDS))
    parser.add_argument(
        "--optimizers", nargs="+", choices=list(OPTIMIZERS), default=list(OPTIMIZERS)
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    title, *lines = __doc__.splitlines()
    print(f"# {title}\n" + "\n".join(lines) + "\n")
    print(f"{options.steps} steps, {len(PLACES)} places x {options.seeds} seeds:\n")
    for line in rows(options):
        print(line, flush=True)
    print("\n`soft` within `clamp`, by Adam: IoU of the worst and best start of each seed:\n")
    for line in starts_compared(options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
