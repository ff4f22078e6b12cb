"""Tables that go beyond greedy answers: options by likelihood, their calibration, and pass@k."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from srit.records import Model
from srit.signed import points, signed
from srit.stages.results import BASE, DOMAINS, INSTRUCTED, REFINED
from srit.study.claims import compared_by
from srit.study.estimates import (
    Estimate,
    Key,
    StudyResults,
    at_k,
    difference,
    domain_tasks,
    models_of,
    prompts_of,
    tasks_of,
)
from srit.study.records import CellRecord, OptionRow
from srit.study.tables.entries import (
    ACCURACY,
    Entry,
    Table,
    accuracy_entry,
    change,
    mean,
    name_of,
    place,
    points_entry,
)
from srit.study.words import changes_by_seed, statement


def options(results: StudyResults) -> Table:
    """Show how often the likeliest option is the right one, and how likely the right one is."""
    models = _models(results)
    rows = []
    for cell in results.cells:
        places = dict.fromkeys((k.task, k.prompt, k.scored) for k in results.option_marks if k.cell == cell.cell)
        for task, prompt, scored in places:
            keys = [Key(cell.cell, model, task, prompt, scored) for model in models]
            gain = difference(results.option_marks, [change(cell, task, prompt, scored)])
            likely = [mean([row.probability for row in _rows(results, key)]) for key in keys]
            texts = [cell.cell, task, f"{prompt}, {scored}"]
            accuracies = [accuracy_entry(results.option_marks, [key]) for key in keys]
            shares = [Entry("" if share is None else f"{share:.3f}") for share in likely]
            rows.append((*map(Entry, texts), *accuracies, points_entry(gain), *shares))
    heads = (*models, "refined − instructed", *(f"probability, {model}" for model in models))
    note = (
        f"{ACCURACY} The likeliest option is the answer; by length: the one likeliest per character. The probability "
        "is that of the right option among all, mean over problems."
    )
    columns = ("cell", "task", "prompt, option as", *map(str, heads))
    return Table("options", "Options by likelihood", columns, rows, note)


def _models(results: StudyResults) -> list[Model]:
    there = {key.model for key in results.options}
    return [model for model in (BASE, INSTRUCTED, REFINED) if model in there]


def _rows(results: StudyResults, key: Key) -> list[OptionRow]:
    """Return the rows of a key, by seed; those by length are of the same options."""
    return list(results.options.get(key._replace(scored=key.scored.removesuffix(" by length")), {}).values())


def calibration(results: StudyResults) -> Table:
    """Show how much more confident than right the models are of their likeliest option, and by what margin."""
    models = _models(results)
    rows = []
    for cell in results.cells:
        places = dict.fromkeys((k.task, k.prompt, k.scored) for k in results.options if k.cell == cell.cell)
        for task, prompt, scored in places:
            by_model = [_rows(results, Key(cell.cell, model, task, prompt, scored)) for model in models]
            over = [mean([row.confidence - row.right.count("1") / len(row.right) for row in of]) for of in by_model]
            margins = [mean([row.margin for row in of]) for of in by_model]
            texts = [task, f"{prompt}, {scored}", *("" if value is None else points(value) for value in over)]
            texts += ["" if value is None else signed(value, 2) for value in margins]
            rows.append((name_of(cell), *map(Entry, texts)))
    heads = (*(f"surer than right, {model}" for model in models), *(f"margin, {model}" for model in models))
    note = (
        "Surer than right: mean probability of the likeliest option minus how often it is right, in points; 0 is "
        "calibrated. Margin: log-probability of the right option minus that of the likeliest other, in nats. Means "
        "over seeds and problems."
    )
    return Table("calibration", "Calibration of options", ("cell", "task", "prompt, option as", *heads), rows, note)


def passes(results: StudyResults) -> Iterator[Table]:
    """Make the tables of being right at least once in k samples, and of what refinement changes."""
    ks = sorted({k for rows in results.answers.values() for row in rows.values() for k in row.pass_at or ()})
    by_k = [at_k(results, k) for k in ks]
    if not by_k:
        return
    drawn = [key for key in results.answers if any(key in marks for marks in by_k)]
    rows = [(*place(key), *(accuracy_entry(marks, [key]) for marks in by_k)) for key in drawn]
    columns = ("cell", "model", "task", "prompt", *(f"pass@{k}, %" for k in ks))
    yield Table("pass-at-k", "Right at least once in k samples", columns, rows, ACCURACY)
    changes = []
    for cell, prompt in product(results.cells, prompts_of(results)):
        tasks = {task: [task] for task in tasks_of(results, cell.cell)}
        tasks |= {f"all {DOMAINS[domain]}": domain_tasks(results, cell, domain) for domain in ("in", "out")}
        for (a, b), (name, of_name) in product(_compared(results, cell), tasks.items()):
            sides = [(Key(cell.cell, a, task, prompt), Key(cell.cell, b, task, prompt)) for task in of_name]
            found = [difference(marks, sides) for marks in by_k]
            if any(found):
                changes.append((name_of(cell), *map(Entry, (f"{a} − {b}", name, prompt)), *map(points_entry, found)))
    for claim in (claim for claim in results.record.study.claims if claim.against):
        found = [difference(marks, compared_by(results, claim)) for marks in by_k]
        if any(found):
            said = statement(claim)
            texts = ("as claimed", f"{said.a} − {said.b}", said.where, claim.prompt)
            changes.append((*map(Entry, texts), *map(_claimed_entry, found)))
    columns = ("cell", "models", "task", "prompt", *(f"pass@{k}, points" for k in ks))
    note = "Points (95 % interval: seeds and problems, paired), in bold where it does not contain 0."
    title = "Right at least once in k samples: models compared"
    yield Table("pass-at-k-change", title, columns, changes, note)


def _claimed_entry(found: Estimate | None) -> Entry:
    entry = points_entry(found)
    return entry if found is None else entry._replace(text=entry.text + changes_by_seed(found))


def _compared(results: StudyResults, cell: CellRecord) -> list[tuple[Model, Model]]:
    """Pair each trained model with instructed, and refined with each control."""
    trained = [m for m in models_of(results, cell.cell) if m.kind in ("refined", "control")]
    controls = [model for model in trained if model.kind == "control"]
    return [*((model, INSTRUCTED) for model in trained), *((REFINED, control) for control in controls)]
