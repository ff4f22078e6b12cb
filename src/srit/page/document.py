"""Renders a page from its template: one style, the only script that may run, and all text made printable."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from srit.printable import printable

if TYPE_CHECKING:
    from jinja2 import Environment

SCRIPT = ("srit.page", "tips.js")  # that every page has


def render(
    package: str, template: str, values: dict[str, Any], scripts: Sequence[tuple[str, str]] = (), *, live: bool = False
) -> str:
    """Return a page's HTML.

    Args:
        package: where the template is; it extends `base.html.jinja`.
        values: what the template shows. Text is untrusted: it is escaped, and its control characters are spelled out.
        scripts: package and name of what the page runs besides `SCRIPT`, in order.
        live: whether the page may ask its own server for news.
    """
    script = script_of([SCRIPT, *scripts])
    return (
        _pages(package)
        .get_template(template)
        .render(**values, policy=policy(script, live=live), style=_text("srit.page", "style.css"), script=script)
    )


def policy(script: str, *, live: bool = False) -> str:
    """Return a Content-Security-Policy under which this script runs, and nothing else is run or loaded."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = ["default-src 'none'", "style-src 'unsafe-inline'", f"script-src 'sha256-{digest}'", "base-uri 'none'"]
    return "; ".join([*rules, "form-action 'none'", *(["connect-src 'self'"] if live else [])])


def script_of(parts: Sequence[tuple[str, str]]) -> str:
    """Join scripts into one whose names nothing else on the page can see."""
    return "\n".join(['"use strict";', "(() => {", *(_text(*part) for part in parts), "})();"])


def _text(package: str, name: str) -> str:
    return (files(package) / name).read_text(encoding="utf-8")


def _pages(package: str) -> Environment:
    from jinja2 import ChoiceLoader, Environment, PackageLoader

    loader = ChoiceLoader([PackageLoader(package, "."), PackageLoader("srit.page", ".")])
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown)


def _shown(value: object) -> object:
    """Spell out control characters in text, except in what is HTML already."""
    return value if hasattr(value, "__html__") or not isinstance(value, str) else printable(value)
