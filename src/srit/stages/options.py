"""A model and multiple-choice problems → how likely it finds each option, without it writing anything.

Generation punishes small models: one that has the right option likeliest may never come to write its letter. So each
option is scored behind the very prompt that answers are drawn behind, as the `multiple_choice` tasks of
lm-evaluation-harness do: the summed log-probability of the option's words, alone and divided by their number of
characters. Where the prompt shows the options with letters, "(A)" is scored likewise.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from srit.compared import OPTIONS, Evaluated, options_file
from srit.compute.plan import RowKind
from srit.compute.rows import Group, layout_of, logps_by_group, micro_batches
from srit.errors import DataError
from srit.pipeline.job import SCORES, Job, Stage
from srit.recipe import Recipe
from srit.records import OptionScores, Problem, PromptKind
from srit.run_directory import Json, write_json, write_records
from srit.stages.predictions import computed_by
from srit.students.prompts import Prompts, prompt_text
from srit.tasks import Task, find_task
from srit.tasks.reading.mentions import LETTERS


def options_stage(recipe: Recipe, model: str, folder: str, task: Evaluated) -> Stage:
    """A task's evaluation problems → how likely one model finds each of their options."""
    name = options_file(model, task).removesuffix(".jsonl")
    settings = {"prompts": list(recipe.evaluate.prompts), **computed_by(recipe)}
    problems = f"problems/evaluate-{task.place}.jsonl"
    inputs = (problems,) if model == "base" else (problems, folder)

    def make(job: Job, partial: Path) -> Mapping[str, Json]:
        found = [problem for problem in job.problems(f"evaluate-{task.place}") if problem.choices]
        options = make_options(found, job.recipe.evaluate.prompts, job.prompts)
        logps = score_in_chunks(
            lambda: job.scoring(folder),
            [one.group for one in options],
            rows=job.way.rows,
            partial=partial,
            progress=lambda done, total: job.progress(name, done, total),
        )
        records = [record for one, of_one in zip(options, logps, strict=True) for record in one.records(of_one)]
        write_records(job.run.path(f"{name}.jsonl"), records)
        right = Counter(f"{r.prompt}, {r.scored}: right" for r in records if r.right)
        return {"problems": len(found), **right}

    return Stage(name, 2, settings, inputs, (f"{name}.jsonl",), make, work=f"predictions{OPTIONS}", computes=SCORES)


CHUNK = 256  # prompts that are committed together
ROW_TOKENS, BATCH_TOKENS = 512, 4096  # a packed row's, and those that go through the model at once

Scored = Literal["text", "letter"]


class Options(NamedTuple):
    """A problem under one prompt, its options side by side: first their words, then their letters, if shown."""

    problem: Problem
    kind: PromptKind
    group: Group

    def records(self, logps: Sequence[float]) -> Iterator[OptionScores]:
        """What follows from the log-probabilities of the group's completions, nats."""
        choices = self.problem.choices or ()
        n = len(choices)
        yield option_scores(self.problem, self.kind, "text", logps[:n], [len(choice) for choice in choices])
        if len(logps) > n:
            yield option_scores(self.problem, self.kind, "letter", logps[n:], [len("(A)")] * n)


def make_options(problems: Sequence[Problem], kinds: Sequence[PromptKind], prompts: Prompts) -> list[Options]:
    """What is scored, problem after problem, each under every kind of prompt.

    Raises:
        DataError: an option is empty.
    """
    return [
        Options(
            problem,
            kind,
            Group(
                prompts.prompt_ids(prompt_text(task, problem, kind), where=problem.id),
                tuple(_option_ids(text, problem, prompts) for text in scored_texts(task, problem)),
            ),
        )
        for problem in problems
        for task in [find_task(problem.task)]
        for kind in kinds
    ]


def scored_texts(task: Task, problem: Problem) -> tuple[str, ...]:
    """An option's words each; then its letter each, "(A)", where the prompt shows them so."""
    choices = problem.choices or ()
    letters = tuple(f"({letter})" for letter in LETTERS[: len(choices)])
    asked = task.phrase(problem)
    shown = all(f"{letter} {choice}" in asked for letter, choice in zip(letters, choices, strict=True))
    return (*choices, *letters) if shown else choices


def option_scores(
    problem: Problem, kind: PromptKind, scored: Scored, logps: Sequence[float], lengths: Sequence[int]
) -> OptionScores:
    """A problem's options by likelihood; the first of equals is chosen.

    Args:
        logps: nats, summed over an option's tokens.
        lengths: characters of each option; 0 counts as 1.
    """
    gold = LETTERS.index(problem.answer)
    norm = [logp / max(1, length) for logp, length in zip(logps, lengths, strict=True)]
    choice, choice_norm = (max(range(len(values)), key=values.__getitem__) for values in (logps, norm))
    top = max(logps)
    shares = [math.exp(logp - top) for logp in logps]
    return OptionScores(
        problem_id=problem.id,
        task=problem.task,
        prompt=kind,
        scored=scored,
        logps=tuple(logps),
        choice=LETTERS[choice],
        choice_norm=LETTERS[choice_norm],
        right=choice == gold,
        right_norm=choice_norm == gold,
        probability=shares[gold] / sum(shares),
        confidence=shares[choice] / sum(shares),
        margin=logps[gold] - max(logp for index, logp in enumerate(logps) if index != gold),
    )


def score_in_chunks(
    model: Callable[[], Any],
    groups: Sequence[Group],
    *,
    rows: RowKind,
    partial: Path,
    progress: Callable[[int, int], None],
) -> list[list[float]]:
    """Log-probabilities of every completion of every group, nats; chunks that are there already are not made again.

    Args:
        model: called only where a chunk is missing.
        rows: how completions are put into rows.
        partial: folder for the chunks, of these groups alone.
    """
    found: list[list[float]] = []
    for start, end in pairwise([*range(0, len(groups), CHUNK), len(groups)]):
        path = partial / f"options-{start // CHUNK:05d}.json"
        if not path.exists():
            write_json(path, score(model(), groups[start:end], rows=rows))
        found += json.loads(path.read_bytes())
        progress(end, len(groups))
    return found


def score(model: Any, groups: Sequence[Group], *, rows: RowKind) -> list[list[float]]:
    """Summed log-probabilities of each group's completions, nats: every prompt goes through the model once."""
    layout = layout_of(model, rows)
    found: dict[int, list[float]] = {}
    with torch.no_grad():
        for batch in micro_batches(groups, row_tokens=ROW_TOKENS, batch_tokens=BATCH_TOKENS, layout=layout):
            found |= {index: logps.tolist() for index, logps in logps_by_group(model, batch, groups).items()}
    return [found[index] for index in range(len(groups))]


def _option_ids(text: str, problem: Problem, prompts: Prompts) -> tuple[int, ...]:
    ids = prompts.completion_ids(text)[:-1]  # an option is not a whole answer: no end of turn
    if not ids:
        raise DataError(f"{problem.id}: one of its options is empty, so it has no likelihood")
    return ids
