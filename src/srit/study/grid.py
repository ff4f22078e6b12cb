"""STUDY.yaml → cells: every combination that the study names, as checked recipes, before anything is spent."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from srit import settings
from srit.errors import RecipeError
from srit.recipe import SHIPPED as recipe_files
from srit.recipe import TO_RUN, Recipe
from srit.recipe.compared import models
from srit.records import Model, ModelName, PromptKind
from srit.study.labels import ARM, LABEL, claim_faults, with_family
from srit.study.records import Claim

SHIPPED = Path(__file__).parent / "shipped"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ClaimSettings(_Part):
    """Model a of some cells is better than model b of the same cells, or of cells that differ in named labels."""

    a: ModelName = Model("refined")
    b: ModelName = Model("instructed")
    domain: Literal["in", "out", "any"] = "in"  # tasks that a's cell was tuned on, or others
    prompt: PromptKind = "cot"
    where: dict[str, str] = {}  # labels of a's cells; {}: every cell
    against: dict[str, str] = {}  # labels of b's cells; {}: the same cell as a
    same: tuple[str, ...] | None = None  # labels that a's and b's cells share; None: all but those of against

    def record(self) -> Claim:
        """Return the claim as study.json has it."""
        return Claim(**dict(self))


class Study(_Part):
    """A grid over a recipe's fields, and the claims that it tests."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,31}$")
    about: str = ""
    recipe: Any  # name of a shipped recipe, a path relative to the study, or a mapping
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    problems_by_seed: bool = False  # each seed draws its own problems; False: all seeds have the same
    labels: dict[str, str] = {}  # of every cell, such as student_family
    axes: dict[str, Any] = {}  # a field and its values, or a name and its options, each a mapping of fields
    cells: dict[str, Any] = {}  # a name and its fields; with axes, each cell in each combination
    claims: tuple[ClaimSettings, ...] = (ClaimSettings(), ClaimSettings(domain="out"))


class GridCell(NamedTuple):
    """One combination of a grid, with a recipe for each of the study's seeds."""

    name: str
    folder: str  # below runs/
    labels: dict[str, str]
    changes: dict[str, Any]  # of the base recipe, by dotted field
    recipes: tuple[Recipe, ...]


class Grid(NamedTuple):
    """A study and its cells."""

    study: Study
    base: dict[str, Any]  # the recipe that cells change, as it was given
    cells: list[GridCell]


class _Change(NamedTuple):
    """One override, and its place in the study file."""

    key: str
    value: Any
    place: tuple[Any, ...]


class _Option(NamedTuple):
    """One value of an axis."""

    axis: str
    label: str
    shown: str  # as part of the cell's name
    changes: tuple[_Change, ...]


def shipped_studies() -> list[str]:
    """Return the names of the studies that come with srit."""
    return settings.names_in(SHIPPED)


def read_study(name: str, overrides: Sequence[str] = ()) -> Grid:
    """Read the grid of a file, or of a shipped study.

    Args:
        overrides: KEY=VALUE; a study's field (seeds, axes, …) or else a field of every cell's recipe.

    Raises:
        RecipeError: names every fault of the study and of every cell, with its line.
    """
    path = settings.find_yaml(name, SHIPPED, "study")
    text = settings.read_text(path)
    tree = settings.parse(text, path)
    changes = [settings.parse_override(override) for override in overrides]
    for key, value in changes:
        if key.split(".")[0] in Study.model_fields:
            settings.set_field(tree, key, value)
    study = settings.checked(Study, tree, lambda place: settings.where(str(path), text, place))
    base, base_source, base_text = _base(study.recipe, path, text)
    of_recipe = [change for change in changes if change[0].split(".")[0] not in Study.model_fields]
    for key, value in of_recipe:
        settings.set_field(base, key, value)
    return _expand(study, base, of_recipe, _Places(str(path), text, base_source, base_text))


def read_claim(text: str, cells: Sequence[Mapping[str, str]], evaluated: Collection[Model]) -> Claim:
    """Read a claim from its YAML, such as "{domain: out}".

    Args:
        cells: the labels of each.
        evaluated: the existing models.

    Raises:
        RecipeError: it is not a claim, or not about these cells and models.
    """
    claim = settings.checked(ClaimSettings, settings.parse(text, Path(repr(text))), lambda _: text).record()
    if faults := [fault for _, fault in claim_faults(claim, cells, evaluated)]:
        raise RecipeError("\n".join(f"{text}: {fault}" for fault in faults))
    return claim


class _Places(NamedTuple):
    """Where the study and its base recipe are, to name the line of a fault."""

    source: str
    text: str
    base_source: str
    base_text: str  # "" where the recipe is in the study itself

    def of(self, changes: Sequence[_Change], place: Sequence[Any]) -> str:
        """Return the line that set a field, or the one that it belongs under."""
        for change in reversed(changes):
            parts = change.key.split(".")
            if [str(part) for part in place[: len(parts)]] == parts:
                return settings.where(self.source, self.text, (*change.place, *place[len(parts) :]))
        if self.base_text:
            return settings.where(self.base_source, self.base_text, place)
        return settings.where(self.source, self.text, ("recipe", *place))


def _base(recipe: Any, path: Path, text: str) -> tuple[dict[str, Any], str, str]:
    if isinstance(recipe, dict):
        return copy.deepcopy(recipe), str(path), ""
    if not isinstance(recipe, str):
        place = settings.where(str(path), text, ("recipe",))
        raise RecipeError(f"{place}: recipe is {recipe!r}: give a shipped name, a file next to the study, or fields")
    beside = path.parent / recipe
    found = settings.find_yaml(str(beside) if beside.is_file() else recipe, recipe_files, "recipe")
    base_text = settings.read_text(found)
    return settings.parse(base_text, found), str(found), base_text


def _expand(study: Study, base: dict[str, Any], overrides: Sequence[tuple[str, Any]], places: _Places) -> Grid:
    faults: dict[str, None] = {}  # an ordered set, so a fault that many cells share is reported once
    axes = [list(_options(name, options, places, faults)) for name, options in study.axes.items()]
    if study.cells:
        axes.append([_named(name, fields, places, faults) for name, fields in study.cells.items()])
    for seed in {seed for seed in study.seeds if study.seeds.count(seed) > 1}:
        faults[f"{settings.where(places.source, places.text, ('seeds',))}: seed {seed} is listed twice"] = None
    _check_keys(study, [change for axis in axes for option in axis for change in option.changes], places, faults)
    for key, _ in overrides:
        if key in _seeds(study):
            faults[f"{key}: a study sets this field from its seeds: set seeds=[…]"] = None
    cells = [] if faults else [_cell(study, base, options, overrides, places, faults) for options in product(*axes)]
    made = [cell for cell in cells if cell is not None]
    _check_folders(made, places, faults)
    if made and not faults:
        _check_claims(study, made, places, faults)
    if faults:
        raise RecipeError("\n".join(faults))
    return Grid(study, base, made)


def _seeds(study: Study) -> tuple[str, ...]:
    """Return the fields of a recipe that the study itself sets."""
    return ("seed", "tasks.seed") if study.problems_by_seed else ("seed",)


def _check_keys(study: Study, changes: Sequence[_Change], places: _Places, faults: dict[str, None]) -> None:
    """Refuse what an option may not set: the seeds, and the label that the axis itself gives."""
    for change in changes:
        place = settings.where(places.source, places.text, change.place)
        if change.key in _seeds(study):
            faults[f"{place}: {change.key}: a study sets it from its seeds: set seeds"] = None
        if change.key.startswith(LABEL) and change.key.removeprefix(LABEL) in (*study.axes, ARM):
            faults[f"{place}: {change.key}: the axis of that name gives this label: choose another name"] = None


def _options(name: str, options: Any, places: _Places, faults: dict[str, None]) -> Iterator[_Option]:
    """Yield an axis's options: a list has values of the field that names the axis; a mapping has named options."""
    at = ("axes", name)
    if isinstance(options, list) and options:
        for number, value in enumerate(options):
            shown = f"{name.split('.')[-1]}={_short(value)}"
            yield _Option(name, _short(value), shown, (_Change(name, value, (*at, number)),))
    elif isinstance(options, dict) and options:
        for label, fields in options.items():
            yield _Option(name, label, label, _changes(fields, (*at, label), places, faults))
    else:
        place = settings.where(places.source, places.text, at)
        faults[f"{place}: an axis is a list of values, or a mapping from named options to fields"] = None


def _named(name: str, fields: Any, places: _Places, faults: dict[str, None]) -> _Option:
    return _Option(ARM, name, name, _changes(fields, ("cells", name), places, faults))


def _changes(fields: Any, at: tuple[Any, ...], places: _Places, faults: dict[str, None]) -> tuple[_Change, ...]:
    if fields is None:
        return ()
    if not isinstance(fields, dict):
        place = settings.where(places.source, places.text, at)
        faults[f"{place}: {at[-1]} is {fields!r}: give a mapping from dotted fields to values"] = None
        return ()
    return tuple(_Change(key, value, (*at, key)) for key, value in fields.items())


def _cell(
    study: Study,
    base: dict[str, Any],
    options: Sequence[_Option],
    overrides: Sequence[tuple[str, Any]],
    places: _Places,
    faults: dict[str, None],
) -> GridCell | None:
    name = " · ".join(option.shown for option in options) or study.name
    changes = [change for option in options for change in option.changes if not change.key.startswith(LABEL)]
    for change, (key, value) in product(tuple(changes), overrides):
        if key == change.key:
            place = settings.where(places.source, places.text, change.place)
            faults[f"{key}={_short(value)}: {place} sets it for a cell: change it there"] = None
        elif key.startswith(f"{change.key}."):  # a part of what the cell sets
            changes.append(_Change(key, value, change.place))
    folder = _slug(name)
    try:
        recipe_of_seed = tuple(_recipe(study, base, changes, seed, folder, places) for seed in study.seeds)
    except RecipeError as error:
        faults.update(dict.fromkeys(str(error).splitlines()))
        return None
    return GridCell(name, folder, _labels(study, options), {c.key: c.value for c in changes}, recipe_of_seed)


def _recipe(
    study: Study, base: dict[str, Any], changes: Sequence[_Change], seed: int, folder: str, places: _Places
) -> Recipe:
    tree = copy.deepcopy(base)
    for change in changes:
        try:
            settings.set_field(tree, change.key, copy.deepcopy(change.value))
        except RecipeError as error:
            raise RecipeError(f"{settings.where(places.source, places.text, change.place)}: {error}") from None
    tree["name"], tree["seed"] = f"{folder[:48].replace('=', '-')}-seed-{seed}", seed
    if study.problems_by_seed:
        settings.set_field(tree, "tasks.seed", seed)
    return settings.checked(Recipe, tree, lambda place: places.of(changes, place), TO_RUN)


def _labels(study: Study, options: Sequence[_Option]) -> dict[str, str]:
    """Join each axis's option with what the study and the options say."""
    labels = {**study.labels, **{option.axis: option.label for option in options}}
    for change in (change for option in options for change in option.changes):
        if change.key.startswith(LABEL):
            labels[change.key.removeprefix(LABEL)] = str(change.value)
    return with_family(labels)


def _check_folders(cells: Sequence[GridCell], places: _Places, faults: dict[str, None]) -> None:
    seen: dict[str, str] = {}
    for cell in cells:
        if cell.folder in seen:
            faults[
                f"{places.source}: cells {seen[cell.folder]!r} and {cell.name!r} would share a folder: rename one"
            ] = None
        seen[cell.folder] = cell.name


def _check_claims(study: Study, cells: Sequence[GridCell], places: _Places, faults: dict[str, None]) -> None:
    evaluated = {model for cell in cells for model in models(cell.recipes[0])} | {Model("teacher")}
    for number, claim in enumerate(study.claims):
        for at, fault in claim_faults(claim.record(), [cell.labels for cell in cells], evaluated):
            faults[f"{settings.where(places.source, places.text, ('claims', number, *at))}: {fault}"] = None


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_.=-]+", "-", name.lower()).strip(".-=")[:80] or "cell"
