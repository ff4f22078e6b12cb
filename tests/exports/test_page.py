"""Every srit command of docs/using-a-model.md, as it stands there."""

import re
import shlex
from pathlib import Path

import pytest
from hub_server import HubServer
from typer.testing import CliRunner

from srit.cli import app

PAGE = Path(__file__).parents[2] / "docs/using-a-model.md"


def commands():
    """The page's commands of srit, without comments and with what is piped into them."""
    for line in re.findall(r"^\$ (.*)$", PAGE.read_text(), re.MULTILINE):
        piped, _, command = line.partition(" | ") if " | " in line else ("", "", line)
        words = shlex.split(command, comments=True)
        if words[0] == "srit":
            yield words[1:], "".join(shlex.split(piped)[1:])


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own
def test_every_command_of_the_page_works(tiny_run, tmp_path, monkeypatch):
    pytest.importorskip("xllamacpp", reason="llama.cpp is in srit[gguf]")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/mine").symlink_to(tiny_run)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    done = []
    with HubServer() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        # A folder is talked to after it was made, and made twice: once to be uploaded.
        for words, piped in sorted(commands(), key=lambda command: command[0][0] == "chat"):
            if "--push" in words:
                words = [f"{word}-pushed" if word == "mine" else word for word in words]
            found = CliRunner().invoke(app, words, input=piped or "Hi\n")
            assert found.exit_code == 0, (words, found.output)
            done.append(words[0])

    assert done.count("chat") == 3 and done.count("export") >= 7 and hub.files
