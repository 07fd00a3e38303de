"""A limit on the minutes that an engine trains, with evaluations that do not count."""

import time
from collections.abc import Callable

import torch
from measuring import synchronize
from torchreid import engine as torchreid_engine


class TimeUp(Exception):
    """The minutes of a library are over."""


class Clock:
    """Minutes of training, without evaluations.

    Args:
        minutes: of the whole training.
        every: minutes between evaluations.
        device: synchronized before the clock is read for good.
    """

    def __init__(self, minutes: float, every: float, device: torch.device) -> None:
        self.limit, self.every, self.device = minutes, every, device
        self.paused, self.due, self.started = 0.0, every, time.perf_counter()

    @property
    def minutes(self) -> float:
        return (time.perf_counter() - self.started - self.paused) / 60

    def set(self, minutes: float, evaluations: int) -> None:
        """Go on from an earlier time, at which there had been some evaluations."""
        self.paused, self.started = 0.0, time.perf_counter() - 60 * minutes
        self.due = self.every * (evaluations + 1)

    def watch(
        self, engine: torchreid_engine.Engine, evaluate: Callable[[float], object]
    ) -> Callable[[], None]:
        """Call ``evaluate(minutes)`` when it is due and at the end; raise :class:`TimeUp` then.

        Returns:
            a function that evaluates now.
        """
        forward_backward = engine.forward_backward

        def evaluate_now() -> None:
            synchronize(self.device)
            minutes, start = self.minutes, time.perf_counter()
            evaluate(minutes)
            self.paused += time.perf_counter() - start

        def timed(batch):
            losses = forward_backward(batch)
            over = self.minutes >= self.limit
            if over or self.minutes >= self.due:
                evaluate_now()
                self.due += self.every
            if over:
                raise TimeUp
            return losses

        engine.forward_backward = timed
        return evaluate_now
