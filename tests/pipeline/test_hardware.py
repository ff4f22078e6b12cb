import json

import pytest

from srit.errors import DataError, RecipeError
from srit.gpu_check.sampling import LOADS as SAMPLING
from srit.gpu_check.training import LOADS as TRAINING
from srit.pipeline.engines.room import chunks_of_completions
from srit.pipeline.estimate import REACHED, SCORED, Work
from srit.pipeline.hardware import Planned, hardware_of, lines_of, n_chunks
from srit.recipe import read_recipe

RECIPE = read_recipe("quickstart", ["student.model=some-1b", "rows=16"])  # sample.max_new_tokens is below 768
COMPLETIONS = chunks_of_completions(RECIPE)


@pytest.fixture
def measured(tmp_path):
    """A RESULT.json as gpu-check writes it: 1,000 tokens a second sampled and 500 trained at 1B, 10 of long answers."""

    def lines(loads, usual):
        return {f"{name}, srit": {"tokens a second": 10.0 if "2,048" in name else usual} for name in loads}

    sampling = {name: {"parameters": 10**9, **line} for name, line in lines(SAMPLING, 1000.0).items()}
    training = {"budget": {"parameters": 10**9}, **lines(TRAINING, 500.0)}
    path = tmp_path / "RESULT.json"
    path.write_text(
        json.dumps(
            {
                "machine": {"gpu": "Some GPU", "memory GiB": 24.0},
                "parts": {"sampling-1B": sampling, "training-1B": training, "memory": {"passes": {"passes": True}}},
            }
        )
    )
    return hardware_of(str(path))


def one_stage(name="round-1/completions", **work):
    return [Planned(name, Work(**work))]


@pytest.mark.parametrize("workers", [1, 2, COMPLETIONS, COMPLETIONS + 5])
def test_answers_are_shared_out_in_whole_chunks(measured, workers):
    rounds = -(-COMPLETIONS // workers)
    seconds = 600 * rounds / COMPLETIONS / REACHED

    [line, *limits] = lines_of(one_stage(sampled=600_000), RECIPE, measured, workers, 3.0)

    assert f"{workers} × Some GPU: about {seconds / 60:.1f} minutes" in line
    assert f"{seconds * workers / 3600:.1f} GPU hours, ${seconds * workers / 1200:.2f}" in line
    told = f"round-1/completions has {COMPLETIONS} chunks for {COMPLETIONS + 5} workers: a lower `rows`"
    assert [told in limit for limit in limits] == ([True] if workers > COMPLETIONS else [])


@pytest.mark.parametrize(
    ("fields", "work", "minutes"),
    [
        ([], {"trained": 600_000}, 20.0 / REACHED),
        ([], {"trained": 300_000, "scored": 300_000 * SCORED}, 20.0 / REACHED),
        (["student.tuning=full"], {"trained": 600_000}, 30.0 / REACHED),  # 6 operations a parameter instead of 4
        (["student.model=some-2b"], {"trained": 600_000}, 40.0 / REACHED),
        (["sample.max_new_tokens=2000"], {"trained": 6_000}, 10.0 / REACHED),
    ],
)
def test_time_follows_from_the_nearest_figures(measured, fields, work, minutes):
    recipe = read_recipe("quickstart", ["student.model=some-1b", *fields])

    assert f"about {minutes:.1f} minutes" in lines_of(one_stage("instructed", **work), recipe, measured, 8, None)[0]


def test_what_nobody_has_measured_is_said():
    said = "\n".join(lines_of(one_stage(sampled=10**6, trained=10**6), RECIPE, hardware_of("H100"), 1, None))

    assert said.startswith("WARN no speeds were measured on H100") and "on 1 × H100: about" in said


def test_a_student_that_does_not_fit_is_told(measured):
    recipe = read_recipe("quickstart", ["student.model=some-8b", "student.tuning=full"])

    assert "WARN the student takes at least 134 GiB, and Some GPU has 24" in lines_of([], recipe, measured, 1, None)
    shared = "WARN the student takes at least 30 GiB, and Some GPU has 24"  # 16 bytes a parameter
    assert shared in lines_of([], recipe, measured, 4, None, shard=True)
    assert not any("WARN" in line for line in lines_of([], recipe, measured, 8, None, shard=True))  # 15


def test_stages_that_write_nothing_are_one_chunk():
    assert n_chunks("instructed", RECIPE) == 1 < n_chunks("predictions/base/sums", RECIPE)


def test_hardware_is_a_name_or_what_gpu_check_wrote(tmp_path):
    with pytest.raises(RecipeError, match=r"give h100, or the RESULT\.json"):
        hardware_of("tpu")
    (tmp_path / "RESULT.json").write_text('{"machine": {"gpu": null, "memory GiB": null}, "parts": {}}')
    with pytest.raises(DataError, match="has no speeds"):
        hardware_of(str(tmp_path / "RESULT.json"))
