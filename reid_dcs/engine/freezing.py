"""Train only the head in the first epochs, so that its random start does not harm the backbone."""

from collections.abc import Collection

from torch import nn


class Freezing:
    """Freezes everything but the head: parameters, and running statistics of batch norms.

    Args:
        model: network to freeze parts of.
        epochs: number of epochs to freeze for; 0 freezes nothing.
        head: names of the model's children that are always trained.
    """

    def __init__(self, model: nn.Module, epochs: int = 0, head: Collection[str] = ()) -> None:
        self.epochs = epochs
        self.parts = [part for name, part in model.named_children() if name not in head]
        self.parameters = [p for part in self.parts for p in part.parameters() if p.requires_grad]
        self.frozen = False

    def begin_epoch(self, epoch: int) -> bool:
        """Freeze or unfreeze; call it after ``model.train()``.

        Returns:
            whether the set of trained parameters changed.
        """
        frozen = epoch < self.epochs
        changed, self.frozen = frozen != self.frozen, frozen
        if changed:
            for parameter in self.parameters:
                parameter.requires_grad_(not frozen)
        if frozen:
            for part in self.parts:
                part.eval()
        return changed
