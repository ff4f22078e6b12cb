"""The rounds of stage 2, the parts that a round may be divided into, and the names of their files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from srit.errors import DataError
from srit.recipe import Recipe
from srit.records import Problem


class RoundPart(NamedTuple):
    """A part of a round: some of its problems, all answered by one model before it learns from those answers."""

    round: int  # from 1
    number: int = 1  # from 1, over all passes
    parts: int = 1  # of each pass over the round's problems
    passes: int = 1

    @property
    def of(self) -> int:
        """The number of parts in all the round's passes; 1: it is not divided."""
        return self.parts * self.passes

    @property
    def shown(self) -> int:
        """The number in the names of its files and stages; 0: none, since it is the whole round."""
        return self.number if self.of > 1 else 0

    @property
    def settings(self) -> dict[str, list[int]]:
        """What distinguishes it from other parts, for a stage's settings; {}: it is the whole round."""
        return {"part": [self.number, self.parts]} if self.shown else {}

    @property
    def is_last(self) -> bool:
        """Whether its model is that of the round."""
        return self.number == self.of

    @property
    def pass_number(self) -> int:
        """Which pass it belongs to, from 0."""
        return (self.number - 1) // self.parts

    @property
    def before(self) -> RoundPart | None:
        """The part whose model it starts from; None: it starts where the round does."""
        return self._replace(number=self.number - 1) if self.number > 1 else None

    @property
    def earlier(self) -> list[RoundPart]:
        """The parts before it."""
        return [self._replace(number=number) for number in range(1, self.number)]

    @property
    def folder(self) -> str:
        """Where its files are."""
        return f"round-{self.round}/part-{self.shown}" if self.shown else f"round-{self.round}"

    @property
    def completions(self) -> str:
        """The file of its answers."""
        return f"{self.folder}/completions.jsonl"

    @property
    def pairs(self) -> str:
        """The file of its pairs."""
        return f"{self.folder}/pairs.jsonl"

    @property
    def refined(self) -> str:
        """The folder of its model."""
        return f"round-{self.round}/refined" if self.is_last else f"{self.folder}/refined"

    @property
    def optimizer(self) -> str:
        """The file of the optimizer's final state, with which the next part continues."""
        return f"{self.folder}/optimizer.safetensors"

    def problems(self, of_round: Sequence[Problem]) -> Sequence[Problem]:
        """Return its problems in the round's order: of each task, as many as every other part has, or one more.

        Raises:
            DataError: no task has enough problems for every part to have one.
        """
        if self.parts == 1:
            return of_round
        n_of = Counter(problem.task for problem in of_round)
        if of_round and max(n_of.values()) < self.parts:
            raise DataError(
                f"refine.parts is {self.parts}, but no task has more than {max(n_of.values())} problems to refine on: "
                "lower it, or raise the limits of tasks.refine or tasks.train"
            )
        seen: Counter[str] = Counter()
        found = []
        for problem in of_round:
            place = seen[problem.task] * self.parts // n_of[problem.task]
            seen[problem.task] += 1
            if place == (self.number - 1) % self.parts:
                found.append(problem)
        return found


def rounds_of(recipe: Recipe) -> range:
    """Return the numbers of the rounds, from 1."""
    return range(1, recipe.rounds + 1)


def parts_of(recipe: Recipe, number: int) -> list[RoundPart]:
    """Return the parts of a round, in order; one if it is not divided."""
    parts, passes = recipe.refine.parts, recipe.refine.passes
    return [RoundPart(number, part, parts, passes) for part in range(1, parts * passes + 1)]
