"""The model that stage 2 starts from and compares with: that it is the one sampled from, and its log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from srit.compute.mapping import Later
from srit.errors import TrainingError
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs
from srit.recipe import Referenced, Refine
from srit.recipe.rounds import RoundPart
from srit.records import Completion, Problem
from srit.run_directory import Json, Scratch
from srit.stages.accepted import start_of
from srit.students.sources import ScoringWork, read_scores
from srit.training.losses import loss_kind

if TYPE_CHECKING:
    from srit.compute.rows import Group
    from srit.training.objective import Preference

# Nats per token between sampler and trainer. Rounding alone: float32 1e-5; bfloat16 4e-3, and up to 0.03 for an adapter
# so little trained that rounding hides what it adds. Another model instead of the instructed one: 0.15 or more.
AGREEMENT = {"float32": 0.02, "bfloat16": 0.05}
AGREEMENT_SAMPLES = 16
SCORED_TOGETHER = 65_536  # groups


def reference_of(settings: Refine, part: RoundPart) -> RoundPart:
    """Return the part whose starting model is the reference."""
    at_start = isinstance(settings, Referenced) and settings.reference == "round"
    return part._replace(number=1) if at_start else part


def referenced(
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
