"""A file of the user's own → completions.jsonl or pairs.jsonl, in place of what the student would say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from srit.errors import DataError
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.estimate import Work
from srit.pipeline.stage import SCORES, Stage, StageName
from srit.recipe import Recipe
from srit.recipe.compared import refine_problems
from srit.recipe.rounds import RoundPart
from srit.records import Completion, Pair, Problem, PromptKind
from srit.run_directory import Json
from srit.stages.accepted import start_inputs, start_of
from srit.stages.completions import Tally
from srit.stages.pairs import prompts_of
from srit.students.lengths import Asked, too_long
from srit.students.prompts import Prompts
from srit.students.sources import ScoringWork, read_scores
from srit.sums import sum_if_there
from srit.tasks import find_task, judge
from srit.tasks.lines import Row, answered_rows, id_field, label, output_field, read_rows, text_field

CHUNK = 512  # answers that are scored together
_KINDS: Mapping[object, PromptKind] = {"direct": "direct", "cot": "cot"}


def given_completions_stage(recipe: Recipe, part: RoundPart) -> Stage:
    """Declare completions that a file holds: they are judged as the student's own, and it says how likely they are.

    A recipe that brings pairs has no completions: the file is then empty.
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
        settings=recipe.model_dump(mode="json", include={"student"}) | {"path": path},
        reads=("sample.path",),
        inputs=(problems, *start_inputs(part)),
        outputs=(part.completions,),
        make=lambda inputs, out, context: _make_completions(inputs, out, context, problems, part),
        work=lambda recipe: Work(loads=1),
        computes=SCORES,
        sources=lambda: {path: sum_if_there(Path(path))},
    )


def given_pairs_stage(recipe: Recipe, part: RoundPart) -> Stage:
    """Declare pairs that a file holds."""
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
    problems, path = inputs.records(file, Problem), require_file(str(inputs.recipe.sample.path), "sample.path")
    found, counts = read_completions(path, problems, context.texts.prompts)
    kept = [c for c, fits in zip(found, _fitting(context, problems, found), strict=True) if fits]
    logps = _scored(inputs, context, problems, kept, start_of(inputs, part))
    made = [replace(completion, logp=logp) for completion, logp in zip(kept, logps, strict=True)]
    tally = Tally()
    out.records(part.completions, tally.counting(made))
    counts["left out: too long for the student"] = len(found) - len(kept)
    return {**tally.summary(), **+counts}


def _fitting(context: Context, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[bool]:
    """Return for each answer whether the student has positions for it and its prompt."""
    room, asked = context.texts.room, {problem.id: problem for problem in problems}
    if room is None or not room.hard:
        return [True] * len(completions)
    needs = [Asked(asked[c.problem_id], c.prompt, len(c.token_ids), "") for c in completions]
    return [not too_long([need], context.texts.prompts, room) for need in needs]


def _scored(
    inputs: Inputs, context: Context, problems: Sequence[Problem], completions: Sequence[Completion], start: str
) -> list[float]:
    """Return each answer's log-probability under the model that the round starts from, in nats."""
    from srit.compute.scoring import BATCH_TOKENS, ROW_TOKENS
    from srit.training.preference import answer_groups

    groups = answer_groups(completions, {problem.id: problem for problem in problems}, context.texts.prompts)
    source, rows = context.models.frozen(inputs.trained(start)), context.models.plan.rows
    chunks = {f"answers-{at // CHUNK:05d}.json": groups[at : at + CHUNK] for at in range(0, len(groups), CHUNK)}
    work = ScoringWork(source, rows, ROW_TOKENS, BATCH_TOKENS)
    sizes = {name: len(members) for name, members in chunks.items()}
    found = context.map_once(work, chunks, sizes=sizes, what="answers of the file")
    return [logp for [logp] in chain.from_iterable(map(read_scores, found))]


def _make_pairs(inputs: Inputs, out: Outputs, context: Context, file: str, part: RoundPart) -> Mapping[str, Json]:
    path, kinds = require_file(str(inputs.recipe.pairs.path), "pairs.path"), prompts_of(inputs.recipe.pairs.prompt)
    pairs, counts = read_pairs(path, inputs.records(file, Problem), context.texts.prompts, kinds)
    out.records(part.pairs, pairs)
    return counts


def read_completions(
    path: Path, problems: Sequence[Problem], prompts: Prompts
) -> tuple[list[Completion], Counter[str]]:
    """Read answers and judge them, in the order of their problems; their log-probabilities are not known yet.

    A row has `id` (or `problem_id`) and `output` (or `text`); `prompt` says "direct" or "cot", the default.

    Returns:
        The answers, and counts of the rows that are left out.

    Raises:
        DataError: a row cannot be used, or none answers one of the problems.
    """
    of_id, counts = _by_id(problems), Counter[str]()
    said: dict[str, list[tuple[PromptKind, str]]] = {problem.id: [] for problem in problems}
    for row in answered_rows(path):
        problem, text = _of_row(row, of_id), (output_field(row) or "").strip()
        if problem is None or not text:
            counts["left out: no such problem" if text else "left out: empty"] += 1
        else:
            said[problem.id].append((_kind(row) or "cot", text))
    if not any(said.values()):
        raise DataError(f"{path}: no row has an answer and the id of a training problem, as in {_example(problems)}")
    return [completion for problem in problems for completion in _judged(problem, said[problem.id], prompts)], counts


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


class _Found(NamedTuple):
    """The problem that a row is about, and the prompts that its pair is conditioned on."""

    problem: Problem
    kinds: Sequence[PromptKind]


def read_pairs(
    path: Path, problems: Sequence[Problem], prompts: Prompts, kinds: Sequence[PromptKind]
) -> tuple[list[Pair], Counter[str]]:
    """Read pairs, in the order of their problems.

    A row has `chosen` and `rejected`, and says its problem by `id` (or `problem_id`), or as TRL does by `prompt`: the
    question, or the whole prompt. With an id, `prompt` may say "direct" or "cot". Texts may be messages of a chat.

    Args:
        kinds: the prompts that pairs are conditioned on; a row for another prompt is left out.

    Returns:
        The pairs, and counts as those of `make_pairs`.

    Raises:
        DataError: a row cannot be used, or none is about one of the problems.
    """
    of_id, of_text, counts = _by_id(problems), _by_text(problems, kinds, prompts), Counter[str]()
    made: dict[str, list[Pair]] = {problem.id: [] for problem in problems}
    for row in read_rows(path):
        found, sides = _asked_in(row, of_id, of_text, kinds), [_said(row, name) for name in ("chosen", "rejected")]
        if found is None:
            counts["left out: no such problem"] += 1
        elif sides[0] == sides[1]:
            counts["left out: chosen and rejected are the same text"] += 1
        elif not found.kinds:
            counts["left out: of a prompt that pairs.prompt leaves out"] += 1
        else:
            made[found.problem.id] += _pairs(found, sides[0], sides[1], prompts)
    if not any(made.values()):
        raise DataError(f"{path}: no row is a pair for one of the training problems, as {_example(problems)}")
    counts["problems"], counts["problems with pairs"] = len(problems), sum(map(bool, made.values()))
    counts["pairs"] = sum(map(len, made.values()))
    return list(chain.from_iterable(made.values())), counts


def _pairs(found: _Found, chosen: str, rejected: str, prompts: Prompts) -> Iterator[Pair]:
    for kind in found.kinds:
        yield Pair(
            problem_id=found.problem.id,
            task=found.problem.task,
            prompt=kind,
            chosen=chosen,
            rejected=rejected,
            chosen_ids=prompts.completion_ids(chosen),
            rejected_ids=prompts.completion_ids(rejected),
            chosen_from="file",
            rejected_from="file",
        )


def _by_id(problems: Sequence[Problem]) -> dict[str, list[Problem]]:
    found: dict[str, list[Problem]] = {}
    for problem in problems:
        found.setdefault(problem.id, []).append(problem)
    return found


def _by_text(problems: Sequence[Problem], kinds: Sequence[PromptKind], prompts: Prompts) -> dict[str, _Found]:
    """Map questions to their problems with all prompts, and whole prompts to theirs with that one."""
    every: tuple[PromptKind, ...] = ("direct", "cot")
    whole = {
        prompts.problem_text(problem, kind).strip(): _Found(problem, [kind] if kind in kinds else [])
        for problem in problems
        for kind in every
    }
    return {problem.question.strip(): _Found(problem, kinds) for problem in problems} | whole


def _of_row(row: Row, of_id: Mapping[str, Sequence[Problem]]) -> Problem | None:
    """Find the problem of a row by its id, and its task if it names one; None: the run has no such problem."""
    alike, task = of_id.get(id_field(row, "id", "problem_id"), ()), label(row, "task")
    return next((problem for problem in alike if task in (None, problem.task)), None)


def _asked_in(
    row: Row, of_id: Mapping[str, Sequence[Problem]], of_text: Mapping[str, _Found], kinds: Sequence[PromptKind]
) -> _Found | None:
    if not any(row.fields.get(name) is not None for name in ("id", "problem_id")):
        return of_text.get(_said(row, "prompt"))
    problem, kind = _of_row(row, of_id), _KINDS.get(_plain(row.fields.get("prompt")))
    if problem is None or kind is None:
        return None if problem is None else _Found(problem, kinds)
    return _Found(problem, [kind] if kind in kinds else [])


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
