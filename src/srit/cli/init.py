"""srit init: writes a small recipe for a user's own data, with comments on what can be changed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Annotated, NamedTuple

import typer

from srit.cli.ends import reported_errors
from srit.cli.options import can_ask
from srit.cli.shown import write_new
from srit.errors import RecipeError
from srit.printable import printable

LOOKED_AT = 20  # problems whose solutions decide whether the data can be its own teacher
EMBEDDED = "smollm2-135m-instruct"


class Wanted(NamedTuple):
    """The values that a recipe is written from."""

    name: str
    train: str  # the task
    evaluate: str
    student: str
    teacher: str  # its fields in YAML


def init(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml", help="The file to write, which must not exist.")],
    data: Annotated[
        str | None, typer.Option(help="Problems: a .jsonl file, a folder, hub:OWNER/NAME, or a task's name.")
    ] = None,
    question: Annotated[str | None, typer.Option(help="The column of the question, if it has another name.")] = None,
    answer: Annotated[str | None, typer.Option(help="The column of the answer, if it has another name.")] = None,
    choices: Annotated[str | None, typer.Option(help="The column of the options, or theirs: A,B,C,D.")] = None,
    rationale: Annotated[str | None, typer.Option(help="The column of the solution, if it has another name.")] = None,
    student: Annotated[str | None, typer.Option(help=f"A hub id, a folder, or the one that ships: {EMBEDDED}.")] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="gold (the data's own solutions), a file of recorded answers, or a server: MODEL@URL."),
    ] = None,
) -> None:
    """Write a small recipe for your own problems. On a terminal, srit asks for what is not given."""
    with reported_errors():
        if recipe.suffix not in (".yaml", ".yml"):
            raise RecipeError(f"{recipe}: a recipe file must end in .yaml")
        problems = _given("--data", data, "The problems (a .jsonl or .json file)")
        named = {"question": question, "answer": answer, "choices": choices, "rationale": rationale}
        columns = {ours: column for ours, column in named.items() if column is not None}
        text = _recipe_text(recipe, problems, columns, student, teacher)
        write_new(recipe, text)
        typer.echo(printable(f"{recipe}: next, srit plan {quote(str(recipe))}"))


def _recipe_text(path: Path, data: str, columns: Mapping[str, str], student: str | None, teacher: str | None) -> str:
    from srit.recipe import check_recipe
    from srit.recipe.compared import slug
    from srit.settings import parse

    train, evaluate = _tasks(data, columns)
    default = _own_teacher(train)
    asked = "The teacher (gold, a file of answers, or MODEL@URL)"
    said = _given("--teacher", teacher, asked, default)
    model = _given("--student", student, "The student", EMBEDDED)
    wanted = Wanted(slug(path.stem) or "mine", train, evaluate, model, _teacher_fields(said, default))
    text = recipe_text(wanted, quote(path.name))
    check_recipe(parse(text, path), source=str(path), text=text)
    return text


def _given(flag: str, value: str | None, asked: str, default: str | None = None) -> str:
    """Return a flag's value, or else the user's answer on a terminal, or the default without a terminal.

    Raises:
        RecipeError: there is neither.
    """
    if value is not None:
        return value
    if can_ask():
        return str(typer.prompt(asked, default=default, err=True))
    if default is None:
        raise RecipeError(f"{flag} is missing, and there is no terminal to ask on: {asked[0].lower()}{asked[1:]}")
    return default


def _tasks(data: str, columns: Mapping[str, str]) -> tuple[str, str]:
    """Return the tasks to train on and to evaluate on; a single file is split into four fifths and the rest."""
    from srit.tasks import is_task

    if is_task(data) and not data.startswith(("hub:", "jsonl:")):
        return data, data
    name = data if data.startswith(("hub:", "jsonl:")) else f"jsonl:{data}"
    divided = name.startswith("jsonl:") and not _has_splits(name.removeprefix("jsonl:"))
    named = [f"{ours}={column}" for ours, column in columns.items()]
    said = "&".join([*named, *(["split=80/0/20"] if divided else [])])
    task = f"{name}{'&' if '?' in name else '?'}{said}" if said else name
    return task, task


def _has_splits(place: str) -> bool:
    """Return whether a file's rows name their splits, or a folder has a file for each."""
    from srit.tasks.lines import read_rows

    path = Path(place.partition("?")[0])
    if not path.is_file():
        return True
    return any(row.fields.get("split") is not None for row in islice(read_rows(path), LOOKED_AT)) or "split=" in place


def _own_teacher(task: str) -> str | None:
    """Return the teacher that a task brings: its solver or its data's solutions; None: it has none.

    In a file, the first problems decide; the hub is not asked.

    Raises:
        SritError: there is no such file, or its rows cannot be used.
    """
    from srit.tasks import find_task
    from srit.tasks.story import StoryTask
    from srit.teachers.gold import worked_solution

    if isinstance(found := find_task(task), StoryTask):
        return "solver"
    if not task.startswith("jsonl:"):
        return "gold"
    problems = list(islice(found.load("train", data=None, limit=None, seed=0), LOOKED_AT))
    return "gold" if problems and all(worked_solution(one) is not None for one in problems) else None


def _teacher_fields(said: str, own: str | None) -> str:
    if said in ("gold", "solver"):
        if said != own:
            raise RecipeError(
                f"--teacher {said}: not all problems have a solution: name a server (MODEL@URL) or a file"
            )
        return f"{{kind: {said}}} # the data's own solutions"
    model, at, url = said.partition("@")
    if at and url.startswith(("http://", "https://")):
        return f'{{kind: openai, model: {model}, base_url: "{url}"}} # the key, if it wants one: OPENAI_API_KEY'
    if not Path(said).is_file():
        raise RecipeError(
            f"--teacher {said}: give gold, a server as MODEL@URL, or an existing file of recorded answers"
        )
    return f'{{kind: recording, path: "{said}"}} # rows of id and output'


def recipe_text(wanted: Wanted, file: str) -> str:
    """Return a recipe in YAML; `file` is its name, quoted for a shell."""
    template = ", chat_template: chatml" if wanted.student == EMBEDDED else ""
    return f"""\
# srit plan {file} checks that everything is there; srit run {file} runs it.
# Every other field has a default: docs/recipe.md. How to choose them: docs/choosing.md.
name: {wanted.name}
student: {{model: "{wanted.student}"{template}}}
tasks:
  train: [{{task: "{wanted.train}"}}] # limit: 500 uses only 500, drawn by tasks.seed
  evaluate: [{{task: "{wanted.evaluate}"}}]
teacher: {wanted.teacher}
# demonstrations: {{limit: 200}} # the teacher answers only 200; the other problems need only their gold answers
# instruct: {{epochs: 3}} # default 6; fewer for thousands of demonstrations
# sample: {{max_new_tokens: 512}} # default 256; more for long answers, and evaluate.max_new_tokens as well
# refine: {{loss: sigmoid}} # default none, right answers alone; sigmoid also prefers them to wrong ones (DPO)
# prompt: {{instruction: "…"}} # instead of the task's own
"""
