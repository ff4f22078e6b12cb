import pytest
from made_up import srit

STUDY = """\
name: tiny
recipe:
  name: tiny
  student: {{model: "{student}", tuning: full, dtype: float32}}
  tasks:
    train: [{{task: sums, limit: 8}}]
    evaluate: [{{task: sums, limit: 6}}, {{task: doors, limit: 6}}]
  demonstrations: {{limit: 4}}
  instruct: {{epochs: 30, learning_rate: 1e-2, batch_size: 4, direct_target: answer}}
  sample: {{direct: 3, cot: 2, max_new_tokens: 24}}
  refine: {{epochs: 1, batch_size: 8, nll_weight: 0.5, nll_on: right}}
  evaluate: {{prompts: [cot], max_new_tokens: 8, teacher: true}}
  rows: 32
seeds: [0, 1]
cells:
  cot: {{}}
  correctness: {{pairs.heuristic: correctness}}
  elsewhere: {{tasks.refine: [{{task: sums, limit: 8}}, {{task: compare, limit: 3}}]}}
claims:
  - {{}}
  - {{domain: out}}
  - {{b: refined, where: {{arm: cot}}, against: {{arm: correctness}}}}
"""


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory, tiny_student):
    path = tmp_path_factory.mktemp("study") / "tiny.yaml"
    path.write_text(STUDY.format(student=tiny_student))
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory, tiny_study):
    out = tmp_path_factory.mktemp("finished") / "tiny"
    done = srit("study", tiny_study, "--out", out)
    assert done.exit_code == 0, done.output
    return out
