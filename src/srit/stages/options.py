"""A model and multiple-choice problems → how likely it finds each option, without generating anything.

Generation penalizes small models: one that finds the right option likeliest may never write its letter. So each option
is scored after the same prompt that answers are generated from, as in the `multiple_choice` tasks of
lm-evaluation-harness: the summed log-probability of the option's words, both as it is and divided by their number of
characters. If the prompt shows the options with letters, "(A)" is scored likewise.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from srit.errors import DataError
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.stage import SCORES, Stage, StageName
from srit.recipe import Recipe
from srit.recipe.compared import OPTIONS, Evaluated, folder_of, options_file, problems_file
from srit.records import Model, OptionScores, Problem, PromptKind
from srit.run_directory import Json
from srit.stages.predictions import computed_with
from srit.students.prompts import Prompts
from srit.students.sources import ScoringWork, read_scores
from srit.tasks import Task, find_task
from srit.tasks.reading.options import LETTERS

if TYPE_CHECKING:
    from srit.compute.rows import Group


CHUNK = 256  # prompts that are committed together


Scored = Literal["text", "letter"]


def options_stage(recipe: Recipe, model: Model, task: Evaluated) -> Stage:
    """Declare how likely one model finds each option of a task's evaluation problems."""
    name, folder = StageName("options", model=model, task=task.place), folder_of(model)
    # No work: one pass over prompts and options takes little time next to the answers, and nothing is sampled.
    return Stage(
        name=name,
        version=2,
        settings={"prompts": list(recipe.evaluate.prompts), **computed_with(recipe)},
        reads=("evaluate.prompts",),
        inputs=(problems_file(task), *([folder] if folder else [])),
        outputs=(options_file(model, task),),
        make=lambda inputs, out, context: _make_options(inputs, out, context, model, task),
        shared_as=f"predictions{OPTIONS}",
        computes=SCORES,
    )


def _make_options(inputs: Inputs, out: Outputs, context: Context, model: Model, task: Evaluated) -> Mapping[str, Json]:
    from srit.compute.scoring import ROW_TOKENS

    found = [problem for problem in inputs.records(problems_file(task), Problem) if problem.choices]
    options, folder = make_options(found, inputs.recipe.evaluate.prompts, context.texts.prompts), folder_of(model)
    source = context.models.frozen(inputs.trained(folder) if folder else None)
    plan = context.models.plan
    work = ScoringWork(source, plan.rows, ROW_TOKENS, 2 * plan.batch_tokens)  # nothing is kept for a gradient
    chunks = chunks_of([one.group for one in options])
    sizes = {name: len(groups) for name, groups in chunks.items()}
    name = f"predictions/{model}/{task.place}{OPTIONS}"
    scores = [scores for data in context.map_once(work, chunks, sizes=sizes, what=name) for scores in read_scores(data)]
    records = [record for one, of_one in zip(options, scores, strict=True) for record in one.records(of_one)]
    out.records(options_file(model, task), records)
    right = Counter(f"{r.prompt}, {r.scored}: right" for r in records if r.right)
    return {"problems": len(found), **right}


def chunks_of(groups: Sequence[Group]) -> dict[str, Sequence[Group]]:
    """Split groups into chunks, by the names of the files that keep their scores."""
    starts = range(0, len(groups), CHUNK)
    return {f"options-{start // CHUNK:05d}.json": groups[start : start + CHUNK] for start in starts}


class Options(NamedTuple):
    """A problem under one prompt, its options side by side: first their words, then their letters, if shown."""

    problem: Problem
    kind: PromptKind
    group: Group

    def records(self, logps: Sequence[float]) -> Iterator[OptionScores]:
        """Yield the scores that follow from the log-probabilities of the group's completions, in nats."""
        choices = self.problem.choices or ()
        n = len(choices)
        yield option_scores(self.problem, self.kind, "text", logps[:n], [len(choice) for choice in choices])
        if len(logps) > n:
            yield option_scores(self.problem, self.kind, "letter", logps[n:], [len("(A)")] * n)


def make_options(problems: Sequence[Problem], kinds: Sequence[PromptKind], prompts: Prompts) -> list[Options]:
    """Return the texts to score: problem by problem, each under every kind of prompt.

    Raises:
        DataError: an option is empty.
    """
    from srit.compute.rows import Group

    return [
        Options(
            problem,
            kind,
            Group(
                prompts.problem_ids(problem, kind),
                tuple(_option_ids(text, problem, prompts) for text in scored_texts(task, problem)),
            ),
        )
        for problem in problems
        for task in [find_task(problem.task)]
        for kind in kinds
    ]


def scored_texts(task: Task, problem: Problem) -> tuple[str, ...]:
    """Return the words of each option, then each letter as "(A)" if the prompt shows them that way."""
    choices = problem.choices or ()
    letters = tuple(f"({letter})" for letter in LETTERS[: len(choices)])
    asked = task.phrase(problem)
    shown = all(f"{letter} {choice}" in asked for letter, choice in zip(letters, choices, strict=True))
    return (*choices, *letters) if shown else choices


def option_scores(
    problem: Problem, kind: PromptKind, scored: Scored, logps: Sequence[float], lengths: Sequence[int]
) -> OptionScores:
    """Score a problem's options by likelihood; among equals, the first is chosen.

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


def _option_ids(text: str, problem: Problem, prompts: Prompts) -> tuple[int, ...]:
    ids = prompts.completion_ids(text)[:-1]  # an option is not a whole answer: no end of turn
    if not ids:
        raise DataError(f"{problem.id}: one of its options is empty, so it has no likelihood")
    return ids
