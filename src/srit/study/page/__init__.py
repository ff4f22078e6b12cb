"""study.json → study.html, claims.md and tables/: everything that is shown about a study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from srit.page.document import render
from srit.run_directory import write_bytes
from srit.study.claims import Finding, findings
from srit.study.estimates import StudyResults
from srit.study.page.drawings import HEIGHT, WIDTH, drawing
from srit.study.tables import make_tables
from srit.study.tables.curves import Curve, make_curves
from srit.study.tables.entries import Entry, Table

_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "−": "$-$"}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "→": r"$\to$"}
_LATEX |= {"×": r"$\times$", "–": "--", "·": r"$\cdot$", "<": "$<$", ">": "$>$"}
_LATEX |= {"β": r"$\beta$", "…": r"\dots{}", "≥": r"$\geq$", "[": "{[}", "]": "{]}"}  # \\ takes [ for its argument

FULL = 0.65  # opacity of the strongest shade: text on it has a contrast of 4.5, in light and dark


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
        if path.name not in pages:  # left from an earlier state of the study
            path.unlink()
    write_bytes(out / "claims.md", claims_page(results, found).encode())
    write_bytes(out / "study.html", html(results, found, tables, curves).encode())
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
    runs = [run for cell in results.cells for run in cell.runs]
    values = {
        "study": results.record.study,
        "n_cells": len(results.cells),
        "findings": found,
        "tables": tables,
        "curves": [drawing(curve) for curve in curves],
        "n_done": sum(run.status == "done" for run in runs),
        "n_runs": len(runs),
        "color": color,
        "width": WIDTH,
        "height": HEIGHT,
    }
    return render(__name__, "page.html.jinja", values)


def color(shade: float | None) -> str:
    """Return the background of a heat map's field: blue above 0, orange below."""
    if shade is None:
        return ""
    rgb = "91,141,184" if shade >= 0 else "217,115,63"
    return f"background:rgba({rgb},{FULL * abs(shade):.2f})"


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
