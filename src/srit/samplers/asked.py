"""The answers that a stage wants, and the requests to a sampler for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, overload

from srit.records import Problem, PromptKind
from srit.samplers import Request, Sampled
from srit.students.prompts import Prompts
from srit.tasks import find_task, judge
from srit.watching import Said


class Asked(NamedTuple):
    """The same answers to each of several problems: problem by problem, in the order of `kinds`."""

    problems: Sequence[Problem]
    kinds: Sequence[tuple[PromptKind, range]]  # indices of the answers; in an evaluation, 0 is the greedy one

    @property
    def n_each(self) -> int:
        """The number of wanted answers to each problem."""
        return sum(len(indices) for _, indices in self.kinds)


def asked(problems: Sequence[Problem], kinds: Sequence[tuple[PromptKind, range]]) -> Asked:
    """Ask for the same answers to each problem."""
    return Asked(problems, [(kind, indices) for kind, indices in kinds if indices])


def each(wanted: Asked) -> Iterator[tuple[Problem, PromptKind, int]]:
    """Yield the wanted answers one by one."""
    return (
        (problem, kind, index) for problem in wanted.problems for kind, indices in wanted.kinds for index in indices
    )


class Requests(Sequence[Request]):
    """A request for each wanted answer, in the order of `each`, made when it is asked for."""

    def __init__(self, wanted: Asked, prompts: Prompts, seed: str) -> None:
        self._wanted, self._prompts, self._seed = wanted, prompts, seed

    def __len__(self) -> int:
        return len(self._wanted.problems) * self._wanted.n_each

    @overload
    def __getitem__(self, place: int) -> Request: ...
    @overload
    def __getitem__(self, place: slice) -> list[Request]: ...
    def __getitem__(self, place: int | slice) -> Request | list[Request]:
        if isinstance(place, int):
            return self[place : place + 1][0] if place >= 0 else self[place + len(self)]
        start, stop, step = place.indices(len(self))
        each = self._wanted.n_each
        some = self._wanted.problems[start // each : -(-stop // each)] if stop > start else []
        return list(islice(self._of(some), start % each, start % each + stop - start, step))

    def __iter__(self) -> Iterator[Request]:
        return self._of(self._wanted.problems)

    def _of(self, problems: Iterable[Problem]) -> Iterator[Request]:
        remaining = iter(problems)
        while some := list(islice(remaining, RENDERED_TOGETHER)):
            ids = [self._prompts.each_problem_ids(some, kind) for kind, _ in self._wanted.kinds]
            for problem, *of_problem in zip(some, *ids, strict=True):
                for prompt_ids, (kind, indices) in zip(of_problem, self._wanted.kinds, strict=True):
                    for index in indices:
                        yield Request(prompt_ids, f"{self._seed}/{problem.task}/{problem.id}/{kind}/{index}")


RENDERED_TOGETHER = 256  # problems


def make_requests(wanted: Asked, prompts: Prompts, seed: str) -> Requests:
    """Return a request for each wanted answer, in the order of `each`; its seed depends only on that answer."""
    return Requests(wanted, prompts, seed)


def judging(wanted: Asked, text_of: Callable[[Sampled], str]) -> Callable[[int, Sampled], Said]:
    """Return a function that judges an answer to `make_requests` by its place, for whoever watches."""
    return lambda place, answer: said_to(wanted.problems[place // wanted.n_each], text_of(answer))


def said_to(problem: Problem, text: str) -> Said:
    """Judge an answer to a problem."""
    return Said(text, judge(find_task(problem.task), problem, text).verdict)
