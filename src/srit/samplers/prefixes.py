"""Prompts laid out so that what they begin with in common is computed once.

The direct and the CoT prompt of a problem differ in their last tokens, and all prompts of a task begin with its
instruction. In a row the prompts form a tree: a token sees its own beginning, and its position is its depth, so it
is computed as if its prompt stood alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ROW_TOKENS = 384  # of a row: longer ones share more and attend to more in vain
BATCH_TOKENS = 8192  # that go through the model at once, padding included; a bound on memory


class Prefixes(NamedTuple):
    """Rows as a model takes them, and where their prompts stand."""

    input_ids: Tensor  # [rows, length]
    positions: Tensor  # [rows, length]
    visible: Tensor  # [rows, length, length], True where a column is seen by a layer without windows
    members: list[int]  # which prompts
    row: Tensor  # [members]
    columns: list[list[int]]  # of each member's tokens, first to last


def lay_out(prompts: Sequence[tuple[int, ...]]) -> Iterator[Prefixes]:
    """Batches of rows that hold every prompt once."""
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
    """A tree of tokens in the order in which they were added: a parent stands before its children."""

    def __init__(self) -> None:
        self.tokens: list[tuple[int, int, int]] = []  # parent's column, id, depth
        self.columns: dict[int, list[int]] = {}  # by prompt
        self._place: dict[tuple[int, int], int] = {}  # column by (parent's column, id)

    def n_new(self, prompt: tuple[int, ...]) -> int:
        """How many tokens a prompt would add."""
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
        """[length, length]: a token sees itself and its beginning, padding sees itself alone."""
        mask = torch.eye(length, dtype=torch.bool)
        for column, (parent, _, _) in enumerate(self.tokens):
            if parent >= 0:
                mask[column] |= mask[parent]
        return mask


def _rows(prompts: Sequence[tuple[int, ...]]) -> list[_Row]:
    rows: list[_Row] = []
    # In this order prompts with the same beginning are neighbors.
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
