from functools import partial

import pytest
import torch
from tiny import save_tiny_student

from srit.compute.attention import ATTENTIONS
from srit.compute.plan import ComputePlan
from srit.machine import probe
from srit.machine.precision import begun_compute_plan, compute_plan_of
from srit.machine.probe import AGREES, ANSWER_TOKENS, Tried, choose, tried
from srit.recipe import check_recipe

LOGPS = [-30.0, -50.0]
PROVEN = partial(ComputePlan, decoding="slots", proof="as proven", targets="all-linear")


def near(seconds, nats_a_token=0.0):
    return Tried(seconds, [logp + nats_a_token * ANSWER_TOKENS for logp in LOGPS])


@pytest.mark.parametrize(
    ("plain", "shared", "low", "dtype", "rows"),
    [
        (near(3.0), near(1.0), near(0.4, 0.01), "bfloat16", "shared"),  # bfloat16 hardware
        (near(3.0), near(1.0), None, "float32", "shared"),  # no bfloat16 hardware
        (near(3.0), near(1.0), near(0.9, 0.01), "float32", "shared"),  # hardly faster
        (near(3.0), near(1.0), near(0.4, 2 * AGREES), "float32", "shared"),  # faster but wrong
        (near(1.0), near(3.0), near(0.4, 0.01), "bfloat16", "separate"),  # shared rows slower
        (near(3.0), near(1.0, 2 * AGREES), None, "float32", "separate"),  # shared rows wrong
    ],
)
def test_the_fastest_way_that_agrees_with_the_plain_one_is_chosen(plain, shared, low, dtype, rows):
    plan = choose(PROVEN, "shared", plain, shared, {} if low is None else {"sdpa": low})

    assert (plan.dtype, plan.rows, plan.attention) == (dtype, rows, "sdpa")
    assert plan.line.startswith(dtype)


@pytest.mark.parametrize(
    ("other", "expected"),
    [(near(0.3, 0.01), ATTENTIONS[-1]), (near(0.5, 0.01), "sdpa"), (near(0.3, 2 * AGREES), "sdpa")],
)
def test_the_fastest_attention_that_agrees_is_chosen(other, expected):
    low = dict(zip(ATTENTIONS, (near(0.4, 0.01), other), strict=True))

    plan = choose(PROVEN, "shared", near(3.0), near(1.0), low)

    assert (plan.dtype, plan.attention) == ("bfloat16", expected)


def recipe_of(student, **fields):
    use = [{"task": "sums"}]
    tree = {"name": "x", "student": {"model": str(student), **fields}, "tasks": {"train": use, "evaluate": use}}
    return check_recipe(tree, source="x")


def test_a_machine_is_measured_once_and_a_run_keeps_its_first_plan(tmp_path, monkeypatch):
    monkeypatch.setenv("SRIT_CACHE", str(tmp_path / "cache"))
    recipe = recipe_of(save_tiny_student(tmp_path / "student"))

    first = compute_plan_of(recipe, None)
    monkeypatch.setattr(probe, "measure", None)  # calling it would fail

    assert compute_plan_of(recipe, None) == first
    begun = ComputePlan("bfloat16", "separate", "padded", "as it began", "as proven", "all-linear")
    assert compute_plan_of(recipe, begun._asdict()) == begun
    assert begun_compute_plan(recipe_of(tmp_path / "student", dtype="float32"), begun._asdict()) is None


def test_ways_are_timed_in_turn_and_the_shortest_time_of_each_counts(monkeypatch):
    taken = []
    clock = iter([0.0, 1.0, 10.0, 15.0, 20.0, 23.0, 30.0, 32.0])
    monkeypatch.setattr(probe.time, "perf_counter", lambda: next(clock))

    [one, other] = tried([lambda: taken.append("a") or [-1.0], lambda: taken.append("b") or [-2.0]], 2)

    assert taken == ["a", "b", "a", "b"]
    assert (one, other) == (Tried(1.0, [-1.0]), Tried(2.0, [-2.0]))


def test_in_bfloat16_steps_are_kept_in_float32(tmp_path):
    from srit.recipe import Optimization
    from srit.students.loading import trainable
    from srit.training.instruction import Example, instruct

    student = recipe_of(save_tiny_student(tmp_path / "student"), dtype="bfloat16").student
    model = trainable(student, None)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters() if "lora_A" in name}
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}

    # so small a step that bfloat16 alone would lose each; 60 of them are seen
    instruct(
        model,
        [Example((5, 6), (9, 258))],
        Optimization(epochs=60, learning_rate=2e-4, batch_size=1, warmup=0.0),
        seed="0",
        checkpoints=tmp_path / "checkpoints",
        progress=lambda *_: None,
    )

    moved = [(weight - before[name]).abs().max() for name, weight in model.named_parameters() if name in before]
    assert min(moved) > 1e-3
