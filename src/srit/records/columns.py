"""The predictions of a run as columns of numbers: some bytes for each answer, however much it says."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, get_args

from srit.records import Prediction, PromptKind, Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
RIGHT = VERDICTS.index("right")
KINDS: tuple[PromptKind, ...] = get_args(PromptKind)


class Columns(NamedTuple):
    """One model's answers to one task, each column with a number for each of them."""

    problem: NDArray[np.uint32]  # the number of the problem, in its task
    kind: NDArray[np.uint8]  # of the prompt, in `KINDS`
    draw: NDArray[np.uint32]  # 0 for the greedy answer
    verdict: NDArray[np.uint8]  # in `VERDICTS`
    truncated: NDArray[np.uint8]
    n_tokens: NDArray[np.uint32]

    def where(self, wanted: NDArray[np.bool_]) -> Columns:
        """Return the answers for which `wanted` is true."""
        return Columns(
            self.problem[wanted],
            self.kind[wanted],
            self.draw[wanted],
            self.verdict[wanted],
            self.truncated[wanted],
            self.n_tokens[wanted],
        )

    @property
    def n(self) -> int:
        """How many answers there are."""
        return len(self.problem)


class Problems:
    """The problems of a task by number, in the order in which they are first seen."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def columns(self, predictions: Iterable[Prediction]) -> Columns:
        """Return the columns of a model's answers to the task."""
        import numpy as np

        columns = [array(kind) for kind in ("I", "B", "I", "B", "B", "I")]
        for p in predictions:
            number = self._numbers.setdefault(p.problem_id, len(self._numbers))
            row = (number, KINDS.index(p.prompt), p.index, VERDICTS.index(p.verdict), p.truncated, p.n_tokens)
            for column, value in zip(columns, row, strict=True):
                column.append(value)
        return Columns(*map(np.asarray, columns))


def pass_counts(drawn: Columns) -> tuple[Numbers, Numbers]:
    """Return how many answers each problem has, and how many of them are right, in the order of the problems."""
    import numpy as np

    _, first, place = np.unique(drawn.problem, return_index=True, return_inverse=True)
    order = np.argsort(first)
    n, right = np.bincount(place), np.bincount(place, weights=drawn.verdict == RIGHT).astype(int)
    return n[order], right[order]


def right_of(columns: Mapping[str, Columns], sizes: Mapping[str, int]) -> NDArray[np.int8]:
    """Return for each problem of several tasks whether it is answered right: 1, 0, and -1 if it is not answered.

    Args:
        columns: by task, with one answer to each problem.
        sizes: problems of each task.
    """
    import numpy as np

    found = [np.full(sizes[task], -1, np.int8) for task in columns]
    for verdicts, of_task in zip(found, columns.values(), strict=True):
        verdicts[of_task.problem] = of_task.verdict == RIGHT
    return np.concatenate(found)
