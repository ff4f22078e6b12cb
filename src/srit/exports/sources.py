"""What is exported or chatted with: a run's model, a model's folder, or a student by its name."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from srit.errors import DataError, RecipeError
from srit.machine.precision import begun_compute_plan
from srit.recipe import Recipe, Student
from srit.recipe.begun import begun_recipe, is_begun, run_around
from srit.recipe.compared import folder_of, models
from srit.recipe.wording import PLAIN, Prompt
from srit.records import Model
from srit.run_directory import MANIFEST, read_manifest, recorded_sum
from srit.students.adapted import base_of, find_adapter, is_adapter
from srit.students.loading import stored_dtype
from srit.sums import sum_of


class FromRun(NamedTuple):
    """The run that made a model."""

    folder: Path
    recipe: Recipe


class Source(NamedTuple):
    """A model: the student that it was made from, and the result of training."""

    name: str  # "refined", or that of its folder
    student: Student  # with its precision decided, on any device
    trained: Path | None  # the folder of an adapter or of all weights; None: the student itself
    run: FromRun | None

    @property
    def wording(self) -> Prompt:
        """How problems are presented to it."""
        return PLAIN if self.run is None else self.run.recipe.prompt

    @property
    def is_adapter(self) -> bool:
        """Whether what was trained is an adapter."""
        return self.trained is not None and is_adapter(self.trained)


def find_source(place: str, model: str | None) -> Source:
    """Find a model.

    Args:
        place: a run directory, a folder with a model or an adapter, or the name of a student.
        model: of a run directory: "base", "instructed", "refined", "refined-1", …; None: the refined one.

    Raises:
        RecipeError: the run has no such model, or a model is named but the place is not a run directory.
        DataError: there is nothing there, or the model is not trained yet.
    """
    folder = Path(place)
    if is_begun(folder):
        return of_run(folder, model)
    if model is not None:
        raise RecipeError(f"--model: {place} is not a run directory, so it has only one model: leave out --model")
    if folder.is_dir():
        return _in_run(folder) or _alone(folder)
    student, name = Student(model=place), place.rpartition("/")[2]
    adapter = find_adapter(student)
    return Source(name, _stored(student), None, None) if adapter is None else _alone(adapter)._replace(name=name)


def trained_models(place: str) -> list[str]:
    """Return the names of the models that a run has so far; [] if it is not a run directory."""
    folder = Path(place)
    if not is_begun(folder):
        return []
    found = models(begun_recipe(folder))
    places = {str(model): folder_of(model) for model in found if model.kind != "instructed-again"}
    return [name for name, made in places.items() if made is None or (folder / made).is_dir()]


def of_run(folder: Path, name: str | None) -> Source:
    """Find a model of a run by its name; None: the refined one, or the last before it. Errors as in `find_source`."""
    recipe = begun_recipe(folder)
    found = {str(model): model for model in models(recipe) if model.kind != "instructed-again"}
    name = name or next(last for last in ("refined", "instructed", "base") if last in found)
    if name not in found:
        raise RecipeError(f"--model: {folder} has no model {name!r}; it has: {', '.join(found)}")
    return _of_run(FromRun(folder, recipe), found[name])


def _of_run(run: FromRun, model: Model) -> Source:
    place = folder_of(model)
    trained = run.folder / place if place else None
    if trained is not None and not trained.is_dir():
        raise DataError(f"{trained}: not trained yet: run srit run {run.folder / 'recipe.yaml'} --out {run.folder}")
    manifest = read_manifest(run.folder)
    if trained is not None and sum_of(trained) != recorded_sum(manifest.stages, str(place)):
        raise DataError(
            f"{trained}: not as it was trained (its sum is not that of {MANIFEST}): srit run "
            f"{run.folder / 'recipe.yaml'} --out {run.folder} makes it again"
        )
    plan = begun_compute_plan(run.recipe, manifest.way)
    dtype = plan.dtype if plan else "float32"
    if run.recipe.student.dtype != "auto":
        dtype = run.recipe.student.dtype
    student = run.recipe.student.model_copy(update={"dtype": dtype, "device": "auto"})
    return Source(str(model), student, trained, run)


def _in_run(folder: Path) -> Source | None:
    """Return the run's model in this folder, since the run's recipe says exactly what it was trained from."""
    above = run_around(folder)
    if above is None:
        return None
    run, place = FromRun(above, begun_recipe(above)), str(folder.absolute().relative_to(above))
    return next((_of_run(run, model) for model in models(run.recipe) if folder_of(model) == place), None)


def _alone(folder: Path) -> Source:
    if not is_adapter(folder):
        return Source(folder.name, _stored(Student(model=str(folder))), None, None)
    student = base_of(folder)
    template = folder / "chat_template.jinja"
    if template.exists():
        student = student.model_copy(update={"chat_template": template.read_text("utf-8")})
    return Source(folder.name, _stored(student), folder, None)


def _stored(student: Student) -> Student:
    """Return the student in the precision of its weights."""
    return student.model_copy(update={"dtype": stored_dtype(student)})
