"""Tables of how the models were trained: heuristics, losses and controls side by side, and how stage 2 went."""

from __future__ import annotations

from srit.records import Model, PromptKind
from srit.signed import number
from srit.stages.results import REFINED
from srit.study.estimates import Estimate, Key, StudyResults, difference, domain_tasks, main_prompt, models_of
from srit.study.records import CellRecord, TrainingRow
from srit.study.tables.entries import (
    ACCURACY,
    Entry,
    Table,
    accuracy_entry,
    mean,
    name_of,
    points_entry,
    prompt_words,
)
from srit.study.tables.students import STAGE_2, changes_part


def arms(results: StudyResults) -> Table | None:
    """Show heuristics, losses and controls side by side, with what each was trained on."""
    controlled = any(key.model.kind == "control" for key in results.answers)
    if not controlled and not any(changes_part(cell, STAGE_2) for cell in results.cells):
        return None
    main = main_prompt(results)
    rows = [
        _arm(results, cell, model, main)
        for cell in results.cells
        for model in models_of(results, cell.cell)
        if model.kind not in ("base", "teacher")
    ]
    heads = ("tokens trained", "in-domain", "out-of-domain", "refined − it, in-domain", "refined − it, out-of-domain")
    note = f"{ACCURACY} Tokens of the training that made the model, mean over seeds; for refined those of all rounds."
    return Table("arms", f"Heuristics and controls, {prompt_words(main)}", ("cell", "model", *heads), rows, note)


def _arm(results: StudyResults, cell: CellRecord, model: Model, prompt: PromptKind) -> tuple[Entry, ...]:
    tasks = [domain_tasks(results, cell, domain) for domain in ("in", "out")]
    accuracies = [
        accuracy_entry(results.marks, [Key(cell.cell, model, task, prompt) for task in of_domain])
        for of_domain in tasks
    ]
    ahead = [
        Entry("") if model == REFINED else points_entry(_ahead(results, cell, model, domain, prompt))
        for domain in ("in", "out")
    ]
    tokens = mean(_tokens(cell, model))
    trained = Entry("" if tokens is None else f"{tokens:,.0f}")
    return name_of(cell), Entry(str(model)), trained, *accuracies, *ahead


def _ahead(results: StudyResults, cell: CellRecord, model: Model, domain: str, prompt: PromptKind) -> Estimate | None:
    """Estimate how far a cell's refined model is ahead of another of its models."""
    pairs = [
        (Key(cell.cell, REFINED, task, prompt), Key(cell.cell, model, task, prompt))
        for task in domain_tasks(results, cell, domain)
    ]
    return difference(results.marks, pairs)


def _tokens(cell: CellRecord, model: Model) -> list[float]:
    """Return the tokens that each seed's model was trained on in the training that made it."""
    wanted = _trainings(cell, model)
    found = [[t.tokens for t in run.trainings if t.stage in wanted] for run in cell.done()]
    return [sum(of_seed) for of_seed in found if of_seed]


def _trainings(cell: CellRecord, model: Model) -> set[str]:
    """Return the stages that trained a model."""
    if model.kind == "control":
        return {f"controls/{model.control}"}
    if model.kind != "refined":
        return {str(model)}
    rounds = range(1, cell.rounds + 1) if model.is_last else (model.round,)
    return {f"round-{number}/refined" for number in rounds}


def training(results: StudyResults) -> Table:
    """Show how stage 2 went: log-probabilities and margins at its ends."""
    rows = []
    for cell in results.cells:
        trainings = [t for run in cell.done() for t in run.trainings if _has_pairs(t)]
        for stage in dict.fromkeys(t.stage for t in trainings):
            texts = _course(cell, stage, [t for t in trainings if t.stage == stage])
            rows.append((name_of(cell), Entry(stage), *map(Entry, texts)))
    ends = ("log p chosen", "log p rejected", "margin at the end", "% of pairs, margin > 0")
    note = "Nats per completion, first → last tenth of the steps, without those that have no pairs; mean over seeds."
    columns = ("cell", "stage", "pairs", "steps", "tokens", *ends)
    return Table("training", "How stage 2 went", columns, rows, note)


def _has_pairs(row: TrainingRow) -> bool:
    return all("chosen_logps" in (end or {}) for end in (row.first, row.last))


def _course(cell: CellRecord, stage: str, trainings: list[TrainingRow]) -> list[str]:
    counts = [run.counts.get(f"{stage.split('/')[0]}/pairs", {}) for run in cell.done()]
    pairs = mean([count["pairs"] for count in counts if "pairs" in count])
    first = [row.first for row in trainings if row.first is not None]
    last = [row.last for row in trainings if row.last is not None]
    ends = [
        " → ".join(number(mean([end[field] for end in of_seeds]), 1) for of_seeds in (first, last))
        for field in ("chosen_logps", "rejected_logps")
    ]
    margin, right = (mean([end[field] for end in last]) or 0.0 for field in ("margins", "accuracies"))
    steps, tokens = mean([row.steps for row in trainings]) or 0.0, mean([row.tokens for row in trainings]) or 0.0
    texts = ["" if pairs is None else f"{pairs:,.0f}", f"{steps:,.0f}", f"{tokens:,.0f}", *ends]
    return [*texts, f"{margin:.2f}", f"{100 * right:.0f}"]
