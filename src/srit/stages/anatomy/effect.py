"""pairs.jsonl and the trained models → effect.json: how training changed the pairs' likelihoods and greedy answers.

It is made if `evaluate.pairs` asks for it: every model answers the round's problems once, and scores both sides of
every pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, compress
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple, get_args

from pydantic import TypeAdapter

from srit.errors import DataError
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.estimate import Work, refined_on, tokens_of
from srit.pipeline.stage import SAMPLES, SCORES, Stage, StageName
from srit.recipe import Recipe
from srit.recipe.compared import folder_of, models, refine_problems
from srit.recipe.rounds import RoundPart
from srit.records import Completion, Model, Pair, Problem
from srit.records.anatomy import Effect, Effects, Flips, Place, PlaceLogps, Side
from srit.records.anatomy import PairsOf as Rejects
from srit.run_directory import Json, checked, fault_of
from srit.samplers.asked import asked
from srit.stages.accepted import start_inputs, start_of
from srit.stages.anatomy.differences import places
from srit.stages.anatomy.pairs import rejects_likeliest
from srit.stages.anatomy.samples import ByProblem, by_problem
from srit.stages.lengths import LENGTHS
from srit.stages.predictions import Wanted, answers, computed_with
from srit.stages.refined.preferences import fitting_of
from srit.students.sources import ScoringWork, read_scores

if TYPE_CHECKING:
    from srit.compute.rows import Group

CHUNK = 128  # pairs that are committed together
SIDES: tuple[Side, ...] = get_args(Side)
PLACES: tuple[Place, ...] = get_args(Place)
REJECTS: tuple[Rejects, ...] = get_args(Rejects)

TokenLogps = Sequence[Sequence[Sequence[float]]]  # by pair, side and token, nats
Key = tuple[str, str]  # task and id of a problem


def effect_stage(recipe: Recipe, number: int) -> Stage:
    """Declare a round's effect.json."""
    name, problems = StageName("effect", number), refine_problems(recipe)
    trained, whole = _trained(recipe, number), RoundPart(number)
    settings = {
        **recipe.evaluate.model_dump(include={"max_new_tokens", "stop"}),
        **recipe.model_dump(mode="json", include={"seed", "sampler", "rows"}),
        **computed_with(recipe),
        **recipe.refine.model_dump(include={"max_length"}),
    }
    return Stage(
        name=name,
        version=1,
        settings=settings,
        reads=("seed", "rows", "evaluate.max_new_tokens", "evaluate.stop", "refine.max_length"),
        inputs=(problems, whole.completions, whole.pairs, *dict.fromkeys((*start_inputs(whole), *trained.values()))),
        outputs=(f"{name}.json",),
        make=lambda inputs, out, context: _make_effect(inputs, out, context, problems, whole, trained),
        work=lambda recipe: _work(recipe, len(trained)),
        computes=(*SAMPLES, *(field for field in SCORES if field not in SAMPLES)),
        after=(LENGTHS,),
    )


def _trained(recipe: Recipe, number: int) -> dict[Model, str]:
    """Return the models that were trained on a round's answers, each with its folder."""
    made = [m for m in models(recipe) if (m.kind == "refined" and m.round == number)]
    made += [m for m in models(recipe) if m.kind == "control" and number == 1]
    return {model: folder for model in made if (folder := folder_of(model)) is not None}


def _work(recipe: Recipe, n_trained: int) -> Work:
    most = recipe.evaluate.max_new_tokens  # scoring the pairs is not counted: it takes little next to the answers
    once = sum(n * tokens_of(recipe, use, "train", most).answer for use, n in refined_on(recipe))
    return Work(sampled=round((1 + n_trained) * once), loads=2 * (1 + n_trained))


def _make_effect(
    inputs: Inputs, out: Outputs, context: Context, file: str, whole: RoundPart, trained: Mapping[Model, str]
) -> Mapping[str, Json]:
    problems = inputs.records(file, Problem)
    pairs, groups = _trained_on(inputs, context, problems, inputs.records(whole.pairs, Pair))
    samples = by_problem(inputs.records(whole.completions, Completion))
    before = _measured(inputs, context, problems, groups, start_of(inputs, whole))
    found = [
        effect(model, pairs, samples, before, _measured(inputs, context, problems, groups, folder))
        for model, folder in trained.items()
    ]
    out.json(f"{whole.folder}/effect.json", _adapter().dump_python(Effects(tuple(found)), mode="json"))
    return {"pairs": len(pairs), **{f"margins grew, {one.model}": one.margins_grew for one in found}}


class Measured(NamedTuple):
    """One model on a round's pairs and problems."""

    logps: TokenLogps
    right: Mapping[Key, bool]  # greedy answers to the CoT prompt


def _measured(
    inputs: Inputs, context: Context, problems: Sequence[Problem], groups: Sequence[Group], folder: str
) -> Measured:
    from srit.compute.scoring import BATCH_TOKENS, ROW_TOKENS

    name, trained, plan = f"effect of {folder}", inputs.trained(folder), context.models.plan
    kept = context.partial / folder.replace("/", "-")
    wanted = Wanted(asked(problems, [("cot", range(1))]), 0.0)
    source = context.models.sampler(trained, inputs.recipe.rows)
    said = answers(inputs.recipe, context, source, wanted, kept / "greedy", name)
    work = ScoringWork(context.models.frozen(trained), plan.rows, ROW_TOKENS, BATCH_TOKENS, by_token=True)
    chunks = {f"pairs-{at // CHUNK:05d}.json": groups[at : at + CHUNK] for at in range(0, len(groups), CHUNK)}
    sizes = {chunk: len(members) for chunk, members in chunks.items()}
    scored = context.map_once(work, chunks, kept=kept, sizes=sizes, what=name)
    tokens = chain.from_iterable(map(read_scores, scored))
    chosen = (len(group.completions[0]) for group in groups)
    logps = [(of[:n], of[n:]) for n, of in zip(chosen, tokens, strict=True)]
    return Measured(logps, {(p.task, p.problem_id): p.verdict == "right" for p in said})


def _trained_on(
    inputs: Inputs, context: Context, problems: Sequence[Problem], pairs: Sequence[Pair]
) -> tuple[list[Pair], list[Group]]:
    """Return the pairs that are not too long to train on, and what is scored of each."""
    fitting, groups = fitting_of(context, inputs.recipe.refine), _groups(context, problems, pairs)
    fit = [fitting.fits(_longest(group), pair.problem_id) for pair, group in zip(pairs, groups, strict=True)]
    return list(compress(pairs, fit)), list(compress(groups, fit))


def _longest(group: Group) -> int:
    return len(group.prompt_ids) + max(map(len, group.completions))


def _groups(context: Context, problems: Sequence[Problem], pairs: Sequence[Pair]) -> list[Group]:
    from srit.compute.rows import Group

    asked, prompts = {(problem.task, problem.id): problem for problem in problems}, context.texts.prompts
    return [
        Group(prompts.problem_ids(asked[pair.task, pair.problem_id], pair.prompt), (pair.chosen_ids, pair.rejected_ids))
        for pair in pairs
    ]


def effect(model: Model, pairs: Sequence[Pair], samples: ByProblem, before: Measured, after: Measured) -> Effect:
    """Compare a model with the one from which it was trained.

    Args:
        samples: those of the round, from which the pairs were made.
    """
    margins = [_margin(*logps) for logps in zip(before.logps, after.logps, strict=True)]
    return Effect(
        model=model,
        pairs=len(pairs),
        margins_grew=sum(margin > 0 for margin in margins),
        places=tuple(_places(pairs, before.logps, after.logps)),
        flips=tuple(_flips(pairs, samples, margins, before.right, after.right)),
    )


def _margin(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]) -> float:
    """Return how much chosen gained on rejected, in nats."""
    chosen, rejected = (sum(after[side]) - sum(before[side]) for side in range(len(SIDES)))
    return chosen - rejected


def _places(pairs: Sequence[Pair], before: TokenLogps, after: TokenLogps) -> Iterator[PlaceLogps]:
    found: dict[tuple[Side, Place], list[tuple[float, float]]] = {}
    for pair, was, now in zip(pairs, before, after, strict=True):
        sides = (places(pair.chosen_ids, pair.rejected_ids), places(pair.rejected_ids, pair.chosen_ids))
        for side, of_side, *logps in zip(SIDES, sides, was, now, strict=True):
            for place, *both in zip(of_side, *logps, strict=True):
                found.setdefault((side, place), []).append((both[0], both[1]))
    for side in SIDES:
        for place in PLACES:
            if tokens := found.get((side, place)):
                yield PlaceLogps(side, place, len(tokens), *map(fmean, zip(*tokens, strict=True)))


def _flips(
    pairs: Sequence[Pair],
    samples: ByProblem,
    margins: Sequence[float],
    before: Mapping[Key, bool],
    after: Mapping[Key, bool],
) -> Iterator[Flips]:
    of_problem: dict[Key, list[float]] = {}
    for pair, margin in zip(pairs, margins, strict=True):
        of_problem.setdefault((pair.task, pair.problem_id), []).append(margin)
    likeliest = {(pair.task, pair.problem_id) for pair in pairs if rejects_likeliest(pair, samples)}
    rejects = {
        key: REJECTS[0] if key in likeliest else REJECTS[1] if key in of_problem else REJECTS[2] for key in before
    }
    for kind in REJECTS:
        keys = [key for key in before if rejects[key] == kind]
        wrong = [key for key in keys if not before[key]]
        fixed = [key for key in wrong if after[key]]
        stayed = [key for key in wrong if not after[key]]
        grew = {key: fmean(of_problem[key]) for key in keys if key in of_problem}
        yield Flips(
            pairs=kind,
            problems=len(keys),
            wrong_before=len(wrong),
            fixed=len(fixed),
            broken=sum(before[key] and not after[key] for key in keys),
            auc=auc([grew[key] for key in fixed if key in grew], [grew[key] for key in stayed if key in grew]),
        )


def auc(higher: Sequence[float], lower: Sequence[float]) -> float | None:
    """Return the chance that one of `higher` is above one of `lower`, ties counting half; None if either is empty.

    Source: Mann and Whitney 1947, doi 10.1214/aoms/1177730491.
    """
    if not higher or not lower:
        return None
    above = sum((a > b) + (a == b) / 2 for a in higher for b in lower)
    return above / (len(higher) * len(lower))


def read_effects(path: Path) -> Effects:
    """Read an effect.json.

    Raises:
        DataError: it is missing or damaged; names the field at fault.
    """
    try:
        return checked(path.read_bytes(), _adapter())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}: set evaluate.pairs and rerun the run's command") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({fault_of(error)}): delete it and rerun the run's command") from None


@cache
def _adapter() -> TypeAdapter[Effects]:
    return TypeAdapter(Effects)
