"""The device that models are computed on, and the peculiarities of a CUDA GPU: its kind, its memory, its sums."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from srit.errors import MachineError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Device = Literal["cpu", "cuda"]

CPU = "cpu"  # the kind of every CPU: their differences are part of what srit measures on them
GIB = 2**30
LESS_AT_ONCE = "set student.batch_tokens to half its value, or less"


def device_for(asked: Literal["auto", "cpu", "cuda"]) -> Device:
    """Return the device to compute on; "auto" takes a GPU if there is one.

    Raises:
        MachineError: a GPU is asked for, and torch sees none.
    """
    import torch

    found = torch.cuda.is_available()
    if asked == "cuda" and not found:
        built = "this build of torch has no CUDA" if torch.version.cuda is None else "torch sees no GPU"
        raise MachineError(
            f"student.device is cuda, but {built}: install the driver or a CUDA build of torch, or set it to cpu"
        )
    return "cuda" if found and asked != "cpu" else "cpu"


def kind_of(device: Device) -> str:
    """Return what decides the last bits of a device's numbers: "cpu", or a GPU's name, its size and its libraries.

    cuBLAS keeps its order of sums only for one architecture, number of multiprocessors and version.
    """
    import torch

    if device == "cpu":
        return CPU
    gpu = torch.cuda.get_device_properties(0)
    libraries = f"torch {torch.__version__}, CUDA {torch.version.cuda}"
    return f"{gpu.name}, {gpu.multi_processor_count} multiprocessors, {libraries}"


def check_kind(kind: str) -> None:
    """Check that numbers of a kind of device can be computed here; other versions of its libraries are reported later.

    Raises:
        MachineError: they come from a GPU that is not here.
    """
    if kind == CPU:
        return
    here = kind_of(device_for("auto"))
    if _HARDWARE.sub("", here) != _HARDWARE.sub("", kind):
        raise MachineError(
            f"this run computes on {_HARDWARE.sub('', kind)}, and here is {_HARDWARE.sub('', here)}: its numbers would "
            "differ in their last digits. Continue it where it began, or start another run with --out"
        )


_HARDWARE = re.compile(r", torch .*")  # the libraries, which follow the hardware


def free_bytes() -> int:
    """Return the bytes of GPU memory that neither another process nor a tensor of this one holds."""
    import torch

    gc.collect()  # models have reference cycles
    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info()[0])


def total_bytes() -> int:
    """Return the bytes of the GPU's memory."""
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)


def prepare(device: Device) -> None:
    """Set up torch for a GPU: sums in a fixed order, and none of them in bfloat16."""
    import torch

    if device == "cuda":
        torch.use_deterministic_algorithms(True)
        # Otherwise torch fills new tensors with NaN, to expose reads of uninitialized memory.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


@contextmanager
def plain_writes(device: torch.device) -> Iterator[None]:
    """Let a GPU write indices in any order, if each place is written once: ordered writes take many kernels."""
    import torch

    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a CPU tensor to a device, without waiting for what the device is still computing."""
    return tensor.to(device, non_blocking=True)


def beside(tensor: Tensor, values: Sequence[float], dtype: torch.dtype) -> Tensor:
    """Return values as a tensor on the device of another, without waiting for it: `new_tensor` would."""
    import torch

    return moved(torch.tensor(values, dtype=dtype), tensor.device)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch's allocator failed, on the GPU or the CPU."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


@contextmanager
def reporting_memory(what: str, remedy: str) -> Iterator[None]:
    """Turn a GPU's out-of-memory failure into an error that a user can act on.

    Args:
        what: needs the memory.
        remedy: the setting to lower.

    Raises:
        MachineError: the GPU's memory does not suffice.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        wanted = re.search(r"Tried to allocate ([\d.]+ \w+)", str(error))
        amount = f"{wanted[1]} more" if wanted else "more memory"
        raise MachineError(
            f"{what} needs {amount}, and the GPU has {_free()}: {remedy}, or end other programs that use it; then run "
            "again"
        ) from None


def _free() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none free"
    free, total = torch.cuda.mem_get_info()
    own = torch.cuda.memory_allocated()
    return f"{free / GIB:.1f} GiB free of {total / GIB:.0f} ({own / GIB:.1f} hold this run's tensors)"
