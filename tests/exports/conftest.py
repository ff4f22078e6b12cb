"""A finished run whose models are adapters."""

import pytest
from tiny import add_a_merge, save_tiny_student

import srit

RECIPE = """\
name: tiny
student: {{model: "{student}", dtype: float32, lora: {{rank: 16}}}}
tasks:
  train: [{{task: sums, limit: 24}}]
  evaluate: [{{task: sums, limit: 4}}, {{task: doors, limit: 4}}]
instruct: {{epochs: 30, learning_rate: 2e-2, batch_size: 24, direct_target: answer}}
sample: {{direct: 2, cot: 2, max_new_tokens: 12}}
refine: {{loss: sigmoid, epochs: 1}}
evaluate: {{max_new_tokens: 8}}
"""


@pytest.fixture(scope="session")
def student(tmp_path_factory):
    """A tiny student that llama.cpp takes."""
    return add_a_merge(save_tiny_student(tmp_path_factory.mktemp("exported-student")))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, student):
    folder = tmp_path_factory.mktemp("exported")
    (folder / "tiny.yaml").write_text(RECIPE.format(student=student))
    return srit.run(srit.read_recipe(str(folder / "tiny.yaml")), folder / "run")
