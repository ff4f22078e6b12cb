"""Which answers a stage wants, and what a sampler is asked for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from srit.records import Problem, PromptKind
from srit.samplers import Request
from srit.students.prompts import Prompts


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
