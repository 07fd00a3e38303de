"""Training the head alone in the first epochs, so that its random start does not harm a trunk."""

from torch import nn

HEAD = ("neck", "classifier")  # of our networks; torchreid's have the second


class Freezing:
    """Holds everything but the head still: parameters, and statistics of batch norms.

    Args:
        model: of torchreid's contract.
        epochs: how many; 0 freezes nothing.
    """

    def __init__(self, model: nn.Module, epochs: int) -> None:
        self.epochs = epochs
        self.trunk = [part for name, part in model.named_children() if name not in HEAD]
        self.parameters = [p for part in self.trunk for p in part.parameters() if p.requires_grad]
        self.frozen = False

    def begin_epoch(self, epoch: int) -> bool:
        """To be called after ``model.train()``; returns whether it froze or freed anything."""
        frozen = epoch < self.epochs
        changed, self.frozen = frozen != self.frozen, frozen
        if changed:
            for parameter in self.parameters:
                parameter.requires_grad_(not frozen)
        if frozen:
            for part in self.trunk:
                part.eval()
        return changed
