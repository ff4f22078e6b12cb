"""The command that installs a package beside srit."""

from __future__ import annotations

import sys
from pathlib import Path


def pip_install(*wanted: str) -> str:
    """Return the command that installs something into srit's environment.

    The `pip` of someone who installed srit with pipx belongs to another environment.

    Args:
        wanted: pip's options, and what to install, quoted for a shell.
    """
    environment = Path(sys.prefix)
    is_of_pipx = (environment / "pipx_metadata.json").exists()
    return " ".join([f"pipx runpip {environment.name} install" if is_of_pipx else "pip install", *wanted])


def extra_install(name: str) -> str:
    """Return the command that installs one of srit's extras."""
    return pip_install(f"'srit[{name}]'")
