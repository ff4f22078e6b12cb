"""The pages in a real Chromium."""

import json
import threading
import time
from pathlib import Path

import pytest
from browser import needs_axe, needs_chromium
from made_up import made_up
from pydantic import TypeAdapter

from srit.cli.watch import server_of
from srit.recipe import check_recipe
from srit.records import Completion, Demonstration, Model, Pair, Prediction, Problem
from srit.records.anatomy import Anatomy
from srit.run_directory import Manifest, StageEntry, read_records, write_bytes, write_json, write_records
from srit.stages.anatomy.pairs import count_pairs
from srit.stages.anatomy.samples import by_problem, count_samples
from srit.stages.report import make_report
from srit.stages.results import make_results, write_results
from srit.study.claims import findings
from srit.study.page import html
from srit.study.tables import make_tables
from srit.study.tables.curves import make_curves

pytestmark = needs_chromium
RECIPE = check_recipe(
    {
        "name": "page",
        "student": {"model": "x"},
        "tasks": {"train": [{"task": "sums"}], "evaluate": [{"task": "sums"}]},
    },
    source="test",
)
MODELS = ("base", "instructed", "refined")
RUNS = ("alert(1)", "confirm`1`", "fetch('//a.invalid/')", "console.log(1)", "document.write(1)")
SHAPES = (
    "<script>{0}</script>",
    "</script><script>{0}</script>",
    "<img src=//a.invalid/x onerror={0}>",
    "<svg/onload={0}>",
    "<iframe srcdoc='<script>{0}</script>'></iframe>",
    "<details open ontoggle={0}>",
    "<style>@import '//a.invalid/{0}'</style>",
    "<link rel=stylesheet href=//a.invalid/{0}>",
    "<a href='javascript:{0}' autofocus onfocus={0}>x</a>",
    "<base href=//a.invalid/><script src=x>{0}</script>",
    "<meta http-equiv=refresh content='0;url=//a.invalid/{0}'>",
    "<form action=//a.invalid/><button autofocus onfocus={0}>",
)
AROUND = ("{0}", "\u2028{0}\u2029", "<!--{0}-->{0}", "\\u003c/script>{0}", "']}}\";{0}//")


def payloads():
    return [around.format(shape.format(run)) for run in RUNS for shape in SHAPES for around in AROUND]


EFFECT = {
    "model": "refined",
    "pairs": 3,
    "margins_grew": 2,
    "places": [{"side": "chosen", "place": "own", "tokens": 5, "before": -1.5, "after": -1.0}],
    "flips": [{"pairs": "no pairs", "problems": 5, "wrong_before": 3, "fixed": 1, "broken": 0, "auc": None}],
}


def run_of(folder, texts, n_right=(1, 2, 3)):
    """A run directory with a problem for each text, which stands in everything that is said about it."""
    ids = [f"p{i}" for i in range(len(texts))]
    found = list(zip(ids, texts, strict=True))
    write_records(folder / "problems/train.jsonl", [Problem(i, "sums", "train", t, t) for i, t in found])
    write_records(folder / "problems/evaluate-sums.jsonl", [Problem(i, "sums", "test", f"Q {t}", t) for i, t in found])
    demonstrations = [Demonstration(i, "sums", t, t, t, "right", True, t) for i, t in found]
    write_records(folder / "demonstrations.jsonl", demonstrations)
    completions = [Completion(i, "sums", "cot", 0, t, (1,), -1.5, False, t, "wrong", 0.0) for i, t in found]
    write_records(folder / "round-1/completions.jsonl", completions)
    write_records(
        folder / "round-1/pairs.jsonl", [Pair(i, "sums", "cot", f"{t} 1", t, (1,), (2,), t, t) for i, t in found]
    )
    samples = by_problem(completions)
    anatomy = Anatomy(count_samples(samples), count_pairs(read_records(folder / "round-1/pairs.jsonl", Pair), samples))
    write_json(folder / "round-1/anatomy.json", TypeAdapter(Anatomy).dump_python(anatomy, mode="json"))
    write_json(folder / "round-1/effect.json", {"trainings": [EFFECT]})
    predictions = {}
    for model, every in zip(MODELS, n_right, strict=True):
        predictions[Model(model), "sums"] = [
            Prediction(
                p, "sums", "cot", 0, f"{t} {model}", 9, n % 7 == 0, t, (0, 1), t, "right" if n % 4 < every else "wrong"
            )
            for n, (p, t) in enumerate(found)
        ]
        write_records(folder / f"predictions/{model}/sums.jsonl", predictions[Model(model), "sums"])
    write_results(folder / "results.json", make_results(predictions, {"sums"}, seed=0))
    logged = {"loss": 1.0, "preference_loss": 0.5, "margins": 0.0, "accuracies": 0.5}
    logged |= {"chosen_logps": -3.0, "rejected_logps": -4.0}
    history = [{**logged, "loss": 1 / (n + 1), "margins": float(n % 7)} for n in range(60)]
    lines = [{"name": "x", "ok": True, "line": texts[0]}]
    write_json(folder / "round-1/refined.json", {"history": history, "invariants": lines})
    entry = StageEntry(seconds=3.0, counts={texts[0]: 3}, outputs={}, fingerprint="")
    return folder, Manifest(stages={"round-1/refined": entry})


def opened(browser, folder, texts, **looks):
    page = folder / "report.html"
    write_bytes(page, make_report(*run_of(folder / "run", texts), RECIPE).encode())
    browser.look(**looks)
    browser.open(page)
    wait_for(browser, "document.querySelectorAll('#shown .card').length > 0")


def wait_for(browser, condition, seconds=10):
    until = time.monotonic() + seconds
    while not browser.run(f"return {condition}"):
        assert time.monotonic() < until, condition
        time.sleep(0.02)


WALK = """
const list = document.getElementById("list"), seen = [];
const shown = () => document.getElementById("shown").textContent;
for (let i = 0; i < arguments[0]; i++) {
  seen.push(shown());
  const before = seen[i];
  list.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
  for (let wait = 0; wait < 200 && shown() === before; wait++) await new Promise((done) => setTimeout(done, 1));
}
return seen;
"""


def test_hostile_text_in_every_field_runs_nothing_loads_nothing_and_prints_nothing(browser, tmp_path):
    texts = payloads()
    assert len(texts) == 300

    opened(browser, tmp_path, texts)
    seen = browser.run(WALK, len(texts))  # an open dialog would make this an error

    # In the question, the gold answer, three answers, the demonstration, its teacher, the pair and the sample.
    visible = [t.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029") for t in texts]
    assert [text.count(one) >= 9 for text, one in zip(seen, visible, strict=True)] == [True] * 300
    assert [url for url in browser.network() if not url.startswith("file://")] == []
    assert browser.console() == []


def test_problems_are_found_by_their_text_and_by_what_became_of_them(browser, tmp_path):
    opened(browser, tmp_path, [f"There are {i} apples" for i in range(400)])
    found = "return document.getElementById('found').textContent"
    press = "document.querySelector(`[data-filter=${arguments[0]}]`).click()"
    search = "const s = document.getElementById('search'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))"

    assert browser.run(found) == "800 of 800 problems"  # each in training, and in the evaluation
    browser.run(press, "fixed")
    assert browser.run(found) == "100 of 800 problems"
    browser.run(press, "broken")
    assert browser.run(found) == "0 of 800 problems"
    browser.run(press, "all")
    browser.run(search, "re 399 app")
    wait_for(browser, "document.getElementById('found').textContent === '2 of 800 problems'")
    browser.run("document.getElementById('deep').click()")
    browser.run(search, "apples refined")  # only in an answer
    wait_for(browser, "document.getElementById('found').textContent === '400 of 800 problems'")
    assert browser.run("return [...document.querySelectorAll('#shown mark.differs')].map(m => m.textContent)")[0]
    # What is shown is in the address.
    wait_for(browser, "location.hash.includes('search=apples+refined')")
    browser.run("location.reload()")
    wait_for(browser, "document.getElementById('found')?.textContent === '0 of 800 problems'")


def test_curves_are_smoothed_zoomed_and_read_with_the_keyboard(browser, tmp_path):
    opened(browser, tmp_path, ["x"])
    key = "document.querySelector('#curves svg').dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0]}))"
    axis = "return [...document.querySelectorAll('#curves svg')][0].textContent"

    assert browser.run("return document.querySelectorAll('#curves svg').length") == 4
    whole = browser.run(axis)
    browser.run(key, "Home")
    said = browser.run("return document.querySelector('#curves svg').getAttribute('aria-valuetext')")
    assert said == "step 0: loss 1.0000 nats"
    browser.run(key, "+")
    assert browser.run(axis) != whole
    browser.run(key, "0")
    assert browser.run(axis) == whole


def test_the_list_holds_only_the_rows_in_view(browser, tmp_path):
    opened(browser, tmp_path, [f"{i}" for i in range(3000)])

    browser.run("document.getElementById('list').scrollTop = 3000 * 58")
    wait_for(browser, "document.querySelector('#rows > div').textContent.includes('29')")

    assert browser.run("return document.querySelectorAll('#rows > div').length") < 60
    assert browser.run("return document.querySelector('#rows > div').getAttribute('aria-setsize')") == "6000"


def test_a_watched_run_is_shown_anew_when_it_has_made_something(browser, tmp_path):
    folder, manifest = run_of(tmp_path / "run", ["x"])
    (folder / "recipe.yaml").write_text(json.dumps(RECIPE.model_dump(mode="json")))
    write_json(folder / "manifest.json", {"stages": {}})
    stages = {name: entry.model_dump(by_alias=True) for name, entry in manifest.stages.items()}
    server = server_of(folder, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        browser.open(f"http://127.0.0.1:{server.server_port}/")
        wait_for(browser, "document.getElementById('live')?.textContent.startsWith('The run is done')")
        write_json(folder / "manifest.json", {"stages": stages})
        wait_for(browser, "document.body?.textContent.includes('round-1/refined')")
        asked = {url.partition(str(server.server_port))[2] for url in browser.network()}
        assert asked - {"/favicon.ico"} == {"/", "/state"}
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@needs_axe
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
def test_axe_finds_nothing_wrong_with_either_page(browser, tmp_path, width, dark):
    opened(browser, tmp_path, [f"There are {i} apples" for i in range(40)], width=width, dark=dark)
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert browser.violations() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width

    cells = {f"limit={n}": {"labels": {"limit": str(n)}, "tuned_on": ["sums"]} for n in (10, 40)}
    shares = {"base": 0.1, "instructed": 0.4, "refined": 0.9}
    results = made_up(shares, cells=cells, study={"axes": {"limit": [10, 40]}})
    study = Path(tmp_path / "study.html")
    study.write_text(html(results, found := findings(results), make_tables(results, found), make_curves(results)))
    browser.open(study)
    assert browser.violations() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_a_hundred_thousand_predictions_open_in_two_seconds(browser, tmp_path):
    n = 33_334  # of three models
    text = "First {0} + 3 = {1}. Then {1} * 2 = {2}, and a half of it is {1} again. The answer is {2}."
    page = tmp_path / "report.html"
    texts = [text.format(i, i + 3, 2 * i + 6) for i in range(n)]
    page.write_text(make_report(*run_of(tmp_path / "run", texts), RECIPE))
    browser.look()

    started = time.monotonic()
    browser.open(page)
    wait_for(browser, "document.querySelectorAll('#shown .card').length > 0")

    assert time.monotonic() - started < 2
