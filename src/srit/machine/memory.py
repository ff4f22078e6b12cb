"""Finds how many tokens a GPU's memory holds at once: in the cache of a batch of answers, and in training.

This is decided once, when a run begins, and kept with it: other numbers would mean other kernels and other rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from srit.compute.device import CPU, free_bytes, total_bytes
from srit.compute.plan import Budget, ComputePlan

CACHE_SHARE = 0.4  # of the GPU's memory for keys and values; the weights and a step's work take the rest
USED_SHARE = 0.85  # of the memory left beside the weights; fragments that the allocator cannot join are lost
MOST_TOKENS = 16_384  # more at once make a step no faster
LEAST_TOKENS = 4_096  # fewer leave a GPU idle, so layers are recomputed instead
OPTIMIZER_BYTES = 16  # a trained parameter: its float32 value, gradient and two moments


def budget_on_gpu(step: Callable[[], int], model_bytes: int, n_trained: int) -> Budget:
    """Measure the memory that a token of a training step takes, and return how many tokens fit.

    Args:
        step: takes a step and returns how many tokens went through the model at once.
        model_bytes: the size of its weights.
        n_trained: how many parameters are trained.
    """
    import torch

    step()  # libraries take memory of their own when they are first called
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    n_tokens = step()
    of_token = max(1, torch.cuda.max_memory_allocated() - before) / n_tokens
    left = USED_SHARE * (total_bytes() - model_bytes - n_trained * OPTIMIZER_BYTES)
    return budget_of(int(left / of_token))


def budget_of(n_tokens: int) -> Budget:
    """Return the budget of a memory that holds so many tokens with everything that their gradient needs."""
    held = max(1, power_of_two(n_tokens))
    return Budget(batch_tokens=min(MOST_TOKENS, max(LEAST_TOKENS, held)), stored_tokens=held)


def cache_bytes_of(total: int) -> int:
    """Return the bytes that a batch's cache may take on a GPU with so many bytes: equal for nearly equal GPUs."""
    return power_of_two(int(CACHE_SHARE * total))


def power_of_two(number: int) -> int:
    """Return the largest power of two that is at most a number; 0 for less than 1."""
    return 1 << (number.bit_length() - 1) if number > 0 else 0


def recomputing(plan: ComputePlan, asked: Literal["auto", "always", "never"]) -> ComputePlan:
    """Return the plan with layers recomputed as the recipe asks."""
    stored = {"auto": plan.stored_tokens, "always": 1, "never": 0}[asked]
    return plan._replace(stored_tokens=stored)


def within_memory(plan: ComputePlan, asked: int | None) -> ComputePlan:
    """Return the plan with smaller budgets if something else is using part of the GPU.

    Args:
        asked: the number of tokens at once that the recipe asks for, if any.
    """
    if plan.device == CPU:
        return plan
    free, total = free_bytes(), total_bytes()
    halvings = 0
    while free < 0.9 * total / 2**halvings and halvings < 4:
        halvings += 1
    least = min(LEAST_TOKENS, plan.batch_tokens)
    return plan._replace(
        cache_bytes=plan.cache_bytes >> halvings,
        batch_tokens=asked or max(least, plan.batch_tokens >> halvings),
        stored_tokens=max(1, plan.stored_tokens >> halvings),
    )
