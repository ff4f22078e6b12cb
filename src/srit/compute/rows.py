"""Many completions of one prompt in one row, and the log-probability of each of their tokens.

A group is a prompt and its completions. In a row the prompt stands once, its completions beside each
other; each completion sees the prompt and itself, and its positions go on from the prompt's end, so
every token is computed as if its completion stood alone behind the prompt. A prompt of P tokens with
k completions of C costs P + kC tokens, not k(P + C). Several groups share a row up to a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from srit.compute.head import logps_of, parts_of, target_logps
from srit.compute.masks import Masks, Windows, as_input, masks_for, windows_of
from srit.compute.plan import RowKind


class Layout(NamedTuple):
    """How rows are laid out for a model."""

    kind: RowKind
    windows: Windows  # what each type of the model's layers attends to; empty where no row is shared


def layout_of(model: Any, kind: RowKind) -> Layout:
    """
    Raises:
        NotImplementedError: rows are to be shared, and a layer does more than attend to tokens.
    """
    windows = windows_of(model.config) if kind == "shared" else {}
    if windows is None:
        raise NotImplementedError(f"{type(model).__name__} has layers that see their neighbors whatever a mask says")
    return Layout(kind, windows)


def shares_prefixes(config: Any) -> bool:
    """Whether every layer attends to all earlier tokens, so that one mask serves them all (see `masks` for windows)."""
    return {window.kind for window in (windows_of(config) or {}).values()} == {"all"}


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
    positions: (
        Tensor | None
    )  # [rows, length], restarted at each prompt, and at its end for each completion; None: columns
    mask: Masks | None  # [rows, 1, length, length], True where a column is seen; [rows, length], 1 for tokens; or none
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


def lay_out(rows: Sequence[Sequence[Group]], layout: Layout) -> Rows:
    """Tensors for rows of groups, padded on the right.

    Unless rows are shared, each must hold one group of one completion; the mask then only separates tokens from
    padding, and the model does the rest.
    """
    length = max(map(_length, rows))
    laid = [_lay_out_row(row) for row in rows]
    ids, positions, group_of, part_of = (
        torch.stack([_padded([getattr(token, field) for token in row], length, fill) for row in laid])
        for field, fill in (("id", 0), ("position", 0), ("group", -1), ("part", -1))
    )
    scored = [(row, token) for row, tokens in enumerate(laid) for token in tokens if token.part > 0]
    completions: dict[tuple[int, int, int], int] = {}
    owner = [completions.setdefault((row, t.group, t.part), len(completions)) for row, t in scored]
    return Rows(
        input_ids=ids,
        positions=positions if layout.kind == "shared" else None,
        mask=_masks(layout, group_of, part_of, positions),
        source=torch.tensor([[row, token.source] for row, token in scored]),
        targets=torch.tensor([token.id for _, token in scored]),
        owner=torch.tensor(owner),
        n_completions=len(completions),
    )


def _masks(layout: Layout, group_of: Tensor, part_of: Tensor, positions: Tensor) -> Masks | None:
    if layout.kind != "shared":
        return (group_of >= 0).long() if layout.kind == "separate" else None
    length = group_of.shape[1]
    same_group = group_of[:, :, None] == group_of[:, None, :]
    prompt_or_self = (part_of[:, None, :] == 0) | (part_of[:, :, None] == part_of[:, None, :])
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    # A padded token sees at least itself: softmax over nothing is NaN.
    visible = (same_group & prompt_or_self & causal) | torch.eye(length, dtype=torch.bool)
    return masks_for(layout.windows, visible, positions, positions)


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

    The output head is applied to the states that predict completion tokens and to no others, unless only the model's
    own forward pass has its logits (`head.parts_of`).

    Args:
        model: a causal language model of transformers, with or without an adapter.

    Returns:
        [tokens], nats, float32 (float64 for a model in it), in the order of `rows.targets`.
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    parts, device = parts_of(causal), causal.device
    inputs: dict[str, Any] = {"input_ids": rows.input_ids.to(device), "use_cache": False}
    if rows.mask is not None:
        inputs["attention_mask"] = as_input(rows.mask, causal)
    if rows.positions is not None:
        inputs["position_ids"] = rows.positions.to(device)
    row, column = rows.source.to(device).unbind(1)
    targets = rows.targets.to(device)
    if parts is None:
        return logps_of(causal(**inputs).logits[row, column], targets)
    return target_logps(parts, parts.decoder(**inputs).last_hidden_state[row, column], targets)


def completion_logps(token_logps: Tensor, rows: Rows) -> Tensor:
    """[completions], nats: the sum over each completion's tokens."""
    sums = token_logps.new_zeros(rows.n_completions)
    return sums.index_add(0, rows.owner.to(token_logps.device), token_logps)


class MicroBatch(NamedTuple):
    """Groups whose gradient is taken together."""

    members: tuple[int, ...]  # which groups, in the order of their completions in `passes`
    passes: tuple[Rows, ...]  # what goes through the model at once


def micro_batches(groups: Sequence[Group], *, row_tokens: int, batch_tokens: int, layout: Layout) -> list[MicroBatch]:
    """Groups packed into rows, and rows of like length into batches.

    Args:
        row_tokens: a packed row's budget.
        batch_tokens: a batch's budget, padding included. A group beyond it is a batch of its own whose completions go
            through the model one after the other: memory is bounded by the longest prompt with a completion.
    """
    if layout.kind == "shared":
        packed = [
            (row, [[groups[i] for i in row]]) for row in pack([g.n_tokens for g in groups], max_tokens=row_tokens)
        ]
    else:
        packed = [([i], _separate([g])) for i, g in enumerate(groups)]
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
            _passes([row for _, rows in batch for row in rows], batch_tokens, layout),
        )
        for batch in batches
    ]


def _separate(row: Sequence[Group]) -> list[list[Group]]:
    """A row for each completion."""
    return [[Group(group.prompt_ids, (completion,))] for group in row for completion in group.completions]


def _passes(rows: Sequence[Sequence[Group]], batch_tokens: int, layout: Layout) -> tuple[Rows, ...]:
    if layout.kind == "alone" or len(rows) * max(map(_length, rows)) > batch_tokens:
        return tuple(lay_out([one], layout) for row in rows for one in _separate(row))
    return (lay_out(rows, layout),)


def _length(row: Sequence[Group]) -> int:
    return sum(group.n_tokens for group in row)


def logps_by_group(model: Any, batch: MicroBatch, groups: Sequence[Group]) -> dict[int, Tensor]:
    """[completions] of each group of a batch: summed log-probabilities, nats."""
    sums = torch.cat([completion_logps(token_logps(model, rows), rows) for rows in batch.passes])
    parts = torch.split(sums, [len(groups[index].completions) for index in batch.members])
    return dict(zip(batch.members, parts, strict=True))


def add_gradient(
    model: Any, batch: MicroBatch, groups: Sequence[Group], loss_of: Callable[[dict[int, Tensor]], Tensor]
) -> Tensor:
    """Adds the gradient of a loss of a batch's log-probabilities to that of the model, and returns the loss.

    Where the batch takes several passes, one at a time is kept: the loss and its gradient with respect to each
    log-probability are found first, without the model's gradient, and then each pass is taken again with it (Gao et al.
    2021, arXiv 2101.06983). The same gradient, for a third more time.

    Args:
        loss_of: the loss, from [completions] of each group: summed log-probabilities, nats.
    """
    if len(batch.passes) == 1:
        loss = loss_of(logps_by_group(model, batch, groups))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
    with torch.no_grad():
        found = logps_by_group(model, batch, groups)
    leaves = {index: logps.requires_grad_() for index, logps in found.items()}
    loss = loss_of(leaves)
    slopes = torch.cat(torch.autograd.grad(loss, [leaves[index] for index in batch.members], materialize_grads=True))
    for rows, slope in zip(batch.passes, slopes, strict=True):
        (completion_logps(token_logps(model, rows), rows) * slope).sum().backward()
    return loss.detach()
