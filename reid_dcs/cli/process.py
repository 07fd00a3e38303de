"""The process of a command: its streams, its signals, and the line and status that it ends with."""

import atexit
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn, TextIO, cast

from reid_dcs.errors import InputError
from reid_dcs.files import remove_temporary_files
from reid_dcs.runtime.signals import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_IMPORT = "<frozen importlib._bootstrap>"
_REPEAT_SECONDS = 0.05
_LONGEST = 2000  # characters of an error


@contextlib.contextmanager
def command(debug: bool = False, keep_running: bool = False) -> Iterator[None]:
    """Run the block as a command: every way of ending it is one line and a status.

    =====================  ======  ====================================================
    end                    status  line on stderr
    =====================  ======  ====================================================
    :class:`InputError`    2       ``error: what, where, what to do``
    SIGINT, SIGTERM        128 + n ``interrupted ...``
    closed pipe at stdout  141     none
    any other exception    1       ``error:`` its kind and text, and the advice to debug
    =====================  ======  ====================================================

    Args:
        debug: print the traceback of an error, too.
        keep_running: go on if stdout cannot be written to; the output is lost.
    """
    with _streams(keep_running), _interruptible() as received:
        _leave_deleted_folder()
        try:
            yield
            sys.stdout.flush()
        except InputError as error:
            _ignore_signals()
            _leave(2, f"error{_rank()}: {_one_line(error)}", debug)
        except KeyboardInterrupt as stop:
            _ignore_signals()
            _leave_interrupted(getattr(stop, "number", signal.SIGINT), str(stop))
        except BrokenPipeError:  # the reader of a pipe, such as head, has closed it
            _ignore_signals()
            _discard(sys.stdout)
            _leave(128 + signal.SIGPIPE)
        except Exception as error:
            _ignore_signals()
            if received:  # an extension module turned the interruption into another error
                _leave_interrupted(received[0])
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            text = f"{type(error).__name__}: {_one_line(error)}".removesuffix(": ")
            advice = "unexpected; run the command again with --debug to see where, and report it"
            _leave(1, f"error{_rank()}: {text}: {advice}", debug)


def _leave(status: int, line: str = "", debug: bool = False) -> NoReturn:
    if debug:
        traceback.print_exc()
    if line:
        print(line, file=sys.stderr, flush=True)
    try:
        sys.stdout.flush()
    except OSError:
        _discard(sys.stdout)
    sys.exit(status)


def _leave_interrupted(number: int, line: str = "") -> NoReturn:
    _leave(128 + number, (line or "interrupted") if os.environ.get("RANK", "0") == "0" else "")


def _rank() -> str:
    """The rank of a process that torchrun started, for errors; empty if it is the only one."""
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    return f" (rank {os.environ.get('RANK', '0')})" if several else ""


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _leave_deleted_folder() -> None:
    """If the working folder was deleted, change to one where no relative path leads anywhere.

    MKL does not load, and ends the process, where there is no working folder.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        with contextlib.suppress(OSError):  # not Linux
            os.chdir("/proc/self/fdinfo")


# --- signals -------------------------------------------------------------------------------------


@contextlib.contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Raise :class:`Interrupted` on SIGINT and SIGTERM; yield the signals received so far.

    A signal during an import ends the process at once, because many packages do not survive an
    exception while they are imported. An interruption in a place that cannot raise, such as a
    finalizer, is repeated.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if _is_importing(frame):
            _exit_at_once(number)
        raise Interrupted(number)

    def repeat(args: Any) -> None:
        if not isinstance(args.exc_value, Interrupted):
            previous_hook(args)
            return
        number = args.exc_value.number
        signal.signal(signal.SIGALRM, lambda _, frame: interrupt(number, frame))
        signal.setitimer(signal.ITIMER_REAL, _REPEAT_SECONDS)

    previous_hook, sys.unraisablehook = sys.unraisablehook, repeat
    previous = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    previous[signal.SIGALRM] = signal.getsignal(signal.SIGALRM)
    try:
        yield received
    finally:
        atexit.register(_ignore_signals)  # an interpreter that exits would print a traceback
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)
        sys.unraisablehook = previous_hook


def _exit_at_once(number: int) -> NoReturn:
    """End the process without unwinding; temporary files are removed."""
    _ignore_signals()
    remove_temporary_files()
    if os.environ.get("RANK", "0") == "0":
        print("interrupted", file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(128 + number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False


def _ignore_signals() -> None:
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)


# --- streams -------------------------------------------------------------------------------------


@contextlib.contextmanager
def _streams(keep_running: bool) -> Iterator[None]:
    """Standard streams that exist, print any text, and are not a reason to fail.

    Characters that an encoding does not have are escaped. What cannot be written to stderr is
    lost, and with ``keep_running`` also what cannot be written to stdout.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file to be opened would take its place
            os.open(os.devnull, os.O_RDWR)
    with contextlib.ExitStack() as stack:
        for redirect, stream in (
            (contextlib.redirect_stdout, sys.stdout),
            (contextlib.redirect_stderr, sys.stderr),
        ):
            if stream is None:
                stream = stack.enter_context(open(os.devnull, "w"))
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
            if keep_running or redirect is contextlib.redirect_stderr:
                stream = cast(TextIO, _Tolerant(stream))
            stack.enter_context(redirect(stream))
        yield


class _Tolerant:
    """A text stream; after the first error in writing to it, what is written is lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            self._stream = _discard(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = _discard(self._stream)


def _discard(stream: TextIO) -> TextIO:
    """Let the stream's file be the null device, so that writing what it has buffered succeeds."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        return stream
    return open(os.devnull, "w")
