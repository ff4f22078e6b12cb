import json

import pytest

from srit.pipeline.estimate import (
    PROMPT_TOKENS,
    Work,
    dollars,
    gpu_seconds,
    n_parameters,
    seconds,
    tokens_of,
    total_summary,
)
from srit.recipe import TaskUse, read_recipe
from srit.stages import stages

QUICKSTART = read_recipe("quickstart")


def work_of(name, recipe):
    return next(stage for stage in stages(recipe) if str(stage.name) == name).work(recipe)


@pytest.mark.parametrize(
    ("limit", "epochs", "sampled", "refined", "steps"),
    [(320, 1, 85_330, 73_638, 92), (200, 1, 53_136, 47_712, 59), (160, 2, 42_585, 77_428, 96)],
)
def test_the_tokens_of_the_studied_recipe_are_estimated_within_a_tenth_of_what_its_runs_took(
    limit, epochs, sampled, refined, steps
):
    sizes = [f"tasks.train.{n}.limit={limit}" for n in range(3)]
    recipe = read_recipe("studied", [*sizes, f"refine.epochs={epochs}"])
    stage_2 = work_of("round-1/refined", recipe)

    assert work_of("instructed", recipe).trained == pytest.approx(52_284, rel=0.1)
    assert work_of("round-1/completions", recipe).sampled == pytest.approx(sampled, rel=0.1)
    assert stage_2.trained == pytest.approx(refined, rel=0.1) and abs(stage_2.steps - steps) <= 2


def test_a_base_model_writes_as_much_as_it_may_and_a_trained_one_as_much_as_it_learned():
    assert work_of("predictions/base/sums", QUICKSTART).sampled == 30 * 64
    assert 100 * 20 < work_of("predictions/refined/sums", QUICKSTART).sampled < 100 * 30


def test_the_first_problems_of_a_file_are_read_for_their_length(tmp_path):
    row = {"id": "a", "question": "How many words are in a long question? " * 40, "answer": "8"}
    (tmp_path / "train.jsonl").write_text(json.dumps(row))

    assert 320 < tokens_of(QUICKSTART, TaskUse(task=f"jsonl:{tmp_path}"), "train", 64).prompt < 420


@pytest.mark.parametrize(
    ("task", "data"), [("gsm8k", None), ("gsm8k", "/nowhere"), ("jsonl:/nowhere", None), ("gym:ab", None)]
)
def test_constants_stand_in_for_problems_that_are_not_here(task, data):
    assert tokens_of(QUICKSTART, TaskUse(task=task, data=data), "train", 64) == (PROMPT_TOKENS, 32)


def test_the_teachers_calls_are_bounded_by_its_budget_and_priced():
    recipe = read_recipe("openai-compatible", ["teacher.max_calls=60", "teacher.prices=[1.0, 10.0]"])
    work = work_of("demonstrations", recipe)

    assert work.calls == 60
    assert dollars([work], recipe) == (60 * 80 * 1.0 + 60 * 256 * 10.0) / 1e6
    assert dollars([work], QUICKSTART) is None


def test_a_teacher_s_price_has_the_examples_that_it_is_shown():
    shown = {"question": "What is " + "1 + " * 500 + "1?", "answer": "501"}
    named = {"kind": "openai", "model": "m", "base_url": "https://x.org/v1", "prices": [1.0, 0.0001]}
    recipe = QUICKSTART.model_dump(mode="json") | {"teacher": named, "prompt": {"examples": [shown]}}

    assert dollars([Work(calls=1000)], read_recipe(recipe)) > 1000 * 1000 * 1.0 / 1e6


def test_time_grows_with_the_student_and_is_unknown_without_its_size():
    large = read_recipe("quickstart", ["student.model=org/model-7b"])
    unknown = read_recipe("quickstart", ["student.model=org/model"])
    small, much = (sum(seconds(s.work(r), r) for s in stages(r)) for r in (QUICKSTART, large))

    assert n_parameters(large) == 7_000_000_000
    assert 45 < much / small < 55
    assert seconds(work_of("instructed", unknown), unknown) is None


def test_a_gpu_is_estimated_near_the_figures_that_were_published_for_it():
    def per_second(tuning="lora", **work):
        recipe = read_recipe("quickstart", ["student.model=org/model-8b", f"student.tuning={tuning}", "rows=128"])
        return sum(work.values()) / gpu_seconds(Work(**work), recipe)

    assert 6_000 < per_second(sampled=10**6) < 12_000  # vLLM: 6,200 to 15,000 with 256 at once
    assert 0.4 < per_second(trained=10**6) / 12_473 < 0.6  # NeMo AutoModel with rows of 4,096 tokens
    assert per_second("full", trained=10**6) < per_second(trained=10**6)
    recipe = read_recipe("quickstart", ["student.model=org/model-8b"])
    summary = total_summary([Work(sampled=10**6)], recipe, device="cuda")
    assert "on this machine's GPU, by published figures of an H100; at least 14.9 GiB of its memory" in summary
