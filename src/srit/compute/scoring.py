"""Scores completions: the log-probability of each under a model, without gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from srit.compute.plan import RowKind
from srit.compute.rows import COMPLETIONS, Figures, Group, layout_of, logps_by_group, micro_batches

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel

ROW_TOKENS = 512  # tokens in a packed row
BATCH_TOKENS = 4096  # tokens that go through the model at once, padding included: it bounds memory


def score(
    model: LanguageModel,
    groups: Sequence[Group],
    *,
    rows: RowKind,
    row_tokens: int = ROW_TOKENS,
    batch_tokens: int = BATCH_TOKENS,
    figures: Figures = COMPLETIONS,
) -> list[list[float]]:
    """Compute the log-probabilities of each group's completions, in nats.

    Args:
        rows: how completions are put into rows.
        row_tokens: the budget of a packed row.
        batch_tokens: the budget of a batch of rows, padding included.
        figures: COMPLETIONS for sums, TOKENS for each token by itself.

    Returns:
        One list for each group, in order, with one number for each of its completions or tokens.
    """
    layout = layout_of(model, rows)
    found: dict[int, list[float]] = {}
    with torch.no_grad():
        for batch in micro_batches(groups, row_tokens=row_tokens, batch_tokens=batch_tokens, layout=layout):
            scored = logps_by_group(model, batch, groups, figures)
            found |= {index: logps.tolist() for index, logps in scored.items()}
    return [found[index] for index in range(len(groups))]
