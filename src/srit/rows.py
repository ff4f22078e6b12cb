"""Many completions of one prompt in one row, and the log-probability of each of their tokens.

A group is a prompt and its completions. In a row the prompt stands once, its completions beside each
other; each completion sees the prompt and itself, and its positions go on from the prompt's end, so
every token is computed as if its completion stood alone behind the prompt. A prompt of P tokens with
k completions of C costs P + kC tokens, not k(P + C). Several groups share a row up to a budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from srit.head import target_logps


class Group(NamedTuple):
    """A prompt and the completions that are scored behind it."""

    prompt_ids: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]

    @property
    def n_tokens(self) -> int:
        """Tokens of the group in a shared row."""
        return len(self.prompt_ids) + sum(map(len, self.completions))


@dataclass(frozen=True, slots=True)
class Rows:
    """Groups laid out as a model takes them."""

    input_ids: Tensor  # [rows, length]
    positions: Tensor  # [rows, length], restarted at each prompt, and at its end for each completion
    mask: Tensor  # [rows, 1, length, length], True where a column is seen; [rows, length] for plain sequences
    source: Tensor  # [tokens, 2], row and column whose hidden state predicts the token
    targets: Tensor  # [tokens], the completion tokens, groups and completions in order
    owner: Tensor  # [tokens], which completion a token belongs to, counted over all groups
    n_completions: int


def pack(sizes: Sequence[int], *, max_tokens: int) -> list[list[int]]:
    """Indices of groups put together into rows of at most `max_tokens`; a longer one gets a row of its own.

    The first row with room is taken, long groups first: rows depend on the sizes alone.
    """
    rows: list[list[int]] = []
    filled: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        place = next((row for row, total in enumerate(filled) if total + sizes[index] <= max_tokens), None)
        if place is None:
            rows.append([index])
            filled.append(sizes[index])
        else:
            rows[place].append(index)
            filled[place] += sizes[index]
    return rows


def lay_out(rows: Sequence[Sequence[Group]], *, shared: bool) -> Rows:
    """Tensors for rows of groups, padded on the right.

    Args:
        shared: whether the model takes a mask of ours. If not, each row must hold one group of one
            completion, and the mask only tells tokens from padding: the model adds its own windows.
    """
    length = max(map(_length, rows))
    laid = [_lay_out_row(row) for row in rows]
    ids, positions, group_of, part_of = (
        torch.stack([_padded([getattr(token, field) for token in row], length, fill) for row in laid])
        for field, fill in (("id", 0), ("position", 0), ("group", -1), ("part", -1))
    )
    same_group = group_of[:, :, None] == group_of[:, None, :]
    prompt_or_self = (part_of[:, None, :] == 0) | (part_of[:, :, None] == part_of[:, None, :])
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    # A padded token sees at least itself: softmax over nothing is NaN.
    mask = (same_group & prompt_or_self & causal) | torch.eye(length, dtype=torch.bool)
    scored = [(row, token) for row, tokens in enumerate(laid) for token in tokens if token.part > 0]
    completions: dict[tuple[int, int, int], int] = {}
    owner = [completions.setdefault((row, t.group, t.part), len(completions)) for row, t in scored]
    return Rows(
        input_ids=ids,
        positions=positions,
        mask=mask[:, None] if shared else (group_of >= 0).long(),
        source=torch.tensor([[row, token.source] for row, token in scored]),
        targets=torch.tensor([token.id for _, token in scored]),
        owner=torch.tensor(owner),
        n_completions=len(completions),
    )


class _Token(NamedTuple):
    id: int
    position: int
    group: int
    part: int  # 0 the prompt, 1 … k the completions
    source: int  # column that predicts it


def _lay_out_row(groups: Iterable[Group]) -> list[_Token]:
    tokens: list[_Token] = []
    for index, group in enumerate(groups):
        for position, token_id in enumerate(group.prompt_ids):
            tokens.append(_Token(token_id, position, index, 0, -1))
        prompt_end = len(tokens) - 1
        for part, completion in enumerate(group.completions, start=1):
            for offset, token_id in enumerate(completion):
                source = len(tokens) - 1 if offset else prompt_end
                tokens.append(_Token(token_id, len(group.prompt_ids) + offset, index, part, source))
    return tokens


def _padded(values: list[int], length: int, fill: int) -> Tensor:
    return torch.tensor(values + [fill] * (length - len(values)))


def token_logps(model: Any, rows: Rows) -> Tensor:
    """Log-probability of every completion token.

    The output head is applied to the states that predict completion tokens and to no others.

    Args:
        model: a causal language model of transformers, with or without an adapter.

    Returns:
        [tokens], nats, float32 (float64 for a model in it), in the order of `rows.targets`.
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    device = causal.device
    hidden = causal.get_decoder()(
        input_ids=rows.input_ids.to(device),
        attention_mask=rows.mask.to(device),
        position_ids=rows.positions.to(device),
        use_cache=False,
    ).last_hidden_state
    row, column = rows.source.to(device).unbind(1)
    return target_logps(causal, hidden[row, column], rows.targets.to(device))


def completion_logps(token_logps: Tensor, rows: Rows) -> Tensor:
    """[completions], nats: the sum over each completion's tokens."""
    sums = token_logps.new_zeros(rows.n_completions)
    return sums.index_add(0, rows.owner.to(token_logps.device), token_logps)


def shares_prefixes(config: Any) -> bool:
    """Whether a model attends as `Rows` needs it: plain causal attention in every layer.

    A sliding window counts columns, not positions, and a recurrent layer sees its neighbor whatever the
    mask says: for those, groups must hold one completion and rows one group.
    """
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    return kinds == {"full_attention"} and not windowed


class MicroBatch(NamedTuple):
    """Groups that go through the model at once."""

    members: tuple[int, ...]  # which groups, in the order of their completions in `rows`
    rows: Rows


def micro_batches(groups: Sequence[Group], *, row_tokens: int, batch_tokens: int, shared: bool) -> list[MicroBatch]:
    """Groups packed into rows, and rows of like length into batches.

    Args:
        row_tokens: a packed row's budget.
        batch_tokens: a batch's budget, padding included; at least one row.
        shared: whether the model allows shared rows (`shares_prefixes`).
    """
    if shared:
        packed = [
            (row, [[groups[i] for i in row]]) for row in pack([g.n_tokens for g in groups], max_tokens=row_tokens)
        ]
    else:
        packed = [([i], [[Group(g.prompt_ids, (c,))] for c in g.completions]) for i, g in enumerate(groups)]
    packed.sort(key=lambda entry: -max(map(_length, entry[1])))
    batches: list[list[tuple[list[int], list[list[Group]]]]] = []
    used = longest = 0
    for members, rows in packed:
        if not batches or (used + len(rows)) * longest > batch_tokens:
            batches.append([])
            used, longest = 0, max(map(_length, rows))
        batches[-1].append((members, rows))
        used += len(rows)
    return [
        MicroBatch(
            tuple(index for members, _ in batch for index in members),
            lay_out([row for _, rows in batch for row in rows], shared=shared),
        )
        for batch in batches
    ]


def _length(row: Sequence[Group]) -> int:
    return sum(group.n_tokens for group in row)


def logps_by_group(model: Any, batch: MicroBatch, groups: Sequence[Group]) -> dict[int, Tensor]:
    """[completions] of each group of a batch: summed log-probabilities, nats."""
    sums = completion_logps(token_logps(model, batch.rows), batch.rows)
    parts = torch.split(sums, [len(groups[index].completions) for index in batch.members])
    return dict(zip(batch.members, parts, strict=True))
