import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srit.errors import RecipeError
from srit.recipe import SHIPPED, check_recipe, read_recipe, shipped
from srit.recipe.unused import without_effect
from srit.run_directory import canonical
from srit.stages import stages
from srit.study.grid import read_study

GOOD = """\
name: small
student:
  model: smollm2-135m-instruct
tasks:
  train:
    - task: sums
      limit: 10
  evaluate: [{task: sums4}]
refine:
  learning_rate: 1e-4
"""

BAD = {
    "unknown field, with the nearest": (
        GOOD + "  nll_wieght: 1\n",
        "recipe.yaml:11: there is no field refine.nll_wieght; did you mean nll_weight?",
    ),
    "unknown field at the top": (GOOD + "round: 2\n", "recipe.yaml:11: there is no field round; did you mean rounds?"),
    "missing field": (GOOD.replace("  model: smollm2-135m-instruct\n", "  tuning: full\n"), "student.model"),
    "text for a number": (GOOD + "  beta: high\n", "recipe.yaml:11: refine.beta is 'high'"),
    "a number out of range": (GOOD + "  beta: 0\n", "recipe.yaml:11: refine.beta is 0: input should be greater than 0"),
    "an escape beyond the last letter": (GOOD + '  beta: "\\UFFFFFFFF"\n', "recipe.yaml: not YAML: "),
    "yes is not a boolean": (
        GOOD.replace("tasks:\n", "tasks:\n  allow_overlap: yes\n"),
        "tasks.allow_overlap is 'yes'",
    ),
    "a choice that does not exist": (GOOD + "  nll_on: wrong\n", "refine.nll_on is 'wrong'"),
    "a task that does not exist, with the nearest": (
        GOOD.replace("[{task: sums4}]", "[{task: summs4}]"),
        "recipe.yaml:8: tasks.evaluate.0.task is 'summs4': there is no task 'summs4': did you mean 'sums4'?",
    ),
    "an empty list of tasks": (GOOD.replace("[{task: sums4}]", "[]"), "tasks.evaluate"),
    "a field that the loss does not use": (
        GOOD + "  loss: ipo\n  label_smoothing: 0.1\n",
        "refine.label_smoothing: the loss ipo does not use it (only robust and sigmoid)",
    ),
    "no likelihood in a loss that is nothing else": (
        GOOD + "  nll_weight: 0\n",
        "recipe.yaml:11: refine.nll_weight is 0: it is the only term of the loss none: raise it, or set refine.loss",
    ),
    "a field of another loss, with those that use it": (
        GOOD + "  gamma: 1.0\n",
        "recipe.yaml:11: refine.gamma: the loss none does not use it (only simpo): remove it, or set it to null",
    ),
    "a loss that does not exist, with the nearest": (
        GOOD + "  loss: simpa\n",
        "recipe.yaml:11: refine.loss is 'simpa': there is no loss 'simpa': did you mean 'simpo'? choose one of apo_",
    ),
    "a teacher that does not exist": (
        GOOD + "teacher: {kind: opanai}\n",
        "recipe.yaml:11: teacher.kind is 'opanai': there is no teacher 'opanai': did you mean 'openai'? choose one of ",
    ),
    "a field of another teacher": (
        GOOD + "teacher: {kind: solver, path: x}\n",
        "recipe.yaml:11: teacher.path: a teacher of kind solver does not use it (only recording): remove it",
    ),
    "an unknown field of a teacher, with the nearest": (
        GOOD + "teacher: {kind: recording, path: x, varient: a}\n",
        "recipe.yaml:11: there is no field teacher.varient; did you mean variant?",
    ),
    "a teacher that is a name alone": (
        GOOD + "teacher: solver\n",
        "recipe.yaml:11: teacher is 'solver': give its fields, such as {kind: solver}",
    ),
    "a sampler that does not exist": (
        GOOD + "sampler: vlm\n",
        "there is no sampler 'vlm': did you mean 'vllm'? choose one of transformers, vllm",
    ),
    "a sampler that cannot stop at a text": (
        GOOD + "sampler: {kind: vllm}\nevaluate: {stop: [x]}\n",
        "evaluate.stop: the sampler vllm reads only token ids",
    ),
    "controls of a round in parts": (
        GOOD + "  parts: 2\ncontrols: [right]\n",
        "recipe.yaml: controls: they learn from the answers of one model",
    ),
    "more parts than anyone trains": (
        GOOD + "  parts: 200\n  passes: 100\n",
        "rounds, refine.parts and refine.passes make 20,000 parts; at most 10,000 are trained",
    ),
    "wrong answers that would be learned as chosen ones": (
        GOOD + "  nll_on: chosen\npairs: {swapped: 0.5}\n",
        "pairs.swapped: the likelihood of the chosen answers would be raised",
    ),
    "a reference of a loss that has none": (
        GOOD + "  loss: group\n  reference: round\n",
        "refine.reference: the loss group does not use it (only apo_zero and ipo",
    ),
    "an extra field that has a place of its own": (
        GOOD + "teacher: {kind: openai, model: m, base_url: 'https://x.org/v1', extra: {n: 4}}\n",
        "extra: n is teacher.samples, each in a request of its own: remove it from extra",
    ),
    "samples that are all alike": (
        GOOD + "teacher: {kind: openai, model: m, base_url: 'https://x.org/v1', samples: 4}\n",
        "samples: at temperature 0, all answers to a question are the same: raise teacher.temperature",
    ),
    "nothing demonstrated, and a stage 1 to learn it": (
        GOOD + "demonstrations: {limit: 0}\n",
        "recipe.yaml: demonstrations.limit: 0 leaves stage 1 nothing to learn: set instruct.epochs: 0 as well",
    ),
    "controls without the stage that they are compared with": (
        GOOD + "rounds: 0\ncontrols: [right]\n",
        "recipe.yaml: controls: they are compared with stage 2, which rounds: 0 leaves out",
    ),
    "a control of a stage 1 without demonstrations": (
        GOOD + "demonstrations: {limit: 0}\ninstruct: {epochs: 0}\ncontrols: [instruct]\n",
        "recipe.yaml: controls: instruct would learn more of the demonstrations, which demonstrations.limit: 0",
    ),
    "no answers to learn from": (
        GOOD + "sample: {direct: 0, cot: 0}\n",
        "recipe.yaml: sample: direct: 0 and cot: 0 leave stage 2 nothing to learn from",
    ),
    "pairs for a loss that learns from none": (
        GOOD + "  loss: group\npairs: {path: pairs.jsonl}\n",
        "recipe.yaml: pairs.path: the loss group would not learn what the pairs reject",
    ),
    "controls of a recipe that trains nothing": (
        GOOD.replace("  train:\n    - task: sums\n      limit: 10\n", "  train: []\n") + "controls: [right]\n",
        "recipe.yaml: tasks.train: [] trains nothing: remove tasks.refine, tasks.dev and controls",
    ),
    "a file of answers, in rounds": (
        GOOD + "rounds: 2\nsample: {path: x}\n",
        "recipe.yaml: sample.path: its answers are learned once",
    ),
    "a file of pairs and one of answers": (
        GOOD + "  nll_on: chosen\nsample: {path: x}\npairs: {path: x}\n",
        "recipe.yaml: pairs.path: pairs of a file need no answers: remove sample.path",
    ),
    "a file of pairs, and right answers of which there are none": (
        GOOD + "  loss: sigmoid\npairs: {path: x}\n",
        "recipe.yaml: pairs.path: no answers are sampled whose likelihood could be raised: set refine.nll_on: chosen",
    ),
    "a file of pairs, and a loss that learns from none": (
        GOOD + "  nll_on: chosen\npairs: {path: x}\n",
        "recipe.yaml: pairs.path: the loss none would not learn what the pairs reject: set refine.loss: sigmoid",
    ),
    "a recording without its path": (
        GOOD + "teacher: {kind: recording}\n",
        "path: a teacher of kind recording needs it",
    ),
    "a name that is a path": (GOOD.replace("name: small", "name: ../../small"), "name is '../../small'"),
    "the same key twice": (GOOD + "name: twice\n", "recipe.yaml:11: 'name' is given twice"),
    "an alias": (GOOD + "rounds: *x\n", "aliases"),
    "a key that is a number": (GOOD + "1: 2\n", "the key 1 is not text"),
    "a tag": (GOOD + "rounds: !!binary aGk=\n", "recipe.yaml:11: tags (!!binary) are not allowed"),
    "a tag of a set": (GOOD + "rounds: !!set {a}\n", "recipe.yaml:11: tags (!!set) are not allowed"),
    "a number beyond all others": (
        GOOD.replace("1e-4", "1e999"),
        "recipe.yaml:10: refine.learning_rate is inf: input should be a finite number",
    ),
    "half a surrogate pair": (GOOD + 'sampler: "\\ud800"\n', "recipe.yaml:11: half of a surrogate pair"),
    "many faults": (GOOD + "".join(f"k{n}: 1\n" for n in range(99)), "… and 79 more"),
    "nested without end": ("[" * 5000, "nested deeper than 32"),
    "a tab": (GOOD + "\tx: 1\n", "recipe.yaml:11"),
    "no mapping": ("just text", "a recipe is a mapping"),
    "bytes that are no text": (b"\xff\xfe", "not UTF-8"),
    "too long": ("#" * (1 << 21), "at most"),
}

KEY = "sk-canary-0123456789"
SERVER = GOOD + "teacher: {kind: openai, model: m, base_url: 'https://x.org/v1'}\n"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("api_key_env", KEY),
        ("api_key_env", "0a1b2c3d4e5f6a7b8c9d"),
        ("api_key_env", "a1b2c3d4e5f6a7b8c9d0e1f2"),
        ("api_key", KEY),
        ("model", f"m {KEY}"),
        ("base_url", f"https://x.org/v1?key={KEY}"),
        ("base_url", "https://x.org/v1?access_token=abc"),
        ("base_url", "https://user:abc@x.org/v1"),
        ("extra", f"{{headers: {{Authorization: Bearer {KEY}}}}}"),
        ("extra", f"{{{KEY}: true}}"),
    ],
)
def test_a_key_in_a_recipe_is_refused_and_not_repeated(tmp_path, field, value):
    with pytest.raises(RecipeError) as caught:
        read_recipe(written(tmp_path, SERVER), [f"teacher.{field}={value}"])

    assert "put the key in an environment variable" in str(caught.value) and f"teacher.{field}" in str(caught.value)
    assert KEY not in str(caught.value) and "abc" not in str(caught.value)


@pytest.mark.parametrize("line", [f"{KEY}: 1", f"{KEY}name: x", KEY, f"x: !{KEY} y", f"? {KEY}\n? {KEY}"])
def test_a_key_in_a_line_that_no_recipe_has_is_not_repeated(tmp_path, line):
    with pytest.raises(RecipeError, match=r"recipe\.yaml:1?\d: ") as caught:
        read_recipe(written(tmp_path, f"{GOOD}{line}\n"))

    assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "my_key_2", "null"])
def test_the_name_of_a_variable_is_no_key(tmp_path, name):
    assert read_recipe(written(tmp_path, SERVER), [f"teacher.api_key_env={name}"])


def test_a_recipe_of_the_greatest_length_is_refused_in_a_second(tmp_path):
    began = time.process_time()
    for text in ("".join(f"k{n}: 1\n" for n in range(5800)), GOOD + f"x: [{'1,' * 30000}]"):
        with pytest.raises(RecipeError):
            read_recipe(written(tmp_path, text))

    assert time.process_time() - began < 5  # two of them, on a busy machine


def written(tmp_path, content):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_numbers_are_read_as_yaml_1_2(tmp_path):
    recipe = read_recipe(written(tmp_path, GOOD))

    assert recipe.refine.learning_rate == 1e-4
    assert recipe.tasks.train[0].limit == 10


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_recipe_is_refused_with_its_place(tmp_path, fault):
    content, message = BAD[fault]

    with pytest.raises(RecipeError) as caught:
        read_recipe(written(tmp_path, content))

    assert message in str(caught.value)


def test_overrides_are_typed_and_reach_into_lists(tmp_path):
    recipe = read_recipe(written(tmp_path, GOOD), ["refine.beta=0.5", "tasks.train.0.limit=3", "name=other"])

    assert (recipe.refine.beta, recipe.tasks.train[0].limit, recipe.name) == (0.5, 3, "other")


@pytest.mark.parametrize("override", ["refine.beta", "refine.beta=x", "tasks.train.7.limit=3", "name.x=1"])
def test_a_bad_override_is_refused(tmp_path, override):
    with pytest.raises(RecipeError):
        read_recipe(written(tmp_path, GOOD), [override])


def test_all_faults_of_a_recipe_are_told_at_once(tmp_path):
    with pytest.raises(RecipeError) as caught:
        read_recipe(written(tmp_path, GOOD + "  beta: -1\n  epochs: 0\n"))

    assert len(str(caught.value).splitlines()) == 2


def test_a_faulty_entry_is_one_fault_and_its_list_none(tmp_path):
    with pytest.raises(RecipeError) as caught:
        read_recipe(written(tmp_path, GOOD), ["tasks.evaluate.0.task=sum4"])

    [line] = str(caught.value).splitlines()
    assert "did you mean 'sums4'" in line


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_is_a_plan(name):
    recipe = read_recipe(name)

    assert recipe.name == name
    assert [str(stage.name) for stage in stages(recipe)[-2:]] == ["results", "report"]


def test_another_prompt_makes_again_every_stage_that_asks_or_trains(tmp_path):
    plain, worded = (
        {str(stage.name): stage for stage in stages(read_recipe(written(tmp_path, GOOD), fields))}
        for fields in ([], ["prompt.trigger=Think."])
    )

    assert {name for name, stage in plain.items() if stage.settings == worded[name].settings} == {
        *("problems", "round-1/anatomy", "results")
    }


@pytest.mark.parametrize("name", [name for name in shipped() if name.endswith("gb")])
def test_a_recipe_for_a_gpu_plans_without_the_hub_its_teacher_and_a_gpu(name, tmp_path):
    from srit.api import plan
    from srit.teachers.gold import GoldSettings

    recipe = read_recipe(name)
    known = {"qwen", "llama", "smollm2", "gemma"}
    planned = plan(recipe.model_copy(update={"teacher": GoldSettings()}), tmp_path)

    assert recipe.student.model.lower().split("/")[1].startswith(tuple(known))
    assert planned.looked.faults == () and len(planned.stages) > 10
    text = (SHIPPED / f"{name}.yaml").read_text()
    assert max(map(len, text.splitlines())) <= 120 and "# Memory: " in text and "not run by us" in text


def test_the_smallest_recipe_trains_as_choosing_advises():
    student = {"model": "smollm2-135m-instruct"}
    tasks = {"train": [{"task": "gsm8k"}], "evaluate": [{"task": "gsm8k"}]}
    smallest = check_recipe({"name": "mine", "student": student, "tasks": tasks}, source="smallest")
    cells = read_study("studies/preference/shipped.yaml").cells
    advised = next(cell.recipes[0] for cell in cells if cell.name == "RFT")

    for part in ("instruct", "sample", "pairs", "refine"):
        studied = getattr(advised, part).model_dump(exclude={"max_new_tokens"})
        assert getattr(smallest, part).model_dump(exclude={"max_new_tokens"}) == studied


@pytest.mark.parametrize(
    "fields, loss",
    [
        ([], "none"),
        (["refine.beta=0.2"], "sigmoid"),
        (["refine.reference=round", "refine.nll_weight=0"], "sigmoid"),
        (["refine.nll_on=chosen"], "none"),
        (["refine.loss=ipo", "refine.beta=0.2"], "ipo"),
    ],
)
def test_a_loss_that_is_not_named_is_dpo_where_one_of_its_fields_is_set(tmp_path, fields, loss):
    assert read_recipe(written(tmp_path, GOOD), fields).refine.loss == loss


@pytest.mark.parametrize("loss, weight", [("sigmoid", 4.0), ("ipo", 4.0), ("none", 1.0), ("group", 0.0)])
def test_the_likelihood_of_right_answers_weighs_what_the_loss_leaves_to_it(tmp_path, loss, weight):
    assert read_recipe(written(tmp_path, GOOD), [f"refine.loss={loss}"]).refine.nll_weight == weight


def test_fields_of_pairs_that_nothing_learns_from_are_named(tmp_path):
    said = [
        without_effect(read_recipe(written(tmp_path, GOOD), ["pairs.rejected=wrong", *fields]))
        for fields in ([], ["refine.loss=group"], ["refine.loss=sigmoid"], ["refine.nll_on=chosen"])
    ]

    assert all(one.startswith("pairs.rejected: without effect") for one in said[:2]) and said[2:] == ["", ""]
    assert without_effect(read_recipe("quickstart")) == ""


KEPT = json.loads((Path(__file__).parent / "kept_settings.json").read_text())


@pytest.mark.parametrize("name", KEPT)
def test_a_recipe_kept_before_kinds_had_their_own_fields_makes_no_stage_again(name):
    """`kept_settings.json`: recipe.yaml files as they were resolved then, and sums of the settings of their stages."""
    recipe = check_recipe(KEPT[name]["recipe"], source="kept")
    again = check_recipe(recipe.model_dump(mode="json"), source="again")

    for read in (recipe, again):
        sums = {str(stage.name): hashlib.sha256(canonical(stage.settings)).hexdigest()[:16] for stage in stages(read)}
        assert sums.items() >= KEPT[name]["settings"].items()


def test_a_recipe_is_read_without_torch():
    program = (
        "import sys; from srit.recipe import read_recipe; read_recipe('quickstart'); print('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert done.stdout == "False\n"
