"""Answers questions in a forked child that the kernel ends when a question takes too long.

The parent has imported what the answers need and never computes, so that it is always there to fork the next child,
which takes some milliseconds where a new process would import for seconds.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Any

Answer = Callable[[bytes], dict[str, Any]]

TRIES = 2  # for a question whose process is killed
SLOWER = 10.0  # times as long a question may take by the clock: the machine may be busy with other things


class Child:
    """A forked process that answers one question after the other."""

    def __init__(self, answer: Answer, seconds: float) -> None:
        asked, self._questions = os.pipe()
        self._verdicts, said = os.pipe()
        self._seconds, self._late = seconds, False
        self._pid = os.fork()
        if self._pid == 0:
            for inherited in (self._questions, self._verdicts, 0, 1):  # so that their other ends see the parent go
                os.close(inherited)
            _answer_all(answer, seconds, asked, said)
        os.close(asked)
        os.close(said)

    def ask(self, line: bytes) -> bytes | None:
        """Return the line of a verdict, without its end; None: the child ended, or did not answer in time."""
        try:
            os.write(self._questions, line)
        except BrokenPipeError:
            return None
        ready = select.poll()
        ready.register(self._verdicts, select.POLLIN)
        said = b""
        while not said.endswith(b"\n"):
            if not ready.poll(self._seconds * SLOWER * 1000):
                self._late = True
                return None
            if not (part := os.read(self._verdicts, 65536)):
                return None
            said += part
        return said[:-1]

    def end(self) -> int:
        """End the process, and return the signal that ended it: SIGPROF also if it did not answer in time."""
        os.kill(self._pid, signal.SIGKILL)  # without effect if it has ended
        _, status = os.waitpid(self._pid, 0)
        os.close(self._questions)
        os.close(self._verdicts)
        return signal.SIGPROF if self._late else os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def serve(answer: Answer, seconds: float) -> None:
    """Answer the questions on stdin, a line each, until it ends; the first line written says that it can begin.

    Args:
        seconds: of processor time for one question: other work on the machine changes no verdict.
    """
    child = Child(answer, seconds)
    print("{}", flush=True)
    for line in sys.stdin.buffer:
        ended = 0
        for _ in range(TRIES):
            if (verdict := child.ask(line)) is not None:
                break
            ended, child = child.end(), Child(answer, seconds)
            if ended != signal.SIGKILL:  # else something has killed it, as Linux does when memory runs out
                break
        sys.stdout.buffer.write((verdict or _undecided(ended, seconds)) + b"\n")
        sys.stdout.buffer.flush()


def _undecided(ended: int, seconds: float) -> bytes:
    late = ended == signal.SIGPROF
    why = f"not decided within {seconds:g} s" if late else "the comparing process died: a crash, or no memory"
    return json.dumps({"error": why}).encode()


def _answer_all(answer: Answer, seconds: float, asked: int, said: int) -> None:
    """Answer questions until there are none, then end this process."""
    # Nobody handles SIGPROF: its default ends the process even within a C function that never returns.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    try:
        with open(asked, "rb") as questions, open(said, "wb", buffering=0) as verdicts:
            for line in questions:
                signal.setitimer(signal.ITIMER_PROF, seconds)
                verdict = json.dumps(answer(line)).encode() + b"\n"
                signal.setitimer(signal.ITIMER_PROF, 0)
                verdicts.write(verdict)
    finally:
        os._exit(1)
