"""Graceful interruption: on SIGTERM or Ctrl-C, finish the step, save a checkpoint, exit."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int | None
"""What :func:`signal.signal` returns and accepts."""


class Interrupted(KeyboardInterrupt):
    """Raised when a signal ends a run.

    Args:
        number: signal number.
        message: text for the user, such as where the checkpoint is.
    """

    def __init__(self, number: int, message: str = "interrupted") -> None:
        super().__init__(message)
        self.number = number


class Signals:
    """Context manager that defers the first SIGTERM or SIGINT until the end of a step.

    The first signal only sets ``received``, which the training loop polls. A second signal, or
    any signal while ``waiting`` is False, raises :class:`Interrupted` immediately. Outside the
    main thread, where Python cannot install signal handlers, the context manager does nothing.

    Attributes:
        received: number of the last signal received; None if there was none.
        waiting: False while there is no unsaved work, so that signals need not be deferred.
    """

    _NUMBERS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.received: int | None = None
        self.waiting = True
        self._previous_handlers: dict[int, Handler] = {}

    def __enter__(self) -> "Signals":
        self.received, self.waiting = None, True  # a run before may have been interrupted
        if threading.current_thread() is threading.main_thread():
            self._previous_handlers = {n: signal.signal(n, self._receive) for n in self._NUMBERS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        is_second, self.received = self.received is not None, number
        if is_second or not self.waiting:
            raise Interrupted(number)
