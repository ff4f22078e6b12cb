"""What trackers are told: TensorBoard's files read back by its own reader, and a tracker that is gone for a while."""

import json
from importlib.util import find_spec

import pytest
from typer.testing import CliRunner

import srit
from srit.cli import app
from srit.keys import masked
from srit.trackers import Point, TrackerKind, sending
from srit.trackers.sending import Count, Sending, Sent, read_sent

TRAININGS = ("instructed", "round-1/refined")


@pytest.fixture(scope="module")
def recipe(tiny_student):
    return {
        "name": "tracked",
        "student": {"model": str(tiny_student), "tuning": "full", "dtype": "float32"},
        "tasks": {"train": [{"task": "sums", "limit": 12}], "evaluate": [{"task": "sums", "limit": 4}]},
        "instruct": {"epochs": 6, "batch_size": 4, "learning_rate": 1e-2, "direct_target": "answer"},
        "sample": {"direct": 2, "cot": 2, "max_new_tokens": 12},
        "refine": {"loss": "sigmoid", "epochs": 1, "parts": 2, "batch_size": 2},
        "evaluate": {"max_new_tokens": 8},
    }


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    """A run that was stopped in the middle of stage 1, and went on; and how far it was then."""
    pytest.importorskip("tensorboard")
    out, tracked = tmp_path_factory.mktemp("tracked") / "run", srit.read_recipe(recipe, ["report_to=tensorboard"])

    def stop(what, done, total):
        if (what, done) == ("instructed", 7):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        srit.run(tracked, out, progress=stop)
    stopped = read_sent(out / ".trackers/tensorboard.json")
    srit.run(srit.read_recipe(recipe), out)
    return out, stopped


def history(out, training):
    return json.loads((out / f"{training}.json").read_text())["history"]


def scalars(folder, tag):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return [(one.step, one.value) for one in files.Scalars(tag)]


def assert_all_is_there(out, folder):
    for training in TRAININGS:
        for name in ("loss", "learning_rate"):
            kept = [(int(step["step"]), pytest.approx(step[name], rel=1e-6)) for step in history(out, training)]
            assert scalars(folder, f"{training}/{name}") == kept, (training, name)
    for row in json.loads((out / "results.json").read_text())["rows"]:
        tag = f"accuracy/{row['model']}/{row['task']}/{row['prompt']}"
        assert [value for _, value in scalars(folder, tag)] == [pytest.approx(row["accuracy"])]


def test_a_run_that_was_stopped_goes_on_in_the_same_files_and_no_step_is_there_twice(run):
    out, stopped = run

    assert stopped.stages["instructed"].n == 6
    assert [path.name for path in (out / "tensorboard").iterdir()] == ["1"]
    assert_all_is_there(out, out / "tensorboard/1")
    both, first = (len(history(out, f"round-1/{part}refined")) for part in ("", "part-1/"))
    assert both > first > 0


def test_trackers_are_no_part_of_what_a_run_is(run, recipe):
    out, _ = run

    assert "report_to" not in (out / "recipe.yaml").read_text()
    for choice in ("none", "tensorboard"):
        assert not any(
            stage.reason for stage in srit.plan(srit.read_recipe(recipe, [f"report_to={choice}"]), out).stages
        )


def test_another_recipe_is_another_run_of_the_tracker_and_has_what_was_not_made_again(run, recipe):
    out, _ = run
    before = scalars(out / "tensorboard/1", "round-1/refined/loss")

    srit.run(srit.read_recipe(recipe, ["refine.learning_rate=1e-3"]), out)

    assert_all_is_there(out, out / "tensorboard/2")
    assert scalars(out / "tensorboard/1", "round-1/refined/loss") == before


@pytest.mark.parametrize(
    ("value", "named"), [("wandb", ("wandb",)), ("none", ()), ("[mlflow, trackio]", ("mlflow", "trackio"))]
)
def test_report_to_is_written_as_for_other_trainers(recipe, value, named):
    assert srit.read_recipe(recipe, [f"report_to={value}"]).report_to == named


def test_a_tracker_that_is_not_there_is_refused_before_anything_is_spent(recipe, tmp_path):
    with pytest.raises(srit.SritError, match="there is no tracker 'wand': did you mean 'wandb'"):
        srit.read_recipe(recipe, ["report_to=wand"])
    absent = next((name for name in ("trackio", "mlflow", "wandb") if find_spec(name) is None), None)
    if absent is None:
        pytest.skip("every tracker is installed here")
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    for command in ("plan", "run"):
        out = tmp_path / "run"
        done = CliRunner().invoke(
            app, [command, str(tmp_path / "recipe.yaml"), f"report_to={absent}", "--out", str(out)]
        )
        assert (done.exit_code, out.exists()) == (5, False)
        assert f"report_to: {absent} is not installed: pip install '{absent}>=" in done.stderr


class Server:
    """A tracker whose server can be gone."""

    id, where = "7", "here"

    def __init__(self):
        self.is_gone, self.steps, self.results, self.ended = False, [], {}, None

    def log(self, points):
        if self.is_gone:
            raise ConnectionError("http://me:secret@host: refused, with the key abcdef0123")
        self.steps += [point.step for point in points]

    def conclude(self, results):
        self.results = results

    def end(self, *, finished):
        self.ended = finished


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Begins to send to a server what it does not have."""
    monkeypatch.setattr(sending, "GATHERED_SECONDS", 0.01)
    monkeypatch.setenv("MADE_UP_API_KEY", "abcdef0123")
    place, lines = tmp_path / "server.json", []

    def begun(server):
        return Sending("server", server, read_sent(place) or Sent("7", "settings", {}), place, lines.append), lines

    return begun


def tell(to, n, fingerprint="a"):
    for step in range(n):
        to.tell("instructed", Count(fingerprint, step + 1), Point("instructed", step, {"loss": 1.0}))


def test_a_tracker_that_is_gone_costs_one_line_and_gets_the_rest_from_the_next_run(begin):
    server = Server()
    first, lines = begin(server)
    server.is_gone = True
    tell(first, 3)
    first.end(finished=False)
    server.is_gone = False
    second, _ = begin(server)
    tell(second, 4)
    second.tell("results", Count("b", 1), {"accuracy": 0.5})
    second.end(finished=True)

    assert [line.split(": ")[:2] for line in lines] == [["WARN report_to", "server"]] * 1 + [
        ["WARN report_to", "server has not received everything"]
    ]
    assert "secret" not in lines[0] and "abcdef0123" not in lines[0]
    assert (server.steps, server.results, server.ended) == ([0, 1, 2, 3], {"accuracy": 0.5}, True)


def test_steps_that_a_tracker_has_or_lacks_the_one_before_are_not_sent(begin):
    server = Server()
    first, _ = begin(server)
    tell(first, 3)
    first.end(finished=False)

    second, lines = begin(server)
    assert second.contradicts("instructed", "b") and not second.contradicts("instructed", "a")
    for count in (2, 3, 5, 4, 5):
        second.tell("instructed", Count("a", count), Point("instructed", count - 1, {"loss": 1.0}))
    second.end(finished=True)

    assert server.steps == [0, 1, 2, 3, 4] and not lines


def test_keys_are_masked(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct horse")

    assert (
        masked("https://me:pw@host/x?y failed for correct horse, hf_" + "a" * 20)
        == "https://…@host/x?y failed for …, …"
    )


def test_doctor_says_what_to_install():
    [found] = TrackerKind("no_such_module", "no-such-package>=1", "made up", lambda run, id: Server()).doctor()

    assert found == (False, "report_to made up", "pip install 'no-such-package>=1'")
