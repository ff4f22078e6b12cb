"""Measures how fast models are trained, compared with a plain step like TRL's, and with TRL itself if installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from srit.compute.device import plain_writes
from srit.compute.model import without_adapter
from srit.compute.plan import Budget
from srit.compute.rows import Group, Layout, layout_of, logps_by_group, micro_batches
from srit.gpu_check.by_trl import dpo_step, lacking, sft_step
from srit.gpu_check.sampling import fastest, ratio
from srit.gpu_check.shapes import SHAPES, n_parameters, random_groups, random_model, with_adapter
from srit.gpu_check.timing import emptied, timed, wait
from srit.machine.memory import budget_on_gpu

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel

BETA = 0.1
PAIRS_OF_4 = ((0, 2), (0, 3), (1, 2), (1, 3))  # of two right and two wrong answers, each with each


class Load(NamedTuple):
    """What a step is trained on."""

    prompts: int
    prompt_tokens: int
    answers: int  # to each prompt
    answer_tokens: int
    pairs: tuple[tuple[int, int], ...]  # of a prompt's answers, chosen and rejected; (): likelihood alone
    row_tokens: int  # of a packed row
    batches: tuple[int, ...]  # pairs, or answers, at once on the other side

    @property
    def n_pairs(self) -> int:
        """How many pairs, or answers without pairs, a step has."""
        return self.prompts * (len(self.pairs) or self.answers)


LOADS = {
    "DPO, 4 pairs from 4 answers of 256 tokens": Load(16, 128, 4, 256, PAIRS_OF_4, 256, (8, 16, 32)),
    "DPO, 1 pair of 256 tokens each": Load(32, 128, 2, 256, ((0, 1),), 256, (8, 16, 32)),
    "SFT, answers of 256 tokens": Load(64, 128, 1, 256, (), 256, (16, 32, 64)),
    "SFT, rows of 2,048 tokens": Load(8, 128, 1, 1920, (), 2048, (2, 4, 8)),
    "DPO, 4 pairs from 4 answers of 2,048 tokens": Load(2, 128, 4, 2048, PAIRS_OF_4, 256, (1, 2, 4)),
}
TINY = {
    "DPO, 4 pairs from 4 answers": Load(2, 6, 4, 5, PAIRS_OF_4, 32, (2, 4)),
    "SFT": Load(4, 6, 1, 5, (), 32, (4,)),
}


def training(size: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure a step of LoRA training of a model of random weights: its speed, its memory, its share of the peak."""
    model = with_adapter(random_model(size, torch.bfloat16 if torch.cuda.is_available() else torch.float32))
    budget = _budget(model, size) if torch.cuda.is_available() else Budget(batch_tokens=64)
    yield "budget", {"parameters": n_parameters(model), **budget._asdict()}
    loads = TINY if size == "tiny" else LOADS
    measured: dict[str, dict[str, Any]] = {}
    for name, load in loads.items():
        groups = _groups(load, size)
        measured[name] = ours = fastest((load.n_pairs,), partial(_ours, model, groups, load, budget))
        yield f"{name}, srit", {**ours, "share of the matrix peak": _share(model, groups, ours)}
        theirs = fastest(load.batches, partial(_theirs, model, groups, load))
        yield f"{name}, plain step", theirs
        yield f"{name}, ratio", {"ratio": ratio(ours, theirs)}
    if lacking():
        yield "TRL", {"skipped": lacking()}
        return
    for name, load in loads.items():  # last, since its trainers change the model
        by_trl = fastest(load.batches, partial(_by_trl, model, _groups(load, size), load))
        yield f"{name}, TRL", {**by_trl, "ratio": ratio(measured[name], by_trl)}


def _groups(load: Load, size: str) -> list[Group]:
    return random_groups(load.prompts, load.prompt_tokens, load.answers, load.answer_tokens, _vocabulary(size))


def _vocabulary(size: str) -> int:
    return SHAPES[size].vocabulary


def _budget(model: LanguageModel, size: str) -> Budget:
    """Return how many tokens fit, as the probe of a run finds out."""
    groups = random_groups(32, 48, 4, 16, _vocabulary(size))
    layout, load = layout_of(model, "shared"), Load(32, 48, 4, 16, (), 112, ())

    def step() -> int:
        step_of(model, groups, load, layout, 1 << 20)
        return sum(group.n_tokens for group in groups)

    weights = list(model.parameters())
    n_trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    return budget_on_gpu(step, sum(weight.nbytes for weight in weights), n_trained)


def _ours(model: LanguageModel, groups: Sequence[Group], load: Load, budget: Budget, n_pairs: int) -> Callable[[], int]:
    layout = layout_of(model, "shared", budget.stored_tokens)
    batch_tokens = max(budget.batch_tokens, *(group.n_tokens for group in groups))  # a prompt's answers stay together

    def work() -> int:
        step_of(model, groups, load, layout, batch_tokens)
        return _useful(groups)

    work()
    wait()
    return work


def step_of(model: LanguageModel, groups: Sequence[Group], load: Load, layout: Layout, batch_tokens: int) -> None:
    """Compute the gradient of a step, as a training does, and drop it."""
    for batch in micro_batches(groups, row_tokens=load.row_tokens, batch_tokens=batch_tokens, layout=layout):
        logps = list(logps_by_group(model, batch, groups).values())
        _loss(logps, load).backward()  # type: ignore[no-untyped-call]
    model.zero_grad()


def _loss(scored: Sequence[Tensor], load: Load) -> Tensor:
    logps = torch.stack(list(scored))
    if not load.pairs:
        return -logps.sum() / load.n_pairs
    chosen, rejected = (list(side) for side in zip(*load.pairs, strict=True))
    return -logsigmoid(BETA * (logps[:, chosen] - logps[:, rejected])).sum() / load.n_pairs


def _useful(groups: Sequence[Group]) -> int:
    """Return the tokens of prompts and answers, each once: what both sides learn from, however they compute it."""
    return sum(group.n_tokens for group in groups)


def _theirs(model: LanguageModel, groups: Sequence[Group], load: Load, batch: int) -> Callable[[], int]:
    """Take the step as TRL's trainers do: every pair is two padded rows, and the model's own logits."""
    sides = [
        (group.prompt_ids, group.completions[i])
        for group in groups
        for pair in (load.pairs or [(i,) for i in range(load.answers)])
        for i in pair
    ]
    at_once = batch * (2 if load.pairs else 1)

    def work() -> int:
        with plain_writes(model.device):  # sums in any order, as usual
            return one_step()

    def one_step() -> int:
        for start in range(0, len(sides), at_once):
            logps = _plain_logps(model, sides[start : start + at_once])
            pairs = logps.view(-1, 2) if load.pairs else logps
            loss = -logsigmoid(BETA * (pairs[:, 0] - pairs[:, 1])).sum() if load.pairs else -logps.sum()
            (loss / load.n_pairs).backward()  # type: ignore[no-untyped-call]
        model.zero_grad()
        return _useful(groups)

    work()
    wait()
    return work


def _by_trl(model: LanguageModel, groups: Sequence[Group], load: Load, batch: int) -> Callable[[], int]:
    if load.pairs:
        return dpo_step(model, groups, load.pairs, _useful(groups), batch)
    return sft_step(model, groups, _useful(groups), batch)


def _plain_logps(model: LanguageModel, sides: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> Tensor:
    longest = max(len(prompt) + len(answer) for prompt, answer in sides)
    ids = torch.tensor([[*p, *a] + [0] * (longest - len(p) - len(a)) for p, a in sides]).to(model.device)
    mask = torch.tensor([[1] * (len(p) + len(a)) + [0] * (longest - len(p) - len(a)) for p, a in sides])
    scored = torch.tensor([[0] * (len(p) - 1) + [1] * len(a) + [0] * (longest - len(p) - len(a)) for p, a in sides])
    logits = model(input_ids=ids, attention_mask=mask.to(model.device), use_cache=False).logits[:, :-1]
    logps = torch.stack([_selected(of_row, of_ids) for of_row, of_ids in zip(logits, ids[:, 1:], strict=True)])
    sums: Tensor = (logps * scored.to(model.device)).sum(1)
    return sums


def _selected(logits: Tensor, ids: Tensor) -> Tensor:
    """Return log-probabilities row by row, as TRL does to save memory in bfloat16."""
    return logits.float().log_softmax(-1).gather(1, ids[:, None])[:, 0]


def _share(model: LanguageModel, groups: Sequence[Group], ours: dict[str, Any]) -> float | None:
    """Return the share of the device's matrix peak that a step reaches: its least operations, not what it repeats."""
    if "tokens a second" not in ours:
        return None
    emptied()
    frozen = sum(weight.numel() for name, weight in model.named_parameters() if "lora_" not in name)
    embedded = sum(weight.numel() for weight in without_adapter(model).get_input_embeddings().parameters())
    scored = sum(len(c) for g in groups for c in g.completions) / sum(g.n_tokens for g in groups)
    # Forward and to the inputs, 2 operations each per parameter and token; the head sees only the scored tokens.
    # Weights of a tied head are counted once, as the head's.
    inner = frozen - embedded * (1 if _is_tied(model) else 2)
    speed = float(ours["tokens a second"])
    return speed * 4 * (inner + embedded * scored) / matrix_peak()


def _is_tied(model: LanguageModel) -> bool:
    return bool(model.config.tie_word_embeddings)


def matrix_peak() -> float:
    """Return the operations per second of a large product in the precision of training."""
    size, dtype = (8192, torch.bfloat16) if torch.cuda.is_available() else (256, torch.float32)
    a, b = (torch.randn(size, size, dtype=dtype, device="cuda" if torch.cuda.is_available() else "cpu") for _ in "ab")
    taken = timed(lambda: a @ b, repeats=10)
    return 2 * size**3 / taken.least
