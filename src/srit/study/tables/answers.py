"""The table of the answers' form: their length, and how many were cut or could not be read."""

from __future__ import annotations

from collections.abc import Sequence

from srit.recipe.compared import TEACHER, slug
from srit.records import Model
from srit.stages.results import BASE
from srit.study.estimates import Key, StudyResults, domain_tasks, main_prompt, models_of
from srit.study.records import AnswerRow, CellRecord
from srit.study.tables.entries import Entry, Table, name_of, prompt_words


def answers(results: StudyResults) -> Table:
    """Show the form of each model's answers in each domain."""
    main = main_prompt(results)
    rows = []
    for cell in results.cells:
        for model in models_of(results, cell.cell):
            for domain in ("in", "out"):
                keys = [Key(cell.cell, model, task, main) for task in domain_tasks(results, cell, domain)]
                found = [row for key in keys for row in results.answers.get(key, {}).values()]
                if found:
                    left = str(_unanswered(results, cell, keys)) if model.kind == "teacher" else ""
                    rows.append((name_of(cell), *map(Entry, [str(model), domain, *_form(found), left])))
    columns = ("cell", "model", "domain", "mean tokens", "cut, %", "unread, %", "not judged, %", "no answer")
    title = f"The form of the answers, {prompt_words(main)}"
    if not any(row[-1].text for row in rows):  # no teacher was evaluated
        return Table("answers", title, columns[:-1], [row[:-1] for row in rows])
    counted = "and that its accuracy leaves out" if _leaves_out(results) else "and that count as not right"
    note = f"No answer: problems that the teacher did not answer, {counted}."
    return Table("answers", title, columns, rows, note)


def _form(rows: Sequence[AnswerRow]) -> list[str]:
    n = sum(len(row.right) for row in rows)
    tokens = sum(row.tokens * len(row.right) for row in rows) / n
    counts = (sum(r.truncated for r in rows), sum(r.unread for r in rows), sum(r.errors for r in rows))
    length = f"{tokens:.1f}" if tokens else ""  # a recording does not count them
    return [length, *(f"{100 * count / n:.1f}" for count in counts)]


def _leaves_out(results: StudyResults) -> bool:
    """Return whether a study dates from the time when the teacher's rows had only answered problems."""
    teacher = {key: rows for key, rows in results.answers.items() if key.model == Model("teacher")}
    base = {key: results.answers.get(key._replace(model=BASE), {}) for key in teacher}
    return any(
        seed in base[key] and len(row.right) < len(base[key][seed].right)
        for key, rows in teacher.items()
        for seed, row in rows.items()
    )


def _unanswered(results: StudyResults, cell: CellRecord, keys: Sequence[Key]) -> int:
    """Count the problems of one seed that the teacher did not answer."""
    counts = next((run.counts for run in cell.done()), {})
    rows = {key: next(iter(results.answers.get(key, {}).values()), None) for key in keys}
    places = [(row.place if row else None) or slug(key.task) for key, row in rows.items()]
    return sum(int(counts.get(f"predictions/{TEACHER}/{place}", {}).get("no answer", 0)) for place in places)
