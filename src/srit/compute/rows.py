"""Packs the completions of a prompt into one row, and computes the log-probability of each of their tokens.

A group is a prompt and its completions. A shared row holds the prompt once, followed by its completions. Each
completion attends to the prompt and to itself, and its positions continue from the end of the prompt, so every token is
computed as if its completion alone followed the prompt. A prompt of P tokens with k completions of C tokens costs
P + kC tokens instead of k(P + C). Several groups share a row, up to a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from srit.compute import flexing
from srit.compute.device import moved
from srit.compute.flexing import FLEX, block_masks
from srit.compute.head import logps_of, parts_of, target_logps
from srit.compute.masks import Masks, Windows, as_input, masks_for, related, windows_of
from srit.compute.model import with_weights, without_adapter
from srit.compute.plan import RowKind
from srit.compute.recomputing import recomputed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from srit.compute.model import LanguageModel

Logged = TypeVar("Logged")


class Layout(NamedTuple):
    """How rows are laid out for a model."""

    kind: RowKind
    windows: Windows  # what each type of the model's layers attends to; empty unless rows are shared
    stored_tokens: int = 0  # as in `plan.Budget`


def layout_of(model: LanguageModel, kind: RowKind, stored_tokens: int = 0) -> Layout:
    """Return the layout of rows of one kind for a model; `stored_tokens` as in `plan.Budget`.

    Raises:
        NotImplementedError: rows are to be shared, but the model has layers other than attention.
    """
    windows = windows_of(model.config) if kind == "shared" else {}
    if windows is None:
        raise NotImplementedError(f"{type(model).__name__} has layers that no mask keeps from seeing their neighbors")
    return Layout(kind, windows, stored_tokens)


class Group(NamedTuple):
    """A prompt and the completions that are scored after it."""

    prompt_ids: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]

    @property
    def n_tokens(self) -> int:
        """The number of tokens that the group takes in a shared row."""
        return len(self.prompt_ids) + sum(map(len, self.completions))


@dataclass(frozen=True, slots=True)
class Rows:
    """Groups laid out as a model takes them."""

    layout: Layout
    input_ids: Tensor  # [rows, length]
    positions: Tensor  # [rows, length]: they restart at each prompt, and at the end of the prompt for each completion
    group: Tensor  # [rows, length], which of the row's groups; -1 for padding
    part: Tensor  # [rows, length], 0 for the prompt, 1 … k for its completions; -1 for padding
    source: Tensor  # [tokens, 2], row and column whose hidden state predicts the token
    targets: Tensor  # [tokens], the completion tokens, groups and completions in order
    owner: Tensor  # [tokens], which completion a token belongs to, counted over all groups
    n_completions: int


def pack(sizes: Sequence[int], *, max_tokens: int) -> list[list[int]]:
    """Pack groups into rows of at most `max_tokens`, as indices; a longer group gets a row of its own.

    First fit, longest group first: the rows depend only on the sizes.
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
    """Build the tensors for rows of groups, padded on the right.

    Unless rows are shared, each must hold one group with one completion. The mask then only separates tokens from
    padding, and the model does the rest.
    """
    length = max(map(_length, rows))
    laid = [_lay_out_row(row) for row in rows]
    ids, positions, group, part = (
        torch.tensor([values + [fill] * (length - len(values)) for values in columns])
        for columns, fill in zip(zip(*(one.columns for one in laid), strict=True), (0, 0, -1, -1), strict=True)
    )
    completions = [(row, *one) for row, laid_row in enumerate(laid) for one in laid_row.completions]
    return Rows(
        layout=layout,
        input_ids=ids,
        positions=positions,
        group=group,
        part=part,
        source=torch.tensor([[row, column] for row, _, sources in completions for column in sources]),
        targets=torch.tensor([token_id for _, completion, _ in completions for token_id in completion]),
        owner=torch.tensor([number for number, (_, ids, _) in enumerate(completions) for _ in ids]),
        n_completions=len(completions),
    )


class _Row(NamedTuple):
    columns: tuple[list[int], list[int], list[int], list[int]]  # token ids, positions, groups and parts
    completions: list[tuple[tuple[int, ...], list[int]]]  # their tokens, and the columns that predict these


def _lay_out_row(groups: Iterable[Group]) -> _Row:
    row = _Row(([], [], [], []), [])
    ids, positions, group_of, part_of = row.columns
    for index, group in enumerate(groups):
        start = len(ids)
        for part, tokens in enumerate((group.prompt_ids, *group.completions)):
            if part:
                prompt_end, own = start + len(group.prompt_ids) - 1, range(len(ids), len(ids) + len(tokens) - 1)
                row.completions.append((tokens, [prompt_end, *own][: len(tokens)]))
            first = len(group.prompt_ids) if part else 0
            ids.extend(tokens)
            positions.extend(range(first, first + len(tokens)))
            group_of.extend([index] * len(tokens))
            part_of.extend([part] * len(tokens))
    return row


def mask_of(rows: Rows, device: torch.device) -> Masks | None:
    """Build the mask of rows on a device.

    Returns:
        [rows, 1, length, length], True where a token attends, for each type of layer, if rows are shared;
        [rows, length], 1 for tokens, if they are separate; None if each goes through the model by itself.
    """
    group, part, positions = (moved(of, device) for of in (rows.group, rows.part, rows.positions))
    if rows.layout.kind != "shared":
        return (group >= 0).long() if rows.layout.kind == "separate" else None
    length = group.shape[1]
    alike = related((group[:, :, None], group[:, None, :]), (part[:, :, None], part[:, None, :]))
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    # A padded token attends at least to itself, since a softmax over nothing is NaN.
    visible = (alike & causal) | torch.eye(length, dtype=torch.bool, device=device)
    return masks_for(rows.layout.windows, visible, positions, positions)


def is_long(rows: Rows) -> bool:
    """Return whether rows are shared and so long that most of their mask is empty."""
    return rows.layout.kind == "shared" and rows.input_ids.shape[1] >= flexing.LONG


def padded(rows: Rows) -> Rows:
    """Return rows with more padding on the right, to one of a few lengths."""
    more = (0, -rows.input_ids.shape[1] % flexing.STEP)
    pad = torch.nn.functional.pad
    return replace(
        rows,
        input_ids=pad(rows.input_ids, more),
        positions=pad(rows.positions, more),
        group=pad(rows.group, more, value=-1),
        part=pad(rows.part, more, value=-1),
    )


def token_logps(model: LanguageModel, rows: Rows) -> Tensor:
    """Compute the log-probability of every completion token.

    The output head sees only the states that predict completion tokens, unless the model's logits come only from its
    own forward pass (`head.parts_of`).

    Returns:
        [tokens], nats, float32 (float64 for a float64 model), in the order of `rows.targets`.
    """
    causal = without_adapter(model)
    return with_weights(causal, partial(_token_logps, causal, rows))


def _token_logps(causal: PreTrainedModel, rows: Rows) -> Tensor:
    parts, device = parts_of(causal), causal.device
    flexes = causal.config._attn_implementation == FLEX and is_long(rows)
    rows = padded(rows) if flexes else rows
    inputs: dict[str, Any] = {"input_ids": moved(rows.input_ids, device), "use_cache": False}
    if flexes:
        places = (moved(of, device) for of in (rows.group, rows.part, rows.positions))
        inputs["attention_mask"] = block_masks(rows.layout.windows, *places)
    elif (mask := mask_of(rows, device)) is not None:
        inputs["attention_mask"] = as_input(mask, causal)
    if rows.layout.kind == "shared":
        inputs["position_ids"] = moved(rows.positions, device)
    row, column = moved(rows.source, device).unbind(1)
    targets = moved(rows.targets, device)
    with recomputed(causal, 0 < rows.layout.stored_tokens < rows.input_ids.numel()):
        if parts is None:
            return logps_of(causal(**inputs).logits[row, column], targets)
        return target_logps(parts, parts.decoder(**inputs).last_hidden_state[row, column], targets)


def completion_logps(token_logps: Tensor, rows: Rows) -> Tensor:
    """Sum over the tokens of each completion: [completions], nats."""
    sums = token_logps.new_zeros(rows.n_completions)
    return sums.index_add(0, moved(rows.owner, token_logps.device), token_logps)


class MicroBatch(NamedTuple):
    """Groups whose gradient is computed together."""

    members: tuple[int, ...]  # indices of groups, in the order of their completions in `passes`
    passes: tuple[Rows, ...]  # each goes through the model at once


def micro_batches(groups: Sequence[Group], *, row_tokens: int, batch_tokens: int, layout: Layout) -> list[MicroBatch]:
    """Pack groups into rows, and rows of similar length into batches.

    Args:
        row_tokens: the budget of a packed row.
        batch_tokens: the budget of a batch, padding included. A group that exceeds it is a batch of its own, whose
            completions go through the model one after another: memory is bounded by the longest prompt with one
            completion.
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
    """Give each completion a row."""
    return [[Group(group.prompt_ids, (completion,))] for group in row for completion in group.completions]


def _passes(rows: Sequence[Sequence[Group]], batch_tokens: int, layout: Layout) -> tuple[Rows, ...]:
    if layout.kind == "alone" or len(rows) * max(map(_length, rows)) > batch_tokens:
        return tuple(lay_out([one], layout) for row in rows for one in _separate(row))
    return (lay_out(rows, layout),)


def _length(row: Sequence[Group]) -> int:
    return sum(group.n_tokens for group in row)


class Figures(NamedTuple):
    """What is computed for a group: one number for each completion, or for each token."""

    of: Callable[[Tensor, Rows], Tensor]  # from the log-probabilities of all tokens, [tokens], nats
    n: Callable[[Group], int]


COMPLETIONS = Figures(completion_logps, lambda group: len(group.completions))
TOKENS = Figures(lambda logps, rows: logps, lambda group: sum(map(len, group.completions)))


def logps_by_group(
    model: LanguageModel, batch: MicroBatch, groups: Sequence[Group], figures: Figures = COMPLETIONS
) -> dict[int, Tensor]:
    """Compute the log-probabilities of each group in a batch, nats.

    Args:
        figures: COMPLETIONS for sums, [completions]; TOKENS for those of all tokens, completion after completion.
    """
    return _by_group([figures.of(token_logps(model, rows), rows) for rows in batch.passes], batch, groups, figures)


def _by_group(
    found: Sequence[Tensor], batch: MicroBatch, groups: Sequence[Group], figures: Figures
) -> dict[int, Tensor]:
    """Split the results of each pass by group."""
    parts = torch.split(torch.cat(list(found)), [figures.n(groups[index]) for index in batch.members])
    return dict(zip(batch.members, parts, strict=True))


def add_gradient(
    model: LanguageModel,
    batch: MicroBatch,
    groups: Sequence[Group],
    loss_of: Callable[[dict[int, Tensor]], Tensor],
    figures: Figures = COMPLETIONS,
) -> Tensor:
    """Add the gradient of a loss over a batch's log-probabilities to the model's gradient, and return the loss.

    Args:
        loss_of: computes the loss from the log-probabilities of each group, nats.
        figures: as in `logps_by_group`.
    """

    def with_loss(scored: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
        loss = loss_of(scored)
        return loss, loss.detach()

    first, *_ = [compute() for compute in gradient_passes(model, batch, groups, with_loss, figures)]
    return first


def _each(compute: Callable[[Rows], Tensor], passes: Sequence[Rows]) -> list[Tensor]:
    return [compute(rows) for rows in passes]


def gradient_passes(
    model: LanguageModel,
    batch: MicroBatch,
    groups: Sequence[Group],
    loss_of: Callable[[dict[int, Tensor]], tuple[Tensor, Logged]],
    figures: Figures = COMPLETIONS,
    share_out: Callable[[Callable[[Rows], Tensor], Sequence[Rows]], Sequence[Tensor]] = _each,
) -> Iterator[Callable[[], Logged]]:
    """Yield, for each pass of a batch, a function that adds its part of a loss's gradient to the model's gradient.

    If the batch takes several passes, only one is held in memory at a time. The loss and its gradient with respect to
    each log-probability are computed first, without the model's gradient; then each pass is repeated with it (Gao et
    al. 2021, arXiv 2101.06983). This gives the same gradient and takes a third longer.

    Args:
        loss_of: computes the loss from the log-probabilities of each group, in nats, and a value that describes it,
            which each of the functions returns.
        figures: as in `logps_by_group`.
        share_out: computes the values with which several passes are repeated, in their order.
    """

    def logps_of_pass(rows: Rows) -> Tensor:
        return figures.of(token_logps(model, rows), rows)

    if len(batch.passes) == 1:
        yield partial(_whole, model, batch, groups, loss_of, figures)
        return
    with torch.no_grad():
        found = share_out(logps_of_pass, batch.passes)
    leaves = {index: logps.requires_grad_() for index, logps in _by_group(found, batch, groups, figures).items()}
    loss, logged = loss_of(leaves)
    slopes = torch.cat(torch.autograd.grad(loss, [leaves[index] for index in batch.members], materialize_grads=True))
    for rows, slope in zip(batch.passes, torch.split(slopes, [len(logps) for logps in found]), strict=True):
        yield partial(_part, logps_of_pass, rows, slope, logged)


def _whole(
    model: LanguageModel,
    batch: MicroBatch,
    groups: Sequence[Group],
    loss_of: Callable[[dict[int, Tensor]], tuple[Tensor, Logged]],
    figures: Figures,
) -> Logged:
    loss, logged = loss_of(logps_by_group(model, batch, groups, figures))
    loss.backward()  # type: ignore[no-untyped-call]
    return logged


def _part(logps_of_pass: Callable[[Rows], Tensor], rows: Rows, slope: Tensor, logged: Logged) -> Logged:
    (logps_of_pass(rows) * slope).sum().backward()  # type: ignore[no-untyped-call]
    return logged
