"""Scores completions: the log-probability of each under a model, without gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from srit.compute.plan import RowKind
from srit.compute.rows import Group, layout_of, logps_by_group, micro_batches, token_logps

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
) -> list[list[float]]:
    """Compute the summed log-probabilities of each group's completions, in nats.

    Args:
        rows: how completions are put into rows.
        row_tokens: the budget of a packed row.
        batch_tokens: the budget of a batch of rows, padding included.

    Returns:
        One list for each group, in order, with one number for each of its completions.
    """
    layout = layout_of(model, rows)
    found: dict[int, list[float]] = {}
    with torch.no_grad():
        for batch in micro_batches(groups, row_tokens=row_tokens, batch_tokens=batch_tokens, layout=layout):
            found |= {index: logps.tolist() for index, logps in logps_by_group(model, batch, groups).items()}
    return [found[index] for index in range(len(groups))]


def score_tokens(
    model: LanguageModel,
    groups: Sequence[Group],
    *,
    rows: RowKind,
    row_tokens: int = ROW_TOKENS,
    batch_tokens: int = BATCH_TOKENS,
) -> list[list[list[float]]]:
    """Compute the log-probability of each token of each group's completions, in nats; arguments as in `score`."""
    layout = layout_of(model, rows)
    found: dict[int, list[list[float]]] = {}
    with torch.no_grad():
        for batch in micro_batches(groups, row_tokens=row_tokens, batch_tokens=batch_tokens, layout=layout):
            sizes = [len(completion) for index in batch.members for completion in groups[index].completions]
            logps = torch.cat([token_logps(model, rows) for rows in batch.passes])
            split = iter([part.tolist() for part in torch.split(logps, sizes)])
            found |= {index: [next(split) for _ in groups[index].completions] for index in batch.members}
    return [found[index] for index in range(len(groups))]
