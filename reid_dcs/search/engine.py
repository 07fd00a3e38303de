"""Re-ID's search engine: Algorithm 1 in a torchreid engine."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torchreid import data as torchreid_data

from reid_dcs.config import ChannelSearchConfig
from reid_dcs.engine.reid import ReIDEngine
from reid_dcs.search.alternation import Alternation


class SearchEngine(ReIDEngine):
    """Trains weights and windows in turn; see :class:`Alternation`.

    Args:
        datamanager, model, criterion, options: see :class:`ReIDEngine`.
        search: optimizers, p and temperatures.
        penalty: added to the loss in the windows' turn, such as a cost.
        control, accumulate: see :class:`Alternation`.

    Raises:
        InputError: the model has nothing to search, or an epoch has too few batches for two turns.
    """

    def __init__(
        self,
        datamanager: torchreid_data.datamanager.DataManager,
        model: nn.Module,
        criterion: nn.Module,
        search: ChannelSearchConfig,
        *,
        penalty: Callable[[], Tensor] | None = None,
        control: bool = False,
        accumulate: int = 1,
        **options: Any,
    ) -> None:
        batches = len(datamanager.train_loader)
        policy = Alternation(
            model, search, batches, penalty, control=control, accumulate=accumulate
        )
        optimization = policy.optimizers["weights"]
        super().__init__(
            datamanager,
            model,
            *optimization,
            criterion,
            policy=policy,
            accumulate=accumulate,
            **options,
        )
        self.optimizers = policy.optimizers
