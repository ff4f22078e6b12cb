"""completions.jsonl → pairs.jsonl: which of the student's own answers are preferred to which."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from srit.compared import refine_problems
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.stage import Stage, StageName
from srit.recipe import Pairs, Recipe
from srit.records import Completion, Demonstration, Pair, Problem, PromptKind
from srit.run_directory import Json
from srit.students.lengths import Asked, too_long

# A direct answer with fewer words than this before its final sentence has no chain of thought.
_BARE_WORDS = 4
_FINAL_SENTENCE = re.compile(r"\s*(so |therefore,? )?(the )?answer is[^.]*\.?\s*$", re.IGNORECASE)
Tokenize = Callable[[str], tuple[int, ...]]


def pairs_stage(recipe: Recipe, number: int) -> Stage:
    """Declare a round's pairs.jsonl."""
    name, problems = StageName("pairs", number), refine_problems(recipe)
    completions, pairs = f"round-{number}/completions.jsonl", f"{name}.jsonl"
    settings = recipe.model_dump(mode="json", include={"pairs"})
    return Stage(
        name=name,
        version=2,
        settings=settings | {"chat_template": recipe.student.chat_template},
        reads=("pairs",),
        inputs=(problems, "demonstrations.jsonl", completions),
        outputs=(pairs,),
        make=lambda inputs, out, context: _make_pairs(inputs, out, context, problems, completions, pairs),
    )


def _make_pairs(
    inputs: Inputs, out: Outputs, context: Context, problems_file: str, completions: str, pairs_file: str
) -> Mapping[str, Json]:
    problems = inputs.records(problems_file, Problem)
    pairs, counts = make_pairs(
        problems,
        inputs.records(completions, Completion),
        demonstrations_for(inputs, context, problems),
        inputs.recipe.pairs,
        context.texts.prompts.completion_ids,
    )
    out.records(pairs_file, pairs)
    return counts


def demonstrations_for(inputs: Inputs, context: Context, problems: Sequence[Problem]) -> list[Demonstration]:
    """Return the demonstrations of these problems that the student has room for; ids are unique only in their task."""
    wanted = {(problem.task, problem.id): problem for problem in problems}
    made = inputs.records("demonstrations.jsonl", Demonstration)
    shown = [d for d in made if (d.task, d.problem_id) in wanted]
    prompts, room = context.texts.prompts, context.texts.room
    if room is None or not room.hard:
        return shown
    kinds, answers = prompts_of(inputs.recipe.pairs.prompt), {d: len(prompts.completion_ids(d.text)) for d in shown}
    needs = (Asked(wanted[d.task, d.problem_id], kind, answers[d], "") for d in shown for kind in kinds)
    long = {(one.asked.problem.task, one.asked.problem.id) for one in too_long(needs, prompts, room)}
    return [d for d in shown if (d.task, d.problem_id) not in long]


class Side(NamedTuple):
    """One side of a pair."""

    text: str
    token_ids: tuple[int, ...]
    source: str  # "cot 2", "direct 0" or "demonstration"


def make_pairs(
    problems: Sequence[Problem],
    completions: Iterable[Completion],
    demonstrations: Iterable[Demonstration],
    settings: Pairs,
    tokenize: Tokenize,
) -> tuple[list[Pair], Counter[str]]:
    """Make the preference pairs of each problem, and count how many problems gave none and why.

    Args:
        tokenize: turns a demonstration's text into the ids of a completion, end of turn included.

    Returns:
        Pairs in problem order, and counts: "problems", "problems with pairs", "pairs", one
        "none: …" for each reason why a problem gave no pair, and one "left out: …" for each kind of answer.
    """
    counts: Counter[str] = Counter()
    by_problem: dict[str, list[Completion]] = {problem.id: [] for problem in problems}
    for completion in completions:
        by_problem[completion.problem_id].append(completion)
    shown = {d.problem_id: d for d in demonstrations if d.kept}
    pairs: list[Pair] = []
    for problem in problems:
        usable = list(_usable(by_problem[problem.id], counts))
        demonstration = shown.get(problem.id)
        fallback = (
            [] if demonstration is None else [Side(demonstration.text, tokenize(demonstration.text), "demonstration")]
        )
        made, reason = _pair_one(problem, usable, fallback, settings)
        counts[f"none: {reason}" if reason else "problems with pairs"] += 1
        pairs.extend(made)
    counts["problems"], counts["pairs"] = len(problems), len(pairs)
    return pairs, counts


def is_bare(text: str) -> bool:
    """Return whether an answer is given without a chain of thought."""
    return len(_FINAL_SENTENCE.sub("", text).split()) < _BARE_WORDS


def prompts_of(kind: str) -> tuple[PromptKind, ...]:
    """Return the prompts that pairs are conditioned on."""
    both: tuple[PromptKind, ...] = ("direct", "cot")
    return both if kind == "both" else tuple(prompt for prompt in both if prompt == kind)


def right_sides(completions: Iterable[Completion], limit: int) -> list[Side]:
    """Return up to `limit` distinct right answers to one problem, whichever prompt they were given to."""
    usable = _usable(completions, Counter())
    return _distinct(completion for completion in usable if completion.reward == 1)[:limit]


def _usable(completions: Iterable[Completion], counts: Counter[str]) -> Iterator[Completion]:
    for completion in completions:
        if completion.truncated:
            counts["left out: truncated"] += 1
        elif completion.verdict == "error":
            counts["left out: could not be judged"] += 1
        elif not completion.text.strip():
            counts["left out: empty"] += 1
        else:
            yield completion


def _pair_one(
    problem: Problem, completions: Sequence[Completion], fallback: list[Side], settings: Pairs
) -> tuple[list[Pair], str]:
    """Return the problem's pairs, or the reason why there are none."""
    if not completions:
        return [], "no usable answer"
    chosen = _chosen(completions, fallback, settings)
    rejected = _rejected(completions, settings)
    if not chosen:
        return [], "no right answer and no demonstration"
    if not rejected:
        return [], "nothing to reject: all answers are right"
    # Diagonal by diagonal: every answer is used before one is used again.
    grid = sorted(
        (i + j, i, j) for i in range(len(chosen)) for j in range(len(rejected)) if chosen[i].text != rejected[j].text
    )
    if not grid:
        return [], "chosen and rejected are the same text"
    sides = [(chosen[i], rejected[j]) for _, i, j in grid[: settings.pairs_per_problem]]
    return [
        Pair(
            problem_id=problem.id,
            task=problem.task,
            prompt=prompt,
            chosen=good.text,
            rejected=bad.text,
            chosen_ids=good.token_ids,
            rejected_ids=bad.token_ids,
            chosen_from=good.source,
            rejected_from=bad.source,
        )
        for prompt in prompts_of(settings.prompt)
        for good, bad in sides
    ], ""


def _chosen(completions: Sequence[Completion], fallback: list[Side], settings: Pairs) -> list[Side]:
    if settings.heuristic == "teacher":
        return fallback
    from_any_prompt = settings.heuristic == "correctness"
    right = [c for c in completions if c.reward == 1 and (from_any_prompt or c.prompt == "cot")]
    if not right:
        return fallback if settings.fallback == "demonstration" else []
    return _distinct(right)


def _rejected(completions: Sequence[Completion], settings: Pairs) -> list[Side]:
    wrong = [c for c in completions if c.reward == 0]
    bare = [c for c in completions if c.prompt == "direct" and is_bare(c.text)]
    if settings.heuristic != "cot" or settings.rejected == "wrong":
        return _distinct(wrong)
    if settings.rejected == "direct":
        return _distinct(bare)
    return _distinct([*wrong, *bare])


def _distinct(completions: Iterable[Completion]) -> list[Side]:
    sides = (Side(c.text, c.token_ids, f"{c.prompt} {c.index}") for c in completions)
    return list({side.text.strip(): side for side in reversed(list(sides))}.values())[::-1]
