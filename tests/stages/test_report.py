import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from srit.recipe import check_recipe
from srit.records import Completion, Demonstration, Model, Pair, Prediction, Problem
from srit.run_directory import Manifest, StageEntry, write_json, write_records
from srit.scores import PassAtK, Results
from srit.stages.report import headline, make_report, traces, visible
from srit.stages.results import make_results, read_results, write_results

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> {{ 7 * 7 }} \x1b[31m \u202e <!-- javascript:x"
RECIPE = check_recipe(
    {
        "name": "page",
        "student": {"model": "x"},
        "tasks": {"train": [{"task": "sums"}], "evaluate": [{"task": "sums"}]},
    },
    source="test",
)


def answers(task, share, n=40):
    return [
        Prediction(
            f"{task}-{i}", task, "cot", 0, HOSTILE, 9, False, None, None, "", "right" if i < share * n else "wrong"
        )
        for i in range(n)
    ]


@pytest.fixture
def finished(tmp_path):
    predictions = {
        (Model(kind), task): answers(task, share)
        for kind, share in (("base", 0.1), ("instructed", 0.4), ("refined", 0.8))
        for task in ("sums", "doors")
    }
    results = make_results(predictions, {"sums"}, seed=0)
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
    logged = {
        "loss": 1.0,
        "preference_loss": 0.5,
        "margins": 0.0,
        "accuracies": 0.5,
        "chosen_logps": -3.0,
        "rejected_logps": -4.0,
    }
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


def test_foreign_text_stays_text(finished):
    page = make_report(*finished, RECIPE)

    tags = tags_of(page)
    assert not {tag for tag, _ in tags} & {"script", "img", "iframe", "link", "object"}
    assert not any(name.startswith("on") or name in ("src", "href") for _, attributes in tags for name in attributes)
    assert "49" not in page.split("{{ 7 * 7 }}")[0][-20:] and "{{ 7 * 7 }}" in page
    assert "\x1b" not in page.split("<dd>")[1] and "⟨U+202E⟩" in page


def test_the_headline_follows_from_the_figures(finished):
    folder, manifest = finished

    page = make_report(folder, manifest, RECIPE)

    assert "Refined beats instructed in-domain by +40.0 points" in page
    assert "10.0 → 40.0 → 80.0 %" in page
    assert "polyline" in page and page.count("<rect") == 6
    assert "Right at least once" not in page


def test_pass_at_k_is_shown_where_it_was_asked_for(finished):
    folder, manifest = finished
    row = PassAtK(Model("refined"), "sums", "cot", k=4, n=40, samples=8, pass_at_k=0.875)
    write_results(folder / "results.json", replace(read_results(folder / "results.json"), pass_at_k=(row,)))

    page = make_report(folder, manifest, RECIPE)

    assert "Right at least once in k samples" in page and ">87.5<" in page and "from 8 samples" in page


def test_the_page_of_an_unfinished_run_says_so_and_shows_no_figure(tmp_path):
    page = make_report(tmp_path, Manifest(stages={}), RECIPE)

    assert "not finished" in page and "<rect" not in page
    assert headline(Results((), (), (), ())) == "Self-refinement: not finished"


def test_a_trace_follows_a_problem_through_every_stage(finished):
    [trace] = traces(finished[0], 5, "sums-1")

    names = [part.name for part in trace.parts]
    assert names[0] == "demonstration by solver" and "refined, cot" in names
    assert any(name.startswith("round-1: pair") for name in names)


def test_invisible_characters_are_shown():
    assert visible("a\x1b[0m\u202e\nb") == "a⟨U+001B⟩[0m⟨U+202E⟩\nb"


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_a_browser_runs_no_script_of_the_page(finished, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(make_report(*finished, RECIPE), errors="replace")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]

    done = subprocess.run(
        [*command, "--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "Refined beats instructed" in done.stdout
    assert "CONSOLE" not in done.stderr
