"""The embedded student in real llama.cpp, by both ways to write a GGUF file."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from srit.cli import app


@pytest.mark.slow
@pytest.mark.parametrize("written_by", ["srit", "llama.cpp's converter"])
def test_llama_cpp_answers_as_smollm2_does(tmp_path, written_by):
    pytest.importorskip("xllamacpp", reason="llama.cpp is in srit[gguf]")
    converter = os.environ.get("LLAMA_CPP_CONVERTER")
    if written_by != "srit" and converter is None:
        pytest.skip("LLAMA_CPP_CONVERTER names no convert_hf_to_gguf.py of a clone of llama.cpp")
    more = [] if written_by == "srit" else ["--converter", str(Path(converter))]
    out = ["--to", "ollama", "--out", str(tmp_path / "out"), "--questions", "20"]

    done = CliRunner().invoke(app, ["export", "smollm2-135m-instruct", *out, *more])

    assert done.exit_code == 0, done.output
    assert "ok   20 of 20 prompts are those trained with, by Ollama's template" in done.output
