"""What is left to learn from a round's samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import starmap

from srit.records import Completion
from srit.records.anatomy import SampleCounts
from srit.run_directory import Grouped

Key = tuple[str, str]  # task and id of a problem
ByProblem = Mapping[Key, Sequence[Completion]]


class Samples(Mapping[Key, Sequence[Completion]]):
    """A file's completions by their problems; they stay in the file."""

    def __init__(self, completions: Grouped[Completion]) -> None:
        """
        Args:
            completions: by `key_of`.
        """
        self._completions = completions
        self._last: tuple[Key, Sequence[Completion]] = ("", ""), ()  # several pairs in a row belong to one problem

    def __getitem__(self, key: Key) -> Sequence[Completion]:
        if self._last[0] != key:
            self._last = key, self._completions.of("\0".join(key))
        if not self._last[1]:
            raise KeyError(key)
        return self._last[1]

    def __iter__(self) -> Iterator[Key]:
        return ((of[0].task, of[0].problem_id) for of in self._completions)

    def __len__(self) -> int:
        return sum(1 for _ in self._completions)


def by_problem(completions: Iterable[Completion]) -> ByProblem:
    """Sort completions by their problems."""
    found: dict[tuple[str, str], list[Completion]] = {}
    for completion in completions:
        found.setdefault((completion.task, completion.problem_id), []).append(completion)
    return found


def likeliest(samples: Sequence[Completion]) -> Completion:
    """Return the likeliest answer to the CoT prompt, or to the direct one if there is none to the CoT prompt."""
    return max([c for c in samples if c.prompt == "cot"] or samples, key=lambda c: c.logp)


def count_samples(samples: ByProblem) -> tuple[SampleCounts, ...]:
    """Count by task, and then over all tasks."""
    found: dict[str, Counter[str]] = {}
    for (task, _), of in samples.items():
        found.setdefault(task, Counter()).update(_counts(of))
    together = sum(found.values(), Counter[str]())
    return (*starmap(_of_task, found.items()), _of_task(None, together)) if found else ()


def _counts(of: Sequence[Completion]) -> dict[str, int]:
    """Count the samples of one problem."""
    right, best = sum(c.reward == 1 for c in of), likeliest(of).reward == 1
    return {
        "problems": 1,
        "samples": len(of),
        "right": right,
        "all_right": right == len(of),
        "all_wrong": right == 0,
        "mixed": 0 < right < len(of),
        "distinct": len({c.text.strip() for c in of}),
        "likeliest_right": best,
        "can_flip": not best and right > 0,
    }


def _of_task(task: str | None, counts: Counter[str]) -> SampleCounts:
    whole = {name: counts[name] for name in ("problems", "samples", "right", "all_right", "all_wrong", "mixed")}
    flips = {name: counts[name] for name in ("likeliest_right", "can_flip")}
    return SampleCounts(task=task, **whole, distinct=counts["distinct"] / counts["problems"], **flips)
