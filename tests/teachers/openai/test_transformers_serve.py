import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import httpx2
import pytest
from teacher_server import each_of
from tiny import save_tiny_student
from transformers import AutoTokenizer, GenerationConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from srit.errors import RecipeError, TeacherError
from srit.records import Problem
from srit.teachers import Answer, Question
from srit.teachers.openai.endpoint import Endpoint
from srit.teachers.openai.teacher import OpenAITeacher

END = 258
START_SECONDS = 60
QUESTIONS = [Question(Problem(f"p{i}", "sums", "train", f"{i} + 1?", "2"), f"What is {i} + 1?") for i in range(12)]


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    folder = save_tiny_student(tmp_path_factory.mktemp("served"))
    # Left to itself, a random model repeats one token and never ends.
    ends = GenerationConfig(repetition_penalty=1.5, eos_token_id=[END, *range(0, 256, 8)], pad_token_id=END)
    ends.save_pretrained(folder)
    return str(folder)


@contextlib.contextmanager
def serving(log, *arguments):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", *arguments]
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)],
            env=os.environ | offline,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield server, f"http://127.0.0.1:{port}/v1"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture(scope="module")
def pinned(student, tmp_path_factory):
    """A server that answers for `student` alone."""
    log = tmp_path_factory.mktemp("pinned") / "log"
    with serving(log, student) as (server, url):
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if httpx2.get(url.replace("/v1", "/health"), timeout=5).is_success:
                    break
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"transformers serve did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield url


@pytest.fixture(scope="module")
def unpinned(student, tmp_path_factory):
    """A server that loads whatever it is asked for, and the answers to questions asked before it listened."""
    with serving(tmp_path_factory.mktemp("unpinned") / "log") as (_, url):
        yield url, asked(url, student, QUESTIONS[:1], give_up_seconds=START_SECONDS, first_wait_seconds=0.2)


@pytest.fixture(scope="module")
def expected(student):
    """What `generate` makes of each question, by problem."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(student), AutoTokenizer.from_pretrained(student)

    def answer(question):
        prompt = f"<|im_start|>{question.prompt}<|im_end|><|im_start|>"
        inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        n_prompt = inputs.input_ids.shape[1]
        completion = model.generate(**inputs, max_new_tokens=100, do_sample=False)[0, n_prompt:]
        text = tokenizer.decode(completion, skip_special_tokens=True)
        return Answer(question.problem.id, text, "", 1, n_prompt, len(completion))

    answers = {question.problem.id: answer(question) for question in QUESTIONS}
    assert len({one.text for one in answers.values()}) == len(QUESTIONS)
    return answers


def asked(url, model, questions=QUESTIONS, **settings):
    defaults = {"concurrency": 1, "max_tokens": 100, "deadline_seconds": 30.0, "give_up_seconds": 30.0}
    return each_of(OpenAITeacher(Endpoint(url, model, **defaults | settings)).answer(questions))


def test_asked_one_by_one_a_server_answers_in_the_order_asked(pinned, student, expected):
    answers = asked(pinned, student)

    assert [(a.problem_id, a.text) for a in answers] == [(a.problem_id, a.text) for a in expected.values()]


def test_asked_at_once_a_server_gives_each_question_its_own_answer(pinned, student, expected):
    answers = asked(pinned, student, concurrency=8)

    assert len(answers) == len(QUESTIONS)
    assert {a.problem_id: a.text for a in answers} == {identity: a.text for identity, a in expected.items()}


def test_the_tokens_a_server_counts_are_those_of_prompt_and_completion(pinned, student, expected):
    counted = [(a.n_calls, a.n_prompt_tokens, a.n_completion_tokens) for a in asked(pinned, student)]

    assert counted == [(a.n_calls, a.n_prompt_tokens, a.n_completion_tokens) for a in expected.values()]


def test_an_answer_a_server_cuts_at_max_tokens_is_no_answer(pinned, student):
    [one] = asked(pinned, student, QUESTIONS[:1], max_tokens=2)

    assert one.text is None and "teacher.max_tokens" in one.reason and one.n_calls == 1


def test_a_model_a_pinned_server_does_not_have_is_refused_by_its_own_words(pinned, student):
    with pytest.raises(TeacherError, match="refused 2 of 2 questions") as refused:
        asked(pinned, "nobody/nothing", QUESTIONS[:2])

    assert f"status 400: Server is pinned to '{student}'" in str(refused.value)


def test_an_address_without_v1_is_an_error_of_the_recipe(pinned, student):
    with pytest.raises(RecipeError, match="404"):
        asked(pinned.removesuffix("/v1"), student, QUESTIONS[:1])


def test_a_server_that_does_not_listen_yet_is_waited_for(unpinned, expected):
    _, [one] = unpinned

    assert one.text == expected["p0"].text and one.n_calls > 1


def test_a_model_a_server_cannot_load_ends_in_giving_up(unpinned):
    url, _ = unpinned

    with pytest.raises(TeacherError, match=r"nobody/nothing at .*: no answer for .* \(status 500"):
        asked(url, "nobody/nothing", QUESTIONS[:1], give_up_seconds=0.1, first_wait_seconds=0.2)
