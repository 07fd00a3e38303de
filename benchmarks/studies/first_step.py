"""Do windows have a gradient in the first steps, where a block starts as the identity?

    python benchmarks/studies/first_step.py > benchmarks/studies/results/first_step.md

`mobilenetv2_dcs` on the generated people at 64x32, batches of 64. SGD 0.035 with momentum moves the
weights, and the windows stay: the norm of their gradient over all blocks, before each step. With
`zero_init`, the default, the scale of each block's last batch norm starts at zero.
"""

import argparse
from itertools import islice

import torch

from reid_dcs.config import TrainRun, compose
from reid_dcs.runs.engine import build_criterion
from reid_dcs.runs.job import ReIDJob
from reid_dcs.runtime.randomness import seeded
from reid_dcs.search.parameters import search_parameters


def gradient_norms(root: str, zero_init: bool, steps: int) -> list[float]:
    """The norm of the gradient of all windows' parameters in each of the first steps."""
    model = {"name": "mobilenetv2_dcs", "options": {"zero_init": zero_init}}
    data = {"root": root, "batch_size": 64, "num_instances": 4}
    config = compose(TrainRun, {"model": model, "data": data})
    job = ReIDJob(config, torch.device("cpu"))
    job.load_data(None, None)
    with seeded(config.seed):
        network = job.build_network(config).train()
    criterion = build_criterion(config)
    weights, windows, _ = search_parameters(network)
    stepper = torch.optim.SGD(weights, lr=0.035, momentum=0.9, weight_decay=5e-4)
    norms = []
    for batch in islice(job.manager.train_loader, steps):
        network.zero_grad()
        next(iter(criterion(*network(batch["img"]), batch["pid"]))).backward()
        norms.append(torch.nn.utils.get_total_norm([p.grad for p in windows]).item())
        stepper.step()
    return norms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="datasets")
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    title, *lines = __doc__.splitlines()
    print(f"# {title}\n" + "\n".join(lines) + "\n")
    print(f"| zero_init |{''.join(f' step {step} |' for step in range(1, options.steps + 1))}")
    print("|---" * (1 + options.steps) + "|")
    for zero_init in (True, False):
        norms = gradient_norms(options.root, zero_init, options.steps)
        print(f"| {str(zero_init).lower()} | {' | '.join(f'{norm:.2f}' for norm in norms)} |")


if __name__ == "__main__":
    main()
