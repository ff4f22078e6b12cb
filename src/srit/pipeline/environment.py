"""What figures depend on besides the recipe."""

from __future__ import annotations

import platform
from importlib.metadata import version


def environment() -> dict[str, str]:
    """Return what figures depend on besides the recipe."""
    packages = ("srit", "torch", "transformers", "peft")
    return {"python": platform.python_version(), "machine": platform.machine(), **{p: version(p) for p in packages}}
