"""srit evaluate and compare: any model on any tasks, and two runs side by side."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srit.cli.display import Display, display, kind_of_display, print_object
from srit.cli.ends import reported_errors
from srit.cli.options import AsJson, Mixed, On, Out, Overrides, Quiet, Shard, TrainWorkers, Workers
from srit.cli.run import make_part, settings_of
from srit.errors import RecipeError
from srit.printable import printable

if TYPE_CHECKING:
    from srit.finished.differences import Difference, SideBySide
    from srit.pipeline.engines import Machines
    from srit.records import Model

Target = Annotated[
    str, typer.Argument(metavar="RECIPE|DIR|MODEL", help="A recipe or a run directory; with --tasks, a model.")
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]


def evaluate(
    target: Target,
    overrides: Overrides = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(help="Evaluate a model on these tasks, separated by commas: sums,jsonl:mine.jsonl."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="With --tasks: how many problems of each task. Default: all.")
    ] = None,
    out: Out = None,
    on: On = "local",
    workers: Workers = None,
    mixed: Mixed = False,
    train_workers: TrainWorkers = None,
    shard: Shard = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run's models, first making what they need; or any model: a folder, an adapter, or a hub id."""
    from srit.pipeline.engines import Machines

    with reported_errors(as_json=as_json):
        machines, kind = Machines(on, workers, mixed, train_workers, shard), kind_of_display(quiet, as_json)
        if tasks is None:
            make_part(*settings_of(target, overrides or [], out), "report", machines, kind)
        else:
            _evaluate_model(target, tasks, limit, overrides or [], out, machines, kind)


def _evaluate_model(
    model: str,
    tasks: list[str],
    limit: int | None,
    overrides: list[str],
    out: Path | None,
    machines: Machines,
    kind: Display,
) -> None:
    from srit.api import make_evaluation
    from srit.cli.tables import print_results
    from srit.finished import load_results

    with display(kind) as watch:
        folder = make_evaluation(model, tasks, out, limit=limit, overrides=overrides, watch=watch, machines=machines)
    if kind == "json":
        print_object({"event": "finished", "folder": str(folder)})
        return
    print_results(load_results(folder))
    typer.echo(f"answers: {folder / 'predictions'}")


def compare(
    first: Run,
    second: Run,
    model: Annotated[
        str | None, typer.Option(help="The model to compare. Default: every model that both runs have.")
    ] = None,
    other: Annotated[str | None, typer.Option(help="The second run's model, if not that of --model.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare two runs: their recipes, and the second's accuracy minus the first's on the problems of both."""
    from srit.finished import side_by_side

    with reported_errors():
        found = side_by_side(first, second, _pairs(model, other))
        typer.echo(json.dumps(_as_json(found)) if as_json else printable(_text(found, first, second)))


def _pairs(model: str | None, other: str | None) -> list[tuple[Model, Model]]:
    from srit.records import Model

    if model is None:
        if other is not None:
            raise RecipeError("--other: add --model to name the first run's model to compare it with")
        return []
    try:
        return [(Model.named(model), Model.named(other or model))]
    except ValueError as error:
        raise RecipeError(f"--model: {error}") from None


def _text(found: SideBySide, first: Path, second: Path) -> str:
    lines = [f"{first} → {second}", ""]
    lines += [f"  {one.field}: {json.dumps(one.a)} → {json.dumps(one.b)}" for one in found.changed]
    lines += ["  the recipes are equal"] if not found.changed else []
    if found.left_out:
        lines.append(
            f"  {found.left_out} problems have the same id in both runs, but different words: they are left out"
        )
    moved = [one for one in found.differences if one.gained or one.lost]
    still = [name for name in _names(found.differences) if name not in _names(moved)]
    shown = [_line(one) for one in found.differences if _name(one) not in still]
    return "\n".join([*lines, "", *shown, *(f"{name}: no problem changed" for name in still)])


_SHOWN = 5  # ids of problems


def _line(one: Difference) -> str:
    from srit.intervals import p_value

    low, high = (100 * end for end in one.found.ci95)
    shares = f"{100 * one.right_a / one.n:.1f} → {100 * one.right_b / one.n:.1f} % of {one.n}"
    change = f"{100 * one.found.delta:+z.1f} ({low:+z.1f} to {high:+z.1f}), p {p_value(one.found.p)}"
    flips = "; ".join(_flips(what, ids) for what, ids in (("gained", one.gained), ("lost", one.lost)))
    return f"{_name(one)}, {one.task or 'all tasks'}, {one.prompt}: {shares}: {change}; {flips}"


def _name(one: Difference) -> str:
    return str(one.a) if one.a == one.b else f"{one.a} → {one.b}"


def _names(differences: Iterable[Difference]) -> list[str]:
    return list(dict.fromkeys(map(_name, differences)))


def _flips(what: str, ids: tuple[str, ...]) -> str:
    named = ", ".join([*ids[:_SHOWN], *(["…"] if len(ids) > _SHOWN else [])])
    return f"{what} {len(ids)}" + (f" ({named})" if ids else "")


def _as_json(found: SideBySide) -> dict[str, object]:
    return {
        "changed": [one._asdict() for one in found.changed],
        "differences": [
            one._asdict() | {"a": str(one.a), "b": str(one.b), "found": one.found._asdict()}
            for one in found.differences
        ],
        "left_out": found.left_out,
    }
