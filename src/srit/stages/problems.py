"""The recipe's tasks → problems/, for training, for decisions and for evaluation."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from srit.errors import DataError, JudgeError
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.stage import Stage, StageName
from srit.recipe import Recipe, TaskUse
from srit.recipe.compared import evaluated, kinds_in, problems_file
from srit.records import Problem, Split
from srit.run_directory import Json
from srit.students.prompts import RENDERED_AT_ONCE, Prompts
from srit.sums import NOT_THERE
from srit.tasks import JudgedByFile, Task, find_task, kinds_of, without_problems


def problems_stage(recipe: Recipe) -> Stage:
    """Declare problems/."""
    return Stage(
        name=StageName("problems"),
        version=2,
        settings={"tasks": recipe.tasks.model_dump(mode="json")},
        reads=("tasks",),
        inputs=(),
        outputs=tuple(_sides(recipe)),
        make=_make_problems,
        sources=lambda: _problem_sources(recipe),
    )


def _sides(recipe: Recipe) -> dict[str, tuple[Sequence[TaskUse], Split]]:
    """Return the files of problems, each with its tasks and its split."""
    refine: dict[str, tuple[Sequence[TaskUse], Split]] = {"problems/refine.jsonl": (recipe.tasks.refine, "train")}
    return {
        "problems/train.jsonl": (recipe.tasks.train, "train"),
        **(refine if recipe.tasks.refine else {}),
        "problems/dev.jsonl": (recipe.tasks.dev, "dev"),
        **{problems_file(task): ([task.use], "test") for task in evaluated(recipe)},
    }


def _problem_sources(recipe: Recipe) -> dict[str, Json]:
    """Return what each file of problems is made from."""
    return {
        name: {
            "seed": recipe.tasks.seed,
            "uses": [use.model_dump(mode="json") for use in uses],
            "data": {_place_of(use): _source_of(use, split) for use in uses},
        }
        for name, (uses, split) in _sides(recipe).items()
    }


def _place_of(use: TaskUse) -> str:
    return f"{use.task} in {use.data}" if use.data else use.task


def _source_of(use: TaskUse, split: Split) -> str:
    try:
        return find_task(use.task).source(split, data=Path(use.data) if use.data else None)
    except DataError:
        return NOT_THERE  # the stage reports it in full


def _make_problems(inputs: Inputs, out: Outputs, context: Context) -> Mapping[str, Json]:
    """Write the problems as they are read: there may be more than fit into memory."""
    tasks, sides = inputs.recipe.tasks, _sides(inputs.recipe)
    if not tasks.allow_overlap:
        refuse_partly_trained((*tasks.train, *tasks.refine), tasks.evaluate)
    apart, counts = Apart(), Counter[str]()
    # What is evaluated comes first, so that the others can be compared with it.
    for name in sorted(sides, key=lambda name: name in _KINDS):
        uses, split = sides[name]
        found = load(uses, split, seed=tasks.seed)
        if name not in _KINDS:
            found = apart.evaluated(found)
        elif not tasks.allow_overlap:
            found = apart.unseen(found)
        if tasks.refine and _KINDS.get(name) in ("train", "refine"):
            found = apart.namesakes(found)
        found = _renderable(found, context.texts.prompts)
        out.records(name, _counted(found, counts, _KINDS.get(name, "evaluate")))
    apart.refuse_overlap()
    return {kind: counts[kind] for kind in (*_KINDS.values(), "evaluate")}


_KINDS = {f"problems/{kind}.jsonl": kind for kind in ("train", "refine", "dev")}


def _renderable(problems: Iterable[Problem], prompts: Prompts) -> Iterator[Problem]:
    """Yield problems whose prompts can be written; a text with a special token could end its turn."""
    remaining = iter(problems)
    while batch := list(islice(remaining, RENDERED_AT_ONCE)):
        deque(prompts.each_problem_ids(batch, "cot"), maxlen=0)
        yield from batch


def _counted(problems: Iterable[Problem], counts: Counter[str], kind: str) -> Iterator[Problem]:
    for problem in problems:
        counts[kind] += 1
        yield problem


class Apart:
    """Compares the problems of a recipe's sides by hashes, so that none has to stay in memory."""

    def __init__(self) -> None:
        self._evaluated: set[bytes] = set()
        self._shared: list[str] = []  # ids
        self._trained: dict[bytes, bytes] = {}  # hashes of questions by those of tasks and ids

    def evaluated(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """Yield evaluation problems, and note them."""
        for problem in problems:
            self._evaluated.add(_sum(_normal(problem)))
            yield problem

    def unseen(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """Yield other problems, and note those that are also evaluated, case and punctuation aside."""
        for problem in problems:
            if _sum(_normal(problem)) in self._evaluated:
                self._shared.append(problem.id)
            yield problem

    def namesakes(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """Yield training problems; two may share a task and an id only if they are the same.

        Raises:
            DataError: they are not: the demonstration of one would be taken for the other's.
        """
        for problem in problems:
            asked = _sum(problem.question, *(problem.choices or ()))
            if self._trained.setdefault(_sum(problem.task, problem.id), asked) != asked:
                raise DataError(
                    f"tasks.refine: {problem.task}: the id {problem.id!r:.80} is another problem's in tasks.train"
                )
            yield problem

    def refuse_overlap(self) -> None:
        """
        Raises:
            DataError: a problem of training is also evaluated; names the first five.
        """
        if self._shared:
            raise DataError(
                f"{len(self._shared)} training problems are also evaluated ({', '.join(self._shared[:5])} …): a gain "
                "on them proves nothing. Use other problems, split a file of your own (jsonl:PATH?split=80/10/10), or "
                "set tasks.allow_overlap: true"
            )


def _sum(*texts: str) -> bytes:
    return hashlib.blake2b(json.dumps(texts).encode(), digest_size=16).digest()


def load(uses: Sequence[TaskUse], split: Split, *, seed: int) -> Iterator[Problem]:
    """Yield the problems of several tasks, task after task.

    Raises:
        DataError: a task has no problems, a gold answer that its own judge cannot read, or another task's ids.
    """
    ids: set[str] = set()
    repeated: list[str] = []
    for use in uses:
        task, n = find_task(use.task), 0
        folder = Path(use.data) if use.data else None
        for problem in task.load(split, data=folder, limit=use.limit, seed=seed):
            _check_gold(problem, task)
            n += 1
            if problem.id in ids:
                repeated.append(problem.id)
            ids.add(problem.id)
            yield problem
        if not n:
            raise without_problems(use.task, split)
    if repeated:
        raise DataError(f"two tasks of the {split} side share the ids {', '.join(repeated[:5])}: rename one's ids")


def refuse_partly_trained(trained: Sequence[TaskUse], evaluated: Sequence[TaskUse]) -> None:
    """Refuse evaluation tasks of whose kinds only some are trained on: they are neither in- nor out-of-domain.

    Raises:
        DataError: there is one; names the kinds that are trained on.
    """
    kinds = kinds_in(trained)
    for use in evaluated:
        of_task = kinds_of(use.task)
        if (known := of_task & kinds) and not of_task <= kinds:
            raise DataError(
                f"tasks.evaluate: {use.task} is partly trained on ({', '.join(sorted(known))}): evaluate the trained "
                "and the unseen part as separate tasks, or set tasks.allow_overlap: true"
            )


def _normal(problem: Problem) -> str:
    text = unicodedata.normalize("NFC", " ".join([problem.question, *(problem.choices or ())]).lower())
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")  # invisible ones
    # Signs of arithmetic stay: 8 + 3 - 2 is not 8 - 3 + 2.
    return " ".join(re.sub(r"""[.,;:!?"'’‘“”()]""", " ", text).split())


def _check_gold(problem: Problem, task: Task) -> None:
    failed = ""
    try:
        readable = task.equal(problem.answer, problem.answer)
    except JudgeError as error:
        readable, failed = False, f": {error}"
    # A user's judge may accept something other than a right answer as gold, such as the tests of a program.
    by_file = isinstance(task, JudgedByFile) and bool(task.judge_sources()) and not failed
    if not (readable or by_file):
        raise DataError(f"problem {problem.id}: its own judge cannot read the gold answer {problem.answer!r}{failed}")
