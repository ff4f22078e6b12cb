"""Stage 2, preference optimization on the student's own answers: pairs.jsonl → refined/."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from srit.compute.plan import RowKind
from srit.compute.rows import Group, layout_of, micro_batches
from srit.compute.scoring import score
from srit.errors import TrainingError
from srit.recipe import Optimization, Refine
from srit.records import Completion, Problem
from srit.students.prompts import Prompts
from srit.training.distributed.world import ALONE, World
from srit.training.gradients import Gradients
from srit.training.instruction import BATCH_TOKENS
from srit.training.loop import Metrics, steps_of, steps_up_to, train
from srit.training.losses import Sides, loss_kind

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel

# Nats per token between the policy before its first step and its reference, in float32 and in lower precision. Rows
# that are packed differently give 1e-5, and 0.02 in bfloat16; another model is 0.15 away.
STEP_0_TOLERANCE = (1e-3, 5e-2)


class Preference(NamedTuple):
    """All that one prompt of a problem contributes: its distinct completions, each scored once."""

    group: Group
    pairs: tuple[tuple[int, int], ...]  # (chosen, rejected), indices into the group's completions
    likely: tuple[int, ...]  # completions whose likelihood is raised as well (nll_weight)


def reference_logps(
    model: LanguageModel, preferences: Sequence[Preference], row_tokens: int, rows: RowKind = "shared"
) -> list[list[float]]:
    """Compute the log-probabilities of the completions of every group with pairs under the model as it is now, in nats.

    Groups without pairs get an empty list: nothing compares them with the reference.

    Args:
        row_tokens: the budget of a packed row.
        rows: as in `refine`.
    """
    paired = iter(score(model, [p.group for p in preferences if p.pairs], rows=rows, row_tokens=row_tokens))
    return [next(paired) if preference.pairs else [] for preference in preferences]


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
        scored: log-probabilities of their `answer_groups` under the model that is to be trained, in nats.
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
    preference_weight: float = 1.0,
    rows: RowKind = "shared",
    max_tokens: int | None = None,
    seed: str,
    checkpoints: Path,
    progress: Callable[[int, int], None],
    world: World = ALONE,
) -> list[Metrics]:
    """Train the model in place with a preference loss and the likelihood of right answers.

    A step's loss is the mean preference loss of its pairs plus `nll_weight` times the mean negative log-likelihood per
    token of its `likely` completions (Pang et al. 2024, arXiv 2404.19733, eq. 1).

    Args:
        reference: log-probabilities under the frozen reference, as `reference_logps` gives them before the first step.
        preference_weight: 0 for a control that only raises likelihoods; nll_weight is then 1.
        rows: how completions are put into rows.
        max_tokens: stop after this many tokens in rows, repeating the preferences as often as necessary (for a control
            of equal compute); None: after `settings.epochs` epochs.
        checkpoints: the folder of this training alone.
        progress: called with the number of steps that are done and their total.
        world: the processes that train together; each has the model and calls this with the same arguments.

    Returns:
        The metrics of each step, as `train` returns them.

    Raises:
        ValueError: there are more or fewer rows of `reference` than preferences, or one has another length.
        TrainingError: before the first step the policy is not its reference, so the preference loss is not that of
            equal models, log 2 for "sigmoid"; or as `train`.
    """
    _check_reference(preferences, reference)
    steps = steps_of(len(preferences), settings, seed)
    if max_tokens is not None:
        steps = steps_up_to(max_tokens, [p.group.n_tokens for p in preferences], settings, seed)
    layout = layout_of(model, rows)
    nll_weight = settings.nll_weight if preference_weight else 1.0

    def accumulate(step: int, gradients: Gradients) -> Metrics:
        chosen = [preferences[index] for index in steps[step]]
        frozen = [reference[index] for index in steps[step]]
        groups = [preference.group for preference in chosen]
        n_pairs = max(1, sum(len(p.pairs) for p in chosen))
        n_likely = max(1, sum(len(p.likely) for p in chosen))

        def loss_of(scored: Mapping[int, Tensor]) -> tuple[Tensor, _Logged]:
            frozen_logps = {index: logps.new_tensor(frozen[index]) for index, logps in scored.items()}
            paired = [i for i in scored if chosen[i].pairs] if step == 0 else []
            gaps = [(scored[i] - frozen_logps[i]).abs().sum().item() for i in paired]
            parts = [_loss_parts(chosen[i], scored[i], frozen_logps[i], settings) for i in scored]
            preference, nll = (torch.stack(losses).sum() for losses in ([p[0] for p in parts], [p[1] for p in parts]))
            loss = preference_weight * preference / n_pairs + nll_weight * nll / n_likely
            return loss, _Logged([logged for _, _, logged in parts], gaps)

        batches = micro_batches(groups, row_tokens=settings.row_tokens, batch_tokens=BATCH_TOKENS, layout=layout)
        logged = gradients.add(model, batches, groups, loss_of)
        if step == 0:
            n_tokens = sum(len(completion) for p in chosen if p.pairs for completion in p.group.completions)
            gap = sum(gap for batch in logged for gap in batch.gaps)
            _check_step_0(gap / max(1, n_tokens), STEP_0_TOLERANCE[model.dtype.itemsize < 4])
        sums = _summed([part for batch in logged for part in batch.parts])
        means = {name: sums[name] / (n_likely if name == "nll" else n_pairs) for name in sums}
        loss_value = preference_weight * means["preference_loss"] + nll_weight * means["nll"]
        return {"loss": loss_value, **means, "tokens": float(sum(group.n_tokens for group in groups))}

    return train(
        model,
        accumulate,
        n_steps=len(steps),
        settings=settings,
        seed=seed,
        checkpoints=checkpoints,
        progress=progress,
        world=world,
    )


def n_row_tokens(preferences: Sequence[Preference], settings: Optimization) -> int:
    """Return the number of tokens that stage 2 sends through the model, which a control of equal compute may use."""
    return settings.epochs * sum(preference.group.n_tokens for preference in preferences)


class _Logged(NamedTuple):
    """What is logged of a batch."""

    parts: Sequence[Mapping[str, float]]  # of each of its groups, summed over its pairs and answers
    gaps: Sequence[float]  # between the policy and its reference before the first step, of each group, nats


_LOGGED = ("preference_loss", "nll", "chosen_logps", "rejected_logps", "margins", "accuracies")


def _summed(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    sums = dict.fromkeys(_LOGGED, 0.0)
    for part in parts:
        for name, value in part.items():
            sums[name] += value  # not sum(): from Python 3.12 on it rounds differently
    return sums


def _check_reference(preferences: Sequence[Preference], reference: Sequence[Sequence[float]]) -> None:
    """Check that every preference with pairs has one reference log-probability for each of its completions."""
    for preference, logps in zip(preferences, reference, strict=True):
        if preference.pairs and len(logps) != len(preference.group.completions):
            raise ValueError(f"{len(preference.group.completions)} completions have {len(logps)} reference values")


def _loss_parts(
    preference: Preference, logps: Tensor, reference: Tensor, settings: Refine
) -> tuple[Tensor, Tensor, Mapping[str, float]]:
    """Sum over one group: preference losses, negative log-likelihoods per token, and what is logged."""
    lengths = logps.new_tensor([len(completion) for completion in preference.group.completions])
    likely = list(preference.likely)
    nll = -(logps[likely] / lengths[likely]).sum()
    if not preference.pairs:
        return logps.sum() * 0, nll, {"nll": nll.item()}
    chosen, rejected = (list(side) for side in zip(*preference.pairs, strict=True))
    policy, frozen, tokens = (Sides(of[chosen], of[rejected]) for of in (logps, reference, lengths))
    losses = loss_kind(settings.loss).loss(policy, frozen, tokens, settings)
    with torch.no_grad():
        margins = beta_of(settings) * ((policy.chosen - frozen.chosen) - (policy.rejected - frozen.rejected))
        logged = {
            "preference_loss": losses.sum().item(),
            "nll": nll.item(),
            "chosen_logps": policy.chosen.sum().item(),
            "rejected_logps": policy.rejected.sum().item(),
            "margins": margins.sum().item(),
            "accuracies": (margins > 0).float().sum().item(),
        }
    return losses.sum(), nll, logged


def beta_of(settings: Refine) -> float:
    """Return the factor of logged margins; 1 for a loss without a beta, whose margins are nats."""
    return float(getattr(settings, "beta", 1.0))


def _check_step_0(gap: float, tolerance: float) -> None:
    if gap > tolerance:
        raise TrainingError(
            f"before the first step the policy is {gap:.3f} nats a token away from its reference, more than the "
            f"{tolerance} of one model: the adapter or the reference's log-probabilities belong to another"
        )
