"""study.json → study.html, claims.md and tables/: everything that is shown of a study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from srit.run_directory import write_bytes
from srit.study.claims import Finding, findings
from srit.study.estimates import StudyResults
from srit.study.tables import make_tables
from srit.study.tables.curves import Curve, make_curves
from srit.study.tables.entries import Entry, Table

_WIDTH, _HEIGHT = 300.0, 120.0  # of a curve, inside its axes
_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "−": "$-$"}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "→": r"$\to$"}
_LATEX |= {"×": r"$\times$", "–": "--", "·": r"$\cdot$", "<": "$<$", ">": "$>$"}
_LATEX |= {"β": r"$\beta$", "…": r"\dots{}", "≥": r"$\geq$", "[": "{[}", "]": "{]}"}  # \\ takes [ for its argument


def write_pages(results: StudyResults, out: Path) -> list[str]:
    """Write all of it, and return the claims' sentences and where the page is."""
    found = findings(results)
    tables, curves = make_tables(results, found), make_curves(results)
    pages = {
        f"{table.name}{end}": form(table) for table in tables for end, form in ((".md", markdown), (".tex", latex))
    }
    for name, text in pages.items():
        write_bytes(out / "tables" / name, text.encode())
    for path in (*(out / "tables").glob("*.md"), *(out / "tables").glob("*.tex")):
        if path.name not in pages:  # an earlier state of the study had it
            path.unlink()
    write_bytes(out / "claims.md", claims_page(results, found).encode())
    write_bytes(out / "study.html", html(results, found, tables, curves).encode(errors="replace"))
    return [*(finding.sentence for finding in found), f"study: {out / 'study.html'}"]


def claims_page(results: StudyResults, found: Sequence[Finding]) -> str:
    """Return the claims' sentences as Markdown."""
    return "\n".join(
        [f"# {results.record.study.name}", "", *(f"- {_plain(finding.sentence)}" for finding in found), ""]
    )


def markdown(table: Table) -> str:
    """Return a table with its title and note as Markdown."""
    lines = [f"## {_plain(table.title)}", "", _row(map(_plain, table.columns)), _row(["---"] * len(table.columns))]
    lines += [_row(map(_marked, row)) for row in table.rows]
    return "\n".join([*lines, *(["", table.note] if table.note else []), ""])


def latex(table: Table) -> str:
    """Return a table for \\input; it needs no package."""
    head = " & ".join(map(_escaped, table.columns))
    rows = [" & ".join(map(_emphasized, row)) + r" \\" for row in table.rows]
    columns = "l" * len(table.columns)
    begin = [rf"% {table.title}", rf"\begin{{tabular}}{{{columns}}}", r"\hline", head + r" \\", r"\hline"]
    return "\n".join([*begin, *rows, r"\hline", r"\end{tabular}", ""])


def html(results: StudyResults, found: Sequence[Finding], tables: Sequence[Table], curves: Sequence[Curve]) -> str:
    """Return one page that needs no other file; all text is escaped."""
    from jinja2 import Environment, PackageLoader

    from srit.stages.report import visible

    pages = Environment(loader=PackageLoader("srit.study.page", "."), autoescape=True, trim_blocks=True)
    pages.filters["visible"] = visible
    runs = [run for cell in results.cells for run in cell.runs]
    return pages.get_template("page.html.jinja").render(
        study=results.record.study,
        n_cells=len(results.cells),
        findings=found,
        tables=tables,
        curves=[_drawn(curve) for curve in curves],
        n_done=sum(run.status == "done" for run in runs),
        n_runs=len(runs),
        color=color,
    )


def color(shade: float | None) -> str:
    """Return the background of a heat map's field: blue above 0, orange below."""
    if shade is None:
        return ""
    rgb = "91,141,184" if shade >= 0 else "217,115,63"
    return f"background:rgba({rgb},{0.75 * abs(shade):.2f})"


class _DrawnLine(NamedTuple):
    """A line in the coordinates of its drawing."""

    label: str
    points: str
    whiskers: list[tuple[float, float, float]]  # x, and the y of both ends
    hue: int


class _DrawnCurve(NamedTuple):
    """A curve in the coordinates of its drawing, and what is written at the ends of its axes."""

    title: str
    x: str
    lines: list[_DrawnLine]
    left: str
    right: str
    low: str
    high: str


def _drawn(curve: Curve) -> _DrawnCurve:
    points = [point for line in curve.lines for point in line.points]
    left, right = min(p.x for p in points), max(p.x for p in points)
    bottom, top = min(p.low for p in points), max(p.high for p in points)

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = (x - left) / ((right - left) or 1.0), (y - bottom) / ((top - bottom) or 1.0)
        return round(_WIDTH * across, 1), round(_HEIGHT * (1 - up), 1)

    lines = [
        _DrawnLine(
            line.label,
            " ".join(f"{x},{y}" for x, y in (place(p.x, p.mean) for p in line.points)),
            [(*place(p.x, p.low), place(p.x, p.high)[1]) for p in line.points],
            360 * number // len(curve.lines),
        )
        for number, line in enumerate(curve.lines)
    ]
    return _DrawnCurve(curve.title, curve.x, lines, f"{left:g}", f"{right:g}", f"{bottom:.1f}", f"{top:.1f}")


def _row(fields: Iterable[str]) -> str:
    return f"| {' | '.join(fields)} |"


def _plain(text: str) -> str:
    """Escape text so that Markdown shows it as it is."""
    return " ".join("".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in text).split())


def _marked(entry: Entry) -> str:
    text = _plain(entry.text)
    return f"**{text}**" if entry.strong and text else text


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in " ".join(text.split()))


def _emphasized(entry: Entry) -> str:
    return rf"\textbf{{{_escaped(entry.text)}}}" if entry.strong and entry.text else _escaped(entry.text)
