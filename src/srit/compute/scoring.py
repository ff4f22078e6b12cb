"""How likely a model finds completions after their prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from srit.compute.plan import RowKind
from srit.compute.rows import Group, layout_of, logps_by_group, micro_batches

ROW_TOKENS, BATCH_TOKENS = 512, 4096  # a packed row's, and those that go through the model at once


def score(
    model: Any,
    groups: Sequence[Group],
    *,
    rows: RowKind,
    row_tokens: int = ROW_TOKENS,
    batch_tokens: int = BATCH_TOKENS,
) -> list[list[float]]:
    """Return the summed log-probabilities of each group's completions, nats. Each prompt is computed once per row.

    Args:
        rows: how completions are put into rows.
        row_tokens: a packed row's budget.
        batch_tokens: tokens that go through the model at once.
    """
    layout = layout_of(model, rows)
    found: dict[int, list[float]] = {}
    with torch.no_grad():
        for batch in micro_batches(groups, row_tokens=row_tokens, batch_tokens=batch_tokens, layout=layout):
            found |= {index: logps.tolist() for index, logps in logps_by_group(model, batch, groups).items()}
    return [found[index] for index in range(len(groups))]
