"""Describes every field of a recipe: its type, its default, and its comment in the source (docs/recipe.md)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple, get_args

from srit import recipe
from srit.kinds import LOSSES, SAMPLERS, TEACHERS, Kinds
from srit.recipe.wording import Example, Prompt
from srit.settings import Configured, OneOf, Part

HEAD = """\
# Every field of a recipe

Written by `make docs` from the source. A recipe needs `name`, `student.model`, `tasks.train` and `tasks.evaluate`; any
other field has the default given here. `KEY=VALUE` on the command line sets one: `srit run mine.yaml refine.beta=0.2`.
"""
_FIELD = re.compile(r"    (?P<name>[a-z_]+): (?P<type>.+?)(?:  # (?P<said>.+))?$")
_WORDS = {
    "Count": "whole number from 1",
    "Positive": "number above 0",
    "Fraction": "0 to 1",
    "str": "text",
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "TaskUse": "tasks",
    "Example": "examples",
    "Schedule": ", ".join(f"`{name}`" for name in get_args(recipe.Schedule)),
    "dict[str, Any]": "mapping",
    "tuple[Positive, Positive]": "two numbers above 0",
    "str | tuple[str, ...]": "text, or list of text",
}
_WRITTEN = {"None:": "null:", "or None": "or null", "False:": "false:", "():": "[]:", "()": "[]"}


class Described(NamedTuple):
    """What the source says of a field."""

    name: str
    kind: str  # its type, in the words of a recipe
    said: str


def described(part: type[Part]) -> Iterator[Described]:
    """Yield the fields that a class itself declares, in order, with the comments on and above their lines."""
    above: list[str] = []
    for line in inspect.getsource(part).splitlines():
        if line.startswith("    # "):
            above.append(line[6:])
        elif (found := _FIELD.match(line)) and found["name"] in part.model_fields:
            kind = found["type"].split(" = ")[0]
            yield Described(found["name"], _words(kind), " ".join([*above, found["said"] or ""]).strip())
            above = []
        else:
            above = []


def _words(kind: str) -> str:
    kind = kind.removesuffix(" | None")
    if literal := re.search(r"Literal\[(.+?)\]", kind):
        choice = ", ".join(f"`{value}`" for value in re.findall(r'"(.*?)"', literal[1]))
        return f"list of {choice}" if kind.startswith("tuple") else choice
    if kind.startswith("Annotated"):
        return "a kind below, with its fields"
    if many := re.fullmatch(r"tuple\[(\w+), \.\.\.\]", kind):
        return f"list of {_WORDS.get(many[1], many[1])}"
    return _WORDS.get(kind, "its fields below")  # a part of the recipe


def shown_default(part: type[Part], name: str) -> str:
    """Return a field's default as YAML writes it, "" for a part of the recipe, and "needed" without one."""
    field = part.model_fields[name]
    if field.is_required():
        return "needed"
    if kind := next((mark for mark in field.metadata if isinstance(mark, OneOf)), None):
        return kind.default
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, Part):
        return ""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


def table(
    prefix: str, part: type[Part], *, without: type[Part] | None = None, hidden: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the lines of a table of a part's fields.

    Args:
        prefix: of their names in a recipe, such as "refine.".
        without: a class whose fields with the same default are left out.
        hidden: names of fields that are left out.
    """
    yield from ("", "| field | value | default | what |", "| --- | --- | --- | --- |")
    for name in part.model_fields:
        found = next((d for base in part.__mro__ if issubclass(base, Part) for d in _own(base) if d.name == name), None)
        default = shown_default(part, name)
        known = without is not None and name in without.model_fields and shown_default(without, name) == default
        if found is None or known or not default or name in hidden:
            continue
        shown = default if default == "needed" else f"`{default}`"
        yield f"| `{prefix}{name}` | {found.kind} | {shown} | {_as_yaml(found.said)} |"


def _as_yaml(said: str) -> str:
    """Return a comment with the values that it names as a recipe writes them."""
    for python, written in _WRITTEN.items():
        said = said.replace(python, written)
    return said.replace("|", "\\|")


def _own(base: type[Part]) -> list[Described]:
    return [] if base is Part or base.__module__ == "pydantic.main" else list(described(base))


def kinds(title: str, prefix: str, found: Kinds, base: type[Part], *, plugins: bool) -> Iterator[str]:
    """Yield a section for each kind with its fields: srit's own, and with `plugins` those of other packages."""
    for name, kind in found.all(Configured):
        if not plugins and name not in found.own():
            continue
        settings = kind.settings
        lines = list(table(prefix, settings, without=base, hidden=("kind", "loss")))
        yield from ("", f"### `{title}: {name}`", "", inspect.getdoc(settings) or "")
        yield from lines if len(lines) > 3 else ()


PARTS: tuple[tuple[str, type[Part]], ...] = (
    ("", recipe.Recipe),
    ("student.", recipe.Student),
    ("student.lora.", recipe.Lora),
    ("tasks.", recipe.Tasks),
    ("tasks.….", recipe.TaskUse),
    ("prompt.", Prompt),
    ("prompt.examples.….", Example),
    ("demonstrations.", recipe.Demonstrations),
    ("instruct.", recipe.Instruct),
    ("sample.", recipe.Sample),
    ("pairs.", recipe.Pairs),
    ("refine.", recipe.Refine),
    ("evaluate.", recipe.Evaluate),
)


@cache
def page(*, plugins: bool = False) -> str:
    """Return docs/recipe.md; with `plugins` also what other installed packages bring."""
    lines = [HEAD.rstrip("\n")]
    for prefix, part in PARTS:
        lines += ["", f"## {inspect.getdoc(part)}", *table(prefix, part, hidden=("loss",))]
    lines += ["", "## Teachers", *kinds("teacher.kind", "teacher.", TEACHERS, recipe.TeacherSettings, plugins=plugins)]
    lines += ["", "## Losses of stage 2", *kinds("refine.loss", "refine.", LOSSES, recipe.Refine, plugins=plugins)]
    lines += ["", "## Samplers", *kinds("sampler", "sampler.", SAMPLERS, recipe.SamplerSettings, plugins=plugins)]
    return "\n".join(lines) + "\n"


def fields_named(name: str) -> list[str]:
    """Return a line for each field with that dotted name, such as "refine.beta", or in that part, such as "refine".

    A name that chooses a kind, such as "refine.loss", has a line for each.
    """
    lines, of = [], ""
    described_by = page(plugins=True).splitlines()
    for line, about in zip(described_by, [*described_by[2:], "", ""], strict=True):
        if line.startswith("#"):
            kind = line.strip("# `") if line.startswith("### ") else ""
            of = f" ({kind})" if kind else ""
            if kind.startswith(f"{name}: "):
                lines.append(f"{kind}; {about}")
        elif line.startswith("| `"):
            field, *cells = (cell.strip("|` ") for cell in line.split(" | "))
            if _is_named(field, name) or field.startswith(f"{name}."):
                lines.append(_line(f"{field}{of}", *cells))
    return lines


def _is_named(field: str, name: str) -> bool:
    """Return whether a name is a field's, whose "…" stands for tasks.train and the like, with or without a number."""
    return bool(re.fullmatch(re.escape(field).replace("…", r"\w+(\.\d+)?"), name))


def _line(field: str, value: str, default: str, said: str) -> str:
    shown = default if default == "needed" else f"default {default}"
    return f"{field}: {value.replace('`', '')}; {shown}" + (f"; {said}" if said else "")
