"""Batch-hard triplet loss, forward and backward: torchreid's loop and reid_dcs.

python benchmarks/triplet.py
"""

import torch
from machine import machine
from measuring import best_seconds
from torchreid import losses as torchreid_losses
from training import INSTANCES

from reid_dcs.losses import batch_hard_triplet
from reid_dcs.runtime.device import choose_device

MARGIN, CHANNELS = 0.3, 1280


def main() -> None:
    device, torchreid_loss = choose_device("auto"), torchreid_losses.TripletLoss(MARGIN)
    print(f"{machine('torchreid')}\n")
    print("| images | torchreid's loop, ms | reid_dcs, ms | |\n|---|---|---|---|")
    for n in (64, 256):
        features = torch.randn(n, CHANNELS, device=device, requires_grad=True)
        pids = torch.arange(n // INSTANCES, device=device).repeat_interleave(INSTANCES)
        losses = (
            lambda features=features, pids=pids: torchreid_loss(features, pids),
            lambda features=features, pids=pids: batch_hard_triplet(features, pids, MARGIN),
        )
        loop, vectorized = (
            1e3 * best_seconds(lambda loss=loss: loss().backward(), device) for loss in losses
        )
        print(f"| {n} | {loop:.1f} | {vectorized:.2f} | {loop / vectorized:.1f}x |")


if __name__ == "__main__":
    main()
