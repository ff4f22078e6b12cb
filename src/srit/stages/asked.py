"""Which answers a stage wants, and what a sampler is asked for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from srit.records import Problem, PromptKind
from srit.samplers import Request, Sampled
from srit.students.prompts import Prompts
from srit.tasks import find_task, judge
from srit.watching import Said


class Asked(NamedTuple):
    """A problem, asked with one kind of prompt."""

    problem: Problem
    kind: PromptKind
    indices: range  # of the wanted answers; in an evaluation, 0 is the greedy one


def asked(problems: Sequence[Problem], kinds: Sequence[tuple[PromptKind, range]]) -> list[Asked]:
    """Ask for the same answers to each problem: problem after problem, in the order of `kinds`."""
    return [Asked(problem, kind, indices) for problem in problems for kind, indices in kinds]


def each(wanted: Sequence[Asked]) -> Iterator[tuple[Problem, PromptKind, int]]:
    """Yield the wanted answers one by one."""
    return ((one.problem, one.kind, index) for one in wanted for index in one.indices)


def make_requests(wanted: Sequence[Asked], prompts: Prompts, seed: str) -> list[Request]:
    """Return a request for each wanted answer, in the order of `each`; its seed depends on that answer alone."""
    return [
        Request(prompt_ids, f"{seed}/{problem.task}/{problem.id}/{kind}/{index}")
        for problem, kind, indices in wanted
        for prompt_ids in [prompts.problem_ids(problem, kind)]
        for index in indices
    ]


def judging(wanted: Sequence[Asked], text_of: Callable[[Sampled], str]) -> Callable[[int, Sampled], Said]:
    """Return what judges one of the answers to `make_requests` by its place, for whoever watches."""

    @cache
    def problems() -> list[Problem]:
        return [problem for problem, _, _ in each(wanted)]

    return lambda place, answer: said_to(problems()[place], text_of(answer))


def said_to(problem: Problem, text: str) -> Said:
    """Judge what was answered to a problem."""
    return Said(text, judge(find_task(problem.task), problem, text).verdict)
