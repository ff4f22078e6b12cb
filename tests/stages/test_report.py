import base64
import gzip
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from srit.errors import RecipeError
from srit.page.axes import ticks
from srit.page.islands import island
from srit.recipe import check_recipe
from srit.records import Completion, Demonstration, Model, Pair, Prediction, Problem
from srit.records.scores import PassAtK, Results
from srit.run_directory import Manifest, StageEntry, sha256_of, write_json, write_manifest, write_records
from srit.stages import stages
from srit.stages.report import make_report, provenance, report_so_far
from srit.stages.report.accuracy import groups
from srit.stages.report.curves import curves
from srit.stages.report.headline import findings, headline
from srit.stages.report.logs import read_logs
from srit.stages.report.traces import traces, visible
from srit.stages.results import make_results, read_results, write_results

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> {{ 7 * 7 }} \x1b[31m \u202e <!-- javascript:x"
RECIPE = check_recipe(
    {
        "name": "page",
        "student": {"model": "x"},
        "tasks": {"train": [{"task": "sums"}], "evaluate": [{"task": "sums"}]},
        "refine": {"beta": 0.3},
    },
    source="test",
)


def answers(task, share, n=40, text=HOSTILE):
    return [
        Prediction(f"{task}-{i}", task, "cot", 0, text, 9, False, None, None, "", "right" if i < share * n else "wrong")
        for i in range(n)
    ]


def results_of(shares):
    """Results whose models have these shares right of each task: {"sums": (base, instructed, refined)}."""
    kinds = ("base", "instructed", "refined")
    return make_results(
        {(Model(kind), task): answers(task, of[i]) for i, kind in enumerate(kinds) for task, of in shares.items()},
        {"sums", "trade"},
        seed=0,
    )


@pytest.fixture
def finished(tmp_path):
    """A run directory whose texts are all hostile, and its manifest."""
    results = results_of({"sums": (0.1, 0.4, 0.8), "doors": (0.1, 0.4, 0.8)})
    write_results(tmp_path / "results.json", replace(results, environment={"python": HOSTILE}))
    write_records(tmp_path / "problems/train.jsonl", [Problem("sums-1", "sums", "train", HOSTILE, "2")])
    write_records(
        tmp_path / "demonstrations.jsonl",
        [Demonstration("sums-1", "sums", "solver", HOSTILE, "2", "right", True, "right")],
    )
    write_records(tmp_path / "predictions/refined/sums.jsonl", answers("sums", 1, n=3))
    write_records(
        tmp_path / "round-1/completions.jsonl",
        [Completion("sums-1", "sums", "cot", 0, HOSTILE, (1,), -1.0, False, None, "wrong", 0.0)],
    )
    write_records(
        tmp_path / "round-1/pairs.jsonl", [Pair("sums-1", "sums", "cot", "a", HOSTILE, (1,), (2,), "cot 1", "cot 0")]
    )
    logged = {"loss": 1.0, "preference_loss": 0.5, "margins": 0.0, "accuracies": 0.5}
    logged |= {"chosen_logps": -3.0, "rejected_logps": -4.0}
    history = [{**logged, "loss": 1 / (n + 1), "margins": float(n)} for n in range(9)]
    write_json(
        tmp_path / "round-1/refined.json",
        {"history": history, "invariants": [{"name": "x", "ok": True, "line": HOSTILE}]},
    )
    entry = StageEntry(seconds=3.0, counts={HOSTILE: 3}, outputs={}, fingerprint="")
    return tmp_path, Manifest(stages={"round-1/refined": entry})


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def tags_of(page):
    parser = Tags()
    parser.feed(page)
    return parser.found


def unpacked(page, name):
    """What the page's script reads from a compressed island."""
    packed = re.search(rf'<script type="text/plain" id="{name}">(.*?)</script>', page)[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_foreign_text_stays_text(finished):
    page = make_report(*finished, RECIPE)

    tags = tags_of(page)
    assert not {tag for tag, _ in tags} & {"img", "iframe", "link", "object", "base", "form"}
    assert not any(name.startswith("on") or name == "src" for _, attributes in tags for name in attributes)
    assert {a["href"][0] for _, a in tags if "href" in a} == {"#"}
    runnable = [a for tag, a in tags if tag == "script" and a.get("type") not in ("text/plain", "application/json")]
    assert runnable == [{}]
    assert "{{ 7 * 7 }}" in page and "\x1b" not in page and r"\x1b[31m \u202e" in page


def test_an_island_cannot_be_left():
    value = {"</script>": "<!-- & \u2028\u2029 \ud800"}

    text = str(island(value))

    assert not set(text) & set("<>&\u2028\u2029") and json.loads(text) == value


@pytest.mark.parametrize(
    ("shares", "sentence"),
    [
        ({"sums": (0.1, 0.4, 0.8)}, "Refined beats instructed in-domain by +40.0 points"),
        (
            {"sums": (0.1, 0.8, 0.4)},
            "Refined is worse than instructed in-domain by −40.0 points; it falls on sums (−40.0)",
        ),
        (
            {"sums": (0.1, 0.4, 0.425)},
            "No evidence of a difference between refined and instructed in-domain (+2.5 points)",
        ),
        (
            {"sums": (0.1, 0.4, 0.4), "doors": (0.1, 0.9, 0.3)},
            "Refined gets the same problems right as instructed in-domain; it falls out-of-domain (−60.0) and falls on "
            "doors (−60.0)",
        ),
        (
            {"sums": (0, 0.2, 0.9), "trade": (0, 0.4, 0.375), "doors": (0.1, 0.9, 0.3)},
            "Refined beats instructed in-domain by +33.8 points; it falls out-of-domain (−60.0) and falls on doors "
            "(−60.0) and is lower within error on trade (−2.5)",
        ),
        ({"doors": (0.1, 0.4, 0.8)}, "Refined beats instructed out-of-domain by +40.0 points"),
        ({}, "Self-refinement: not finished"),
    ],
)
def test_the_headline_says_what_rose_and_what_fell(shares, sentence):
    assert headline(results_of(shares)) == sentence


def test_a_model_that_was_asked_fewer_problems_is_named_where_their_number_stands():
    cot = {Model(kind): answers("sums", 0.5, n) for kind, n in (("base", 10), ("instructed", 40), ("refined", 40))}
    results = make_results({(model, "sums"): found for model, found in cot.items()}, {"sums"}, seed=0)

    [group] = groups(results)

    assert [panel.asked for panel in group.panels] == ["n = 40; base: 10"]
    [line] = findings(results)
    assert line.endswith(" on 40 problems (base on 10), none of which changed.")


def test_a_run_without_the_cot_prompt_has_a_headline_about_the_direct_one():
    cot = results_of({"sums": (0.1, 0.4, 0.8)})
    direct = {
        name: tuple(replace(row, prompt="direct") for row in getattr(cot, name))
        for name in ("rows", "pooled", "comparisons")
    }

    assert headline(replace(cot, **direct)) == headline(cot)


def test_the_page_has_every_figure_of_the_results(finished):
    folder, manifest = finished
    row = PassAtK(Model("refined"), "sums", "cot", k=4, n=40, samples=8, pass_at_k=0.875)
    write_results(folder / "results.json", replace(read_results(folder / "results.json"), pass_at_k=(row,)))

    page = make_report(folder, manifest, RECIPE)

    assert "10.0 → 40.0 → 80.0 %" in page and "<b>80.0</b>" in page
    assert "16 fixed, 0 broken of 40" in page
    assert "Right at least once in k samples" in page and ">87.5<" in page and "from 8 samples" in page
    assert '<th scope="row">refine.beta</th><td>0.3</td>' in page.split("What it leaves at the default")[0]


def test_the_page_of_an_unfinished_run_says_so_and_shows_no_figure(tmp_path):
    page = make_report(tmp_path, Manifest(stages={}), RECIPE)

    assert "This run is not finished" in page and 'class="dots"' not in page
    assert headline(Results((), (), (), ())) == "Self-refinement: not finished"


def test_the_browser_has_all_that_was_said_about_a_problem(finished):
    folder, manifest = finished

    page = make_report(folder, manifest, RECIPE)

    index, [first] = unpacked(page, "index"), unpacked(page, "chunk-0")
    assert index["id"] == ["sums-1"] and index["models"] == ["refined"] and index["verdicts"] == ["r"]
    assert (index["right"], index["samples"], index["pairs"]) == ([0], [1], [1])
    said = [first["question"], first["demonstrations"][0][4], first["samples"][0][9], first["pairs"][0][5]]
    assert {*said, first["answers"][0][9]} == {visible(HOSTILE)}
    assert first["prompts"]["cot"].endswith("Let's think step by step.")


def test_a_trace_follows_a_problem_through_every_stage(finished):
    [trace] = traces(finished[0], 5, "sums-1")

    names = [part.name for part in trace.parts]
    assert names[0] == "demonstration by solver" and "refined, cot" in names
    assert any(name.startswith("round-1: pair") for name in names)


def test_stages_stand_in_the_order_in_which_they_are_made_with_their_price():
    paid = {"n_calls": 3, "n_prompt_tokens": 1_000_000, "n_completion_tokens": 500_000}
    entries = {"demonstrations": StageEntry(seconds=1.0, counts=paid, outputs={}, fingerprint="")}
    seconds = {"predictions/base/sums": 2.0, "predictions/base/doors": 3.0, "round-1/pairs": 1.0, "demonstrations": 1.0}
    teacher = {"kind": "openai", "model": "m", "base_url": "http://localhost:1/v1", "prices": [0.5, 1.5]}
    recipe = check_recipe({**RECIPE.model_dump(mode="json"), "teacher": teacher}, source="test")

    spent = provenance.spent(seconds, entries, recipe)

    assert [(s.stage, s.n, s.seconds) for s in spent] == [
        ("demonstrations", 1, 1.0),
        ("round-1/pairs", 1, 1.0),
        ("predictions/base", 1, 2.0),  # doors are of another recipe in the same folder
    ]
    assert (spent[0].calls, spent[0].tokens, spent[0].dollars) == (3, 1_500_000, 1.25)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.5, 1]), (-11.3, 2.4, [-10, -5, 0]), (0.42, 0.58, [0.45, 0.5, 0.55]), (3, 3, [3])],
)
def test_the_numbers_on_an_axis_are_round(low, high, expected):
    assert ticks(low, high, 3) == expected


def test_the_figures_for_a_paper_are_vector_graphics(finished, tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib (srit[figures])")
    from srit.stages.report.figures import write_figures

    folder, manifest = finished
    results, drawn = read_results(folder / "results.json"), curves(read_logs(folder, manifest.stages))

    written = write_figures(results, drawn, tmp_path / "figures")

    names = ("accuracy-in-cot", "accuracy-out-cot", "changes", "training-round-1-refined")
    assert [path.name for path in written] == [f"{name}.{end}" for name in names for end in ("svg", "pdf")]
    assert "refined" in written[0].read_text() and written[1].read_bytes().startswith(b"%PDF")
    assert not re.search(rb"CreationDate|<dc:date>", b"".join(path.read_bytes() for path in written))


def test_figures_without_matplotlib_say_what_to_install(tmp_path, monkeypatch):
    from srit.stages.report.figures import write_figures

    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(RecipeError, match=r"pip install 'srit\[figures\]'"):
        write_figures(Results((), (), (), ()), [], tmp_path)


def test_files_that_are_damaged_or_gone_are_left_out_and_the_page_says_so(finished):
    folder, manifest = finished
    made = {name: sha256_of(folder / name) for name in ("demonstrations.jsonl", "round-1/pairs.jsonl", "results.json")}
    entry = StageEntry(seconds=1.0, counts={}, outputs=made, fingerprint="")
    write_manifest(folder, Manifest(stages={**manifest.stages, "results": entry}))
    whole = report_so_far(folder, stages(RECIPE)[-1], RECIPE)
    (folder / "demonstrations.jsonl").unlink()
    (folder / "results.json").write_text('{"rows": [')

    page = report_so_far(folder, stages(RECIPE)[-1], RECIPE)

    assert "not shown" not in whole and "not shown: demonstrations.jsonl, results.json." in page
    assert "there are no results yet" in page and unpacked(page, "index")["pairs"] == [1]
