"""Stage 1, instruction-tuning: demonstrations.jsonl → instructed/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from srit.compute.plan import ON_CPU, Budget, RowKind
from srit.compute.rows import Group, layout_of, micro_batches
from srit.recipe import Optimization
from srit.training.distributed.world import ALONE, World
from srit.training.gradients import Gradients
from srit.training.loop import Metrics, Progress, steps_of, steps_up_to, train

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel


class Example(NamedTuple):
    """A training example of stage 1: a prompt and its completion."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    problem_id: str = ""


def instruct(
    model: LanguageModel,
    examples: Sequence[Example],
    settings: Optimization,
    *,
    rows: RowKind = "shared",
    budget: Budget = ON_CPU,
    seed: str,
    checkpoints: Path,
    progress: Progress,
    max_tokens: int | None = None,
    world: World = ALONE,
) -> list[Metrics]:
    """Train the model in place on the examples' completions; the loss is in nats per token.

    Args:
        rows: how completions are put into rows.
        budget: how many tokens go through the model at once.
        checkpoints: the folder, used only by this training.
        progress: called after each step.
        max_tokens: stop after this many tokens in rows, repeating the examples as often as necessary (for a control of
            equal compute); None: after `settings.epochs` epochs.
        world: the processes that train together; each has the model and calls this with the same arguments.

    Returns:
        The metrics of each step, as `train` returns them.

    Raises:
        TrainingError: as `train`.
    """
    steps = steps_of(len(examples), settings, seed)
    if max_tokens is not None:
        sizes = [len(example.prompt_ids) + len(example.completion_ids) for example in examples]
        steps = steps_up_to(max_tokens, sizes, settings, seed)
    layout = layout_of(model, rows, budget.stored_tokens)

    def accumulate(step: int, gradients: Gradients) -> Metrics:
        groups = _merged([examples[index] for index in steps[step]])
        n_tokens = sum(len(completion) for group in groups for completion in group.completions)

        def loss_of(scored: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
            # Divided by the tokens of the whole step: the gradient is the same however the step is split.
            loss = -torch.cat(list(scored.values())).sum() / n_tokens
            return loss, loss.detach()

        batches = micro_batches(groups, row_tokens=settings.row_tokens, batch_tokens=budget.batch_tokens, layout=layout)
        losses = gradients.add(model, batches, groups, loss_of)
        return {"loss": _sum(torch.stack(losses).tolist()), "tokens": float(sum(group.n_tokens for group in groups))}

    return train(
        model,
        accumulate,
        n_steps=len(steps),
        settings=settings,
        seed=seed,
        checkpoints=checkpoints,
        progress=progress,
        problems=lambda step: [examples[index].problem_id for index in steps[step]],
        world=world,
    )


def _sum(numbers: Iterable[float]) -> float:
    total = 0.0
    for number in numbers:
        total += number  # not sum(): from Python 3.12 on it rounds differently
    return total


def _merged(examples: Sequence[Example]) -> list[Group]:
    """Group the completions of one prompt, which then share its computation."""
    completions: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for example in examples:
        completions.setdefault(example.prompt_ids, []).append(example.completion_ids)
    return [Group(prompt, tuple(answers)) for prompt, answers in completions.items()]
