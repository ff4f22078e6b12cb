"""The stage of demonstrations, and the teacher's predictions, from the command line."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading

import pytest
from teacher_server import Reply, TeacherServer, answer
from typer.testing import CliRunner

from srit.cli import app
from srit.pipeline.begun import Shared
from srit.pipeline.running import open_run, run_stages
from srit.recipe import read_recipe
from srit.records import Demonstration, Model, Prediction
from srit.run_directory import read_records
from srit.stages import part, stages
from srit.stages.results import make_results

RECIPE = """\
name: taught
student: {{model: "{student}", dtype: float32, tuning: full}}
tasks: {{train: [{{task: "jsonl:{problems}"}}], evaluate: [{{task: sums, limit: 2}}]}}
teacher: {{kind: openai, model: m, base_url: "{url}", max_tokens: 64, concurrency: 1}}
"""
QUESTIONS = {
    "p1": ("Leo has 6 red and 5 green marbles. How many marbles has he?", "11"),
    "p2": ("A hall with 40 chairs has 15 guests. How many chairs are free?", "25"),
    "p3": ("Eight bags hold 4 plums each. How many plums are there?", "32"),
}


class Taught:
    """A run directory with three questions, and the server that is asked them."""

    def __init__(self, folder, student):
        self.folder, self.server = folder, TeacherServer()
        self.replies = {}  # to p1, p2, p3, where it is not the right answer
        self.server.default = self._reply
        problems = folder / "problems.jsonl"
        rows = [{"id": name, "question": said, "answer": gold} for name, (said, gold) in QUESTIONS.items()]
        problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "run").mkdir()
        recipe = RECIPE.format(student=student, problems=problems, url=self.server.url)
        (folder / "run/recipe.yaml").write_text(recipe)

    def _reply(self, body):
        prompt = body["messages"][0]["content"]
        [name] = [name for name, (said, _) in QUESTIONS.items() if said in prompt]
        reply = self.replies.get(name) or Reply(answer(f"The answer is {QUESTIONS[name][1]}."))
        return reply(body) if callable(reply) else reply

    def demonstrate(self):
        """Runs `srit demonstrate` → (ids kept, requests sent, what was shown)."""
        self.server.requests.clear()
        done = CliRunner().invoke(app, ["demonstrate", str(self.folder / "run")])
        assert done.exit_code == 0, done.output
        return [row["problem_id"] for row in self.rows() if row["kept"]], len(self.server.requests), done.output

    def limit(self, max_tokens):
        recipe = self.folder / "run/recipe.yaml"
        recipe.write_text(re.sub(r"\bmax_tokens: \d+", f"max_tokens: {max_tokens}", recipe.read_text()))

    def rows(self):
        return [json.loads(line) for line in (self.folder / "run/demonstrations.jsonl").read_text().splitlines()]

    def entry(self):
        return json.loads((self.folder / "run/manifest.json").read_bytes())["stages"]["demonstrations"]


@pytest.fixture
def taught(tmp_path, tiny_student, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    taught = Taught(tmp_path, tiny_student)
    yield taught
    taught.server.close()


def test_demonstrations_need_no_weights_of_the_student(tmp_path, tiny_student):
    unweighted = tmp_path / "student"
    shutil.copytree(tiny_student, unweighted, ignore=shutil.ignore_patterns("*.safetensors"))
    taught = Taught(tmp_path, unweighted)

    assert taught.demonstrate()[:2] == (["p1", "p2", "p3"], 3)

    taught.server.close()


def test_a_question_without_an_answer_is_asked_again_by_the_same_command_and_no_other_is(taught):
    taught.replies["p2"] = Reply({"error": {"message": "the template failed"}}, status=400)

    kept, n_requests, shown = taught.demonstrate()
    assert (kept, n_requests) == (["p1", "p3"], 3) and "1 question has no answer yet" in shown
    failed = taught.rows()
    assert taught.demonstrate()[:2] == (["p1", "p3"], 1) and taught.rows() == failed
    del taught.replies["p2"]
    assert taught.demonstrate()[:2] == (["p1", "p2", "p3"], 1)

    assert taught.entry()["counts"]["n_calls"] == 5
    assert taught.demonstrate()[1] == 0


def test_a_question_that_cannot_be_asked_again_leaves_what_was_made(taught):
    taught.replies["p2"] = Reply({"error": {"message": "the template failed"}}, status=400)
    taught.demonstrate()
    taught.server.default = Reply(b"", status=401)

    kept, n_requests, shown = taught.demonstrate()

    assert (kept, n_requests) == (["p1", "p3"], 1) and "WARN demonstrations: m: a request without a key" in shown


def test_several_samples_of_a_question_are_each_paid_once_and_the_right_ones_kept(taught):
    said = iter(["5 and 6. The answer is 11.", "The answer is 12.", "5 and 6. The answer is 11.", "The answer is 11."])
    taught.replies["p1"] = lambda body: Reply(answer(next(said)))
    run, fields = str(taught.folder / "run"), ["teacher.temperature=0.8"]

    for samples, requests in ((3, 9), (3, 9), (4, 12)):
        done = CliRunner().invoke(app, ["demonstrate", run, f"teacher.samples={samples}", *fields])
        assert done.exit_code == 0 and len(taught.server.requests) == requests, done.output

    of_first = [(row["text"][-3:-1], row["kept"], row["reason"]) for row in taught.rows() if row["problem_id"] == "p1"]
    assert of_first == [
        *(("11", True, "right"), ("12", False, "wrong")),
        *(("11", False, "another sample says the same"), ("11", True, "right")),
    ]
    assert taught.entry()["counts"]["n_calls"] == 12
    keys = [headers["idempotency-key"] for _, headers, _ in taught.server.requests]
    assert len(set(keys)) == 12 and {body["temperature"] for _, _, body in taught.server.requests} == {0.8}


def test_the_budget_is_that_of_all_samples_together(taught):
    fields = ["teacher.samples=3", "teacher.temperature=0.8", "teacher.max_calls=5"]

    done = CliRunner().invoke(app, ["demonstrate", str(taught.folder / "run"), *fields])

    assert done.exit_code == 4 and "max_calls" in done.output and len(taught.server.requests) == 5


@pytest.mark.parametrize("gone", ["teacher/*", "teacher/answers.jsonl"])
def test_answers_that_are_missing_as_a_whole_are_not_bought_again_without_a_word(taught, gone):
    taught.demonstrate()
    for path in (taught.folder / "run").glob(gone):
        path.unlink()
    (taught.folder / "run/demonstrations.jsonl").unlink()
    run = ["demonstrate", str(taught.folder / "run")]

    refused = CliRunner().invoke(app, run)

    assert refused.exit_code == 3 and "answers.jsonl: missing, although 3 calls were paid for" in refused.output
    assert len(taught.server.requests) == 3
    subprocess.run(refused.output.partition("pay again: ")[2], shell=True, check=True)
    assert CliRunner().invoke(app, run).exit_code == 0 and len(taught.server.requests) == 6


def test_a_pipe_in_place_of_the_answers_is_refused(taught):
    (taught.folder / "run/teacher").mkdir(parents=True)
    os.mkfifo(taught.folder / "run/teacher/answers.jsonl")

    refused = CliRunner().invoke(app, ["demonstrate", str(taught.folder / "run")])

    assert refused.exit_code == 3 and "answers.jsonl: not a file: move it away" in refused.output
    assert not taught.server.requests


def test_extra_fields_are_sent_and_are_part_of_what_was_paid_for(taught):
    run, extra = str(taught.folder / "run"), ["teacher.extra={top_k: 5, chat: {deep: true}}"]

    for fields, requests in (([], 3), (extra, 6), (extra, 6)):
        done = CliRunner().invoke(app, ["demonstrate", run, *fields])
        assert done.exit_code == 0 and len(taught.server.requests) == requests, done.output

    bodies = [body for _, _, body in taught.server.requests]
    assert [(body.get("top_k"), body.get("chat")) for body in bodies] == [(None, None)] * 3 + [(5, {"deep": True})] * 3


def test_thoughts_beside_an_answer_or_in_it_are_learned_only_if_the_recipe_says_so(taught):
    message = {"role": "assistant", "content": "So the answer is 11.", "reasoning_content": "Five and six. "}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    taught.replies["p1"] = Reply(answer() | {"choices": [choice]})
    taught.replies["p2"] = Reply(answer("<think>\nFive and six.\n</think>\n\nSo the answer is 11."))
    run, texts = str(taught.folder / "run"), []

    for fields in ([], ["teacher.thoughts=true"]):
        done = CliRunner().invoke(app, ["demonstrate", run, *fields])
        assert done.exit_code == 0, done.output
        texts.append([row["text"] for row in taught.rows() if row["problem_id"] in ("p1", "p2")])

    thought = "<think>\nFive and six.\n</think>\n\nSo the answer is 11."
    assert texts == [["So the answer is 11."] * 2, [thought] * 2]


def test_a_raised_limit_asks_again_what_was_cut_before_a_word(taught):
    def short(body):
        thought = {"role": "assistant", "content": None, "reasoning_content": "There are 40 chairs. I take away"}
        choice = {"index": 0, "message": thought, "finish_reason": "length"}
        cut = Reply(answer() | {"choices": [choice]})
        return cut if body["max_tokens"] < 200 else Reply(answer("40 - 15 = 25. The answer is 25."))

    taught.replies["p2"] = short

    assert taught.demonstrate()[:2] == (["p1", "p3"], 3)
    assert "teacher.max_tokens" in taught.rows()[1]["reason"] and taught.entry()["counts"]["n_calls"] == 3
    assert taught.demonstrate()[1] == 0
    taught.limit(256)
    assert taught.demonstrate()[:2] == (["p1", "p2", "p3"], 1)
    assert taught.entry()["counts"]["n_calls"] == 4


def test_what_did_not_end_by_itself_is_not_trained_on_and_each_reason_is_told_apart(taught):
    taught.replies = {
        "p1": Reply(answer("6 + 5 = 11 marbles, and so", finish="content_filter")),
        "p2": Reply(answer("40 - 15 = 25 chairs, since", finish="model_length")),
    }

    assert taught.demonstrate()[:2] == (["p3"], 3)

    p1, p2, _ = taught.rows()
    assert p1["text"] == p2["text"] == "" and p1["reason"] != p2["reason"]
    kept = [json.loads(line) for line in (taught.folder / "run/teacher/answers.jsonl").read_text().splitlines()]
    assert "6 + 5 = 11 marbles, and so" in [row["answer"]["raw"] for row in kept]


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_is_obeyed_while_the_server_is_waited_for(taught, zygote, number, exit_code):
    asked = threading.Event()

    def busy(body):
        if len(taught.server.requests) > 3:
            asked.set()
        return Reply({"error": {"message": "loading"}}, status=503)

    taught.server.default = busy
    pid = zygote.start("demonstrate", taught.folder / "run", ignored=[signal.SIGINT])
    assert asked.wait(100)

    assert zygote.kill(pid, number) == exit_code

    assert len(taught.server.requests) <= 12


def test_runs_that_share_their_work_ask_again_once_and_all_get_what_came_of_it(taught):
    recipe = read_recipe(str(taught.folder / "run/recipe.yaml"))
    refused = Reply({"error": {"message": "the template failed"}}, status=400)

    def kept(shared, name):
        taught.server.requests.clear()
        folder = taught.folder / name
        with open_run(folder, recipe, part("demonstrations"), watch=print, shared=shared) as opened:
            run_stages(opened)
        made = read_records(folder / "demonstrations.jsonl", Demonstration)
        return [d.problem_id for d in made if d.kept], len(taught.server.requests)

    taught.replies["p2"] = refused
    first = Shared(taught.folder, {})
    assert kept(first, "a") == (["p1", "p3"], 3)
    assert kept(first, "b") == kept(first, "a") == (["p1", "p3"], 0)
    second = Shared(taught.folder, {})
    assert kept(second, "a") == (["p1", "p3"], 1)
    assert kept(second, "b") == (["p1", "p3"], 0)
    del taught.replies["p2"]
    third = Shared(taught.folder, {})
    assert kept(third, "a") == (["p1", "p2", "p3"], 1)
    assert kept(third, "b") == kept(third, "c") == (["p1", "p2", "p3"], 0)


EVALUATION = """\
name: evaluated
student: {{model: "{student}", dtype: float32, tuning: full}}
tasks: {{train: [{{task: sums, limit: 2}}], evaluate: [{{task: "jsonl:{problems}"}}]}}
teacher: {{kind: recording, path: "{recording}"}}
evaluate: {{prompts: [cot], teacher: true}}
"""


@pytest.mark.parametrize("n_answered", [3, 0])
def test_what_a_teacher_did_not_answer_counts_as_not_right(tmp_path, tiny_student, n_answered):
    problems, recording = tmp_path / "problems.jsonl", tmp_path / "teacher.jsonl"
    problems.write_text(
        "".join(f'{{"id": "k{i}", "question": "Add {i} and 60.", "answer": "{i + 60}"}}\n' for i in range(6))
    )
    recording.write_text("".join(f'{{"id": "k{i}", "output": "The answer is {i + 60}."}}\n' for i in range(n_answered)))
    if not n_answered:
        recording.write_text('{"id": "another", "output": "The answer is 1."}\n')
    path = tmp_path / "recipe.yaml"
    path.write_text(EVALUATION.format(student=tiny_student, problems=problems, recording=recording))

    def declare(recipe):
        return [s for s in stages(recipe) if s.name.product == "problems" or s.name.model == Model("teacher")]

    recipe = read_recipe(str(path))
    with open_run(tmp_path / "run", recipe, declare, watch=print) as opened:
        name = run_stages(opened)[-1]
        counts = opened.run.manifest.stages[name].counts
    found = read_records(tmp_path / "run" / f"{name}.jsonl", Prediction)

    assert counts["no answer"] == 6 - n_answered
    answers = {(Model(kind), "t"): found for kind in ("base", "instructed", "refined", "teacher")}
    [row] = [row for row in make_results(answers, set(), seed=0).rows if row.model == Model("teacher")]
    assert (row.n, row.correct, row.accuracy, row.unread) == (6, n_answered, n_answered / 6, 6 - n_answered)
    assert [p.reason for p in found if p.verdict == "unread"] == ["not in the recording"] * (6 - n_answered)
