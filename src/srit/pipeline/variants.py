"""A variant of a run: a run beside it that reuses whatever is equal, and pays for no answer that the run has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from srit.errors import DataError, RecipeError
from srit.pipeline.begun import Shared
from srit.pipeline.stage import Stage
from srit.recipe import Recipe
from srit.recipe.begun import begun_recipe
from srit.run_directory import MANIFEST, Mirror, Run, is_whole, read_manifest, spend_shared, write_manifest
from srit.run_directory.mirror import mirror_of


def begin_variant(folder: Path, of: Path, mirror: Mirror | None = None) -> None:
    """Make a folder a variant of a run; it computes the student as the run does.

    Args:
        mirror: the copy of the folder, which may hold the variant already; None: there is none.

    Raises:
        RecipeError: there is no such run, or the folder holds another one.
        MachineError: another process has the folder open.
    """
    if not (of / MANIFEST).is_file():
        raise RecipeError(f"{of}: there is no run here to make a variant of: run the recipe without --as first")
    kept, place = read_manifest(of), os.path.relpath(of, folder)
    with closing(Run(folder, mirror)) as run:
        if run.manifest.stages and run.manifest.variant_of != place:
            raise RecipeError(f"{folder}: this folder has another run: choose another name with --as")
        if not run.manifest.stages:
            begun = {"revisions": kept.revisions, "way": kept.way, "way_of": kept.way_of, "variant_of": place}
            write_manifest(folder, run.manifest.model_copy(update=begun))


@contextmanager
def shared_by(
    folder: Path, declare: Callable[[Recipe], Sequence[Stage]], report: Callable[[str], None]
) -> Iterator[Shared | None]:
    """Yield what a variant shares with its run and that run's other variants; None: the folder is not a variant.

    Only one of them is open at a time.

    Args:
        declare: a recipe's stages.
        report: takes a line about the copy of the original run.

    Raises:
        DataError: the original run is missing.
        MachineError: another process has that run, or a variant of it, open.
    """
    place = read_manifest(folder).variant_of
    if not place:
        yield None
        return
    of = Path(os.path.normpath(folder / place))
    if not (of / MANIFEST).is_file():
        raise DataError(f"{folder}: a variant of {of}, which has its teacher's answers and is missing: put it back")
    with closing(Run(of, mirror_of(of, None, report))) as run:
        share_finished(run, declare(begun_recipe(of)), of)
        yield Shared(of, {}, mirror=run.mirror)


def share_finished(run: Run, stages: Sequence[Stage], folder: Path) -> None:
    """Put what a run has finished where others that share a folder find it; hard links take no disk space."""
    for stage in stages:
        entry = run.manifest.stages.get(str(stage.name))
        if entry is None or set(entry.outputs) != set(stage.outputs):
            continue
        is_there = (folder / "pool" / entry.fingerprint / "entry.json").exists()
        if is_there or is_whole(run.folder, entry):
            share(run, stage, stages, folder)


def share(run: Run, stage: Stage, stages: Sequence[Stage], folder: Path, *, anew: bool = False) -> None:
    """Put a finished stage where others that share a folder find it, and remove from there what only it needed.

    Args:
        stages: of the run.
        anew: as in `Run.share`.
    """
    entries, pool = run.manifest.stages, folder / "pool"
    entry = entries[str(stage.name)]
    run.share(str(stage.name), stage.outputs, pool / entry.fingerprint, anew=anew)
    for name in stage.spends:
        maker = next(one for one in stages if name in one.outputs)
        made = entries.get(str(maker.name))
        if made and made.outputs.get(name) == entry.inputs[name]:
            spend_shared(pool / made.fingerprint, maker.outputs.index(name))
