"""A user's own judge: a function in a Python file that says whether an answer is right.

It runs the user's code, with the user's rights, in a separate process: each answer has `SECONDS` of processor time,
and all of them together `judging.own_worker.MEMORY_BYTES` of memory.
"""

from __future__ import annotations

import atexit
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from srit.errors import DataError
from srit.sums import sum_if_there, sum_of
from srit.tasks import Reading

if TYPE_CHECKING:
    from srit.tasks.math_judge import Worker

SECONDS = 10.0


class OwnJudge(NamedTuple):
    """A function in a file."""

    path: Path
    function: str

    def read(self, text: str) -> Reading:
        """Return the whole text, which the function reads itself."""
        return Reading(text.strip(), None, f"judged by {self.path.name}:{self.function}")

    def right(self, text: str, gold: str) -> bool:
        """Return the function's verdict on a text and the gold answer.

        Raises:
            JudgeError: it failed, took too long, or said neither True nor False.
        """
        return _worker(str(self.path.absolute()), self.function, sum_of(self.path)).ask(text, gold)

    def sources(self) -> dict[str, str]:
        """Return the sum of the file."""
        return {str(self.path): sum_if_there(self.path)}


def own_judge(said: str, name: str) -> OwnJudge:
    """Read "judge.py:right".

    Args:
        name: the task's, for messages.

    Raises:
        DataError: it does not have that form, or there is no such file.
    """
    place, _, function = said.rpartition(":")
    if not place.endswith(".py") or not re.fullmatch(r"[^\W\d]\w*", function):
        raise DataError(f"{name}: judge: {said!r} is not a file and a function of it, such as judge.py:right")
    if not Path(place).is_file():
        raise DataError(f"{name}: judge: there is no file {place}")
    return OwnJudge(Path(place), function)


@cache
def _worker(path: str, function: str, total: str) -> Worker:
    """Return the process of a function; a changed file gets a new one."""
    from srit.tasks.math_judge import Worker

    served = f"{path!r}, {function!r}".replace("{", "{{").replace("}", "}}")
    worker = Worker(SECONDS, f"from srit.tasks.judging.own_worker import serve; serve({served}, {{}})")
    atexit.register(worker.close)
    return worker
