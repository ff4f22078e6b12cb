"""Stories: small generated tasks, six to train on and eight that test the same skills in other words.

The numbers are small, so that a model of 135M parameters knows the sums and only has to read the wording. Two of the
eight are for decisions: choose a setting by them, and the six others stay unseen.

A task's options are part of its name:

- `sums:terms=2+3+5`: sums of 2, of 3 and of 5 terms, in equal parts. `trade` has `changes`, `compare` has `people`.
- `trade:twins=yes`: two questions about each story, one after the other.
- `compare:words=varied`: the same stories, in several words. A name may have several options:
  `sums:terms=2+3:words=varied`.

A depth such as "sums with 4 terms" is a kind of problem. A task is in-domain if all of its kinds are trained on, as
`sums4` is where `sums:terms=3+4` is trained on, and out-of-domain if none is; one that is trained on in part cannot be
evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from srit.errors import DataError
from srit.records import Problem, Split
from srit.tasks import Family, Reading
from srit.tasks.story import deciding, logic, numbers, options, unseen
from srit.tasks.story.words import Story, Template

if TYPE_CHECKING:
    from srit.tasks.story.reading import AnswerKind

_DEFAULT_LIMIT = 1000
_MAX_DRAWS = (
    5000  # for one problem; at least a fourth of draws fall in each split, so thousands in vain mean that all are used
)

_SPLITS: tuple[Split, ...] = ("test", "dev", "train", "train")
_INSTRUCTIONS: dict[AnswerKind, str] = {
    "number": "Solve the problem. End with: The answer is <number>.",
    "yes or no": "Solve the problem. End with: The answer is <yes or no>.",
    "name": "Solve the problem. End with: The answer is <name>.",
}


def split_of(question: str) -> Split:
    """Return the one split of a question in every task: a fourth test, a fourth dev, half train."""
    return _SPLITS[sha256(question.encode()).digest()[-1] % 4]


@dataclass(frozen=True)
class StoryTask:
    """Makes problems from several wordings in turn, with people, things, and numbers drawn at random."""

    name: str
    kind: AnswerKind
    templates: tuple[Template, ...]
    about: str
    kinds: frozenset[str]  # of its problems
    instruction: str = field(init=False)
    has_choices: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "instruction", _INSTRUCTIONS[self.kind])

    def load(self, split: Split, *, data: Path | None, limit: int | None, seed: int) -> Iterable[Problem]:
        """Generate problems, no question twice; a smaller limit gives the first of a larger one. Ignores `data`.

        Raises:
            DataError: `limit` is more than there are different questions.
        """
        return list(self._problems(split, _DEFAULT_LIMIT if limit is None else limit, seed))

    def _problems(self, split: Split, limit: int, seed: int) -> Iterator[Problem]:
        asked: set[str] = set()
        drawn, twin = 0, None
        for index in range(limit):
            story, drawn = (twin, drawn) if twin else (self._draw(split, drawn, index, seed, asked), drawn + 1)
            twin = story.twin
            asked.add(story.question)
            identity = f"{self.name}-{split}-{index:05d}-s{seed}"
            yield Problem(identity, self.name, split, story.question, story.answer, rationale=story.solution)

    def _draw(self, split: Split, number: int, index: int, seed: int, asked: set[str]) -> Story:
        """Draw the story with this number, which twins share, for the problem with this index."""
        draw = Random(f"{seed}/{self.name}/{split}/{number}")
        template = self.templates[number % len(self.templates)]
        for _ in range(_MAX_DRAWS):
            story = template(draw)
            questions = [one.question for one in (story, story.twin) if one is not None]
            if all(split_of(question) == split and question not in asked for question in questions):
                return story
        raise DataError(
            f"{self.name}: no question of its {split} split is left after {index} problems; "
            f"ask for at most {index} (limit)."
        )

    def count(self, split: Split, *, data: Path | None, limit: int | None) -> int:
        return _DEFAULT_LIMIT if limit is None else limit

    def source(self, split: Split, *, data: Path | None) -> str:
        return ""

    def phrase(self, problem: Problem) -> str:
        return problem.question

    def read(self, text: str, problem: Problem) -> Reading:
        from srit.tasks.story.reading import read_answer  # here, as in srit.tasks.reading

        return read_answer(text, problem.question, self.kind)

    def equal(self, answer: str, gold: str) -> bool:
        from srit.tasks.story.reading import normal

        return normal(answer) == normal(gold)

    def solve(self, problem: Problem) -> str | None:
        return problem.rationale


def _task(name: str, kind: AnswerKind, templates: tuple[Template, ...], what: str) -> StoryTask:
    set_by = f"; options: {options.about(name)}" if options.about(name) else ""
    about = f'{what}; generated, {_DEFAULT_LIMIT} a split; {kind} after "The answer is"{set_by}'
    return StoryTask(name, kind, templates, about, options.usual_kinds(name))


_IN_DOMAIN = (
    _task("sums", "number", numbers.SUMS, "chains of three one-digit terms"),
    _task("trade", "number", numbers.TRADE, "giving, getting, losing, finding, doubling"),
    _task("compare", "number", numbers.COMPARE, "more, fewer, twice as many; one person's or together"),
    _task("groups", "number", numbers.GROUPS, "legs, wheels, boxes, prices and change"),
    _task("switches", "yes or no", logic.SWITCHES, "lamps after some people press the switch"),
    _task("sizes", "name", logic.SIZES, "who is the tallest, lightest, highest"),
)
_OUT_OF_DOMAIN = (
    _task("sums4", "number", numbers.SUMS4, "sums with four terms (for evaluation)"),
    _task("ages", "number", unseen.AGES, "compare, with older and younger people (for evaluation)"),
    _task("stock", "number", unseen.STOCK, "trade, with buses, books, money, water (for evaluation)"),
    _task("pens", "number", unseen.PENS, "groups, with rows and packs, less some (for evaluation)"),
    _task("doors", "yes or no", unseen.DOORS, "switches, with doors, coins, cards (for evaluation)"),
    _task("race", "name", unseen.RACE, "sizes, with runners (for evaluation)"),
)
_FOR_DECISIONS = (
    _task("ropes", "number", deciding.ROPES, "compare, with lengths (for decisions)"),
    _task("pond", "number", deciding.POND, "trade, with animals that come and leave (for decisions)"),
)
IN_DOMAIN = tuple(task.name for task in _IN_DOMAIN)
OUT_OF_DOMAIN = tuple(task.name for task in _OUT_OF_DOMAIN)
FOR_DECISIONS = tuple(task.name for task in _FOR_DECISIONS)
_TASKS = {task.name: task for task in (*_IN_DOMAIN, *_OUT_OF_DOMAIN, *_FOR_DECISIONS)}


def names() -> list[str]:
    """Return the names of all tasks without options, in-domain first."""
    return list(_TASKS)


def knows(name: str) -> bool:
    return name.partition(":")[0] in _TASKS


def make(name: str) -> StoryTask:
    """Make the task of a name that `knows` accepts.

    Raises:
        RecipeError: it has no such option or value.
    """
    plain, *said = name.split(":")
    task = _TASKS[plain]
    if not said:
        return task
    templates, kinds = options.choose(plain, said, task.templates)
    return replace(task, name=name, templates=templates, kinds=kinds)


FAMILY = Family(__doc__, names, knows, make, kinds=lambda name: make(name).kinds)
