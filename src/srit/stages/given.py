"""A user's own file → completions.jsonl or pairs.jsonl, replacing what the student would say."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from srit.compute.mapping import Later
from srit.errors import DataError
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.estimate import Work
from srit.pipeline.stage import SCORES, Stage, StageName
from srit.recipe import Recipe
from srit.recipe.compared import refine_problems
from srit.recipe.rounds import RoundPart
from srit.records import Completion, Pair, Problem, PromptKind
from srit.records.own import key_of, with_own
from srit.run_directory import Json, Lookup, Scratch
from srit.stages.accepted import start_inputs, start_of
from srit.stages.completions import Tally
from srit.stages.pairs import prompts_of
from srit.students.lengths import Needed, bound_of, too_long
from srit.students.prompts import Prompts
from srit.students.sources import ScoringWork, read_scores
from srit.sums import sum_if_there
from srit.tasks import find_task, judge
from srit.tasks.lines import Row, answered_rows, id_field, label, output_field, read_rows, text_field

if TYPE_CHECKING:
    from srit.compute.rows import Group

Value = TypeVar("Value")

CHUNK = 512  # answers that are scored together
_KINDS: Mapping[object, PromptKind] = {"direct": "direct", "cot": "cot"}


def given_completions_stage(recipe: Recipe, part: RoundPart) -> Stage:
    """Declare completions from a file: they are judged like the student's own, and scored by the student.

    With pairs from a file there are no completions, so the file is empty.
    """
    name, problems, path = StageName("completions", part.round), refine_problems(recipe), recipe.sample.path
    if path is None:
        return Stage(
            name=name,
            version=1,
            settings={"pairs of a file": True},
            reads=(),
            inputs=(),
            outputs=(part.completions,),
            make=lambda inputs, out, context: _make_none(out, part),
            uses_student=False,
        )
    return Stage(
        name=name,
        version=1,
        settings=recipe.model_dump(mode="json", include={"student"})
        | {"path": path}
        | recipe.refine.model_dump(include={"max_length"}),
        reads=("sample.path", "refine.max_length"),
        inputs=(problems, *start_inputs(part)),
        outputs=(part.completions,),
        make=lambda inputs, out, context: _make_completions(inputs, out, context, problems, part),
        work=lambda recipe: Work(loads=1),
        computes=SCORES,
        sources=lambda: {path: sum_if_there(Path(path))},
    )


def given_pairs_stage(recipe: Recipe, part: RoundPart) -> Stage:
    """Declare pairs from a file."""
    problems, path = refine_problems(recipe), str(recipe.pairs.path)
    return Stage(
        name=StageName("pairs", part.round),
        version=1,
        settings={"prompt": recipe.pairs.prompt, "path": path, "chat_template": recipe.student.chat_template},
        reads=("pairs.path", "pairs.prompt"),
        inputs=(problems,),
        outputs=(part.pairs,),
        make=lambda inputs, out, context: _make_pairs(inputs, out, context, problems, part),
        sources=lambda: {path: sum_if_there(Path(path))},
    )


def require_file(path: str, field: str) -> Path:
    """
    Raises:
        DataError: there is no such file.
    """
    if not Path(path).is_file():
        raise DataError(f"{field}: there is no file {path}")
    return Path(path)


def _make_none(out: Outputs, part: RoundPart) -> Mapping[str, Json]:
    out.records(part.completions, [])
    return {"completions": 0}


def _make_completions(inputs: Inputs, out: Outputs, context: Context, file: str, part: RoundPart) -> Mapping[str, Json]:
    problems, path = inputs.filed(file, Problem), require_file(str(inputs.recipe.sample.path), "sample.path")
    found, counts = read_completions(path, problems, context.texts.prompts)
    kept = Scratch(_fitting(context, problems, found, counts, inputs.recipe.refine.max_length))
    logps = _scored(inputs, context, kept, file, start_of(inputs, part))
    made = (replace(completion, logp=logp) for completion, logp in zip(kept, logps, strict=True))
    tally = Tally()
    out.records(part.completions, tally.counting(made))
    return {**tally.summary(), **+counts}


def _fitting(
    context: Context,
    problems: Iterable[Problem],
    completions: Iterable[Completion],
    counts: Counter[str],
    max_length: int | None,
) -> Iterator[Completion]:
    """Yield the answers that are not too long to train on, with their prompts, and count the others."""
    bound, prompts = bound_of(context.texts.room, max_length, "refine"), context.texts.prompts
    for problem, own in with_own(problems, completions):
        for one in own:
            need = Needed(problem, one.prompt, len(one.token_ids), "")
            if bound is not None and too_long([need], prompts, bound.tokens):
                counts["left out: too long for the student"] += 1
            else:
                yield one


def _scored(
    inputs: Inputs, context: Context, completions: Sequence[Completion], file: str, start: str
) -> Iterator[float]:
    """Yield each answer's log-probability under the model that the round starts from, in nats."""
    from srit.compute.scoring import BATCH_TOKENS, ROW_TOKENS
    from srit.training.preference import answer_groups

    problems, prompts = inputs.grouped(file, Problem, key_of), context.texts.prompts

    def groups(begin: int) -> list[Group]:
        some = completions[begin : begin + CHUNK]
        return answer_groups(some, {one.problem_id: problems.of(key_of(one))[-1] for one in some}, prompts)

    source, rows = context.models.frozen(inputs.trained(start)), context.models.plan.rows
    begins = {f"answers-{begin // CHUNK:05d}.json": begin for begin in range(0, len(completions), CHUNK)}
    work = ScoringWork(source, rows, ROW_TOKENS, BATCH_TOKENS)
    chunks = Later({name: partial(groups, begin) for name, begin in begins.items()})
    sizes = {name: min(CHUNK, len(completions) - begin) for name, begin in begins.items()}
    found = context.map_once(work, chunks, sizes=sizes, what="answers of the file")
    return (logp for [logp] in chain.from_iterable(map(read_scores, found)))


def _make_pairs(inputs: Inputs, out: Outputs, context: Context, file: str, part: RoundPart) -> Mapping[str, Json]:
    path, kinds = require_file(str(inputs.recipe.pairs.path), "pairs.path"), prompts_of(inputs.recipe.pairs.prompt)
    pairs, counts = read_pairs(path, inputs.filed(file, Problem), context.texts.prompts, kinds)
    out.records(part.pairs, pairs)
    return counts


class Aside(Generic[Value]):
    """What a file says about each problem, set aside: 16 bytes of memory per row."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._problems, self._numbers = problems, array("Q")
        self._said: Scratch[Value] = Scratch()

    def add(self, number: int, said: Value) -> None:
        """Set aside what a row says about the problem with a number."""
        self._numbers.append(number)
        self._said.append(said)

    def __len__(self) -> int:
        return len(self._said)

    def __iter__(self) -> Iterator[tuple[Problem, list[Value]]]:
        """Yield the problems that have rows, in order, each with its rows in the order of the file."""
        import numpy as np

        places = map(int, np.argsort(np.asarray(self._numbers), kind="stable"))
        for number, own in groupby(places, key=self._numbers.__getitem__):
            yield self._problems[number], [self._said[place] for place in own]


def read_completions(
    path: Path, problems: Sequence[Problem], prompts: Prompts
) -> tuple[Iterator[Completion], Counter[str]]:
    """Read answers in the order of their problems; each is judged when it is asked for.

    A row has `id` (or `problem_id`) and `output` (or `text`); `prompt` says "direct" or "cot", the default.

    Returns:
        The answers, without log-probabilities so far, and counts of the rows that are left out.

    Raises:
        DataError: a row cannot be used, or none answers one of the problems.
    """
    asked, counts = _Problems(problems, prompts), Counter[str]()
    said: Aside[tuple[PromptKind, str]] = Aside(problems)
    for row in answered_rows(path):
        number, text = asked.of_row(row), (output_field(row) or "").strip()
        if number is None or not text:
            counts["left out: no such problem" if text else "left out: empty"] += 1
        else:
            said.add(number, (_kind(row) or "cot", text))
    if not said:
        raise DataError(f"{path}: no row has an answer and the id of a training problem, as in {_example(problems)}")
    return (completion for problem, own in said for completion in _judged(problem, own, prompts)), counts


def _judged(problem: Problem, said: Sequence[tuple[PromptKind, str]], prompts: Prompts) -> Iterator[Completion]:
    task, given = find_task(problem.task), Counter[str]()
    for kind, text in said:
        judgment = judge(task, problem, text)
        yield Completion(
            problem_id=problem.id,
            task=problem.task,
            prompt=kind,
            index=given[kind],
            text=text,
            token_ids=prompts.completion_ids(text),
            logp=0.0,
            truncated=False,
            answer=judgment.answer,
            verdict=judgment.verdict,
            reward=float(judgment.verdict == "right"),
        )
        given[kind] += 1


class _Sides(NamedTuple):
    """The two texts of a row, and the prompts that its pair is conditioned on."""

    chosen: str
    rejected: str
    kinds: tuple[PromptKind, ...]


def read_pairs(
    path: Path, problems: Sequence[Problem], prompts: Prompts, kinds: tuple[PromptKind, ...]
) -> tuple[Iterator[Pair], Counter[str]]:
    """Read pairs, in the order of their problems.

    A row has `chosen` and `rejected`, and identifies its problem by `id` (or `problem_id`), or, as in TRL, by `prompt`:
    the question, or the whole prompt. With an id, `prompt` may say "direct" or "cot". Texts may be messages of a chat.

    Args:
        kinds: the prompts that pairs are conditioned on; a row for another prompt is left out.

    Returns:
        The pairs, and counts like those of `make_pairs`.

    Raises:
        DataError: a row cannot be used, or none is about one of the problems.
    """
    asked, counts, made = _Problems(problems, prompts), Counter[str](), Aside[_Sides](problems)
    paired: set[int] = set()
    for row in read_rows(path):
        found, (chosen, rejected) = _asked_in(row, asked), (_said(row, name) for name in ("chosen", "rejected"))
        wanted = kinds if found is None or found.kind is None else tuple(kind for kind in kinds if kind == found.kind)
        if found is None:
            counts["left out: no such problem"] += 1
        elif chosen == rejected:
            counts["left out: chosen and rejected are the same text"] += 1
        elif not wanted:
            counts["left out: of a prompt that pairs.prompt leaves out"] += 1
        else:
            made.add(found.number, _Sides(chosen, rejected, wanted))
            paired.add(found.number)
            counts["pairs"] += len(wanted)
    if not made:
        raise DataError(f"{path}: no row is a pair for one of the training problems, such as {_example(problems)}")
    counts["problems"], counts["problems with pairs"] = len(problems), len(paired)
    return (pair for problem, own in made for sides in own for pair in _pairs(problem, sides, prompts)), counts


def _pairs(problem: Problem, sides: _Sides, prompts: Prompts) -> Iterator[Pair]:
    for kind in sides.kinds:
        yield Pair(
            problem_id=problem.id,
            task=problem.task,
            prompt=kind,
            chosen=sides.chosen,
            rejected=sides.rejected,
            chosen_ids=prompts.completion_ids(sides.chosen),
            rejected_ids=prompts.completion_ids(sides.rejected),
            chosen_from="file",
            rejected_from="file",
        )


class _Found(NamedTuple):
    """The number of the problem that a row is about, and the prompt that it names; None: it names none."""

    number: int
    kind: PromptKind | None


class _Problems:
    """Finds the problems of a run by what rows say about them."""

    def __init__(self, problems: Sequence[Problem], prompts: Prompts) -> None:
        self._problems, self._prompts, self._ids = problems, prompts, Lookup()
        for problem in problems:
            self._ids.add(problem.id)

    def of_row(self, row: Row) -> int | None:
        """Find the problem of a row by its id, and its task if it names one; None: the run has no such problem."""
        alike, task = self._ids.find(id_field(row, "id", "problem_id")), label(row, "task")
        return next((number for number in alike if task in (None, self._problems[number].task)), None)

    def of_text(self, text: str) -> _Found | None:
        """Find the problem with this prompt, or else with this question; if there are several, the last."""
        found = ((kind, texts.find(text)) for kind, texts in self._texts.items())
        return next((_Found(alike[-1], kind) for kind, alike in found if alike), None)

    @cached_property
    def _texts(self) -> Mapping[PromptKind | None, Lookup]:
        """Whole prompts by their kind, and questions."""
        found: dict[PromptKind | None, Lookup] = {"cot": Lookup(), "direct": Lookup(), None: Lookup()}
        for problem in self._problems:
            for kind, texts in found.items():
                text = problem.question if kind is None else self._prompts.problem_text(problem, kind)
                texts.add(text.strip())
        return found


def _asked_in(row: Row, asked: _Problems) -> _Found | None:
    if not any(row.fields.get(name) is not None for name in ("id", "problem_id")):
        return asked.of_text(_said(row, "prompt"))
    number = asked.of_row(row)
    return None if number is None else _Found(number, _KINDS.get(_plain(row.fields.get("prompt"))))


def _plain(value: object) -> object:
    return value if isinstance(value, str) else None


def _kind(row: Row) -> PromptKind | None:
    said = row.fields.get("prompt")
    if said is not None and _plain(said) not in _KINDS:
        raise DataError(f"{row.where}: prompt: {said!r:.80} is neither direct nor cot")
    return None if said is None else _KINDS[said]


def _said(row: Row, name: str) -> str:
    """Return a text, or the last turn of a chat."""
    value: Any = row.fields.get(name)
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        return text_field(Row({name: value[-1].get("content")}, row.where), name).strip()
    return text_field(row, name).strip()


def _example(problems: Sequence[Problem]) -> str:
    return f'{{"id": "{problems[0].id:.60}", …}}' if problems else "no problem: tasks.train has none"
