"""Scores completions: the log-probability of each under a model, without gradients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import torch

from srit.compute.device import LESS_AT_ONCE, reporting_memory
from srit.compute.plan import ON_CPU, RowKind
from srit.compute.rows import COMPLETIONS, Figures, Group, layout_of, logps_by_group, micro_batches

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel

ROW_TOKENS = 512  # tokens in a packed row
BATCH_TOKENS = 2 * ON_CPU.batch_tokens  # through the model at once: nothing is kept for a gradient


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

    Raises:
        MachineError: a GPU's memory does not suffice.
    """
    layout = layout_of(model, rows)
    found: dict[int, list[float]] = {}
    with torch.no_grad(), reporting_memory(f"scoring {batch_tokens:,} tokens at once", LESS_AT_ONCE):
        for batch in micro_batches(groups, row_tokens=row_tokens, batch_tokens=batch_tokens, layout=layout):
            scored = logps_by_group(model, batch, groups, figures)
            sizes = [len(scored[index]) for index in batch.members]
            values = iter(torch.cat([scored[index] for index in batch.members]).tolist())  # one wait for the device
            found |= {index: list(islice(values, size)) for index, size in zip(batch.members, sizes, strict=True)}
    return [found[index] for index in range(len(groups))]
