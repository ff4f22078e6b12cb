"""pairs.jsonl → refined/: stage 2, preference optimization on the student's own answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from srit.compute.plan import RowKind
from srit.compute.rows import Group, add_gradient, layout_of, micro_batches
from srit.compute.scoring import score
from srit.errors import TrainingError
from srit.recipe import Optimization, Refine
from srit.records import Completion, Problem
from srit.students.prompts import Prompts, prompt_text
from srit.tasks import find_task
from srit.training.instruction import BATCH_TOKENS
from srit.training.loop import Metrics, steps_of, steps_up_to, train
from srit.training.losses import Sides, loss_kind

# Nats a token between the policy before its first step and its reference, in float32 and in less: rows packed otherwise
# leave 1e-5, and 0.02 in bfloat16; another model is 0.15 away.
STEP_0_TOLERANCE = (1e-3, 5e-2)
REFERENCE_TOKENS = 2 * BATCH_TOKENS  # that go through the model at once where no gradient is kept


class Preference(NamedTuple):
    """All that one prompt of a problem contributes: its distinct completions, each scored once."""

    group: Group
    pairs: tuple[tuple[int, int], ...]  # (chosen, rejected), indices into the group's completions
    likely: tuple[int, ...]  # completions whose likelihood is raised as well (nll_weight)


def reference_logps(
    model: Any, preferences: Sequence[Preference], row_tokens: int, rows: RowKind = "shared"
) -> list[list[float]]:
    """Summed log-probabilities of the completions of every group with pairs under the model as it is now, nats.

    Groups without pairs have none: nothing compares them with the reference.

    Args:
        rows: as in `refine`.
    """
    groups = [preference.group for preference in preferences if preference.pairs]
    paired = iter(score(model, groups, rows=rows, row_tokens=row_tokens, batch_tokens=REFERENCE_TOKENS))
    return [next(paired) if preference.pairs else [] for preference in preferences]


def answer_groups(completions: Sequence[Completion], problems: Mapping[str, Problem], prompts: Prompts) -> list[Group]:
    """Return a group for each sampled answer, after the prompt that it was sampled after."""
    return [
        Group(
            prompts.prompt_ids(prompt_text(find_task(c.task), problems[c.problem_id], c.prompt), where=c.problem_id),
            (c.token_ids,),
        )
        for c in completions
    ]


def disagreement(completions: Sequence[Completion], scored: Sequence[Sequence[float]]) -> float:
    """Return the mean difference, in nats a token, between the sampler's and the trainer's log-probability of an
    answer. More than rounding means that the answers came from another model, or are read as other tokens.

    Args:
        scored: log-probabilities of their `answer_groups`, nats, under the model that is to be trained.
    """
    gaps = [abs(c.logp - logps[0]) for c, logps in zip(completions, scored, strict=True)]
    # Over all tokens: a single short answer in bfloat16 may be off by ten times as much.
    return sum(gaps) / max(1, sum(len(c.token_ids) for c in completions))


def refine(
    model: Any,
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
) -> list[Metrics]:
    """Trains the model in place; a step's loss is the mean over its pairs plus `nll_weight` times the mean
    negative log-likelihood a token of its `likely` completions (Pang et al. 2024, arXiv 2404.19733, eq. 1).

    Args:
        reference: log-probabilities under the frozen reference, as `reference_logps` gives them before the first step.
        preference_weight: 0 for a control that raises likelihoods alone; nll_weight is then 1.
        rows: how completions are put into rows.
        max_tokens: stop after so many tokens in rows (a control's equal compute), going through the preferences as
            often as it takes; None: `settings.epochs` times.

    Raises:
        TrainingError: before the first step the policy is not its reference, so that the preference loss is not that
            of equal models, log 2 for "sigmoid".
    """
    steps = steps_of(len(preferences), settings, seed)
    if max_tokens is not None:
        steps = steps_up_to(max_tokens, [p.group.n_tokens for p in preferences], settings, seed)
    layout = layout_of(model, rows)
    nll_weight = settings.nll_weight if preference_weight else 1.0

    def accumulate(step: int) -> Metrics:
        chosen = [preferences[index] for index in steps[step]]
        frozen = [reference[index] for index in steps[step]]
        groups = [preference.group for preference in chosen]
        n_pairs = max(1, sum(len(p.pairs) for p in chosen))
        n_likely = max(1, sum(len(p.likely) for p in chosen))
        sums: dict[str, float] = dict.fromkeys(_LOGGED, 0.0)
        gaps: list[float] = []  # of each batch, nats, between the policy and its reference

        def loss_of(scored: Mapping[int, Tensor]) -> Tensor:
            of_reference = {index: logps.new_tensor(frozen[index]) for index, logps in scored.items()}
            if step == 0:
                gaps.extend((scored[i] - of_reference[i]).abs().sum().item() for i in scored if chosen[i].pairs)
            parts = [_loss_parts(chosen[i], scored[i], of_reference[i], settings) for i in scored]
            for _, _, logged in parts:
                for name, value in logged.items():
                    sums[name] += value
            preference, nll = (torch.stack(losses).sum() for losses in ([p[0] for p in parts], [p[1] for p in parts]))
            return preference_weight * preference / n_pairs + nll_weight * nll / n_likely

        for batch in micro_batches(groups, row_tokens=settings.row_tokens, batch_tokens=BATCH_TOKENS, layout=layout):
            add_gradient(model, batch, groups, loss_of)
        if step == 0:
            n_tokens = sum(len(completion) for p in chosen if p.pairs for completion in p.group.completions)
            _check_step_0(sum(gaps) / max(1, n_tokens), STEP_0_TOLERANCE[model.dtype.itemsize < 4])
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
    )


def n_row_tokens(preferences: Sequence[Preference], settings: Optimization) -> int:
    """Tokens that stage 2 sends through the model: what a control of equal compute may use."""
    return settings.epochs * sum(preference.group.n_tokens for preference in preferences)


_LOGGED = ("preference_loss", "nll", "chosen_logps", "rejected_logps", "margins", "accuracies")


def _loss_parts(
    preference: Preference, logps: Tensor, reference: Tensor, settings: Refine
) -> tuple[Tensor, Tensor, Mapping[str, float]]:
    """Sums over one group: preference losses, negative log-likelihoods a token, and what is logged."""
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
    """What logged margins are multiplied by; 1 for a loss without a beta, whose margins are nats."""
    return float(getattr(settings, "beta", 1.0))


def _check_step_0(gap: float, tolerance: float) -> None:
    if gap > tolerance:
        raise TrainingError(
            f"before the first step the policy is {gap:.3f} nats a token away from its reference, and {tolerance} at "
            "most where they are one model: the adapter or the reference's log-probabilities belong to another"
        )
