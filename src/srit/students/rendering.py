"""Renders chat templates in a separate process, bounded in time and memory.

A template is a program that comes with a model. transformers' sandbox keeps it from the interpreter's insides, but not
from running forever or filling the memory, which only another process bounds. That process is a fork of this one, so
it renders with the same code; it can write to nothing but its pipe, and ends when this process does.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, NoReturn

from srit.errors import MachineError
from srit.shortages import (
    address_space,
    free_memory,
    gigabytes,
    give_back_memory,
    lacking_address_space,
    limit_memory,
)

SECONDS = 1.0  # of processor time for one text; the templates of known models take 0.1 ms
MEMORY = 512 * 2**20  # bytes beside what the process already has
LONGEST = 32 * 2**20  # bytes of one reply
_TOO_LARGE = f"takes more than {MEMORY >> 20} MiB of memory"

Turns = Sequence[dict[str, Any]]  # role and content of each
Render = Callable[[str, Turns, bool], str]  # a template, the turns, and whether the assistant's next turn is opened


class Unrendered(Exception):
    """A template failed; the message says why."""


class _Child(NamedTuple):
    pid: int
    pipe: Connection


class Renderer:
    """Renders texts in a child process, which is started for the first text and replaced whenever it fails."""

    def __init__(self, render: Render) -> None:
        """
        Args:
            render: called in the child only. It may raise anything.
        """
        self._render = render
        self._child: _Child | None = None
        self._end: Callable[[], int | None] = lambda: None
        self._lock = threading.Lock()

    def render(self, source: str, chats: Sequence[Turns], *, opens: bool) -> list[str]:
        """Render each chat with a template.

        Raises:
            Unrendered: the template fails for one of them, or goes beyond a limit.
            MachineError: it failed with less memory than a template may take, or the child was killed twice.
        """
        question = json.dumps([source, list(chats), opens]).encode()
        with self._lock:
            try:
                reply = self._asked(question) or self._asked(question)
            except BaseException:  # an interrupted exchange would leave its reply to the next question
                self.close()
                raise
        if reply is None:
            raise MachineError(
                "the process that renders chat templates was killed twice, as Linux does when memory runs out: it may "
                f"take {gigabytes(MEMORY)}, and {gigabytes(free_memory())} are free; rerun the same command to continue"
            )
        replies = json.loads(reply)
        failed = [reason for _, reason in replies if reason is not None]
        if _TOO_LARGE in failed:
            _check_memory()
        if failed:
            raise Unrendered(failed[0])
        return [text for text, _ in replies]

    def _asked(self, question: bytes) -> bytes | None:
        """Return the child's reply; None: something else has killed the child."""
        pipe = self._running()
        try:
            pipe.send_bytes(question)
            return pipe.recv_bytes(LONGEST)
        except (EOFError, OSError):
            ended = self.close()
        if ended == signal.SIGKILL:
            return None
        if ended != signal.SIGPROF:
            _check_memory()
        limits = f"{SECONDS:g} s of processor time, {MEMORY >> 20} MiB of memory or {LONGEST >> 20} MiB of text"
        raise Unrendered(f"takes more than {limits}")

    def close(self) -> int:
        """End the child, and return the signal that ended it."""
        ended = self._end()
        self._child = None
        return ended or 0

    def _running(self) -> Connection:
        if self._child is None:
            self._child = _fork(self._render)
            self._end = weakref.finalize(self, _end, self._child, os.getpid())
        return self._child.pipe


def _fork(render: Render) -> _Child:
    ours, theirs = Pipe()
    give_back_memory()  # which the child would keep when this process uses it again: gigabytes, after a training
    with warnings.catch_warnings():
        # Python warns of threads that may hold a lock; the child calls nothing that any of them would share.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _serve(render, theirs)
    theirs.close()
    return _Child(pid, ours)


def _end(child: _Child, owner: int) -> int:
    if os.getpid() != owner:
        return 0  # a copy of the object in another process
    child.pipe.close()
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(child.pid, signal.SIGKILL)  # without effect if it has ended
        _, status = os.waitpid(child.pid, 0)
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return 0


def _check_memory() -> None:
    """
    Raises:
        MachineError: the child had less memory than it may take.
    """
    if lacking := lacking_address_space(MEMORY):
        raise MachineError(
            f"{lacking}: a chat template is rendered in a process of its own; raise the limit, and rerun"
        )


def _serve(render: Render, pipe: Connection) -> NoReturn:
    """Answer until the pipe is closed; never return into the code of the parent."""
    try:
        _confine(pipe.fileno())
        while True:
            source, chats, opens = json.loads(pipe.recv_bytes())
            pipe.send_bytes(json.dumps([_attempt(render, source, turns, opens) for turns in chats]).encode())
    finally:
        os._exit(0)


def _confine(descriptor: int) -> None:
    """Close what this process does not need, and limit its memory."""
    gc.disable()  # finalizers of the parent's objects are the parent's
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process when the time is over
    for number in (signal.SIGINT, signal.SIGHUP):  # meant for the parent, which closes the pipe
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.closerange(3, descriptor)  # such as the lock of a run, which must end with the parent
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
    limit_memory(address_space() + MEMORY)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _attempt(render: Render, source: str, turns: Turns, opens: bool) -> tuple[str, str | None]:
    """Return the text, or the reason why there is none."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        text = render(source, turns, opens)
        text.encode()
        return (text, None) if len(text) < LONGEST // 8 else ("", f"writes {len(text):,} characters for one text")
    except MemoryError:
        return "", _TOO_LARGE
    except UnicodeEncodeError:
        return "", "writes half of a surrogate pair, which is not a character"
    except Exception as error:
        return "", f"fails ({(str(error).strip() or type(error).__name__).splitlines()[0]:.200})"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
