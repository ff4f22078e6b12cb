"""What one prompt of a problem contributes to a step of stage 2: the loss of pairs or samples, and likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from srit.compute.device import beside
from srit.compute.rows import COMPLETIONS, TOKENS, Figures, Group
from srit.recipe import Refine
from srit.training.losses import Sides, loss_kind

LOGGED = ("preference_loss", "nll", "chosen_logps", "rejected_logps", "margins", "accuracies")


class Preference(NamedTuple):
    """Everything that one prompt of a problem contributes: its distinct completions, each scored once."""

    group: Group
    pairs: tuple[tuple[int, int], ...]  # (chosen, rejected), indices into the group's completions
    likely: tuple[int, ...]  # completions whose likelihood is raised as well (nll_weight), as often as they count
    samples: tuple[tuple[int, float], ...] = ()  # (completion, advantage) of every answer, for a loss without pairs
    problem_id: str = ""

    @property
    def is_compared(self) -> bool:
        """Whether anything is compared with the reference."""
        return bool(self.pairs or self.samples)


class Contribution(NamedTuple):
    """What a preference adds to the sums of a step."""

    preference: Tensor  # its preference losses
    nll: Tensor  # negative log-likelihoods per token of its likely completions
    logged: Mapping[str, Tensor]  # sums by metric, without gradients: scalars on the device


class Objective(NamedTuple):
    """Turns the log-probabilities of a preference into its contribution."""

    figures: Figures  # which log-probabilities are computed
    sums: Callable[[Preference, Tensor], Tensor]  # these → those of completions, [completions]
    n: Callable[[Preference], int]  # the number of its preference losses, over which a step's mean is taken
    n_logged: Callable[[Preference], int]  # the same for the other logged metrics
    contribution: Callable[[Preference, Tensor, Tensor, Refine], Contribution]  # from policy and reference


def objective_of(settings: Refine) -> Objective:
    """Return the objective of a loss."""
    return SAMPLES if loss_kind(settings.loss).token_loss else PAIRS


def beta_of(settings: Refine) -> float:
    """Return the factor of logged margins; 1 for a loss without a beta, whose margins are nats."""
    return float(getattr(settings, "beta", 1.0))


def _of_pairs(preference: Preference, logps: Tensor, reference: Tensor, settings: Refine) -> Contribution:
    """Compare the sides of pairs; `logps` and `reference` are sums, [completions]."""
    lengths = beside(logps, [len(completion) for completion in preference.group.completions], logps.dtype)
    likely = beside(logps, preference.likely, torch.long)
    nll = -(logps[likely] / lengths[likely]).sum()
    loss = loss_kind(settings.loss).loss
    if loss is None or not preference.pairs:
        return Contribution(logps.sum() * 0, nll, {"nll": nll.detach()})
    chosen, rejected = (beside(logps, side, torch.long) for side in zip(*preference.pairs, strict=True))
    policy, frozen, tokens = (Sides(of[chosen], of[rejected]) for of in (logps, reference, lengths))
    losses: Tensor = loss(policy, frozen, tokens, settings)
    with torch.no_grad():
        margins = beta_of(settings) * ((policy.chosen - frozen.chosen) - (policy.rejected - frozen.rejected))
        logged = {
            "preference_loss": losses.sum(),
            "nll": nll.detach(),
            "chosen_logps": policy.chosen.sum(),
            "rejected_logps": policy.rejected.sum(),
            "margins": margins.sum(),
            "accuracies": (margins > 0).float().sum(),
        }
    return Contribution(losses.sum(), nll, logged)


def _of_samples(preference: Preference, logps: Tensor, sampled: Tensor, settings: Refine) -> Contribution:
    """Weight every token by its answer's advantage; `logps` and `sampled` are those of tokens, [tokens].

    The answers above and below the mean of their group are logged as chosen and rejected.
    """
    lengths = [len(completion) for completion in preference.group.completions]
    nll = -sum((torch.split(logps, lengths)[index].mean() for index in preference.likely), start=logps.sum() * 0)
    loss = loss_kind(settings.loss).token_loss
    if loss is None or not preference.samples:
        return Contribution(logps.sum() * 0, nll, {"nll": nll.detach()})
    places = torch.split(torch.arange(len(logps), device=logps.device), lengths)
    tokens = torch.cat([places[index] for index, _ in preference.samples])
    advantages = beside(logps, [a for index, a in preference.samples for _ in range(lengths[index])], logps.dtype)
    losses: Tensor = loss(logps[tokens], sampled[tokens], advantages, settings)
    with torch.no_grad():
        now, then = (_sums(preference, of) for of in (logps, sampled))
        sides = ([i for i, a in preference.samples if (a > 0) == sign] for sign in (True, False))
        above, below = (beside(logps, side, torch.long) for side in sides)
        margin = (now - then)[above].mean() - (now - then)[below].mean()
        logged = {
            "preference_loss": losses.sum(),
            "nll": nll.detach(),
            "chosen_logps": now[above].mean(),
            "rejected_logps": now[below].mean(),
            "margins": margin,
            "accuracies": (margin > 0).float(),
        }
    return Contribution(losses.sum(), nll, logged)


def _n_tokens(preference: Preference) -> int:
    return sum(len(preference.group.completions[index]) for index, _ in preference.samples)


def _sums(preference: Preference, logps: Tensor) -> Tensor:
    lengths = [len(completion) for completion in preference.group.completions]
    return torch.stack([part.sum() for part in torch.split(logps, lengths)])


PAIRS = Objective(
    figures=COMPLETIONS,
    sums=lambda preference, logps: logps,
    n=lambda preference: len(preference.pairs),
    n_logged=lambda preference: len(preference.pairs),
    contribution=_of_pairs,
)
SAMPLES = Objective(
    figures=TOKENS,
    sums=_sums,
    n=_n_tokens,
    n_logged=lambda preference: bool(preference.samples),
    contribution=_of_samples,
)


def advantages(rewards: Sequence[float]) -> list[float]:
    """Return how much better each answer of a group is than their mean; zeros if all are equal."""
    mean = sum(rewards) / len(rewards)
    return [reward - mean for reward in rewards]
