"""Whatever a file holds, srit reads it or refuses it in a sentence, within a second and 200 MB.

`make fuzz` makes up 100,000 inputs of each kind.
"""

import gc
import json
import os
import re
import time
from functools import cache, wraps
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import tiny_tokenizer

from srit.errors import DataError, RecipeError, SritError
from srit.pipeline.fingerprints import difference
from srit.pipeline.planning import plan
from srit.recipe import check_recipe, read_recipe
from srit.run_directory import read_manifest
from srit.stages import stages
from srit.students.prompts import Prompts
from srit.tasks.jsonl import read_problems

FUZZED = int(os.environ.get("FUZZED", "400"))
PROCESS = Path("/proc/self")

TEMPLATES = 1.0 if "FUZZED" in os.environ else 0.05  # one that never ends takes a second


def fuzzed(share=1.0):
    """How many inputs are made up: a share of FUZZED. The suite tries the same inputs every time."""
    return settings(
        max_examples=max(1, round(share * FUZZED)),
        deadline=None,  # a busy machine takes longer: `bounded` counts the processor's time
        derandomize="FUZZED" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def bounded(check):
    """A check that takes at most a second of processor time and 200 MB for each input."""

    @wraps(check)
    def measured(*arguments, **inputs):
        PROCESS.joinpath("clear_refs").write_text("5")  # the peak begins again
        before = kilobytes("VmRSS")
        gc.disable()  # what Hypothesis keeps of 100,000 inputs takes over a second to look through
        began = time.process_time()
        try:
            check(*arguments, **inputs)
        finally:
            gc.enable()
        assert time.process_time() - began < 1
        assert kilobytes("VmHWM") - before < 200_000

    return measured


def kilobytes(name):
    return int(re.search(rf"{name}:\s+(\d+)", PROCESS.joinpath("status").read_text())[1])


RECIPE = """\
name: small
student: {model: m, tuning: full, lora: {rank: 4}}
tasks:
  train: [{task: sums, limit: 10}]
  evaluate: [{task: "jsonl:x.jsonl", data: null}]
teacher: {kind: openai, model: t, base_url: "https://api.example.com/v1", prices: [1.0, 2.0]}
refine: {loss: simpo, beta: 2.0, learning_rate: 1e-4}
evaluate: {pass_at: [1, 8], stop: ["\\n"], options: true}
sampler: {kind: vllm}
"""
PIECES = [
    *("&a", "*a", "!!binary x", "!!set {a}", "!t", "<<: {}", "1e999", ".nan", "0x1F", "12:30", "2001-01-01", "null"),
    *("? a", "- ", "|\n  x", ">-", "{", "}", "[", "]", ",", ":", "#", "'", '"', "\t", "\0", "\ud800", "\x85", "\ufeff"),
    *('"\\ud800"', "9" * 400, "-", "---", "...", "%YAML 1.1", "sk-abcdefgh01234567", "kind: local", "true", "~", " "),
]
ROW = '{"id": "a", "question": "How many are 2 and 2?", "answer": "4", "choices": ["4", "5"], "split": "train"}'
ROW_PIECES = [
    *(
        "NaN",
        "1e999",
        "-0",
        "1E400",
        "\\ud800",
        "null",
        "[]",
        "{}",
        '"',
        "\\",
        ",",
        ":",
        "\n",
        "\r\n",
        "\x00",
        "\u2028",
    ),
    *("#### 4", "\\\\boxed{4}", "<answer>", '"answer": 4.0', '"choices": null', "9" * 500, "[" * 300, "A", "(A)"),
]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATE_PIECES = [
    *(
        "{{ 1/0 }}",
        "{{ x.y.z }}",
        "{{ messages[9] }}",
        "{% for i in range(99999) %}",
        "{% endfor %}",
        "{{ ''.__class__ }}",
    ),
    *(
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{{ raise_exception('no') }}",
        "{% include 'x' %}",
        "{#",
        "#}",
    ),
    *(
        "{{ 'x' * 99999999 }}",
        "{{ strftime_now('%Y') }}",
        "<think>",
        "{% set x = messages %}",
        "| tojson",
        "| trim",
        "%}",
    ),
    *(
        "{{ bos_token }}",
        "{{ messages | length ** 9999999 }}",
        "{% if",
        "{{",
        "}}",
        "{{ ''.__class__ }}",
        "#}",
        "| trim",
        "\0",
        "\ud800",
        "é",
    ),
]


def mangled(text, pieces):
    """A text with some pieces put in, and some of its own left out or repeated."""
    place = st.integers(0, len(text))
    change = st.tuples(place, st.integers(0, 12), st.one_of(st.sampled_from(pieces), st.text(max_size=4)))

    def apply(changes):
        made = text
        for start, length, piece in changes:
            made = made[:start] + piece + made[start + length :]
        return made

    return st.lists(change, min_size=1, max_size=4).map(apply)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzzed")


@fuzzed(0.5)
@given(mangled(RECIPE, PIECES))
@bounded
def test_any_text_is_a_recipe_or_refused(scratch, text):
    path = scratch / "recipe.yaml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    try:
        read_recipe(str(path))
    except RecipeError as error:
        # After a letter it is no key: "task-…" is none either.
        assert str(path) in str(error) and not re.search(r"(?<![A-Za-z0-9])sk-abcdefgh01234567", str(error))


@fuzzed()
@given(
    st.sampled_from(["student", "tasks", "teacher", "refine", "evaluate", "sampler", "controls", "pairs", "rounds"]),
    st.sampled_from([None, "kind", "train", "loss", "model", "stop", "task"]),
    json_values,
)
@bounded
def test_any_value_of_a_field_is_taken_or_refused(field, inner, value):
    tree = {
        "name": "x",
        "student": {"model": "m"},
        "tasks": {"train": [{"task": "sums"}], "evaluate": [{"task": "sums"}]},
    }
    tree[field] = (
        value if inner is None else {**(tree[field] if isinstance(tree.get(field), dict) else {}), inner: value}
    )
    try:
        check_recipe(tree, source="recipe.yaml")
    except RecipeError as error:
        assert str(error).startswith("recipe.yaml")


@fuzzed()
@given(st.lists(mangled(ROW, ROW_PIECES), min_size=1, max_size=3))
@bounded
def test_any_row_is_a_problem_or_refused_with_its_line(scratch, rows):
    path = scratch / "rows.jsonl"
    path.write_bytes("\n".join(rows).encode(errors="surrogatepass"))
    try:
        list(read_problems(path, f"jsonl:{path}", "train"))
    except DataError as error:
        assert "rows.jsonl:" in str(error) or "Ids must be unique" in str(error)


@fuzzed(TEMPLATES)
@given(mangled(TEMPLATE, TEMPLATE_PIECES))
@bounded
def test_any_chat_template_is_used_or_refused(text):
    try:
        Prompts(tokenizer(), text)
    except DataError as error:
        assert "student.chat_template" in str(error) or "nothing ends an answer" in str(error)


ENTRY = {"fingerprint": "x", "outputs": {"problems/train.jsonl": "0"}, "counts": {"train": 1}, "seconds": 1.0}
FIELDS = [*ENTRY, "settings", "version", "sources"]  # of a stage


@fuzzed()
@given(
    st.sampled_from(["stages", "revisions", "way", "way of", "sum", *ENTRY, "settings", "version", "sources"]),
    json_values,
)
@bounded
def test_any_manifest_is_planned_with_or_refused_by_name(scratch, tiny_student, field, value):
    stage = {**ENTRY, field: value} if field in FIELDS else ENTRY
    manifest = {"stages": {"problems": stage, "round-1/pairs": stage}}
    (scratch / "manifest.json").write_text(json.dumps(manifest | ({field: value} if stage is ENTRY else {})))
    recipe = planned_recipe(str(tiny_student))
    try:
        plan(scratch, recipe, stages)
        for entry in read_manifest(scratch).stages.values():
            difference({part: None for part in ("version", "settings", "sources", "inputs", "student", "way")}, entry)
    except SritError as error:
        assert "manifest.json: damaged" in str(error)


@cache
def planned_recipe(student):
    return read_recipe("quickstart", [f"student.model={student}"])


@cache
def tokenizer():
    return tiny_tokenizer()
