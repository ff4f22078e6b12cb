"""Compares LaTeX answers by how they are written if that decides, else with math-verify in a killable process.

math-verify 0.9 runs past its own alarm (its issue #65), and a text can take any amount of memory; only another
process bounds both. The worker speaks JSON Lines over its pipes, so it imports nothing of the caller.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import select
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from typing import Any

from srit.errors import DataError, JudgeError
from srit.installing import extra_install
from srit.tasks.judging.comparing import BY_WRITING, equal
from srit.tasks.judging.forked import SLOWER, TRIES
from srit.tasks.judging.forms import form
from srit.tasks.judging.limits import refusal

TIMEOUT_SECONDS = 1.5  # of processor time
START_SECONDS = 120.0  # to import sympy on a busy machine
SPARE_SECONDS = 30.0  # beyond what the process gives a question: then it hangs itself


_PROGRAM = "from srit.tasks.judging.sympy_worker import serve; serve({})"


def decide_by_writing(answer: str, gold: str) -> bool | None:
    """Return whether two answers are equal; None unless how they are written, or their being numbers, decides."""
    return equal(form(answer), form(gold), BY_WRITING)


def math_equal(answer: str, gold: str) -> bool:
    """Return whether a LaTeX answer has the value of the gold one.

    Raises:
        JudgeError: too long, the time or memory limit was reached, or the worker died.
    """
    decided = decide_by_writing(answer, gold)
    if decided is not None:
        return decided
    if find_spec("math_verify") is None:
        raise DataError(f"comparing formulas needs math-verify: {extra_install('math')}")
    for name, latex in (("answer", answer), ("gold answer", gold)):
        reason = refusal(latex)
        if reason:
            raise JudgeError(f"the {name} is not computed: {reason}")
    return _WORKER.ask(answer, gold)


class _Died(JudgeError):
    """The process ended in the middle of a question."""


class Worker:
    """A process that compares with math-verify, in children that end when a question takes too long.

    Safe to share between threads; replaced if it fails itself, and asked again once if it died.
    """

    def __init__(self, timeout_seconds: float = TIMEOUT_SECONDS, program: str = _PROGRAM) -> None:
        """
        Args:
            timeout_seconds: of processor time for one question.
            program: what it runs, given that time: a server as `judging.forked.serve`.
        """
        self._timeout, self._program = timeout_seconds, program
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, answer: str, gold: str) -> bool:
        """Compare two answers.

        Raises:
            JudgeError: no verdict within the limits.
        """
        question = {"answer": answer, "gold": gold}
        with self._lock:
            try:
                verdict = self._asked(question)
            except _Died:
                verdict = self._asked(question)
        if "equal" not in verdict:
            raise JudgeError(str(verdict.get("error")))
        return bool(verdict["equal"])

    def _asked(self, question: dict[str, str]) -> dict[str, Any]:
        return self._exchange(self._running(), question, TRIES * self._timeout * SLOWER + SPARE_SECONDS)

    def close(self) -> None:
        """End the process; the next question starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        self._process = subprocess.Popen(
            # Not "-m": runpy would import the package's other parts first.
            [sys.executable, "-c", self._program.format(self._timeout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._exchange(self._process, None, START_SECONDS)
        return self._process

    def _exchange(self, process: subprocess.Popen[bytes], question: Any, timeout: float) -> dict[str, Any]:
        try:
            if question is not None and process.stdin is not None:
                process.stdin.write(json.dumps(question).encode() + b"\n")
                process.stdin.flush()
            line = _read_line(process, timeout)
        except OSError as error:
            self.close()
            raise _Died(f"the comparing process broke off: {error}") from error
        if line is None:
            self.close()
            raise JudgeError(f"the comparing process said nothing for {timeout:g} s")
        if not line.endswith(b"\n"):
            self.close()
            raise _Died("the comparing process died (memory limit, or a crash in sympy)")
        verdict: dict[str, Any] = json.loads(line)
        return verdict


def _read_line(process: subprocess.Popen[bytes], timeout: float) -> bytes | None:
    """Read one line of the worker: less if the worker ended, None if time ran out."""
    assert process.stdout is not None
    deadline, line = time.monotonic() + timeout, b""
    while not line.endswith(b"\n"):
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN | select.POLLHUP)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return None
        part = process.stdout.raw.read(4096)  # type: ignore[attr-defined]  # unbuffered, so that poll sees everything
        if not part:
            return line
        line += part
    return line


_WORKER = Worker()
atexit.register(_WORKER.close)
