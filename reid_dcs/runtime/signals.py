"""SIGTERM and Ctrl-C: finish the step, save, leave."""

import signal
import threading
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A run was asked to end; ``number`` is the signal, ``args`` says what was kept."""

    def __init__(self, number: int, message: str = "interrupted") -> None:
        super().__init__(message)
        self.number = number


class Signals:
    """Within it the first SIGTERM or Ctrl-C waits in ``received`` for the end of a step.

    The second one, or any while ``waiting`` is off (there is nothing to finish), raises
    :class:`Interrupted` at once. Outside the main thread, where Python delivers no signals, it
    does nothing.
    """

    _NUMBERS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.received: int | None = None
        self.waiting = True
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._receive) for n in self._NUMBERS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again, self.received = self.received is not None, number
        if again or not self.waiting:
            raise Interrupted(number)
