"""Profiles a step with torch's profiler, and shows what running out of memory looks like."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from srit.compute.plan import Budget
from srit.compute.rows import layout_of
from srit.errors import MachineError
from srit.gpu_check.shapes import SHAPES, random_groups, random_model, random_requests, with_adapter
from srit.gpu_check.timing import emptied, wait
from srit.gpu_check.training import Load, step_of
from srit.recipe import Optimization
from srit.samplers import Request, SamplingSettings
from srit.samplers.transformers.engine import TransformersSampler
from srit.training.instruction import Example, instruct

WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
STEPS = 32


def looked_at(size: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Profile `STEPS` decoding steps and a training step."""
    low, vocabulary = torch.bfloat16 if torch.cuda.is_available() else torch.float32, SHAPES[size].vocabulary
    model, rows = random_model(size, low), 128 if torch.cuda.is_available() else 4
    sampler = TransformersSampler(model, rows=rows, pad_id=0, decoding="replayed")
    requests, settings = random_requests(rows, 32, vocabulary), SamplingSettings(1.0, STEPS, ())
    yield f"{STEPS} decoding steps of {rows} answers", _profiled(partial(_sampled, sampler, requests, settings))
    del sampler
    adapted = with_adapter(model)
    groups = random_groups(16, 128, 4, 64, vocabulary) if torch.cuda.is_available() else random_groups(2, 6, 2, 5, 512)
    layout, load = layout_of(adapted, "shared"), Load(len(groups), 0, len(groups[0].completions), 0, (), 512, ())
    step = partial(step_of, adapted, groups, load, layout, 8192)
    yield f"a training step of {sum(group.n_tokens for group in groups):,} tokens", _profiled(step)


def _sampled(sampler: TransformersSampler, requests: Sequence[Request], settings: SamplingSettings) -> int:
    return len(list(sampler.sample(requests, settings)))


def _profiled(work: Callable[[], Any]) -> dict[str, Any]:
    """Return what the second call takes: on the CPU, on the GPU, and in waits and copies between them."""
    work()
    wait()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with profile(activities=activities) as seen:
        work()
        wait()
    events = list(seen.key_averages())
    counts = {event.key: event.count for event in events}
    kernels = sorted(events, key=lambda event: -_on_gpu(event))[:12]
    return {
        "waits": {name: counts[name] for name in WAITS if name in counts},
        "copies": {name: count for name, count in counts.items() if name.startswith("Memcpy")},
        "starts of kernels": sum(counts.get(name, 0) for name in ("cudaLaunchKernel", "cudaLaunchKernelExC")),
        "ms on the GPU": sum(map(_on_gpu, events)) / 1e3,
        "ms on the processor": sum(float(event.self_cpu_time_total) for event in events) / 1e3,
        "longest on the GPU, ms": {event.key[:80]: round(_on_gpu(event) / 1e3, 3) for event in kernels},
    }


def _on_gpu(event: Any) -> float:
    return float(getattr(event, "self_device_time_total", 0.0))


def lacking_memory(size: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ask for more memory than there is, in sampling and in training, and return what srit says."""
    if not torch.cuda.is_available():
        yield "out of memory", {"skipped": "there is no GPU"}
        return
    model, vocabulary = random_model(size, torch.bfloat16), SHAPES[size].vocabulary
    emptied()
    # All but 2 GiB, as if something else had taken it.
    taken = torch.empty(max(0, torch.cuda.mem_get_info()[0] - 2 * 2**30), dtype=torch.uint8, device="cuda")
    sampler = TransformersSampler(model, rows=4096, pad_id=0, decoding="replayed", cache_bytes=1 << 40)
    requests = random_requests(4096, 256, vocabulary)
    yield "sampling", _refused(partial(_sampled, sampler, requests, SamplingSettings(1.0, 1024, ())))
    del sampler
    emptied()
    adapted = with_adapter(model)
    examples = [
        Example(group.prompt_ids, group.completions[0]) for group in random_groups(64, 128, 1, 1024, vocabulary)
    ]
    settings_of_all = Optimization(batch_size=len(examples), epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        train = partial(
            instruct,
            adapted,
            examples,
            settings_of_all,
            budget=Budget(batch_tokens=1 << 20),
            seed="0",
            checkpoints=Path(folder),
            progress=lambda done, total, metrics: None,
        )
        yield "training", _refused(train)
    del taken
    emptied()
    requests, settings = random_requests(8, 32, vocabulary), SamplingSettings(1.0, 8, ())
    fresh = TransformersSampler(model, rows=8, pad_id=0, decoding="replayed")
    yield "afterwards", {"passes": _sampled(fresh, requests, settings) == 8}


def _refused(work: Callable[[], Any]) -> dict[str, Any]:
    try:
        work()
    except MachineError as error:
        said = str(error)
        return {"passes": " GiB free of " in said and "set " in said, "said": said}
    return {"passes": False, "said": "it was enough"}
