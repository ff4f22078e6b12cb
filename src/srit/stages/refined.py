"""pairs.jsonl → refined/: stage 2, preference optimization on the student's own answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from srit.compared import refine_problems
from srit.errors import TrainingError
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.estimate import Work, refined_on, tokens_of, training, writes_solutions
from srit.pipeline.stage import TRAINS, Stage, StageName
from srit.recipe import LOSS_FIELDS, Recipe, with_former
from srit.records import Completion, Pair, Problem, PromptKind
from srit.run_directory import Json
from srit.stages.accepted import start_inputs, start_of
from srit.stages.instructed import save_trained
from srit.stages.pairs import prompts_of, right_sides
from srit.students.prompts import Prompts
from srit.students.sources import ScoringWork, read_scores

if TYPE_CHECKING:
    from srit.training.preference import Preference


# Nats per token between sampler and trainer. Rounding alone: float32 1e-5; bfloat16 4e-3, and up to 0.03 for an adapter
# so little trained that rounding hides what it adds. Another model instead of the instructed one: 0.15 or more.
AGREEMENT = {"float32": 0.02, "bfloat16": 0.05}
AGREEMENT_SAMPLES = 16

# For estimates: the share of problems with something to learn from, and how many distinct answers these had, as a share
# of the most that they could have. Measured over the 960 and the 600 problems
# of two runs of the quickstart's tasks with SmolLM2-135M, 3 CoT answers and 1 direct each, 2 pairs at most.
SHARES_OF_PAIRS = (0.51, 0.65)
SHARES_WITH_RIGHT = (0.77, 0.53)  # where own right answers are learned as well, pairs or not
# With other teachers answers are longer and hardly ever equal, and between half and 92 % of the problems gave pairs
# (studies/in-domain and studies/families): all are counted, so that the estimate is rather too high.
SHARES_AT_MOST = (1.0, 1.0)


def refined_stage(recipe: Recipe, number: int) -> Stage:
    """Declare a round's refined/."""
    name, problems = StageName("refined", number), refine_problems(recipe)
    inputs = (problems, f"round-{number}/completions.jsonl", f"round-{number}/pairs.jsonl")
    return Stage(
        name=name,
        version=2,
        settings=refinement(recipe, {"seed", "student", "pairs"}),
        reads=("seed", "student", "pairs", *refine_fields(recipe)),
        inputs=(*inputs, *start_inputs(number)),
        outputs=(str(name), f"{name}.json"),
        make=lambda inputs, out, context: make_refined(inputs, out, context, problems, number, str(name)),
        work=refining,
        computes=TRAINS,
    )


def refining(recipe: Recipe) -> Work:
    """Return the work of one round of stage 2."""
    with_right = recipe.refine.nll_weight > 0 and recipe.refine.nll_on == "right"
    known = SHARES_WITH_RIGHT if with_right else SHARES_OF_PAIRS
    learned, distinct = known if writes_solutions(recipe) else SHARES_AT_MOST
    sides = distinct * min(2 * recipe.pairs.pairs_per_problem, recipe.sample.direct + recipe.sample.cot)
    share = learned * len(prompts_of(recipe.pairs.prompt))
    tokens = n = 0.0
    for use, problems in refined_on(recipe):
        prompt, answer = tokens_of(recipe, use, "train", recipe.sample.max_new_tokens)
        n += share * problems
        tokens += share * problems * (prompt + sides * answer)
    return training(recipe.refine, round(n), tokens, loads=2)  # loaded to score its start, and again to train


def refinement(recipe: Recipe, also: set[str]) -> Json:
    """Return the settings of stage 2 and others of the recipe, without the one that decides on its outcome."""
    refine = with_former(LOSS_FIELDS, recipe.refine, without="accept")
    return recipe.model_dump(mode="json", include=also) | {"refine": refine}


def refine_fields(recipe: Recipe) -> tuple[str, ...]:
    """Return the fields that `refinement` has, as `Stage.reads` names them."""
    return tuple(f"refine.{field}" for field in type(recipe.refine).model_fields if field != "accept")


def make_refined(
    inputs: Inputs, out: Outputs, context: Context, file: str, number: int, name: str, *, only_right: bool = False
) -> Mapping[str, Json]:
    """Train a model on a round's pairs, write it, and return counts.

    Args:
        file: of the problems.
        name: of the output.
        only_right: train on own right answers alone, for as many tokens as the pairs would take.

    Raises:
        TrainingError: there is nothing to train on, or the start is not the model that was sampled from.
    """
    from srit.training.losses import loss_of_equals
    from srit.training.preference import refine

    recipe, problems = inputs.recipe, inputs.records(file, Problem)
    completions = inputs.records(f"round-{number}/completions.jsonl", Completion)
    pairs = inputs.records(f"round-{number}/pairs.jsonl", Pair)
    preferences, max_tokens = _trained_on(problems, pairs, completions, context, recipe, only_right=only_right)
    agreement, reference = _before(inputs, context, problems, completions, preferences, number)
    start = partial(context.models.trainable, inputs.path(start_of(inputs, number)))
    work = partial(
        refine,
        preferences=preferences,
        reference=reference,
        settings=recipe.refine,
        preference_weight=0.0 if only_right else 1.0,
        max_tokens=max_tokens,
        rows=context.models.plan.rows,
        seed=f"{recipe.seed}/{name}",
        checkpoints=context.partial,
    )
    model, history = context.train(start, work, name)
    invariants = [agreement]
    wanted, first = loss_of_equals(recipe.refine), history[0]
    if first["chosen_logps"] and wanted is not None:  # it had pairs, and a loss that knows a reference
        loss = first["preference_loss"]
        line = f"step 0: preference loss {loss:.4f}, and {wanted:.4f} where policy and reference are the same"
        invariants.append(context.reports.check("the policy starts from its reference", True, line))
    save_trained(out, context, model, name)
    out.json(f"{name}.json", {"history": history, "invariants": invariants})
    tokens = sum(metrics["tokens"] for metrics in history)
    return {"groups": len(preferences), "steps": len(history), "tokens": tokens}


def _trained_on(
    problems: Sequence[Problem],
    pairs: Sequence[Pair],
    completions: Sequence[Completion],
    context: Context,
    recipe: Recipe,
    *,
    only_right: bool,
) -> tuple[list[Preference], int | None]:
    """Return the groups of the training, and the tokens after which it ends; None: after its epochs."""
    from srit.training.preference import n_row_tokens

    prompts = context.texts.prompts
    preferences = make_preferences(problems, pairs, completions, prompts, recipe)
    if not preferences:
        raise TrainingError("no problem gave a pair or a right answer: there is nothing to refine on")
    if not only_right:
        return preferences, None
    max_tokens = n_row_tokens(preferences, recipe.refine)
    preferences = make_preferences(problems, [], completions, prompts, recipe, only_right=True)
    if not preferences:
        raise TrainingError("no own answer is right: there is nothing for the control to train on")
    return preferences, max_tokens


def _before(
    inputs: Inputs,
    context: Context,
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    preferences: Sequence[Preference],
    number: int,
) -> tuple[Json, list[list[float]]]:
    """Check that the model before its first step is the one that was sampled from, and score the groups with it.

    Returns:
        The check, and the reference's log-probabilities: a list for each group, empty if it has no pairs.
    """
    from srit.compute.scoring import BATCH_TOKENS
    from srit.training.preference import answer_groups, disagreement

    some = completions[:: max(1, len(completions) // AGREEMENT_SAMPLES)][:AGREEMENT_SAMPLES]
    plan, start = context.models.plan, start_of(inputs, number)
    source = context.models.reference(inputs.trained(start))
    work = ScoringWork(source, plan.rows, inputs.recipe.refine.row_tokens, BATCH_TOKENS)
    items = {
        "agreement.json": answer_groups(some, {problem.id: problem for problem in problems}, context.texts.prompts),
        "reference-logps.json": [preference.group for preference in preferences if preference.pairs],
    }
    sizes = {name: len(groups) for name, groups in items.items()}
    sampled, paired = map(read_scores, context.map_once(work, items, sizes=sizes, what=f"reference of {start}"))
    context.engine.release()  # the training loads a model of its own
    gap = disagreement(some, sampled)
    if gap > AGREEMENT[plan.dtype]:
        raise TrainingError(
            f"sampler and trainer differ by {gap:.3f} nats a token on {len(some)} answers of round-{number}, and by "
            f"{AGREEMENT[plan.dtype]} at most where they compute one model: was {start} or the chat "
            "template replaced after the answers were sampled?"
        )
    line = f"sampler and trainer agree on {len(some)} answers: {gap:.0e} nats a token apart"
    scores = iter(paired)
    reference = [next(scores) if preference.pairs else [] for preference in preferences]
    return context.reports.check("sampler and trainer agree", True, line), reference


def make_preferences(
    problems: Sequence[Problem],
    pairs: Sequence[Pair],
    completions: Sequence[Completion],
    prompts: Prompts,
    recipe: Recipe,
    *,
    only_right: bool = False,
) -> list[Preference]:
    """Return the groups that stage 2 trains on, in problem order.

    Args:
        only_right: no pairs, only own right answers: the control of rejection-sampling fine-tuning.
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
    from srit.compute.rows import Group
    from srit.training.preference import Preference

    sides = [ids for pair in pairs for ids in (pair.chosen_ids, pair.rejected_ids)]
    place = {ids: index for index, ids in enumerate(dict.fromkeys([*sides, *likely]))}
    return Preference(
        group=Group(prompts.problem_ids(problem, kind), tuple(place)),
        pairs=tuple((place[pair.chosen_ids], place[pair.rejected_ids]) for pair in pairs),
        likely=tuple(dict.fromkeys(place[ids] for ids in likely)),
    )
