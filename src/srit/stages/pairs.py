"""completions.jsonl → pairs.jsonl: which of the student's own answers are preferred to which."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.stage import Stage, StageName
from srit.recipe import Pairs, Recipe
from srit.recipe.compared import refine_problems
from srit.recipe.former import without_later
from srit.recipe.rounds import RoundPart
from srit.records import Completion, Demonstration, Pair, Problem, PromptKind
from srit.records.own import key_of, with_own
from srit.run_directory import Json
from srit.students.lengths import Needed, bound_of, most_tokens, too_long

# A direct answer with fewer words than this before its final sentence has no chain of thought.
_BARE_WORDS = 4
ALL_RIGHT = "nothing to reject: all answers are right"  # why a problem gives no pair
SOLVED = 0.75  # share of such problems above which a run warns, a choice: docs/choosing.md has the runs behind it
_FINAL_SENTENCE = re.compile(r"\s*(so |therefore,? )?(the )?answer is(?:[^.\n]|\.(?=\S))*\.?\s*$", re.IGNORECASE)
Tokenize = Callable[[str], tuple[int, ...]]
Demonstrated = Callable[[Problem], Demonstration | None]


def pairs_stage(recipe: Recipe, part: RoundPart) -> Stage:
    """Declare the pairs of a round, or of a part of it."""
    problems = refine_problems(recipe)
    return Stage(
        name=StageName("pairs", part.round, part=part.shown),
        version=3,
        settings=pair_settings(recipe) | part.settings,
        reads=PAIR_FIELDS,
        inputs=(problems, "demonstrations.jsonl", part.completions),
        outputs=(part.pairs,),
        make=lambda inputs, out, context: _make_pairs(inputs, out, context, problems, part),
    )


PAIR_FIELDS = ("pairs", "refine.max_length")  # of the recipe, from which pairs are made


def pair_settings(recipe: Recipe) -> dict[str, Json]:
    """Return what shapes pairs, as a stage's settings."""
    return {
        "pairs": without_later(recipe.pairs.model_dump(mode="json")),
        "chat_template": recipe.student.chat_template,
        **recipe.refine.model_dump(include={"max_length"}),
    }


def _make_pairs(inputs: Inputs, out: Outputs, context: Context, file: str, part: RoundPart) -> Mapping[str, Json]:
    counts: Counter[str] = Counter()
    pairs = each_pair(
        part.problems(inputs.filed(file, Problem)),
        inputs.each_record(part.completions, Completion),
        demonstrations_for(inputs, context),
        inputs.recipe.pairs,
        context.texts.prompts.completion_ids,
        counts,
    )
    out.records(part.pairs, pairs)
    if part.number == 1 and (line := little_left(counts)):
        context.reports.check("something is left to learn", False, line)
    return counts


def little_left(counts: Mapping[str, int]) -> str:
    """Return a warning if the student solves nearly all problems already; "" if not.

    Args:
        counts: those of `each_pair`.
    """
    solved, n = counts.get(f"none: {ALL_RIGHT}", 0), counts["problems"]
    if solved <= SOLVED * n:
        return ""
    return (
        f"{solved} of {n} problems got only right answers: little is left to learn, and stage 2 may lose what stage 1 "
        "learned: use harder problems, or lower refine.learning_rate (docs/choosing.md)"
    )


def demonstrations_for(inputs: Inputs, context: Context) -> Demonstrated:
    """Return a function that finds a problem's kept demonstration, if it is not too long to train on."""
    kept = inputs.grouped("demonstrations.jsonl", Demonstration, key_of, lambda demonstration: demonstration.kept)
    prompts, room = context.texts.prompts, context.texts.room
    bound = bound_of(room, inputs.recipe.refine.max_length, "refine")
    always = room is not None and room.hard  # otherwise only what is large: stage 2 leaves out what is too long
    kinds = prompts_of(inputs.recipe.pairs.prompt)

    def found(problem: Problem) -> Demonstration | None:
        of_problem = kept.of(key_of(problem))
        if not of_problem:
            return None
        text = of_problem[-1].text
        if bound is not None and (always or most_tokens(text) > bound.tokens):
            tokens = len(prompts.completion_ids(text))
            if too_long((Needed(problem, kind, tokens, "") for kind in kinds), prompts, bound.tokens):
                return None
        return of_problem[-1]

    return found


class Side(NamedTuple):
    """One side of a pair."""

    text: str
    token_ids: tuple[int, ...]
    source: str  # "cot 2", "direct 0" or "demonstration"


def make_pairs(
    problems: Iterable[Problem],
    completions: Iterable[Completion],
    shown: Demonstrated,
    settings: Pairs,
    tokenize: Tokenize,
) -> tuple[list[Pair], Counter[str]]:
    """Return the pairs of `each_pair`, and its counts."""
    counts: Counter[str] = Counter()
    return list(each_pair(problems, completions, shown, settings, tokenize, counts)), counts


def each_pair(
    problems: Iterable[Problem],
    completions: Iterable[Completion],
    shown: Demonstrated,
    settings: Pairs,
    tokenize: Tokenize,
    counts: Counter[str],
) -> Iterator[Pair]:
    """Yield the preference pairs of each problem, and count how many problems gave none and why.

    Args:
        completions: in the order of the problems.
        tokenize: turns a demonstration's text into the ids of a completion, end of turn included.
        counts: gets "problems", "problems with pairs", "pairs", one "none: …" for each reason why a problem gave no
            pair, and one "left out: …" for each kind of answer.
    """
    n = n_pairs = 0
    for problem, own in with_own(problems, completions):
        answers, demonstration = list(usable(own, counts)), shown(problem)
        fallback = (
            [] if demonstration is None else [Side(demonstration.text, tokenize(demonstration.text), "demonstration")]
        )
        made, reason = _pair_one(problem, answers, fallback, settings)
        counts[f"none: {reason}" if reason else "problems with pairs"] += 1
        yield from _some_swapped(problem, made, settings.swapped)
        n, n_pairs = n + 1, n_pairs + len(made)
    counts["problems"], counts["pairs"] = n, n_pairs


def _some_swapped(problem: Problem, pairs: Sequence[Pair], share: float) -> Iterator[Pair]:
    """Exchange the sides of some of a problem's pairs, each with the same probability."""
    draw = Random(f"swapped/{problem.task}/{problem.id}")
    for pair in pairs:
        yield _swap(pair) if draw.random() < share else pair


def _swap(pair: Pair) -> Pair:
    return replace(
        pair,
        chosen=pair.rejected,
        rejected=pair.chosen,
        chosen_ids=pair.rejected_ids,
        rejected_ids=pair.chosen_ids,
        chosen_from=pair.rejected_from,
        rejected_from=pair.chosen_from,
    )


def is_bare(text: str) -> bool:
    """Return whether an answer is given without a chain of thought."""
    return len(_FINAL_SENTENCE.sub("", text).split()) < _BARE_WORDS


def prompts_of(kind: str) -> tuple[PromptKind, ...]:
    """Return the prompts that pairs are conditioned on."""
    both: tuple[PromptKind, ...] = ("direct", "cot")
    return both if kind == "both" else tuple(prompt for prompt in both if prompt == kind)


def right_sides(completions: Iterable[Completion], settings: Pairs) -> list[Side]:
    """Return up to `pairs_per_problem` right answers to one problem, whichever prompt they were given to."""
    right = [completion for completion in usable(completions, Counter()) if completion.reward == 1]
    return _sides(right, settings)[: settings.pairs_per_problem]


def usable(completions: Iterable[Completion], counts: Counter[str]) -> Iterator[Completion]:
    """Yield the answers that can be learned from, and count the others by what is wrong with them."""
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
        return [], ALL_RIGHT
    # Diagonal by diagonal: every answer is used before one is used again.
    grid = sorted(
        (i + j, i, j)
        for i, good in enumerate(chosen)
        for j, bad in enumerate(rejected)
        if good.text.strip() != bad.text.strip()
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
    return _sides(right, settings)


def _rejected(completions: Sequence[Completion], settings: Pairs) -> list[Side]:
    wrong = [c for c in completions if c.reward == 0]
    bare = [c for c in completions if c.prompt == "direct" and is_bare(c.text)]
    if settings.heuristic != "cot" or settings.rejected == "wrong":
        found = wrong
    elif settings.rejected == "direct":
        found = bare
    else:
        found = [*wrong, *bare]
    if settings.rejected_by == "sampled":
        return _sides(found, settings)
    ordered = sorted(found, key=lambda c: c.logp, reverse=settings.rejected_by == "likeliest")
    return _first_of_each(ordered) if settings.distinct else _sides(ordered, settings)


def _sides(completions: Iterable[Completion], settings: Pairs) -> list[Side]:
    """Return answers as sides: each text once, at its last place but with the first one's ids, or every time."""
    sides = list(map(_side, completions))
    if not settings.distinct:
        return list(dict.fromkeys(sides))  # a wrong and bare answer was found twice
    return list({side.text.strip(): side for side in reversed(sides)}.values())[::-1]


def _first_of_each(completions: Iterable[Completion]) -> list[Side]:
    """Return each text once, at its first place."""
    found: dict[str, Side] = {}
    for completion in completions:
        found.setdefault(completion.text.strip(), _side(completion))
    return list(found.values())


def _side(completion: Completion) -> Side:
    return Side(completion.text, completion.token_ids, f"{completion.prompt} {completion.index}")
