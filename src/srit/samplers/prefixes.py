"""Lays out prompts so that shared prefixes are computed once.

The direct and the CoT prompt of a problem differ in their last tokens, and all prompts of a task begin with its
instruction. In a row, prompts form a tree: a token attends to its own prefix, and its position is its depth, so it is
computed as if its prompt were alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

ROW_TOKENS = 384  # tokens in a row: longer rows share more, but compute more unused attention scores
BATCH_TOKENS = 8192  # tokens that go through the model at once, padding included: it bounds memory


class Prefixes(NamedTuple):
    """Rows as a model takes them, and the places of their prompts."""

    input_ids: Tensor  # [rows, length]
    positions: Tensor  # [rows, length]
    visible: Tensor  # [rows, length, length], True where a layer without windows attends
    members: list[int]  # indices of prompts
    row: Tensor  # [members]
    columns: list[list[int]]  # each member's tokens, first to last


def lay_out(prompts: Sequence[tuple[int, ...]]) -> Iterator[Prefixes]:
    """Yield batches of rows that together hold every prompt once."""
    rows = sorted(_rows(prompts), key=lambda row: -len(row.tokens))
    batch: list[_Row] = []
    for row in rows:
        if batch and (len(batch) + 1) * len(batch[0].tokens) > BATCH_TOKENS:
            yield _stacked(batch)
            batch = []
        batch.append(row)
    if batch:
        yield _stacked(batch)


class _Row:
    """A tree of tokens in the order in which they were added: a parent comes before its children."""

    def __init__(self) -> None:
        self.tokens: list[tuple[int, int, int]] = []  # parent's column, id, depth
        self.columns: dict[int, list[int]] = {}  # by prompt
        self._place: dict[tuple[int, int], int] = {}  # column by (parent's column, id)

    def n_new(self, prompt: tuple[int, ...]) -> int:
        """Return how many tokens a prompt would add."""
        column = -1
        for depth, token_id in enumerate(prompt):
            if (column := self._place.get((column, token_id), -2)) == -2:
                return len(prompt) - depth
        return 0

    def add(self, index: int, prompt: tuple[int, ...]) -> None:
        column, path = -1, []
        for depth, token_id in enumerate(prompt):
            place = (column, token_id)
            column = self._place.setdefault(place, len(self.tokens))
            if column == len(self.tokens):
                self.tokens.append((*place, depth))
            path.append(column)
        self.columns[index] = path

    def seen(self, length: int) -> Tensor:
        """Return which columns each token attends to, [length, length]: itself and its prefix; padding only itself."""
        mask = np.eye(length, dtype=np.bool_)  # one operation a token, which torch takes ten times as long for
        for column, (parent, _, _) in enumerate(self.tokens):
            if parent >= 0:
                mask[column] |= mask[parent]
        return torch.from_numpy(mask)


def _rows(prompts: Sequence[tuple[int, ...]]) -> list[_Row]:
    rows: list[_Row] = []
    # In this order, prompts with the same prefix are neighbors.
    for index in sorted(range(len(prompts)), key=lambda index: prompts[index]):
        if not rows or len(rows[-1].tokens) + rows[-1].n_new(prompts[index]) > ROW_TOKENS:
            rows.append(_Row())
        rows[-1].add(index, prompts[index])
    return rows


def _stacked(rows: Sequence[_Row]) -> Prefixes:
    length = max(len(row.tokens) for row in rows)
    ids, positions = torch.zeros(2, len(rows), length, dtype=torch.long)
    for place, row in enumerate(rows):
        _, token_ids, depths = zip(*row.tokens, strict=True)
        ids[place, : len(token_ids)], positions[place, : len(depths)] = torch.tensor(token_ids), torch.tensor(depths)
    return Prefixes(
        input_ids=ids,
        positions=positions,
        visible=torch.stack([row.seen(length) for row in rows]),
        members=[index for row in rows for index in row.columns],
        row=torch.tensor([place for place, row in enumerate(rows) for _ in row.columns]),
        columns=[path for row in rows for path in row.columns.values()],
    )
