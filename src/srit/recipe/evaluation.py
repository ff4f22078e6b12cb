"""The recipe that evaluates an existing model, however it was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from srit.recipe import Recipe, check_recipe
from srit.recipe.compared import slug
from srit.recipe.wording import PLAIN, Prompt
from srit.settings import parse_override, set_field
from srit.tasks import is_task


def evaluation_recipe(
    student: dict[str, Any],
    tasks: Sequence[str],
    *,
    limit: int | None = None,
    wording: Prompt = PLAIN,
    overrides: Sequence[str] = (),
) -> Recipe:
    """Return the recipe that trains nothing and evaluates a model.

    Args:
        student: fields of the recipe's student; "model" is a folder, a hub id or an embedded student.
        tasks: their names; one text may hold several, separated by commas.
        limit: problems of each task; None: all.
        wording: how the problems are presented to it.
        overrides: KEY=VALUE for other fields, such as "evaluate.max_new_tokens=512".

    Raises:
        RecipeError: a field is at fault.
    """
    limited = {} if limit is None else {"limit": limit}
    uses = [{"task": name, **limited} for text in tasks for name in names_in_list(text)]
    name = slug(f"evaluate-{student['model']}")[:64].strip(".-")
    tree: dict[str, Any] = {"name": name, "student": student, "tasks": {"train": [], "evaluate": uses}}
    tree["prompt"] = wording.model_dump(mode="json")
    for override in overrides:
        key, value = parse_override(override)
        set_field(tree, key, value)
    return check_recipe(tree, source=f"the evaluation of {student['model']}")


def names_in_list(text: str) -> list[str]:
    """Split a list of task names at commas; what is no name belongs to the "jsonl:" or "hub:" before: choices=A,B."""
    names: list[str] = []
    for part in text.split(","):
        if names and ":" in names[-1] and not is_task(part):
            names[-1] += f",{part}"
        else:
            names.append(part)
    return names
