"""The batch-hard triplet loss, forward and backward: torchreid's loop and ours.

python benchmarks/triplet.py
"""

import torch
from bounds import seconds
from machine import machine
from torchreid import losses as torchreid_losses

from reid_dcs.losses import batch_hard_triplet
from reid_dcs.runtime.device import choose_device


def main() -> None:
    device, theirs = choose_device("auto"), torchreid_losses.TripletLoss(0.3)
    print(f"{machine('torchreid')}\n")
    print("| images | torchreid's loop, ms | ours, ms | |\n|---|---|---|---|")
    for n in (64, 256):
        features = torch.randn(n, 1280, device=device, requires_grad=True)
        pids = torch.arange(n // 4, device=device).repeat_interleave(4)
        losses = (
            lambda features=features, pids=pids: theirs(features, pids),
            lambda features=features, pids=pids: batch_hard_triplet(features, pids, 0.3),
        )
        loop, ours = (1e3 * seconds(lambda loss=loss: loss().backward(), device) for loss in losses)
        print(f"| {n} | {loop:.1f} | {ours:.2f} | {loop / ours:.1f}x |")


if __name__ == "__main__":
    main()
