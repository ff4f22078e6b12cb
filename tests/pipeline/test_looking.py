"""`srit plan` looks: what is wrong is found before anything is spent, with the exit code of its kind."""

import gzip
import json
import os
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from typer.testing import CliRunner

from srit.cli import app
from srit.shortages import gigabytes
from srit.teachers.openai import looking


@pytest.fixture
def recipe(tmp_path, tiny_student):
    rows = [{"question": f"{n} + 1?", "answer": str(n + 1), "split": "test" if n < 3 else "train"} for n in range(12)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = f"jsonl:{tmp_path / 'mine.jsonl'}"
    return {
        "name": "looked",
        "student": {"model": str(tiny_student), "tuning": "full"},
        "tasks": {"train": [{"task": task}], "evaluate": [{"task": task}, {"task": "sums", "limit": 5}]},
        "teacher": {"kind": "solver"},
    }


def planned(tmp_path, recipe):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return CliRunner().invoke(app, ["plan", str(path), "--out", str(tmp_path / "run")])


def of_server(url):
    return {"teacher": {"kind": "openai", "model": "gpt-5", "base_url": url, "api_key_env": None}}


class Models(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.headers["Authorization"] if "echo" in self.path else "gpt-5-mini"
        body = json.dumps({"data": [{"id": name}]}).encode()
        self.send_response(403 if "closed" in self.path else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for letter in body if "slow" in self.path else ():
            self.wfile.write(bytes([letter]))
            time.sleep(0.05)
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Models)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_plan_has_the_true_number_of_problems_and_so_of_calls(tmp_path, recipe, server):
    told = planned(tmp_path, recipe | of_server(f"{server}/v1"))

    assert told.exit_code == 0, told.output
    assert "mine.jsonl (train): 9 problems" in told.output and "mine.jsonl (test): 3 problems" in told.output
    assert re.search(r"demonstrations +9 teacher calls", told.output)
    assert "does not list teacher.model 'gpt-5'; it has gpt-5-mini" in told.output
    assert "unknown size" not in told.output and not (tmp_path / "run").exists()
    assert "texts to train on: at most the student's" in told.output


def test_a_server_that_lists_its_models_a_letter_at_a_time_is_not_waited_for(tmp_path, recipe, server, monkeypatch):
    monkeypatch.setattr(looking, "SECONDS", 0.3)

    told = planned(tmp_path, recipe | of_server(f"{server}/slow/v1"))

    assert told.exit_code == 0 and "has not listed its models" in told.output


def test_a_plan_tells_all_that_is_wrong_and_ends_with_the_code_of_the_recipe_first(tmp_path, recipe):
    wrong = {"train": recipe["tasks"]["train"], "evaluate": [{"task": "jsonl:none.jsonl"}]}
    server = {
        "kind": "openai",
        "model": "gpt-5",
        "base_url": "https://api.example.org/v1",
        "api_key_env": "NO_SUCH_KEY",
    }

    told = planned(tmp_path, recipe | {"tasks": wrong, "teacher": server})

    assert told.exit_code == 2
    assert "there is no file or folder 'none.jsonl'" in told.output
    assert "the environment variable NO_SUCH_KEY (teacher.api_key_env) is not set" in told.output


def broken_row(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}\n{"question": "2 + 1?"}\n')
    return {}


def other_names(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"Question": "1 + 1?", "Answer": "2"}\n')
    return {}


def bomb(tmp_path):
    with gzip.open(tmp_path / "bomb.jsonl.gz", "wt") as file:
        for _ in range(80):
            file.write(json.dumps({"question": "1 + 1?", "answer": "2", "rationale": " " * 2**20}) + "\n")
    task = f"jsonl:{tmp_path / 'bomb.jsonl.gz'}"
    return {"tasks": {"train": [{"task": task}], "evaluate": [{"task": "sums", "limit": 5}]}}


def pipe(place):
    """Nobody writes into it: who reads it waits forever."""
    os.mkfifo(place / "pipe.jsonl")
    return {"tasks": {"train": [{"task": f"jsonl:{place / 'pipe.jsonl'}"}], "evaluate": [{"task": "sums", "limit": 5}]}}


def piped_weights(place):
    os.mkfifo(place / "model.safetensors")
    return {"student": {"model": str(place)}}


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (broken_row, 3, "mine.jsonl:2: answer: is missing"),
        (other_names, 3, "mine.jsonl:1: question: is missing"),
        (bomb, 3, "the gzip file holds over 200 times its own size"),
        (pipe, 3, "pipe.jsonl: a pipe, and data are read more than once"),
        (piped_weights, 3, "has no weights"),
        (lambda place: {"teacher": {"kind": "recording", "path": str(place / "none")}}, 3, "there is no file"),
        (lambda place: {"student": {"model": str(place / "none")}}, 3, "there is no folder"),
        (lambda place: {"student": {"model": "runs/quickstart/refined"}}, 3, "no folder runs/quickstart/refined"),
        (lambda place: {"student": {"model": str(place)}}, 3, "has no weights"),
        (lambda place: {"sampler": "vllm"}, 5, "sampler: vllm: something that it needs is missing"),
        (lambda place: of_server("http://127.0.0.1:9/v1"), 4, "start the server, or correct the address"),
    ],
)
def test_what_is_wrong_ends_a_plan_with_the_code_of_its_kind(tmp_path, recipe, change, code, message):
    told = planned(tmp_path, recipe | change(tmp_path))

    assert (told.exit_code, message in told.output) == (code, True), told.output


def test_a_fault_of_a_file_that_is_trained_on_and_evaluated_is_told_once(tmp_path, recipe):
    (tmp_path / "mine.jsonl").unlink()

    assert planned(tmp_path, recipe).output.count("there is no file or folder") == 1


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"sampler": "vllm"}, 5, "sampler: vllm: something that it needs is missing"),
        (of_server("http://127.0.0.1:9/v1"), 4, "start the server, or correct the address"),
        (of_server("https://api.example.org/v1"), 4, "cannot be reached"),
    ],
)
def test_a_run_looks_at_its_sampler_and_its_teacher_before_it_measures_or_trains(
    tmp_path, recipe, change, code, message
):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe | change))

    told = CliRunner().invoke(app, ["run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")])

    assert (told.exit_code, message in told.output) == (code, True), told.output
    assert "measuring" not in told.output and "lengths" not in told.output


def test_whoever_only_trains_needs_no_sampler(tmp_path, recipe):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"sampler": "vllm", "teacher": {"kind": "gold"}}))

    told = CliRunner().invoke(app, ["instruct", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")])

    assert "vllm" not in told.output and (told.exit_code, "demonstrations" in told.output) == (3, True), told.output


def test_a_server_that_refuses_the_key_is_told(tmp_path, recipe, server):
    told = planned(tmp_path, recipe | of_server(f"{server}/closed"))

    assert told.exit_code == 4 and "/closed wants a key: put it in an environment variable" in told.output


def test_a_key_that_a_server_lists_as_a_model_is_not_shown(tmp_path, recipe, server, monkeypatch):
    monkeypatch.setenv("MY_TEACHER", key := "7f3e9a1c5b8d2e4f6a0c9b7d5e3f1a2b")
    teacher = {"kind": "openai", "model": "gpt-5", "base_url": f"{server}/echo", "api_key_env": "MY_TEACHER"}

    told = planned(tmp_path, recipe | {"teacher": teacher})

    assert "it has Bearer …" in " ".join(told.output.split()) and key[:8] not in told.output


def test_an_address_that_no_request_can_have_is_told(tmp_path, recipe):
    told = planned(tmp_path, recipe | of_server("http://127.0.0.1:9/\u00e9/v1"))

    assert told.exit_code == 4 and "correct the address" in " ".join(told.output.split())


@pytest.mark.parametrize("parts, trained, optimizers", [(1, 2, 0), (2, 3, 1), (5, 6, 2)])
def test_the_disk_has_room_for_the_model_of_every_part_and_for_two_optimizers(
    tmp_path, recipe, tiny_student, parts, trained, optimizers
):
    size = sum(path.stat().st_size for path in tiny_student.glob("*.safetensors")) // 2
    recipe["refine"] = {"parts": parts}

    said = planned(tmp_path, recipe).output

    needed = size * (4 * trained + 8 * optimizers + 24)
    assert f"at most {gigabytes(needed)} for weights" in said


@pytest.mark.parametrize(
    ("fields", "loss"),
    [({}, "none: Fine-tuning on own answers, without rejected ones"), ({"beta": 0.2}, "sigmoid: DPO")],
)
def test_the_loss_that_the_fields_mean_is_named(tmp_path, recipe, fields, loss):
    assert f"refine.loss: {loss}\n" in planned(tmp_path, recipe | {"refine": fields}).output
