"""Hashes what a stage is made from: equal fingerprints mean the same work, in any run.

Versions of torch and transformers are not part of it: an upgrade changes only the last digits of a model's numbers, and
would repeat hours of training. They are recorded with each stage, and a run that continues with others says so
(`mixed_versions`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from srit.compute.plan import ADDED, ComputePlan
from srit.errors import DataError
from srit.pipeline.stage import Stage
from srit.run_directory import Json, StageEntry, canonical, canonical_sum, read_json, recorded_sum, write_json
from srit.sums import NOT_THERE


def basis(
    stage: Stage,
    input_sums: Mapping[str, str],
    student: str,
    way: ComputePlan | None,
    sources: Mapping[str, Json] | None = None,
) -> dict[str, Json]:
    """Return everything that shapes a stage's outputs, as JSON.

    Args:
        student: hash of the weights and the tokenizer; left out if the stage uses neither.
        way: how the student is computed; only the fields that shape the outputs count.
        sources: checksums of what the stage reads from outside the run; None: the current ones.
    """
    whole = {
        "work": stage.shared_as or str(stage.name),
        "version": stage.version,
        "settings": stage.settings,
        "inputs": dict(input_sums),
        "student": student if stage.uses_student else None,
        "way": _shaping(stage, way),
        "sources": dict(stage.sources() if sources is None else sources),
    }
    plain: dict[str, Json] = json.loads(canonical(whole))
    return plain


def _shaping(stage: Stage, way: ComputePlan | None) -> Mapping[str, Json] | None:
    """Return the fields of a plan that shape a stage's outputs; fields that old plans lacked only if they matter."""
    if way is None or not stage.computes:
        return None
    fields = {field: getattr(way, field) for field in stage.computes}
    return {field: value for field, value in fields.items() if field not in ADDED or value != ADDED[field]}


def input_sums(stage: Stage, entries: Mapping[str, StageEntry]) -> dict[str, str]:
    """Return the checksums of a stage's inputs, and of the counts that it shows; "" for what is not made yet.

    Args:
        entries: of a manifest, by stage.
    """
    sums = {name: recorded_sum(entries, name) for name in stage.inputs}
    for name in map(str, stage.shows):
        counts = canonical(entries[name].counts) if name in entries else b""
        sums[f"counts of {name}"] = hashlib.sha256(counts).hexdigest()
    return sums


def fingerprint(made_from: Mapping[str, Json]) -> str:
    """Return the fingerprint of a stage's `basis`."""
    return canonical_sum(made_from)


def difference(made_from: Mapping[str, Json], entry: StageEntry) -> str:
    """Say what has changed since a stage was made.

    Args:
        entry: the stage's entry in a manifest; an earlier version of srit recorded less.
    """
    if entry.version is None:
        return "made by an earlier version of srit"
    part = next((part for part in _CHANGES if made_from[part] != getattr(entry, part)), "version")
    path, now = _first_change(made_from[part], getattr(entry, part))
    name = path[-1] if path and part == "sources" else ".".join(path)
    return f"{name} is not there" if now == NOT_THERE else _CHANGES[part].format(name).removesuffix(": ")


_CHANGES = {
    "version": "this version of srit makes it differently",
    "settings": "its settings changed: {}",
    "sources": "{} has changed",
    "inputs": "made from another {}",
    "student": "the student's weights or tokenizer have changed",
    "way": "the student is computed differently: {}",
}


def _first_change(now: Json, then: Json) -> tuple[list[str], Json]:
    """Return the path to the first value that changed, and that value."""
    if not isinstance(now, dict):
        return [], now
    name = next((name for name in sorted({*now, *then}) if now.get(name) != then.get(name)), "")
    path, value = _first_change(now.get(name), then.get(name))
    return [name, *path], value


def changed_outputs(stage: Stage, made_from: Mapping[str, Json], entry: StageEntry) -> Iterable[str]:
    """Return the outputs that may change: of problems, only the files whose own tasks or data changed."""
    now, then = made_from["sources"], entry.sources
    alike = made_from["version"] == entry.version and made_from["student"] == entry.student
    if not alike or set(now) != set(stage.outputs):
        return stage.outputs
    return [name for name in stage.outputs if now[name] != then.get(name)]


def mixed_versions(entries: Mapping[str, StageEntry], kept: Iterable[Stage], now: Mapping[str, str]) -> str:
    """Say in one line which finished stages were computed with other versions or threads than now; "" if none was.

    Args:
        entries: of a manifest, by stage.
        kept: stages that are not made again.
        now: the environment of the run that continues.
    """
    others: dict[str, list[str]] = {}
    for stage in kept:
        then = entries[str(stage.name)].environment if stage.computes else {}
        if _differ(then, now):
            others.setdefault(_versions(then), []).append(str(stage.name))
    summary = "; ".join(f"{then} made {', '.join(names)}" for then, names in others.items())
    return summary and f"{summary}, and {_versions(now)} continues: {_MIXED}"


_MIXED = "the last digits may differ. For one version throughout, choose another --out"
_SHAPING = ("torch", "transformers", "peft", "threads", "threads of a chunk")


def _versions(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {found[name]}" for name in _SHAPING if name in found)


def _differ(then: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Return whether what both know about differs: earlier versions of srit recorded less."""
    return any(then[name] != now[name] for name in _SHAPING if name in then and name in now)


def begun_elsewhere(partial: Path, now: Mapping[str, str]) -> str:
    """Say in one line which versions began an unfinished stage, if they are not those of `now`; "" if they are."""
    place = partial / "environment.json"
    try:
        then = read_json(place)
        differs = _differ(then, now)
    except (DataError, TypeError, AttributeError):  # missing, or damaged: what it says is only reported
        write_json(place, dict(now))
        return ""
    return f"{_versions(then)} began it, and {_versions(now)} continues: {_MIXED}" if differs else ""
