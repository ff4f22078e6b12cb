"""The check of a GPU, on a processor with tiny shapes: where a GPU is at hand, it must work the first time."""

import json

import pytest

from srit.gpu_check import by_trl
from srit.gpu_check.__main__ import main
from srit.gpu_check.running import PARTS, part_lines

SLOW = {"correctness"}  # it trains in another process, which is killed
NAMES = [name for name in PARTS if not name.endswith(("3B", "8B", "135M"))]  # the others differ in size alone


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NAMES])
def test_every_part_says_what_it_found_line_by_line(monkeypatch, name):
    monkeypatch.setattr(by_trl, "find_spec", lambda package: None)  # TRL takes longer to import than all the rest

    lines = [json.loads(line) for line in part_lines(name, tiny=True)]

    assert lines
    assert [line for line in lines if line.get("passes", True) is not True] == []


@pytest.mark.slow
def test_what_was_found_is_written_and_what_was_found_before_stays(tmp_path, capsys):
    out = tmp_path / "RESULT.json"

    assert main(["--tiny", "--parts", "same-again", "--out", str(out)]) == 0
    assert main(["--tiny", "--parts", "memory", "--seconds", "0", "--out", str(out)]) == 1

    found = json.loads(out.read_bytes())
    assert {line["passes"] for line in found["parts"]["same-again"].values()} == {True}
    assert "FAIL memory: no time was left" in capsys.readouterr().out
