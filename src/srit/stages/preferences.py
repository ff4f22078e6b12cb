"""pairs.jsonl and completions.jsonl → the groups of completions that stage 2 trains on."""

from __future__ import annotations

from collections.abc import Sequence

from srit.compute.rows import Group
from srit.recipe import Recipe
from srit.records import Completion, Pair, Problem, PromptKind
from srit.stages.pairs import prompts_of, right_sides
from srit.students.prompts import Prompts
from srit.training.preference import Preference


def make_preferences(
    problems: Sequence[Problem],
    pairs: Sequence[Pair],
    completions: Sequence[Completion],
    prompts: Prompts,
    recipe: Recipe,
    *,
    only_right: bool = False,
) -> list[Preference]:
    """Make the groups that stage 2 trains on, in problem order.

    Args:
        only_right: use no pairs, only the student's own right answers: the control of rejection-sampling fine-tuning.
    """
    with_right = only_right or (recipe.refine.nll_weight > 0 and recipe.refine.nll_on == "right")
    own: dict[str, list[Completion]] = {problem.id: [] for problem in problems}
    for completion in completions:
        own[completion.problem_id].append(completion)
    preferences = []
    for problem in problems:
        right = right_sides(own[problem.id], recipe.pairs.pairs_per_problem) if with_right else []
        for kind in prompts_of(recipe.pairs.prompt):
            of_prompt = [p for p in pairs if p.problem_id == problem.id and p.prompt == kind and not only_right]
            likely = [side.token_ids for side in right]
            if recipe.refine.nll_on == "chosen" and not only_right:
                likely = [pair.chosen_ids for pair in of_prompt]
            if of_prompt or likely:
                preferences.append(_preference(problem, kind, of_prompt, likely, prompts))
    return preferences


def _preference(
    problem: Problem,
    kind: PromptKind,
    pairs: Sequence[Pair],
    likely: Sequence[tuple[int, ...]],
    prompts: Prompts,
) -> Preference:
    sides = [ids for pair in pairs for ids in (pair.chosen_ids, pair.rejected_ids)]
    place = {ids: index for index, ids in enumerate(dict.fromkeys([*sides, *likely]))}
    return Preference(
        group=Group(prompts.problem_ids(problem, kind), tuple(place)),
        pairs=tuple((place[pair.chosen_ids], place[pair.rejected_ids]) for pair in pairs),
        likely=tuple(dict.fromkeys(place[ids] for ids in likely)),
    )
