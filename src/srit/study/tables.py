"""study.json → the tables and curves that its grid supports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from srit.compared import TEACHER, slug
from srit.stages.results import DOMAINS
from srit.study.claims import Verdict, change_points, points, signed
from srit.study.figures import (
    BY_LENGTH,
    Figure,
    Key,
    Results,
    at_k,
    difference,
    domain_tasks,
    figure,
    models_of,
    prompts_of,
    tasks_of,
)
from srit.study.grid import ARM, FAMILY

Cell = Mapping[str, Any]
FULL_SHADE = 0.2  # the difference that a heat map shows in full color


class Entry(NamedTuple):
    """One field of a table."""

    text: str
    shade: float | None = None  # −1 to 1, or 0 to 1: how a heat map colors it
    strong: bool = False


class Table(NamedTuple):
    """Text that Markdown, LaTeX and HTML are made of alike."""

    name: str  # of its files
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Entry, ...]]
    note: str = ""


class Line(NamedTuple):
    """One line of a curve: x, mean and both ends of the 95 % interval, in percent."""

    label: str
    points: list[tuple[float, float, float, float]]


class Curve(NamedTuple):
    """Accuracies over a field's values."""

    name: str
    title: str
    x: str
    lines: list[Line]


_STAGE_2 = ("pairs", "refine", "sample", "rounds", "controls")  # parts of a recipe
_ACCURACY = "Accuracy in percent, mean over seeds (95 % interval: seeds and problems)."


def make_tables(results: Results, verdicts: Sequence[Verdict]) -> list[Table]:
    """Every table that there is something for."""
    made = [
        by_teacher(results),
        in_domain(results),
        *out_of_domain(results),
        families(results),
        *cross(results),
        arms(results),
        training(results),
        answers(results),
        options(results),
        calibration(results),
        *passes(results),
        comparisons(verdicts),
        *(curve_table(curve) for curve in make_curves(results)),
        unfinished(results),
    ]
    return [table for table in made if table is not None and table.rows]


def by_teacher(results: Results) -> Table | None:
    """As the paper's table: each student's and teacher's models on the tasks that they were trained on."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in results.cells:
        if TEACHER in cell["labels"]:
            groups.setdefault((_student(results, cell), cell["labels"][TEACHER]), []).append(cell)
    tasks = list(dict.fromkeys(task for cell in results.cells for task in domain_tasks(results, cell, "in")))
    rows = []
    for (student, teacher), cells in groups.items():
        for model, prompt in _shown(results):
            keys = {t: [Key(c["cell"], model, t, prompt) for c in cells if t in c["tuned_on"]] for t in tasks}
            place = (Entry(student), Entry(teacher), Entry(_said(results, model, prompt)))
            rows.append((*place, *(_accuracy(results, keys[task]) for task in tasks)))
    return Table("by-teacher", "In-domain, by teacher", ("student", "teacher", "model", *tasks), rows, _ACCURACY)


def _shown(results: Results) -> list[tuple[str, str]]:
    """Models and prompts of the in-domain tables; base under both prompts."""
    main, *others = prompts_of(results) or ["cot"]
    before = [("base", prompt) for prompt in others]
    wanted = [*before, ("base", main), ("instructed", main), ("refined", main), (TEACHER, "cot")]
    return [one for one in wanted if any((key.model, key.prompt) == one for key in results.answers)]


def _said(results: Results, model: str, prompt: str) -> str:
    both = len(prompts_of(results)) > 1
    return f"{model} + CoT" if model == "base" and both and prompt == "cot" else model


def in_domain(results: Results) -> Table | None:
    """Each cell's models on the tasks that were trained on, and what refinement changes."""
    main, shown = (prompts_of(results) or ["cot"])[0], _shown(results)
    rows = []
    for cell in results.cells:
        for task in domain_tasks(results, cell, "in"):
            keys = [Key(cell["cell"], model, task, prompt) for model, prompt in shown]
            change = difference(results, [_change(cell, task, main)])
            rows.append((_name(cell), Entry(task), *(_accuracy(results, [key]) for key in keys), _points(change)))
    heads = [_said(results, model, prompt) for model, prompt in shown]
    title = f"In-domain, {_prompt(main)}"
    return Table("in-domain", title, ("cell", "task", *heads, "refined − instructed"), rows, _ACCURACY)


def out_of_domain(results: Results) -> Iterator[Table]:
    """Trained on × evaluated on: accuracies, and what refinement changes; tasks that were trained on are in bold."""
    if not any(domain_tasks(results, cell, "out") for cell in results.cells):
        return
    main, tasks = (prompts_of(results) or ["cot"])[0], tasks_of(results)
    columns = ("cell", "trained on", *tasks)
    for model in ("base", "instructed", "refined"):
        rows = []
        for cell in results.cells:
            found = [figure(results, [Key(cell["cell"], model, task, main)]) for task in tasks]
            rows.append(
                (*_trained(cell), *(_heat(f, t in cell["tuned_on"]) for f, t in zip(found, tasks, strict=True)))
            )
        title = f"Trained on × evaluated on: {model}, {_prompt(main)}"
        yield Table(f"matrix-{model}", title, columns, rows, "Accuracy in percent; in bold where trained on.")
    rows = []
    for cell in results.cells:
        found = [difference(results, [_change(cell, task, main)]) for task in tasks]
        heats = [_change_heat(f, t in cell["tuned_on"]) for f, t in zip(found, tasks, strict=True)]
        rows.append((*_trained(cell), *heats))
    title = f"Trained on × evaluated on: refined − instructed, {_prompt(main)}"
    note = "Points; * where the 95 % interval holds no 0; in bold where trained on."
    yield Table("matrix-change", title, columns, rows, note)


def families(results: Results) -> Table | None:
    """Teachers of the student's own family against others, on the tasks that were trained on."""
    kin = {side: [cell for cell in results.cells if cell["labels"].get(FAMILY) == side] for side in ("in", "out")}
    if not all(kin.values()):
        return None
    main = (prompts_of(results) or ["cot"])[0]
    groups = dict.fromkeys((_student(results, cell), tuple(cell["instructed_on"])) for cell in results.cells)
    rows = []
    for student, trained in groups:
        sides = {
            side: [c for c in cells if (_student(results, c), tuple(c["instructed_on"])) == (student, trained)]
            for side, cells in kin.items()
        }
        if not all(sides.values()):
            continue
        accuracies = [_accuracy(results, _in_keys(results, cells, "refined", main)) for cells in sides.values()]
        gains = [
            _points(difference(results, [_change(c, t, main) for c in cells for t in domain_tasks(results, c, "in")]))
            for cells in sides.values()
        ]
        pairs = [
            (Key(a["cell"], "refined", task, main), Key(b["cell"], "refined", task, main))
            for a in sides["in"]
            for b in sides["out"]
            for task in domain_tasks(results, a, "in")
        ]
        change = _points(difference(results, pairs))
        rows.append((Entry(student), Entry(", ".join(trained)), *accuracies, change, *gains))
    heads = ("refined, in-family", "refined, out-family", "in − out", "gain, in-family", "gain, out-family")
    note = f"{_ACCURACY} Gain: refined − instructed, points."
    return Table("families", "Teachers of the student's family and others", ("student", "task", *heads), rows, note)


def cross(results: Results) -> Iterator[Table]:
    """Instructed on one task, refined on another."""
    if all(cell["instructed_on"] == cell["refined_on"] for cell in results.cells):
        return
    main = (prompts_of(results) or ["cot"])[0]
    students = dict.fromkeys(_student(results, cell) for cell in results.cells)
    instructed, refined = (
        list(dict.fromkeys(", ".join(cell[field]) for cell in results.cells))
        for field in ("instructed_on", "refined_on")
    )
    for where, field in (("the task refined on", "refined_on"), ("the task instructed on", "instructed_on")):
        rows = []
        for student, a in product(students, instructed):
            row = [Entry(f"{student} · {a}" if len(students) > 1 else a)]
            for b in refined:
                cells = [
                    c
                    for c in results.cells
                    if (_student(results, c), ", ".join(c["instructed_on"]), ", ".join(c["refined_on"]))
                    == (student, a, b)
                ]
                there = [(c, task) for c in cells for task in c[field] if task in tasks_of(results, c["cell"])]
                found = figure(results, [Key(c["cell"], "refined", task, main) for c, task in there])
                change = difference(results, [_change(c, task, main) for c, task in there])
                text = "" if found is None else f"{100 * found.mean:.1f}{_signed(change)}"
                row.append(Entry(text, None if found is None else found.mean, a == b))
            rows.append(tuple(row))
        title = f"Instructed on × refined on: accuracy on {where}, {_prompt(main)}"
        columns = ("instructed on", *(f"refined on {b}" for b in refined))
        note = (
            "Accuracy of refined in percent, and its change from instructed in points; in bold where both are one task."
        )
        yield Table(f"cross-{field.replace('_', '-')}", title, columns, rows, note)


def arms(results: Results) -> Table | None:
    """Heuristics, losses and controls beside each other, with what each was trained on."""
    controlled = any(key.model.startswith("control-") for key in results.answers)
    if not controlled and not any(_changed(cell, _STAGE_2) for cell in results.cells):
        return None
    main = (prompts_of(results) or ["cot"])[0]
    rows = []
    for cell in results.cells:
        for model in models_of(results, cell["cell"]):
            if model in ("base", TEACHER):
                continue
            by_domain = [
                _accuracy(results, [Key(cell["cell"], model, t, main) for t in domain_tasks(results, cell, domain)])
                for domain in ("in", "out")
            ]
            behind = [
                Entry("") if model == "refined" else _points(_ahead(results, cell, model, domain, main))
                for domain in ("in", "out")
            ]
            tokens = _mean(_tokens(cell, model))
            trained = Entry("" if tokens is None else f"{tokens:,.0f}")
            rows.append((_name(cell), Entry(model), trained, *by_domain, *behind))
    heads = ("tokens trained", "in-domain", "out-of-domain", "refined − it, in-domain", "refined − it, out-of-domain")
    note = f"{_ACCURACY} Tokens of the training that made the model, mean over seeds; for refined those of all rounds."
    return Table("arms", f"Heuristics and controls, {_prompt(main)}", ("cell", "model", *heads), rows, note)


def _ahead(results: Results, cell: Cell, model: str, domain: str, prompt: str) -> Figure | None:
    """By how much a cell's refined model is ahead of another of its models."""
    pairs = [
        (Key(cell["cell"], "refined", task, prompt), Key(cell["cell"], model, task, prompt))
        for task in domain_tasks(results, cell, domain)
    ]
    return difference(results, pairs)


def training(results: Results) -> Table | None:
    """How stage 2 went: log-probabilities and margins at its ends."""
    rows = []
    for cell in results.cells:
        trainings = [
            t
            for run in cell["runs"]
            for t in run.get("trainings", ())
            if all("chosen_logps" in t.get(end, {}) for end in ("first", "last"))
        ]
        for stage in dict.fromkeys(t["stage"] for t in trainings):
            of_stage = [t for t in trainings if t["stage"] == stage]
            counts = [run.get("counts", {}).get(f"{stage.split('/')[0]}/pairs", {}) for run in cell["runs"]]
            pairs = _mean([count["pairs"] for count in counts if "pairs" in count])
            ends = [
                " → ".join(f"{_mean([t[end][field] for t in of_stage]):.1f}" for end in ("first", "last"))
                for field in ("chosen_logps", "rejected_logps")
            ]
            margin, right = (_mean([t["last"][field] for t in of_stage]) or 0.0 for field in ("margins", "accuracies"))
            numbers = [_mean([t["steps"] for t in of_stage]) or 0.0, _mean([t["tokens"] for t in of_stage]) or 0.0]
            texts = ["" if pairs is None else f"{pairs:,.0f}", *(f"{n:,.0f}" for n in numbers), *ends]
            texts += [f"{margin:.2f}", f"{100 * right:.0f}"]
            rows.append((_name(cell), Entry(stage), *map(Entry, texts)))
    heads = (
        "pairs",
        "steps",
        "tokens",
        "log p chosen",
        "log p rejected",
        "margin at the end",
        "% of pairs, margin > 0",
    )
    note = "Nats a completion, first → last tenth of the steps, those without pairs left out; mean over seeds."
    return Table("training", "How stage 2 went", ("cell", "stage", *heads), rows, note)


def answers(results: Results) -> Table | None:
    """The form of the answers: length, and how many were cut or could not be read."""
    main = (prompts_of(results) or ["cot"])[0]
    rows = []
    for cell in results.cells:
        for model in models_of(results, cell["cell"]):
            for domain in ("in", "out"):
                keys = [Key(cell["cell"], model, task, main) for task in domain_tasks(results, cell, domain)]
                found = [row for key in keys for row in results.answers.get(key, {}).values()]
                if not found:
                    continue
                n = sum(len(row["right"]) for row in found)
                tokens = sum(row["tokens"] * len(row["right"]) for row in found) / n
                shares = [100 * sum(row[what] for row in found) / n for what in ("truncated", "unread", "errors")]
                length = f"{tokens:.1f}" if tokens else ""  # a recording does not count them
                left = str(_unanswered(results, cell, keys)) if model == TEACHER else ""
                texts = [model, domain, length, *(f"{share:.1f}" for share in shares), left]
                rows.append((_name(cell), *map(Entry, texts)))
    columns = ("cell", "model", "domain", "mean tokens", "cut, %", "unread, %", "not judged, %", "no answer")
    counted = "and that its accuracy leaves out" if _leaves_out(results) else "and that count as not right"
    note = f"No answer: problems that the teacher did not answer, {counted}."
    return Table("answers", f"The form of the answers, {_prompt(main)}", columns, rows, note)


def _leaves_out(results: Results) -> bool:
    """Whether a study is of a time when the teacher's rows held only what it had answered."""
    teacher = {key: rows for key, rows in results.answers.items() if key.model == TEACHER}
    base = {key: results.answers.get(key._replace(model="base"), {}) for key in teacher}
    return any(
        seed in base[key] and len(row["right"]) < len(base[key][seed]["right"])
        for key, rows in teacher.items()
        for seed, row in rows.items()
    )


def _unanswered(results: Results, cell: Cell, keys: Sequence[Key]) -> int:
    """Problems of one seed that the teacher gave no answer to."""
    counts: Mapping[str, Any] = next((run["counts"] for run in cell["runs"] if "counts" in run), {})
    rows = {key: next(iter(results.answers.get(key, {}).values()), {}) for key in keys}
    places = [row.get("place", slug(key.task)) for key, row in rows.items()]
    return sum(counts.get(f"predictions/{TEACHER}/{place}", {}).get("no answer", 0) for place in places)


def options(results: Results) -> Table | None:
    """How often the likeliest option is the right one, and how likely the right one is."""
    scored = results._replace(answers=results.options)
    models = [model for model in ("base", "instructed", "refined") if any(key.model == model for key in scored.answers)]
    rows = []
    for cell in results.cells:
        places = dict.fromkeys((key.task, key.prompt) for key in scored.answers if key.cell == cell["cell"])
        for task, prompt in places:
            keys = [Key(cell["cell"], model, task, prompt) for model in models]
            change = difference(scored, [_change(cell, task, prompt)])
            likely = [_mean([row["probability"] for row in scored.answers.get(key, {}).values()]) for key in keys]
            rows.append(
                (
                    _name(cell),
                    Entry(task),
                    Entry(prompt),
                    *(_accuracy(scored, [key]) for key in keys),
                    _points(change),
                    *(Entry("" if mean is None else f"{mean:.3f}") for mean in likely),
                )
            )
    heads = (*models, "refined − instructed", *(f"probability, {model}" for model in models))
    note = _ACCURACY + " The likeliest option is the answer; by length: the likeliest a character. The probability is "
    note += "that of the right option among all, mean over problems."
    return Table("options", "Options by likelihood", ("cell", "task", "prompt, option as", *heads), rows, note)


def calibration(results: Results) -> Table | None:
    """How much surer the models are of their likeliest option than it is right, and how far it lies ahead."""
    models = [
        model for model in ("base", "instructed", "refined") if any(key.model == model for key in results.options)
    ]
    rows = []
    for cell in results.cells:
        scored = [key for key in results.options if key.cell == cell["cell"] and not key.prompt.endswith(BY_LENGTH)]
        for task, prompt in dict.fromkeys((key.task, key.prompt) for key in scored):
            by_model = [
                list(results.options.get(Key(cell["cell"], model, task, prompt), {}).values()) for model in models
            ]
            over = [
                _mean([row["confidence"] - row["right"].count("1") / len(row["right"]) for row in rows_of])
                for rows_of in by_model
            ]
            margins = [_mean([row["margin"] for row in rows_of]) for rows_of in by_model]
            texts = [task, prompt, *("" if mean is None else points(mean) for mean in over)]
            texts += ["" if mean is None else signed(mean, 2) for mean in margins]
            rows.append((_name(cell), *map(Entry, texts)))
    heads = (*(f"surer than right, {model}" for model in models), *(f"margin, {model}" for model in models))
    note = "Surer than right: mean probability of the likeliest option less how often it is right, points; 0 is "
    note += (
        "calibrated. Margin: log-probability of the right option less that of the likeliest other, nats; means over "
    )
    note += "seeds and problems."
    return Table("calibration", "Calibration of options", ("cell", "task", "prompt, option as", *heads), rows, note)


def passes(results: Results) -> Iterator[Table]:
    """Right at least once in k samples, and what refinement changes of it."""
    ks = sorted({k for rows in results.answers.values() for row in rows.values() for k in row.get("pass_at", ())})
    by_k = [at_k(results, k) for k in ks]
    if not by_k:
        return
    drawn = [key for key in results.answers if any(key in of_k.answers for of_k in by_k)]
    rows = [(*map(Entry, key), *(_accuracy(of_k, [key]) for of_k in by_k)) for key in drawn]
    columns = ("cell", "model", "task", "prompt", *(f"pass@{k}, %" for k in ks))
    yield Table("pass-at-k", "Right at least once in k samples", columns, rows, _ACCURACY)
    rows = []
    for cell, prompt in product(results.cells, prompts_of(results)):
        tasks = {task: [task] for task in tasks_of(results, cell["cell"])}
        tasks |= {f"all {DOMAINS[domain]}": domain_tasks(results, cell, domain) for domain in ("in", "out")}
        for name, of_name in tasks.items():
            changes = [difference(of_k, [_change(cell, task, prompt) for task in of_name]) for of_k in by_k]
            if any(changes):
                rows.append((_name(cell), Entry(name), Entry(prompt), *map(_points, changes)))
    columns = ("cell", "task", "prompt", *(f"pass@{k}, points" for k in ks))
    note = "Points (95 % interval: seeds and problems, paired), in bold where it holds no 0."
    yield Table("pass-at-k-change", "Right at least once in k samples: refined − instructed", columns, rows, note)


def comparisons(verdicts: Sequence[Verdict]) -> Table | None:
    """The family of comparisons, claim by claim."""
    rows = [
        (
            Entry(verdict.claim),
            Entry(c.a.cell if c.a.cell == c.b.cell else f"{c.a.cell} against {c.b.cell}"),
            Entry(c.a.task),
            Entry(change_points(c.result.delta, c.result.ci95)),
            *(Entry(_p(p), strong=p < 0.05) for p in (c.result.p, c.p_holm)),
            Entry(f"{c.result.only_a} : {c.result.only_b}"),
            Entry(f"{c.result.odds_ratio:.2f}"),
            Entry(signed(c.result.cohen_h, 2)),
            Entry(str(c.n_seeds)),
        )
        for verdict in verdicts
        for c in verdict.compared
    ]
    heads = ("difference, points", "p", "Holm p", "a alone : b alone right", "odds ratio", "Cohen's h", "seeds")
    note = (
        "Interval: hierarchical bootstrap over seeds and problems, paired. p: exact sign-flip test of each problem's "
        "sum over seeds (McNemar's with one seed). Holm p: over all rows, the same answers counted once. Odds ratio of "
        "problems that one model alone has right."
    )
    return Table("comparisons", "Every comparison", ("claim", "cell", "task", *heads), rows, note)


def unfinished(results: Results) -> Table | None:
    """Cells that failed or wait."""
    rows = [
        (_name(cell), Entry(str(run["seed"])), Entry(run["status"]), Entry(run.get("reason", "")))
        for cell in results.cells
        for run in cell["runs"]
        if run["status"] != "done"
    ]
    return Table("unfinished", "Not finished", ("cell", "seed", "status", "reason"), rows)


def make_curves(results: Results) -> list[Curve]:
    """Over each axis of numbers, and over the rounds of cells with several."""
    main = (prompts_of(results) or ["cot"])[0]
    numeric = [name for name, values in results.study["axes"].items() if _is_numeric(values)]
    curves = []
    for domain in ("in", "out"):
        for axis in numeric:
            lines = list(_axis_lines(results, axis, domain, main))
            curves.append(Curve(f"over-{_file(axis)}-{domain}", f"Over {axis}, {DOMAINS[domain]}", axis, lines))
        rounds = list(_round_lines(results, domain, main))
        curves.append(Curve(f"over-rounds-{domain}", f"Over rounds, {DOMAINS[domain]}", "round", rounds))
    return [curve for curve in curves if any(len(line.points) > 1 for line in curve.lines)]


def _axis_lines(results: Results, axis: str, domain: str, prompt: str) -> Iterator[Line]:
    cells_of: dict[tuple[str, ...], list[Cell]] = {}
    for cell in results.cells:
        others = tuple(
            label for name, label in cell["labels"].items() if name in {*results.study["axes"], ARM} - {axis}
        )
        cells_of.setdefault(others, []).append(cell)
    for others, cells in cells_of.items():
        for model in ("instructed", "refined"):
            found = [(float(cell["labels"][axis]), _of_domain(results, cell, model, domain, prompt)) for cell in cells]
            yield Line(" · ".join([*others, model]), _line_points(found))


def _round_lines(results: Results, domain: str, prompt: str) -> Iterator[Line]:
    for cell in results.cells:
        if cell["rounds"] > 1:
            last = cell["rounds"]
            models = ["instructed", *(f"refined-{n}" for n in range(1, last)), "refined"]
            found = [(n, _of_domain(results, cell, model, domain, prompt)) for n, model in enumerate(models)]
            yield Line(cell["cell"], _line_points(found))


def _of_domain(results: Results, cell: Cell, model: str, domain: str, prompt: str) -> Figure | None:
    return figure(results, [Key(cell["cell"], model, task, prompt) for task in domain_tasks(results, cell, domain)])


def _line_points(found: Iterable[tuple[float, Figure | None]]) -> list[tuple[float, float, float, float]]:
    return [
        (x, 100 * f.mean, 100 * f.ci95.low, 100 * f.ci95.high) for x, f in sorted(found, key=_first) if f is not None
    ]


def _first(point: tuple[float, Figure | None]) -> float:
    return point[0]


def curve_table(curve: Curve) -> Table:
    """A curve's points as a table."""
    xs = sorted({point[0] for line in curve.lines for point in line.points})
    rows = []
    for line in curve.lines:
        at = {x: f"{mean:.1f} ({low:.1f}–{high:.1f})" for x, mean, low, high in line.points}
        rows.append((Entry(line.label), *(Entry(at.get(x, "")) for x in xs)))
    return Table(curve.name, curve.title, ("", *(f"{curve.x} {x:g}" for x in xs)), rows, _ACCURACY)


def _is_numeric(values: Any) -> bool:
    return isinstance(values, list) and len(values) > 1 and all(type(value) in (int, float) for value in values)


def _change(cell: Cell, task: str, prompt: str) -> tuple[Key, Key]:
    return Key(cell["cell"], "refined", task, prompt), Key(cell["cell"], "instructed", task, prompt)


def _in_keys(results: Results, cells: Iterable[Cell], model: str, prompt: str) -> list[Key]:
    return [Key(cell["cell"], model, task, prompt) for cell in cells for task in domain_tasks(results, cell, "in")]


def _tokens(cell: Cell, model: str) -> list[float]:
    """Tokens that each seed's model was trained on in the training that made it."""
    rounds = (
        range(1, cell["rounds"] + 1)
        if model == "refined"
        else [int(model.split("-")[-1])]
        if "refined-" in model
        else []
    )
    wanted = {f"round-{number}/refined" for number in rounds} or {model.replace("control-", "controls/")}
    return [
        sum(t["tokens"] for t in run["trainings"] if t["stage"] in wanted)
        for run in cell["runs"]
        if any(t["stage"] in wanted for t in run.get("trainings", ()))
    ]


def _student(results: Results, cell: Cell) -> str:
    """A cell's student, the options of the axes that set neither student, teacher nor tasks, and its name among named
    cells that train otherwise: what is not one model is not one mean."""
    other = ("student", TEACHER, "tasks")
    options = [
        cell["labels"][name]
        for name, values in results.study["axes"].items()
        if not any(field.split(".")[0] in other for field in _fields(name, values))
    ]
    arm = [cell["labels"][ARM]] if ARM in cell["labels"] and _changed(cell, ("instruct", *_STAGE_2)) else []
    return " · ".join([cell["student"], *options, *arm])


def _changed(cell: Cell, parts: Sequence[str]) -> bool:
    """Whether a cell sets anything in these parts of the recipe."""
    return any(field.split(".")[0] in parts for field in cell["changes"])


def _fields(axis: str, values: Any) -> Iterator[str]:
    if isinstance(values, list):
        yield axis
    else:
        for fields in values.values():
            yield from fields or ()


def _name(cell: Cell) -> Entry:
    return Entry(cell["cell"])


def _trained(cell: Cell) -> tuple[Entry, Entry]:
    return _name(cell), Entry(", ".join(cell["tuned_on"]))


def _accuracy(results: Results, keys: Sequence[Key]) -> Entry:
    return _percent(figure(results, keys))


def _percent(found: Figure | None) -> Entry:
    if found is None:
        return Entry("")
    return Entry(f"{100 * found.mean:.1f} ({100 * found.ci95.low:.1f}–{100 * found.ci95.high:.1f})")


def _points(change: Figure | None) -> Entry:
    if change is None:
        return Entry("")
    return Entry(change_points(change.mean, change.ci95), strong=change.ci95.low > 0 or change.ci95.high < 0)


def _heat(found: Figure | None, trained: bool) -> Entry:
    return Entry("") if found is None else Entry(f"{100 * found.mean:.1f}", found.mean, trained)


def _change_heat(change: Figure | None, trained: bool) -> Entry:
    if change is None:
        return Entry("")
    sure = "*" if change.ci95.low > 0 or change.ci95.high < 0 else ""
    return Entry(points(change.mean) + sure, max(-1.0, min(1.0, change.mean / FULL_SHADE)), trained)


def _signed(change: Figure | None) -> str:
    return "" if change is None else f" ({points(change.mean)})"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _prompt(prompt: str) -> str:
    return "CoT prompt" if prompt == "cot" else "direct prompt"


def _file(name: str) -> str:
    return name.replace(".", "-").replace(" ", "-").replace("/", "-").lower()
