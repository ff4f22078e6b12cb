"""pairs.jsonl → refined/: stage 2, preference optimization on the student's own answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from srit.errors import TrainingError
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.estimate import Work, refined_on, tokens_of, training, writes_solutions
from srit.pipeline.stage import TRAINS, Stage, StageName
from srit.recipe import Recipe, Refine
from srit.recipe.compared import refine_problems
from srit.recipe.former import LOSS_FIELDS, with_former, without_later
from srit.recipe.rounds import RoundPart
from srit.run_directory import Json
from srit.stages.accepted import start_inputs, start_of
from srit.stages.instructed import save_trained
from srit.stages.pairs import prompts_of
from srit.stages.refined.preferences import fitting_of, learns_right, preferences_of
from srit.stages.refined.reference import reference_of, referenced
from srit.training.losses import loss_kind, loss_of_equals

if TYPE_CHECKING:
    from srit.training.loop import Leg, Metrics

# For estimates: the share of problems with something to learn from, and how many distinct answers these had, as a
# share of the most that they could have. Measured over the 960 and the 600 problems of two runs of the quickstart's
# tasks with SmolLM2-135M, 3 CoT answers and 1 direct each, 2 pairs at most.
SHARES_OF_PAIRS = (0.51, 0.65)
SHARES_WITH_RIGHT = (0.77, 0.53)  # if own right answers are learned as well, with or without pairs
# With other teachers answers are longer and hardly ever equal. Between half and all of the problems gave pairs
# (studies/in-domain and studies/families); where the demonstration is the only right answer, they have three of four.
SHARES_OTHERWISE = (0.8, 0.8)


def refined_stage(recipe: Recipe, part: RoundPart) -> Stage:
    """Declare the refined model of a round, or the model after a part of it."""
    name, problems = StageName("refined", part.round, part=0 if part.is_last else part.shown), refine_problems(recipe)
    earlier = part.earlier if part.is_last else []  # whose steps the round's log has too
    return Stage(
        name=name,
        version=2,
        settings=refinement(recipe, {"seed", "student"}) | part.settings,
        reads=("seed", "student", "pairs", *refine_fields(recipe)),
        inputs=_inputs(recipe, part, problems, earlier),
        outputs=(part.refined, f"{name}.json", *([] if part.is_last else [part.optimizer])),
        make=lambda inputs, out, context: make_refined(
            inputs, out, context, inputs.recipe.refine, file=problems, part=part, name=str(name)
        ),
        work=lambda recipe: refining(recipe, part),
        computes=TRAINS,
        spends=_optimizer(part),
        shows=tuple(StageName("refined", one.round, part=one.shown) for one in earlier),
    )


def _inputs(recipe: Recipe, part: RoundPart, problems: str, earlier: Sequence[RoundPart]) -> tuple[str, ...]:
    answers = (problems, part.completions, part.pairs)
    models = (*start_inputs(part), *start_inputs(reference_of(recipe.refine, part)))
    logs = (f"{one.folder}/refined.json" for one in earlier)
    return tuple(dict.fromkeys((*answers, *models, *_optimizer(part), *logs)))


def _optimizer(part: RoundPart) -> tuple[str, ...]:
    """Return the file of the optimizer's state with which a part continues; none for the first."""
    return () if part.before is None else (part.before.optimizer,)


def refining(recipe: Recipe, part: RoundPart) -> Work:
    """Return the work of a round of stage 2, or of a part of it."""
    known = SHARES_WITH_RIGHT if learns_right(recipe.refine) else SHARES_OF_PAIRS
    learned, distinct = known if writes_solutions(recipe) else SHARES_OTHERWISE
    sides = distinct * _most_answers(recipe)
    share = learned * len(prompts_of(recipe.pairs.prompt))
    tokens = n = 0.0
    for use, problems in refined_on(recipe):
        prompt, answer = tokens_of(recipe, use, "train", recipe.sample.max_new_tokens)
        n += share * problems
        tokens += share * problems * (prompt + sides * answer)
    n, tokens = n / part.parts, tokens / part.parts
    scored = round(tokens) if loss_kind(recipe.refine.loss).has_reference else 0
    # Loaded to score its start, and again to train.
    return training(recipe.refine, round(n), tokens, loads=2)._replace(scored=scored)


def _most_answers(recipe: Recipe) -> int:
    """Return the largest number of answers to a problem that can be learned from."""
    kind, samples, pairs = loss_kind(recipe.refine.loss), recipe.sample.direct + recipe.sample.cot, recipe.pairs
    most = samples if kind.token_loss else (2 if kind.loss else 1) * pairs.pairs_per_problem
    return min(most, samples)


def refinement(recipe: Recipe, also: set[str]) -> dict[str, Json]:
    """Return the settings of stage 2, of pairs and others, without the one that decides whether to accept it."""
    refine = without_later(with_former(LOSS_FIELDS, recipe.refine, without="accept"))
    pairs = without_later(recipe.pairs.model_dump(mode="json"))
    return recipe.model_dump(mode="json", include=also) | {"pairs": pairs, "refine": refine}


def refine_fields(recipe: Recipe) -> tuple[str, ...]:
    """Return the fields that `refinement` has, as `Stage.reads` names them."""
    return tuple(f"refine.{field}" for field in type(recipe.refine).model_fields if field != "accept")


def make_refined(
    inputs: Inputs,
    out: Outputs,
    context: Context,
    settings: Refine,
    *,
    file: str,
    part: RoundPart,
    name: str,
    max_tokens: int | None = None,
) -> Mapping[str, Json]:
    """Train a model on the answers of a round or of a part of it, write it, and return counts.

    Args:
        settings: of the training; the recipe's, or those of a control.
        file: that of the problems.
        name: of the model's folder and of its log.
        max_tokens: as in `preference.refine`.

    Raises:
        TrainingError: there is nothing to train on, or the start is not the model that was sampled from.
        DataError: more than a fifth of the answers are too long.
    """
    from srit.training.preference import refine

    fitting = fitting_of(context, settings)
    preferences = preferences_of(inputs, context, settings, file, part, fitting)
    if line := fitting.told("answers"):
        context.reports.check("answers fit", False, line)
    if not preferences and not part.shown:
        advice = "remove right from controls" if name.startswith("controls/") else _NOTHING
        raise TrainingError(f"{name}: no problem gave a pair or a right answer: {advice}")
    agreement, reference = referenced(inputs, context, preferences, settings, file, part)
    start = partial(context.trainable, inputs.trained(start_of(inputs, part)))
    is_reference = reference_of(settings, part) == part
    work = partial(
        refine,
        preferences=preferences,
        reference=reference,
        settings=settings,
        max_tokens=max_tokens,
        rows=context.models.plan.rows,
        budget=context.models.budget,
        seed=f"{inputs.recipe.seed}/{name}",
        checkpoints=context.partial,
        leg=_leg(inputs, out, part),
        is_reference=is_reference,
    )
    model, history = context.train(start, work, name)
    checks = [agreement, *(_starts(context, settings, history[:1]) if is_reference else ())]
    save_trained(out, context, model, name)
    groups = len(preferences)
    if part.is_last:
        groups += sum(int(entry.counts["groups"]) for entry in inputs.entries.values())
        history = _of_round(inputs, part, history)
    out.json(f"{name}.json", {"history": history, "invariants": checks})
    tokens = sum(metrics["tokens"] for metrics in history)
    left_out = {"left out: too long": fitting.n_long} if fitting.n_long else {}
    return {"groups": groups, "steps": len(history), "tokens": tokens} | left_out


def _leg(inputs: Inputs, out: Outputs, part: RoundPart) -> Leg:
    from srit.training.loop import Leg

    before = inputs.path(part.before.optimizer) if part.before else None
    after = None if part.is_last else out.path(part.optimizer)
    return Leg(part.number, part.of, before, after)


def _starts(context: Context, settings: Refine, first: Sequence[Mapping[str, float]]) -> list[Json]:
    """Return the check that a training's first step was taken at its reference; [] if it has none."""
    wanted = loss_of_equals(settings)
    if wanted is None or not any(metrics["chosen_logps"] for metrics in first):  # without pairs nothing is compared
        return []
    loss = first[0]["preference_loss"]
    line = f"step 0: preference loss {loss:.4f}, and {wanted:.4f} where policy and reference are the same"
    return [context.reports.check("the policy starts from its reference", True, line)]


def _of_round(inputs: Inputs, part: RoundPart, history: Sequence[Metrics]) -> list[Metrics]:
    """Return the steps of all parts of a round, numbered from 0.

    Raises:
        TrainingError: there is none.
    """
    before = [step for one in part.earlier for step in inputs.json(f"{one.folder}/refined.json")["history"]]
    steps: list[Metrics] = [{**step, "step": float(number)} for number, step in enumerate([*before, *history])]
    if not steps:
        raise TrainingError(f"no part of the round gave a pair or a right answer: {_NOTHING}")
    return steps


_NOTHING = (
    "there is nothing to refine on. Use problems that the student sometimes gets right, or train it longer "
    "(instruct.epochs), or sample more answers (sample.direct, sample.cot)"
)
