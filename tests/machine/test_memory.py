"""The plan for a GPU: its kind and its budgets, decided once; what torch would say of a GPU is made up here."""

from types import SimpleNamespace

import pytest
import torch
from tiny import save_tiny_student

from srit.compute import device
from srit.compute.device import check_kind, kind_of, reporting_memory
from srit.compute.plan import ADDED, Budget, ComputePlan
from srit.errors import MachineError, RecipeError
from srit.machine import memory, probe
from srit.machine.memory import budget_of, within_memory
from srit.machine.precision import begun_compute_plan, compute_plan_of, resolved
from srit.pipeline.fingerprints import basis
from srit.recipe import check_recipe
from srit.stages import stages

GIB = 2**30
H100 = SimpleNamespace(name="NVIDIA H100 80GB HBM3", multi_processor_count=132, total_memory=80 * GIB)


def recipe_of(model, **student):
    use = [{"task": "sums"}]
    tree = {"name": "x", "student": {"model": str(model), **student}, "tasks": {"train": use, "evaluate": use}}
    return check_recipe(tree, source="x")


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that says what it is; the models stay on the processor."""
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: H100)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: H100.name)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 0)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 8 * GIB)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (79 * GIB, 80 * GIB))
    monkeypatch.setattr(probe, "device_for", lambda asked: "cuda")
    monkeypatch.setattr(device, "device_for", lambda asked: "cpu" if asked == "cpu" else "cuda")


def test_the_plan_for_a_gpu_is_kept_and_part_of_fingerprints_and_that_for_a_processor_is_what_it_was(tmp_path, gpu):
    recipe = recipe_of(save_tiny_student(tmp_path / "student"))
    plan = probe.measure(recipe.student.model_copy(update={"device": "cpu"}))

    assert plan.device == f"{H100.name}, 132 multiprocessors, torch {torch.__version__}, CUDA {torch.version.cuda}"
    assert (plan.dtype, plan.rows, plan.cache_bytes) == ("bfloat16", "shared", 32 * GIB)
    assert plan.stored_tokens == 16_384  # 80 GiB * 0.85 for tokens of 8 GiB / 3,584
    assert begun_compute_plan(recipe, plan._asdict()) == plan
    assert begun_compute_plan(recipe_of(tmp_path / "student", device="cpu"), plan._asdict()) is None
    assert resolved(recipe, plan).student.device == "cuda"
    on_cpu = plan._replace(**ADDED)
    for stage in stages(recipe):
        shaping = basis(stage, {}, "", plan, {})["way"]
        assert shaping is None or shaping["device"] == plan.device
        assert not {*ADDED} & {*(basis(stage, {}, "", on_cpu, {})["way"] or {})}


def test_a_plan_from_before_there_were_gpus_is_one_for_a_processor(tmp_path):
    recipe = recipe_of(save_tiny_student(tmp_path / "student"))
    plan = ComputePlan("float32", "shared", "slots", "as it began", "as proven", "all-linear")
    old = {name: value for name, value in plan._asdict().items() if name not in ADDED}

    assert compute_plan_of(recipe, old) == plan
    assert recipe.model_dump() == resolved(recipe, plan).model_dump() | {
        "student": {**resolved(recipe, plan).model_dump()["student"], "dtype": "auto"}
    }


@pytest.mark.parametrize(
    ("fitting", "batch", "stored"),
    [(60_000, 16_384, 32_768), (9_000, 8192, 8192), (1_500, 4096, 1024), (0, 4096, 1)],
)
def test_fewer_tokens_go_through_a_model_at_once_where_fewer_fit_but_never_so_few_that_a_gpu_idles(
    fitting, batch, stored
):
    assert budget_of(fitting) == Budget(batch, stored)


@pytest.mark.parametrize(("free", "asked", "expected"), [(79, None, 8192), (41, None, 4096), (30, 8192, 8192)])
def test_budgets_are_halved_where_something_else_holds_half_of_the_gpu(monkeypatch, free, asked, expected):
    monkeypatch.setattr(memory, "free_bytes", lambda: free * GIB)
    monkeypatch.setattr(memory, "total_bytes", lambda: 80 * GIB)
    plan = ComputePlan(
        "bfloat16", "shared", "slots", "", "", "", device="A", cache_bytes=2**35, batch_tokens=8192, stored_tokens=8192
    )

    found = within_memory(plan, asked)

    assert (found.batch_tokens, found.cache_bytes) == (expected, 2**35 >> {79: 0, 41: 1, 30: 2}[free])


def test_a_run_does_not_go_on_with_another_gpu(gpu):
    check_kind("cpu")
    check_kind(kind_of("cuda").replace("torch ", "torch 1."))  # other versions are only reported

    with pytest.raises(MachineError, match="computes on NVIDIA H200, 132 multiprocessors, and here is NVIDIA H100"):
        check_kind(kind_of("cuda").replace("H100 80GB HBM3", "H200"))


def test_a_gpu_that_is_not_there_or_not_tested_is_refused(tmp_path):
    with pytest.raises(MachineError, match=r"student\.device is cuda, but this build of torch has no CUDA"):
        compute_plan_of(recipe_of(save_tiny_student(tmp_path / "student"), device="cuda"), None)
    with pytest.raises(RecipeError, match=r"Apple's GPU \(mps\) is not supported"):
        recipe_of("x", device="mps")


def test_too_little_memory_is_told_with_what_was_wanted_what_is_free_and_what_to_set(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (3 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 60 * GIB)
    said = "CUDA out of memory. Tried to allocate 4.50 GiB. GPU 0 has a total capacity of 79.18 GiB of which 3.00 GiB"

    with pytest.raises(MachineError) as caught, reporting_memory("decoding 512 answers at once", "set rows to 256"):
        raise torch.OutOfMemoryError(said)

    assert str(caught.value).startswith(
        "decoding 512 answers at once needs 4.50 GiB more, and the GPU has 3.0 GiB free of 80 (60.0 hold this run's "
        "tensors): set rows to 256"
    )
    assert caught.value.exit_code == 5
