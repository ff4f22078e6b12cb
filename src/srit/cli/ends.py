"""How a command ends: errors become a message and an exit code, and signals an orderly stop."""

from __future__ import annotations

import logging
import os
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import typer

from srit.cli.display import print_object
from srit.cli.display.others import Heard
from srit.cli.display.unread import silence
from srit.errors import MachineError, SritError
from srit.keys import masked
from srit.printable import printable
from srit.shortages import shortage
from srit.stopping import SIGNALS
from srit.watching import as_line

if TYPE_CHECKING:
    from srit.study.cells import Failure

Result = TypeVar("Result")


@contextmanager
def reported_errors(*, as_json: bool = False) -> Iterator[None]:
    """Report an error as a message on stderr and an exit code; let signals stop the work in order.

    Args:
        as_json: also report it as an object on stdout.
    """
    _set_up()
    try:
        yield
    except BaseException as error:
        if _received or isinstance(error, (KeyboardInterrupt, typer.Abort)):  # Abort: a question was left with Ctrl-D
            _heed_no_more()
            message, exit_code = "interrupted; rerun the same command to continue", 128 + _first_signal()
            _end("Interrupted", message, exit_code, as_json=as_json)
        if isinstance(error, (typer.Exit, BrokenPipeError)) or not isinstance(error, Exception):
            raise
        _end(type(error).__name__, *explain(error), as_json=as_json)


def _first_signal() -> int:
    return next(iter(_received), signal.SIGINT)


def _end(kind: str, message: str, exit_code: int, *, as_json: bool) -> NoReturn:
    message = masked(message)  # which may repeat an address, or what a library said
    try:
        if as_json:
            print_object({"event": "error", "kind": kind, "exit_code": exit_code, "message": message})
        typer.echo(f"srit: {printable(message)}", err=True)
    except OSError:
        silence()
    raise typer.Exit(exit_code) from None


def explain(error: Exception) -> tuple[str, int]:
    """Return a message for the user and the exit code; write the traceback of an internal error to srit.log."""
    if isinstance(error, SritError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        lacking = shortage(error, Path(error.filename)) if isinstance(error.filename, str) else ""
        said = f"{error}: {lacking}" if lacking else str(error)
        return f"{said}; fix this and rerun the same command", MachineError.exit_code
    if lacking := shortage(error):
        return f"{lacking}; fix this and rerun the same command", MachineError.exit_code
    text, log = masked("".join(traceback.format_exception(error))), Path("srit.log").absolute()
    try:
        log.write_text(text, encoding="utf-8", errors="backslashreplace")
        where = f"(traceback: {log})"
    except OSError:
        where = f"\n{text}"
    return f"internal error, please report it: {type(error).__name__}: {error} {where}", SritError.exit_code


def attempt(work: Callable[[], Result]) -> Result | Failure:
    """Return the result of a cell's work, or the Failure that ended it, so that a study's other cells continue."""
    from srit.study.cells import Failure

    try:
        return work()
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:
        if _received:
            raise
        reason, exit_code = explain(error)
        return Failure(type(error).__name__, exit_code, reason)


# The signals that a command received. Interrupted code may turn a signal's exception into one of its own, as an
# extension module does when its import fails, so the cause of a command's end is looked up here first.
_received: list[int] = []


def _set_up() -> None:
    _received.clear()
    logging.basicConfig(level=logging.WARNING, handlers=[Heard(lambda event: typer.echo(as_line(event), err=True))])
    logging.getLogger("srit").setLevel(logging.INFO)
    # Other libraries' progress bars would be drawn over our own display.
    for name in ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(name, "1")
    # It warns about a missing faster kernel each time peft is imported.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # transformers and peft warn each other's users of renamed arguments; the reader cannot act on it.
    warnings.filterwarnings("ignore", category=FutureWarning)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup sets it
        signal.signal(signal.SIGHUP, _interrupt)
    # A job that a shell starts in the background ignores SIGINT; if one arrives, it is meant nevertheless.
    signal.signal(signal.SIGINT, _interrupt)


def _heed_no_more() -> None:
    """Let a further signal end the process at once: only its exit is left, in which an exception shows a traceback."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end_at_once)


def _end_at_once(number: int, frame: object) -> None:
    os._exit(128 + number)


def _interrupt(number: int, frame: object) -> None:
    if number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end_at_once)  # at the second
    _received.append(number)
    # Not an Exception: transformers' lazy imports turn any into a ModuleNotFoundError, or continue without the module.
    raise KeyboardInterrupt
