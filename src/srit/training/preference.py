"""Stage 2, preference optimization on the student's own answers: pairs.jsonl → refined/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from srit.compute.device import beside
from srit.compute.plan import ON_CPU, Budget, RowKind
from srit.compute.rows import COMPLETIONS, Figures, Group, layout_of, micro_batches
from srit.compute.scoring import score
from srit.errors import TrainingError
from srit.recipe import Optimization, Refine
from srit.records import Completion, Problem
from srit.students.prompts import Prompts
from srit.training.distributed.world import ALONE, World
from srit.training.gradients import Gradients
from srit.training.loop import WHOLE, Leg, Metrics, Progress, steps_of, steps_up_to, train
from srit.training.objective import LOGGED, Preference, objective_of

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel

# Nats per token between the policy before its first step and its reference, in float32 and in lower precision. Rows
# that are packed differently give 1e-5, and 0.02 in bfloat16; another model is 0.15 away.
STEP_0_TOLERANCE = (1e-3, 5e-2)


def reference_logps(
    model: LanguageModel,
    preferences: Sequence[Preference],
    row_tokens: int,
    rows: RowKind = "shared",
    figures: Figures = COMPLETIONS,
) -> list[list[float]]:
    """Compute the log-probabilities of every compared group under the current model, in nats.

    Other groups get an empty list.

    Args:
        row_tokens: the budget of a packed row.
        rows: as in `refine`.
        figures: those of the loss's objective.
    """
    groups = [preference.group for preference in preferences if preference.is_compared]
    scored = iter(score(model, groups, rows=rows, row_tokens=row_tokens, figures=figures))
    return [next(scored) if preference.is_compared else [] for preference in preferences]


def answer_groups(completions: Sequence[Completion], problems: Mapping[str, Problem], prompts: Prompts) -> list[Group]:
    """Return a group for each sampled answer, after the prompt that it was sampled after.

    Args:
        problems: by id.
    """
    return [Group(prompts.problem_ids(problems[c.problem_id], c.prompt), (c.token_ids,)) for c in completions]


def disagreement(completions: Sequence[Completion], scored: Sequence[Sequence[float]]) -> float:
    """Return the mean difference between the sampler's and the trainer's log-probability of an answer, nats per token.

    More than rounding means that the answers came from another model, or that they are read as other tokens.

    Args:
        scored: log-probabilities of their `answer_groups` under the model to be trained, in nats.
    """
    gaps = [abs(c.logp - logps[0]) for c, logps in zip(completions, scored, strict=True)]
    # Over all tokens: in bfloat16, a single short answer may be off by ten times as much.
    return sum(gaps) / max(1, sum(len(c.token_ids) for c in completions))


def refine(
    model: LanguageModel,
    preferences: Sequence[Preference],
    reference: Sequence[Sequence[float]],
    settings: Refine,
    *,
    rows: RowKind = "shared",
    budget: Budget = ON_CPU,
    max_tokens: int | None = None,
    seed: str,
    checkpoints: Path,
    progress: Progress,
    leg: Leg = WHOLE,
    is_reference: bool = True,
    world: World = ALONE,
) -> list[Metrics]:
    """Train the model in place with a preference loss and the likelihood of right answers.

    A step's loss is the mean preference loss of its pairs plus `nll_weight` times the mean negative log-likelihood per
    token of its `likely` completions (Pang et al. 2024, arXiv 2404.19733, eq. 1). Without pairs, the preference loss is
    the mean over the tokens of all samples.

    Args:
        reference: log-probabilities under the frozen reference, as `reference_logps` gives them before the first step.
        rows: how completions are put into rows.
        budget: how many tokens go through the model at once.
        max_tokens: stop after this many tokens in rows, repeating the preferences as often as necessary (for a control
            of equal compute); None: after `settings.epochs` epochs.
        checkpoints: the folder, used only by this training.
        progress: called after each step.
        leg: as in `train`.
        is_reference: whether the model is the reference before its first step here; if so, that is checked.
        world: the processes that train together; each has the model and calls this with the same arguments.

    Returns:
        The metrics of each step, as `train` returns them.

    Raises:
        ValueError: there are more or fewer rows of `reference` than preferences, or one has another length.
        TrainingError: before the first step the policy is not its reference, so the preference loss is not that of
            equal models, log 2 for "sigmoid"; or as `train`.
    """
    objective = objective_of(settings)
    _check_reference(preferences, reference, objective.figures)
    steps = steps_of(len(preferences), settings, seed)
    if max_tokens is not None:
        steps = steps_up_to(max_tokens, [p.group.n_tokens for p in preferences], settings, seed)
    layout = layout_of(model, rows, budget.stored_tokens)
    tolerance = STEP_0_TOLERANCE[model.dtype.itemsize < 4]

    def accumulate(step: int, gradients: Gradients) -> Metrics:
        chosen = [preferences[index] for index in steps[step]]
        frozen = [reference[index] for index in steps[step]]
        groups = [preference.group for preference in chosen]
        n, n_logged = (max(1, sum(map(count, chosen))) for count in (objective.n, objective.n_logged))
        n_likely = max(1, sum(len(p.likely) for p in chosen))

        def loss_of(scored: Mapping[int, Tensor]) -> tuple[Tensor, _Logged]:
            frozen_logps = {index: beside(logps, frozen[index], logps.dtype) for index, logps in scored.items()}
            gaps: list[float] = []
            if step == 0 and is_reference and (compared := [i for i in scored if chosen[i].is_compared]):
                apart = [objective.sums(chosen[i], scored[i] - frozen_logps[i]).abs().sum() for i in compared]
                gaps = torch.stack(apart).tolist()
            parts = [objective.contribution(chosen[i], scored[i], frozen_logps[i], settings) for i in scored]
            logged = [(name, value) for part in parts for name, value in part.logged.items()]
            values = torch.stack([value for _, value in logged]).tolist()  # the only wait for the device
            preference = torch.stack([part.preference for part in parts]).sum()
            nll = torch.stack([part.nll for part in parts]).sum()
            loss = preference / n + settings.nll_weight * nll / n_likely
            return loss, _Logged([name for name, _ in logged], values, gaps)

        batches = micro_batches(groups, row_tokens=settings.row_tokens, batch_tokens=budget.batch_tokens, layout=layout)
        logged = gradients.add(model, batches, groups, loss_of, objective.figures)
        if step == 0:
            n_tokens = sum(len(completion) for p in chosen if p.is_compared for completion in p.group.completions)
            gap = sum(gap for batch in logged for gap in batch.gaps)
            _check_step_0(gap / max(1, n_tokens), tolerance)
        sums = _summed(logged)
        counts = {"nll": n_likely, "preference_loss": n}
        means = {name: total / counts.get(name, n_logged) for name, total in sums.items()}
        loss_value = means["preference_loss"] + settings.nll_weight * means["nll"]
        return {"loss": loss_value, **means, "tokens": float(sum(group.n_tokens for group in groups))}

    return train(
        model,
        accumulate,
        n_steps=len(steps),
        settings=settings,
        seed=seed,
        checkpoints=checkpoints,
        progress=progress,
        leg=leg,
        problems=lambda step: [preferences[index].problem_id for index in steps[step]],
        world=world,
    )


def n_row_tokens(preferences: Sequence[Preference], settings: Optimization) -> int:
    """Return the number of tokens that stage 2 sends through the model, which a control of equal compute may use."""
    return settings.epochs * sum(preference.group.n_tokens for preference in preferences)


class _Logged(NamedTuple):
    """What is logged about a batch."""

    names: Sequence[str]  # of figures
    values: Sequence[float]  # of each, summed over pairs and answers of a group
    gaps: Sequence[float]  # between the policy and its reference before the first step, for each group, nats


def _summed(batches: Sequence[_Logged]) -> dict[str, float]:
    sums = dict.fromkeys(LOGGED, 0.0)
    for batch in batches:
        for name, value in zip(batch.names, batch.values, strict=True):
            sums[name] += value  # not sum(): from Python 3.12 on it rounds differently
    return sums


def _check_reference(preferences: Sequence[Preference], reference: Sequence[Sequence[float]], figures: Figures) -> None:
    """Check that every compared preference has all the log-probabilities of its reference."""
    for preference, logps in zip(preferences, reference, strict=True):
        if preference.is_compared and len(logps) != (wanted := figures.n(preference.group)):
            raise ValueError(f"{wanted} figures of a group have {len(logps)} reference values")


def _check_step_0(gap: float, tolerance: float) -> None:
    if gap > tolerance:
        raise TrainingError(
            f"before the first step the policy is {gap:.3f} nats a token away from its reference, more than the "
            f"{tolerance} allowed for the same model: the adapter or the reference's log-probabilities belong to "
            "another model"
        )
