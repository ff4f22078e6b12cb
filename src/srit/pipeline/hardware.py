"""What a run takes on other GPUs: `srit plan --hardware h100 --workers 8`.

Speeds are those that `make gpu-check` measured, or else the model of published figures in `estimate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from srit.errors import DataError, RecipeError
from srit.pipeline.context import chunk_size
from srit.pipeline.engines.room import chunks_of_a_model, chunks_of_completions
from srit.pipeline.estimate import (
    GPU_TRAINED,
    REACHED,
    Work,
    demonstrated,
    dollars,
    gpu_bytes,
    gpu_seconds,
    n_parameters,
)
from srit.recipe import Recipe
from srit.run_directory import Json, read_json

LONG = "2,048 tokens"  # in the names of what gpu-check measures with long answers
LONG_FROM = 768  # tokens: longer answers are assumed to be as slow as these
BY_NAME = {"h100": ("H100", 80.0)}  # GPUs with published figures, and their GiB


class Speed(NamedTuple):
    """Tokens per second of a model of one size."""

    parameters: int
    long: bool
    tokens: float


class Hardware(NamedTuple):
    """One kind of GPU."""

    name: str
    gib: float | None
    sampled: Sequence[Speed] = ()  # (): not measured
    trained: Sequence[Speed] = ()  # through LoRA


class Planned(NamedTuple):
    """A stage that would run."""

    name: str
    work: Work


def hardware_of(stated: str) -> Hardware:
    """Return the hardware with a name, or described by a RESULT.json.

    Raises:
        RecipeError: it is neither.
        DataError: the file has no speeds.
    """
    if (known := BY_NAME.get(stated.lower())) is not None:
        return Hardware(*known)
    if not Path(stated).is_file():
        raise RecipeError(f"--hardware {stated}: give {', '.join(BY_NAME)}, or the RESULT.json of make gpu-check")
    found = read_json(Path(stated))
    try:
        machine, parts = found["machine"], found["parts"]
        speeds = [list(_speeds(parts, kind)) for kind in ("sampling-", "training-")]
        hardware = Hardware(machine["gpu"] or "processor", machine["memory GiB"], *speeds)
    except (KeyError, TypeError, AttributeError):
        raise DataError(f"--hardware {stated}: this is not a RESULT.json of make gpu-check") from None
    if not (hardware.sampled and hardware.trained):
        raise DataError(
            f"--hardware {stated}: it has no speeds for sampling and training: let make gpu-check run to its end"
        )
    return hardware


def _speeds(parts: Mapping[str, Mapping[str, Json]], kind: str) -> Iterator[Speed]:
    for lines in (lines for name, lines in parts.items() if name.startswith(kind)):
        of_all = lines.get("budget", {}).get("parameters")
        for name, line in lines.items():
            if name.endswith(", srit") and "tokens a second" in line:
                yield Speed(line.get("parameters", of_all), LONG in name, line["tokens a second"])


def lines_of(
    stages: Sequence[Planned],
    recipe: Recipe,
    hardware: Hardware,
    workers: int,
    dollars_an_hour: float | None,
    *,
    shard: bool = False,
) -> list[str]:
    """Say what stages take: time, its parts, money, and which stages have fewer chunks than there are workers.

    Args:
        shard: whether the weights are sharded over the workers in training; its time is that of one, an upper bound.
    """
    if n_parameters(recipe) is None:
        return [f"{hardware.name}: time unknown (the student's size is not in its name)"]
    lines = [] if hardware.sampled else [_UNMEASURED.format(hardware.name)]
    needed = gpu_bytes(recipe, workers if shard else 1)
    if needed is not None and hardware.gib is not None and needed > hardware.gib * 2**30:
        lines.append(
            f"WARN the student takes at least {needed / 2**30:.0f} GiB, and {hardware.name} has {hardware.gib:.0f}"
        )
    sampled = sum(_shared(_seconds(Work(sampled=s.work.sampled), recipe, hardware), s, recipe, workers) for s in stages)
    trained = sum(_seconds(s.work._replace(sampled=0), recipe, hardware) for s in stages)
    total, calls = sampled + trained, sum(s.work.calls for s in stages)
    parts = f"{hours(sampled)} of answers on {workers}, {hours(trained)} of training on one"
    gpu_hours = total * workers / 3600
    money = "" if dollars_an_hour is None else f", ${gpu_hours * dollars_an_hour:,.2f}"
    lines.append(f"on {workers} × {hardware.name}: about {hours(total)} ({parts}); {gpu_hours:.1f} GPU hours{money}")
    if calls:
        price = dollars([s.work for s in stages], recipe)
        lines.append(f"teacher: at most {calls:,} calls" + ("" if price is None else f" and ${price:.2f}"))
    return lines + list(_limits(stages, recipe, workers))


_UNMEASURED = (
    "WARN no speeds were measured on {}, so the time comes from published figures: run make gpu-check there, and give "
    "its "
    "RESULT.json as --hardware"
)


def _seconds(work: Work, recipe: Recipe, hardware: Hardware) -> float:
    """Return how many seconds work takes on one GPU, without loading."""
    if not hardware.sampled:
        return gpu_seconds(work, recipe) or 0.0
    size = n_parameters(recipe) or 0
    slower = GPU_TRAINED["lora"] / GPU_TRAINED[recipe.student.tuning]  # gpu-check trains through LoRA
    sampled = work.sampled / _speed(hardware.sampled, size, recipe.sample.max_new_tokens)
    trained = slower * work.as_trained / _speed(hardware.trained, size, recipe.sample.max_new_tokens)
    return (sampled + trained) / REACHED


def _speed(speeds: Sequence[Speed], size: int, max_new_tokens: int) -> float:
    """Return the tokens per second of a size, from the nearest one that was measured."""
    is_long = max_new_tokens > LONG_FROM
    alike = [speed for speed in speeds if speed.long == is_long] or list(speeds)
    nearest = min(abs(math.log(speed.parameters / size)) for speed in alike)
    near = [speed for speed in alike if abs(math.log(speed.parameters / size)) == nearest]
    mean = sum(speed.tokens for speed in near) / len(near)
    return mean * near[0].parameters / size


def _shared(seconds: float, stage: Planned, recipe: Recipe, workers: int) -> float:
    """Return how many seconds a stage's answers take so many workers, each of which computes whole chunks."""
    chunks = n_chunks(stage.name, recipe)
    return seconds * math.ceil(chunks / workers) / chunks


def n_chunks(stage: str, recipe: Recipe) -> int:
    """Return the number of chunks in a stage's answers, at least 1."""
    return max(1, next((count(recipe) for part, count in _CHUNKS.items() if part in stage), 1))


def _chunks_of_demonstrations(recipe: Recipe) -> int:
    size = chunk_size(recipe.rows, recipe.sample.max_new_tokens)
    return math.ceil(sum(n for _, n in demonstrated(recipe)) / size)


_CHUNKS: Mapping[str, Callable[[Recipe], int]] = {
    "demonstrations": _chunks_of_demonstrations,
    "predictions/": chunks_of_a_model,
    "completions": chunks_of_completions,
    "probe": chunks_of_completions,
}


def _limits(stages: Sequence[Planned], recipe: Recipe, workers: int) -> Iterator[str]:
    """Say where workers wait longest because a stage has fewer chunks than there are workers."""

    def idle(stage: Planned) -> float:
        chunks = n_chunks(stage.name, recipe)
        return stage.work.sampled * (math.ceil(chunks / workers) / chunks - 1 / workers)

    few = [stage for stage in stages if stage.work.sampled and n_chunks(stage.name, recipe) < workers]
    if few:
        worst = max(few, key=idle)
        chunks = n_chunks(worst.name, recipe)
        others = f", and {len(few) - 1} other stages have too few" if len(few) > 1 else ""
        yield (
            f"{worst.name} has {chunks} chunk{'s' if chunks > 1 else ''} for {workers} workers{others}: a lower `rows` "
            "makes more chunks, and other last digits"
        )


def hours(seconds: float) -> str:
    """Return a time in words."""
    return f"{seconds / 60:.1f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
