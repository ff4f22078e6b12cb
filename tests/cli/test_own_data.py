"""The examples of docs/own-data.md are run as they stand, up to their demonstrations."""

import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from srit.cli import app

PAGE = (Path(__file__).parents[2] / "docs/own-data.md").read_text()
EXAMPLES = PAGE.split("\n## ")[1:]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.splitlines()[0])
def test_an_example_of_the_page_makes_demonstrations(tmp_path, monkeypatch, tiny_student, example):
    monkeypatch.chdir(tmp_path)
    for name, rows in re.findall(r"`([^`\n]+\.(?:jsonl|py))`.*?```(?:jsonl|python)\n(.*?)```", example, re.DOTALL):
        Path(name).write_text(rows)
    [recipe] = re.findall(r"```yaml\n(.*?)```", example, re.DOTALL)
    student = {"model": str(tiny_student), "dtype": "float32", "tuning": "full"}
    Path("run").mkdir()
    Path("run/recipe.yaml").write_text(yaml.safe_dump({**yaml.safe_load(recipe), "student": student}))

    done = CliRunner().invoke(app, ["demonstrate", "run"])

    assert done.exit_code == 0, done.output
    made = [json.loads(line) for line in Path("run/demonstrations.jsonl").read_text().splitlines()]
    assert made and all(row["kept"] for row in made)


def test_there_are_four_examples():
    assert len(EXAMPLES) == 4
