import json
import math

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

from srit.cli.tables import print_results
from srit.compute.mapping import mapped_once
from srit.compute.rows import Group
from srit.compute.scoring import BATCH_TOKENS, ROW_TOKENS, score
from srit.errors import DataError
from srit.finished import load_results
from srit.pipeline.engines.local import LocalEngine
from srit.pipeline.planning import plan
from srit.pipeline.running import open_run, run_stages
from srit.recipe import Student, check_recipe
from srit.records import OptionScores, Problem
from srit.run_directory import read_manifest, read_records
from srit.stages import stages
from srit.stages.options import CHUNK, chunks_of, make_options, option_scores, scored_texts
from srit.stages.report import make_report
from srit.stages.results import read_results
from srit.students.prompts import Prompts
from srit.students.sources import FrozenSource, ScoringWork, read_scores
from srit.study.outcomes import outcome
from srit.tasks import find_task

PROBLEM = Problem("q", "openbookqa", "test", "What is wet?", "B", ("fire", "the water of a lake", "a dry stone"))
YES_NO = Problem("y", "strategyqa", "test", "Is water wet?", "A", ("Yes", "No"))
GROUPS = [
    Group((1, 2, 3, 4, 5), ((7, 8), (9,), (7, 8, 10, 11))),
    Group((6, 2), ((12,), (12,), (13, 14, 15))),
]


def by_hand(model, prompt, completion):
    """One option alone behind its prompt, the softmax written out in float64."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *completion]])).logits[0].double().numpy()
    steps = logits[len(prompt) - 1 : -1]
    logps = steps - np.log(np.exp(steps).sum(axis=1, keepdims=True))
    return sum(logps[place, token] for place, token in enumerate(completion))


@pytest.mark.parametrize(("kind", "rows"), [("llama", "shared"), ("llama", "separate"), ("mistral", "shared")])
def test_an_options_log_probability_is_that_of_the_option_alone_after_its_prompt(kind, rows):
    model = tiny_model(kind).double()

    found = score(model, GROUPS, rows=rows)

    expected = [[by_hand(model, g.prompt_ids, option) for option in g.completions] for g in GROUPS]
    for ours, theirs in zip(found, expected, strict=True):
        # the head of a frozen model sums in the model's precision: float64 here
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_the_normalized_choice_divides_by_characters_and_the_first_of_equals_is_chosen():
    scores = option_scores(PROBLEM, "direct", "text", [-4.0, -9.0, -4.0], [len(c) for c in PROBLEM.choices])

    # per character: -4 / 4 = -1, -9 / 19 = -0.47, -4 / 11 = -0.36
    assert (scores.choice, scores.choice_norm) == ("A", "C")
    assert not scores.right and not scores.right_norm
    assert scores.margin == -5.0
    total = 2 * math.exp(-4) + math.exp(-9)
    assert scores.probability == pytest.approx(math.exp(-9) / total)
    assert scores.confidence == pytest.approx(math.exp(-4) / total)

    right = option_scores(PROBLEM, "direct", "text", [-4.0, -9.0, -8.0], [len(c) for c in PROBLEM.choices])
    assert (right.choice, right.choice_norm, right.right, right.right_norm) == ("A", "B", False, True)


def test_log_probabilities_far_below_zero_still_have_a_probability():
    scores = option_scores(YES_NO, "direct", "text", [-2000.0, -2001.0], [3, 2])

    assert scores.probability == pytest.approx(1 / (1 + math.exp(-1)))


def test_letters_are_scored_where_the_prompt_shows_them():
    assert scored_texts(find_task("openbookqa"), PROBLEM) == (*PROBLEM.choices, "(A)", "(B)", "(C)")
    assert scored_texts(find_task("strategyqa"), YES_NO) == ("Yes", "No")


def test_options_stand_behind_the_prompt_of_generation_without_an_end_of_turn():
    prompts = Prompts(tiny_tokenizer(), "chatml")

    direct, cot = make_options([PROBLEM], ("direct", "cot"), prompts)

    assert [prompts.text(ids) for ids in direct.group.completions] == [*PROBLEM.choices, "(A)", "(B)", "(C)"]
    assert not any(prompts.end_of_turn_id in ids for ids in direct.group.completions)
    assert "step by step" in prompts.text(cot.group.prompt_ids)
    assert "step by step" not in prompts.text(direct.group.prompt_ids)


def test_an_empty_option_is_told_by_its_problem():
    problem = Problem("q-17", "openbookqa", "test", "What?", "A", ("x", ""))

    with pytest.raises(DataError, match="q-17"):
        make_options([problem], ("direct",), Prompts(tiny_tokenizer(), "chatml"))


def test_chunks_of_options_have_the_scores_of_all_at_once(tmp_path, tiny_student):
    groups = [Group((1, 2, index % 200), ((7,), (8, 9))) for index in range(CHUNK + 3)]
    source = FrozenSource(Student(model=str(tiny_student), tuning="full", dtype="float32"), None)
    work = ScoringWork(source, "shared", ROW_TOKENS, BATCH_TOKENS)

    found = list(mapped_once(LocalEngine(), work, chunks_of(groups), kept=tmp_path))

    model = source.build()
    # only then are the logits of a bfloat16 model summed in float32
    assert not any(weight.requires_grad for weight in model.parameters())
    assert [read_scores(data) for data in found] == [
        score(model, groups[:CHUNK], rows="shared"),
        score(model, groups[CHUNK:], rows="shared"),
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_student):
    folder = tmp_path_factory.mktemp("run")
    rows = [
        {"id": f"c-{i}", "question": f"Which is {i}?", "choices": ["a", "b b"], "answer": "AB"[i % 2]} for i in range(6)
    ]
    (folder / "choices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = check_recipe(
        {
            "name": "options",
            "student": {"model": str(tiny_student), "tuning": "full", "dtype": "float32"},
            "tasks": {
                "train": [{"task": "sums", "limit": 12}, {"task": "switches", "limit": 12}],
                "evaluate": [{"task": "sums", "limit": 2}, {"task": f"jsonl:{folder}/choices.jsonl"}],
            },
            "instruct": {"epochs": 30, "learning_rate": 1e-2, "batch_size": 24, "direct_target": "answer"},
            "sample": {"direct": 2, "cot": 2, "max_new_tokens": 12},
            "refine": {"loss": "sigmoid", "epochs": 1, "batch_size": 8, "nll_weight": 0.5},
            "evaluate": {"max_new_tokens": 4, "options": True, "noise_floor": True},
        },
        source="test",
    )
    made = run(folder, recipe)
    return folder, recipe, made


def run(folder, recipe):
    with open_run(folder / "out", recipe, stages, watch=lambda _: None) as opened:
        return run_stages(opened)


def test_a_run_scores_options_of_every_model_on_tasks_that_have_them(finished):
    folder, recipe, made = finished

    scored = [name for name in made if name.endswith(".options")]
    assert [name.split("/")[1] for name in scored] == ["base", "instructed", "refined"]
    assert not any("sums" in name for name in scored)
    records = read_records(folder / "out" / f"{scored[0]}.jsonl", OptionScores)
    assert len(records) == 6 * 2 * 2  # problems, prompts, words and letters
    assert all(record.right == (record.choice == "AB"[int(record.problem_id[2:]) % 2]) for record in records)

    assert run(folder, recipe) == []
    (folder / "out" / f"{scored[1]}.jsonl").unlink()
    assert run(folder, recipe) == [scored[1]]


def test_results_study_and_page_hold_the_options_beside_the_answers(finished):
    folder, recipe, _ = finished
    results = read_results(folder / "out/results.json")
    manifest = read_manifest(folder / "out")

    rows = results.options
    assert {(str(r.model), r.prompt, r.scored) for r in rows} == {
        (m, p, s) for m in ("base", "instructed", "refined") for p in ("direct", "cot") for s in ("text", "letter")
    }
    assert all(r.n == 6 and r.ci95.low <= r.accuracy <= r.ci95.high for r in rows)
    assert all(0 < r.probability < 1 and r.confidence >= 0.5 for r in rows)
    assert {row.task for row in results.rows} > {row.task for row in rows}

    assert "Multiple choice by likelihood" in make_report(folder / "out", manifest, recipe)
    of_study = outcome(folder / "out", recipe).options
    assert [row.right.count("1") for row in of_study] == [row.correct for row in rows]


def test_the_options_are_printed(finished, capsys):
    print_results(load_results(finished[0] / "out"))

    assert "right by likelihood of the options" in capsys.readouterr().out


def test_without_the_field_nothing_of_it_is_there_and_answers_keep_their_fingerprints(finished):
    folder, recipe, _ = finished
    without = recipe.model_copy(update={"evaluate": recipe.evaluate.model_copy(update={"options": False})})

    assert not any(stage.name.product == "options" for stage in stages(without))
    assert [str(p.stage.name) for p in plan(folder / "out", without, stages) if p.reason] == ["results", "report"]
