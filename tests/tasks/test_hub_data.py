"""Data sets by their columns: a folder in a format of `datasets`, and a server that plays the hub's API."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from datasets import Dataset

from srit.errors import DataError
from srit.pipeline.begun import pinned
from srit.recipe import check_recipe
from srit.recipe.compared import tuned_on
from srit.tasks import find_task, hub_data

ROWS = [{"problem": f"What is {n} + 1?", "solution": f"One more.\n#### {n + 1}", "level": n} for n in range(20)]
COLUMNS = "question=problem&answer=solution"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SRIT_CACHE", str(tmp_path / "cache"))
    Dataset.from_list(ROWS).to_parquet(tmp_path / "data/train-00000-of-00001.parquet")
    Dataset.from_list(ROWS[:4]).to_parquet(tmp_path / "data/validation-00000-of-00001.parquet")
    return tmp_path / "data"


def load(name, split, limit=None):
    return list(find_task(name).load(split, data=None, limit=limit, seed=0))


def test_columns_become_problems(folder):
    problems = load(f"hub:{folder}?{COLUMNS}", "train")

    assert [(p.question, p.answer) for p in problems] == [(f"What is {n} + 1?", str(n + 1)) for n in range(20)]
    assert problems[0].rationale == "One more." and problems[0].task == f"hub:{folder}?{COLUMNS}"
    assert find_task(problems[0].task).count("train", data=None, limit=None) == 20


@pytest.mark.parametrize(
    "said, split, n",
    [("", "dev", 4), ("", "test", 4), ("&split=train", "test", 20), ("&split=validation", "train", 4)],
)
def test_problems_come_from_the_split_of_their_name_or_from_one_that_is_named(folder, said, split, n):
    assert len(load(f"hub:{folder}?{COLUMNS}{said}", split)) == n


def test_one_split_can_be_divided(folder):
    sides = [load(f"hub:{folder}?{COLUMNS}&split=60/0/40", split) for split in ("train", "dev", "test")]

    assert sorted(p.question for side in sides for p in side) == sorted(row["problem"] for row in ROWS)
    assert all(sides[::2]) and not sides[1]


def test_json_lines_are_a_data_set_too(tmp_path, monkeypatch):
    monkeypatch.setenv("SRIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))

    assert len(load(f"hub:{tmp_path / 'data'}?{COLUMNS}", "train", limit=3)) == 3


@pytest.mark.parametrize(
    "said, split, message",
    [
        ("question=no&answer=solution", "train", "there is no column 'no' for the question; it has: problem, solution"),
        (f"{COLUMNS}&split=extra", "train", "it has no train split, but train, validation: name one"),
        (
            f"{COLUMNS}&split=train&split=test",
            "train",
            r"each name may appear only once after the \?",
        ),
    ],
)
def test_what_is_not_there_is_told(folder, said, split, message):
    with pytest.raises(DataError, match=message):
        load(f"hub:{folder}?{said}", split)


def test_a_data_set_out_of_reach_is_told_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("SRIT_CACHE", str(tmp_path))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    task = find_task(f"hub:nobody/nothing?{COLUMNS}")
    assert task.count("train", data=None, limit=None) is None  # `srit plan` asks nobody
    with pytest.raises(DataError, match=r"nobody/nothing: cannot be loaded .* check the name, config= and the connect"):
        list(task.load("train", data=None, limit=None, seed=0))
    assert hub_data.commit_of_data("nobody/nothing") is None


@pytest.fixture
def hub(monkeypatch):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = json.dumps({"id": "owner/name", "sha": "c" * 40, "siblings": []}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield asked
    server.shutdown()
    server.server_close()


def test_a_run_stays_with_the_commit_that_the_hub_names_when_it_begins(hub):
    commit = hub_data.commit_of_data("owner/name")
    use, evaluated = f"hub:owner/name?{COLUMNS}", f"hub:owner/name?{COLUMNS}&split=validation"
    fields = {"name": "hub", "student": {"model": "x"}, "tasks": {"train": [{"task": use}]}}
    fields["tasks"]["evaluate"] = [{"task": evaluated}, {"task": f"{use}&revision={'d' * 40}"}]
    recipe = check_recipe(fields, source="hub")

    begun = pinned(recipe, {"datasets/owner/name": commit})

    assert hub and commit == "c" * 40
    assert begun.tasks.train[0].task == f"{use}&revision={commit}"
    assert [one.task for one in begun.tasks.evaluate] == [
        *(f"{evaluated}&revision={commit}", f"{use}&revision={'d' * 40}")
    ]
    assert find_task(use).source("train", data=None) != find_task(begun.tasks.train[0].task).source("train", data=None)
    assert {one.task for one in begun.tasks.evaluate} <= tuned_on(begun)  # of one domain
    assert pinned(begun, {"datasets/owner/name": "e" * 40}) == begun
