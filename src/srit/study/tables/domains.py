"""Tables of accuracies on the tasks that each cell was trained on, and on the others."""

from __future__ import annotations

from collections.abc import Iterator

from srit.records import Model, PromptKind
from srit.stages.results import BASE, INSTRUCTED, REFINED
from srit.study.estimates import (
    Key,
    StudyResults,
    accuracy,
    difference,
    domain_tasks,
    main_prompt,
    prompts_of,
    tasks_of,
)
from srit.study.labels import TEACHER_LABEL
from srit.study.records import CellRecord
from srit.study.tables.entries import (
    ACCURACY,
    Entry,
    Table,
    accuracy_entry,
    change,
    change_heat,
    heat,
    name_of,
    points_entry,
    prompt_words,
)
from srit.study.tables.students import student_of


def by_teacher(results: StudyResults) -> Table:
    """Make the paper's table: each student's and teacher's models on the tasks that they were trained on."""
    groups: dict[tuple[str, str], list[CellRecord]] = {}
    for cell in results.cells:
        if TEACHER_LABEL in cell.labels:
            groups.setdefault((student_of(results, cell), cell.labels[TEACHER_LABEL]), []).append(cell)
    tasks = list(dict.fromkeys(task for cell in results.cells for task in domain_tasks(results, cell, "in")))
    rows = []
    for (student, teacher), cells in groups.items():
        for model, prompt in _shown(results):
            keys = {t: [Key(c.cell, model, t, prompt) for c in cells if t in c.tuned_on] for t in tasks}
            group = (Entry(student), Entry(teacher), Entry(_heading(results, model, prompt)))
            rows.append((*group, *(accuracy_entry(results.marks, keys[task]) for task in tasks)))
    return Table("by-teacher", "In-domain, by teacher", ("student", "teacher", "model", *tasks), rows, ACCURACY)


def _shown(results: StudyResults) -> list[tuple[Model, PromptKind]]:
    """Return the models and prompts of the in-domain tables; base under both prompts."""
    main, others = main_prompt(results), prompts_of(results)[1:]
    wanted = [*((BASE, prompt) for prompt in others), (BASE, main), (INSTRUCTED, main), (REFINED, main)]
    there = {(key.model, key.prompt) for key in results.answers}
    taught: tuple[Model, PromptKind] = (Model("teacher"), "cot")
    return [one for one in (*wanted, taught) if one in there]


def _heading(results: StudyResults, model: Model, prompt: PromptKind) -> str:
    both = len(prompts_of(results)) > 1
    return f"{model} + CoT" if model == BASE and both and prompt == "cot" else str(model)


def in_domain(results: StudyResults) -> Table:
    """Make the table of each cell's models on the tasks trained on, and of what refinement changes."""
    main, shown = main_prompt(results), _shown(results)
    rows = []
    for cell in results.cells:
        for task in domain_tasks(results, cell, "in"):
            keys = [Key(cell.cell, model, task, prompt) for model, prompt in shown]
            gain = points_entry(difference(results.marks, [change(cell, task, main)]))
            accuracies = [accuracy_entry(results.marks, [key]) for key in keys]
            rows.append((name_of(cell), Entry(task), *accuracies, gain))
    heads = [_heading(results, model, prompt) for model, prompt in shown]
    title = f"In-domain, {prompt_words(main)}"
    return Table("in-domain", title, ("cell", "task", *heads, "refined − instructed"), rows, ACCURACY)


def out_of_domain(results: StudyResults) -> Iterator[Table]:
    """Make the tables of trained on × evaluated on: accuracies, and what refinement changes."""
    if not any(domain_tasks(results, cell, "out") for cell in results.cells):
        return
    main, tasks = main_prompt(results), tasks_of(results)
    columns, head = ("cell", "trained on", *tasks), "Trained on × evaluated on"
    for model in (BASE, INSTRUCTED, REFINED):
        rows = []
        for cell in results.cells:
            found = {task: accuracy(results.marks, [Key(cell.cell, model, task, main)]) for task in tasks}
            rows.append((*_trained(cell), *(heat(one, task in cell.tuned_on) for task, one in found.items())))
        title = f"{head}: {model}, {prompt_words(main)}"
        yield Table(f"matrix-{model}", title, columns, rows, "Accuracy in percent; in bold where trained on.")
    rows = []
    for cell in results.cells:
        changes = {task: difference(results.marks, [change(cell, task, main)]) for task in tasks}
        rows.append((*_trained(cell), *(change_heat(one, task in cell.tuned_on) for task, one in changes.items())))
    note = "Points; * where the 95 % interval does not contain 0; in bold where trained on."
    yield Table("matrix-change", f"{head}: refined − instructed, {prompt_words(main)}", columns, rows, note)


def _trained(cell: CellRecord) -> tuple[Entry, Entry]:
    return name_of(cell), Entry(", ".join(cell.tuned_on))
