"""pairs.jsonl → refined/: stage 2, preference optimization on the student's own answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, tee
from typing import TYPE_CHECKING, NamedTuple

from srit.compute.mapping import Later
from srit.errors import TrainingError
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.estimate import Work, refined_on, tokens_of, training, writes_solutions
from srit.pipeline.stage import TRAINS, Stage, StageName
from srit.recipe import Pairs, Recipe, Referenced, Refine
from srit.recipe.compared import refine_problems
from srit.recipe.former import LOSS_FIELDS, with_former, without_later
from srit.recipe.rounds import RoundPart
from srit.records import Completion, Pair, Problem
from srit.records.own import with_own
from srit.run_directory import Json, Scratch
from srit.stages.accepted import start_inputs, start_of
from srit.stages.instructed import save_trained
from srit.stages.pairs import prompts_of, right_sides, usable
from srit.students.lengths import Fitting, bound_of
from srit.students.prompts import Prompts
from srit.students.sources import ScoringWork, read_scores
from srit.training.losses import loss_kind, loss_of_equals

if TYPE_CHECKING:
    from srit.compute.rows import Group
    from srit.training.loop import Leg, Metrics
    from srit.training.objective import Preference

TokenIds = tuple[int, ...]

# Nats per token between sampler and trainer. Rounding alone: float32 1e-5; bfloat16 4e-3, and up to 0.03 for an adapter
# so little trained that rounding hides what it adds. Another model instead of the instructed one: 0.15 or more.
AGREEMENT = {"float32": 0.02, "bfloat16": 0.05}
AGREEMENT_SAMPLES = 16
SCORED_TOGETHER = 65_536  # groups

# For estimates: the share of problems with something to learn from, and how many distinct answers these had, as a share
# of the most that they could have. Measured over the 960 and the 600 problems
# of two runs of the quickstart's tasks with SmolLM2-135M, 3 CoT answers and 1 direct each, 2 pairs at most.
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
        shows=tuple(StageName("refined", one.round, part=one.shown) for one in earlier),
    )


def _inputs(recipe: Recipe, part: RoundPart, problems: str, earlier: Sequence[RoundPart]) -> tuple[str, ...]:
    answers = (problems, part.completions, part.pairs)
    models = (*start_inputs(part), *start_inputs(reference_of(recipe.refine, part)))
    optimizer = () if part.before is None else (part.before.optimizer,)
    logs = (f"{one.folder}/refined.json" for one in earlier)
    return tuple(dict.fromkeys((*answers, *models, *optimizer, *logs)))


def reference_of(settings: Refine, part: RoundPart) -> RoundPart:
    """Return the part whose starting model is the reference."""
    at_start = isinstance(settings, Referenced) and settings.reference == "round"
    return part._replace(number=1) if at_start else part


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
        raise TrainingError(f"no problem gave a pair or a right answer: {_NOTHING}")
    agreement, reference = _before(inputs, context, preferences, settings, file, part)
    start = partial(context.trainable, inputs.path(start_of(inputs, part)))
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


def fitting_of(context: Context, settings: Refine) -> Fitting:
    """Return what tells which answers can be trained on."""
    return Fitting(bound_of(context.texts.room, settings.max_length, "refine"))


def preferences_of(
    inputs: Inputs, context: Context, settings: Refine, file: str, part: RoundPart, fitting: Fitting
) -> Sequence[Preference]:
    """Return what a part's answers teach under these settings, set aside; `file` as in `make_refined`."""
    return Scratch(
        each_preference(
            part.problems(inputs.filed(file, Problem)),
            inputs.each_record(part.pairs, Pair),
            inputs.each_record(part.completions, Completion),
            context.texts.prompts,
            inputs.recipe.pairs,
            settings,
            fitting,
        )
    )


def _before(
    inputs: Inputs, context: Context, preferences: Sequence[Preference], settings: Refine, file: str, part: RoundPart
) -> tuple[Json, Sequence[Sequence[float]]]:
    """Check that the starting model is the one that was sampled from, and score groups with the reference.

    Returns:
        The check, and the reference's log-probabilities: a list for each group, empty if it is not compared.
    """
    from srit.training.preference import answer_groups, disagreement

    completions = inputs.filed(part.completions, Completion)
    some = list(completions[:: max(1, len(completions) // AGREEMENT_SAMPLES)][:AGREEMENT_SAMPLES])
    asked = {completion.problem_id for completion in some}
    problems = {problem.id: problem for problem in inputs.each_record(file, Problem) if problem.id in asked}
    start, frozen = (start_of(inputs, one) for one in (part, reference_of(settings, part)))
    own = answer_groups(some, problems, context.texts.prompts)
    compared = _chunks([number for number, p in enumerate(preferences) if p.is_compared], preferences)
    by_token = loss_kind(settings.loss).token_loss is not None
    if start == frozen and not by_token:
        found = _scored(inputs, context, start, {"agreement.json": own, **compared})
        sampled, scored = next(found), found
    else:
        sampled = next(_scored(inputs, context, start, {"agreement.json": own}))
        scored = _scored(inputs, context, frozen, compared, by_token=by_token)
    gap, dtype = disagreement(some, sampled), context.models.plan.dtype
    if gap > AGREEMENT[dtype]:
        raise TrainingError(
            f"sampler and trainer differ by {gap:.3f} nats a token on {len(some)} answers of {part.folder}; for the "
            f"same model it is {AGREEMENT[dtype]} at most: was {start} or the chat template replaced after the answers "
            "were sampled?"
        )
    line = f"sampler and trainer agree on {len(some)} answers: {gap:.0e} nats a token apart"
    line = line if some else "the pairs are a file's: there are no sampled answers to score again"
    scores = chain.from_iterable(scored)
    reference = Scratch(next(scores) if preference.is_compared else [] for preference in preferences)
    return context.reports.check("sampler and trainer agree", True, line), reference


def _chunks(numbers: Sequence[int], preferences: Sequence[Preference]) -> Mapping[str, Sequence[Group]]:
    """Return the preferences' groups with these numbers, by the name of the file that keeps their scores.

    They are packed into rows together, as many as fit into memory: one file for all but the largest rounds.
    """
    starts = range(0, max(1, len(numbers)), SCORED_TOGETHER)
    names = {start: f"reference-logps{f'-{start // SCORED_TOGETHER:05d}' if start else ''}.json" for start in starts}
    return Later(
        {name: partial(_groups, numbers[start : start + SCORED_TOGETHER], preferences) for start, name in names.items()}
    )


def _groups(numbers: Sequence[int], preferences: Sequence[Preference]) -> list[Group]:
    return [preferences[number].group for number in numbers]


def _scored(
    inputs: Inputs, context: Context, model: str, items: Mapping[str, Sequence[Group]], *, by_token: bool = False
) -> Iterator[list[list[float]]]:
    """Yield the log-probabilities of groups under one of the run's models, computed as before a training step.

    Args:
        items: by the name of the file that keeps them.
    """
    source = context.models.reference(inputs.trained(model))
    batch_tokens = 2 * context.models.budget.batch_tokens  # nothing is kept for a gradient
    work = ScoringWork(source, context.models.plan.rows, inputs.recipe.refine.row_tokens, batch_tokens, by_token)
    sizes = {name: len(groups) for name, groups in items.items()}
    return map(read_scores, context.map_once(work, items, sizes=sizes, what=f"reference of {model}"))


def each_preference(
    problems: Iterable[Problem],
    pairs: Iterable[Pair],
    completions: Iterable[Completion],
    prompts: Prompts,
    limits: Pairs,
    settings: Refine,
    fitting: Fitting,
) -> Iterator[Preference]:
    """Yield the groups that stage 2 trains on, in problem order, in which pairs and completions are too.

    Answers that are too long are left out, and counted by `fitting`.
    """
    kind = loss_kind(settings.loss)
    once, again = tee(problems)
    for (problem, own), (_, paired) in zip(with_own(once, completions), with_own(again, pairs), strict=True):
        right = right_sides(own, limits) if learns_right(settings) else []
        samples = _advantages(own) if kind.token_loss else []
        for prompt in prompts_of(limits.prompt):
            of_prompt = [pair for pair in paired if pair.prompt == prompt]
            likely = [side.token_ids for side in right]
            if settings.nll_on == "chosen" and (kind.loss or settings.nll_weight):  # also logged with a weight of 0
                likely = list(dict.fromkeys(pair.chosen_ids for pair in of_prompt))
            taught = _Taught(of_prompt if kind.loss else [], likely, samples)
            if any(taught):
                prompt_ids = prompts.problem_ids(problem, prompt)
                fitted = taught.of(
                    ids for ids in taught.answers() if fitting.fits(len(prompt_ids) + len(ids), problem.id)
                )
                if any(fitted):
                    yield _preference(problem.id, prompt_ids, fitted)


def _advantages(completions: Sequence[Completion]) -> list[tuple[TokenIds, float]]:
    """Return every answer to a problem with its advantage; [] if all are right, or all wrong.

    Answers to both prompts are one group, as they are in pairs.
    """
    from srit.training.objective import advantages

    answers = list(usable(completions, Counter()))
    found = advantages([answer.reward for answer in answers]) if answers else []
    return [(answer.token_ids, a) for answer, a in zip(answers, found, strict=True)] if any(found) else []


def learns_right(settings: Refine) -> bool:
    """Return whether the likelihood of own right answers is raised, whether or not they are in a pair."""
    return settings.nll_weight > 0 and settings.nll_on == "right"


class _Taught(NamedTuple):
    """What the answers to one prompt teach."""

    pairs: Sequence[Pair]
    likely: Sequence[TokenIds]  # answers whose likelihood is raised
    samples: Sequence[tuple[TokenIds, float]]  # with their advantages

    def answers(self) -> Iterable[TokenIds]:
        """Return each answer once."""
        sides = (ids for pair in self.pairs for ids in (pair.chosen_ids, pair.rejected_ids))
        return dict.fromkeys((*sides, *self.likely, *(ids for ids, _ in self.samples)))

    def of(self, answers: Iterable[TokenIds]) -> _Taught:
        """Return what some of the answers teach."""
        some = set(answers)
        return _Taught(
            [pair for pair in self.pairs if {pair.chosen_ids, pair.rejected_ids} <= some],
            [ids for ids in self.likely if ids in some],
            [(ids, advantage) for ids, advantage in self.samples if ids in some],
        )


def _preference(problem_id: str, prompt_ids: TokenIds, taught: _Taught) -> Preference:
    from srit.compute.rows import Group
    from srit.training.objective import Preference

    place = {ids: index for index, ids in enumerate(taught.answers())}
    return Preference(
        group=Group(prompt_ids, tuple(place)),
        pairs=tuple((place[pair.chosen_ids], place[pair.rejected_ids]) for pair in taught.pairs),
        likely=tuple(place[ids] for ids in taught.likely),
        samples=tuple((place[ids], advantage) for ids, advantage in taught.samples),
        problem_id=problem_id,
    )
