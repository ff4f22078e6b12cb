"""study.json → study.html, claims.md and tables/: everything that is shown of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srit.run_directory import write_bytes
from srit.study.claims import Verdict, verdicts
from srit.study.figures import Results
from srit.study.tables import Curve, Entry, Table, make_curves, make_tables

_WIDTH, _HEIGHT = 300.0, 120.0  # of a curve, inside its axes
_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "−": "$-$"}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "→": r"$\to$"}
_LATEX |= {"×": r"$\times$", "–": "--", "·": r"$\cdot$", "<": "$<$", ">": "$>$"}
_LATEX |= {"β": r"$\beta$", "…": r"\dots{}", "≥": r"$\geq$", "[": "{[}", "]": "{]}"}  # \\ takes [ for its argument


def write_pages(results: Results, out: Path) -> list[str]:
    """Writes all, and returns the claims' sentences and where the page is."""
    found = verdicts(results)
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
    return [*(verdict.sentence for verdict in found), f"study: {out / 'study.html'}"]


def claims_page(results: Results, found: Sequence[Verdict]) -> str:
    """The claims' sentences as Markdown."""
    return "\n".join([f"# {results.name}", "", *(f"- {_plain(verdict.sentence)}" for verdict in found), ""])


def markdown(table: Table) -> str:
    """A table with its title and note."""
    lines = [f"## {_plain(table.title)}", "", _row(map(_plain, table.columns)), _row(["---"] * len(table.columns))]
    lines += [_row(map(_marked, row)) for row in table.rows]
    return "\n".join([*lines, *(["", table.note] if table.note else []), ""])


def latex(table: Table) -> str:
    """A table for \\input: needs no package."""
    head = " & ".join(map(_escaped, table.columns))
    rows = [" & ".join(map(_emphasized, row)) + r" \\" for row in table.rows]
    columns = "l" * len(table.columns)
    begin = [rf"% {table.title}", rf"\begin{{tabular}}{{{columns}}}", r"\hline", head + r" \\", r"\hline"]
    return "\n".join([*begin, *rows, r"\hline", r"\end{tabular}", ""])


def html(results: Results, found: Sequence[Verdict], tables: Sequence[Table], curves: Sequence[Curve]) -> str:
    """One page that stands by itself; all text is escaped."""
    from jinja2 import Environment, PackageLoader

    from srit.stages.report import visible

    pages = Environment(loader=PackageLoader("srit.study", "."), autoescape=True, trim_blocks=True)
    pages.filters["visible"] = visible
    runs = [run for cell in results.cells for run in cell["runs"]]
    return pages.get_template("page.html.jinja").render(
        results=results,
        verdicts=found,
        tables=tables,
        curves=[_drawn(curve) for curve in curves],
        n_done=sum(run["status"] == "done" for run in runs),
        n_runs=len(runs),
        color=color,
    )


def color(shade: float | None) -> str:
    """The background of a heat map's field: blue for more, orange for less than nothing."""
    if shade is None:
        return ""
    rgb = "91,141,184" if shade >= 0 else "217,115,63"
    return f"background:rgba({rgb},{0.75 * abs(shade):.2f})"


def _drawn(curve: Curve) -> dict[str, Any]:
    """A curve in the coordinates of its drawing."""
    points = [point for line in curve.lines for point in line.points]
    xs, lows, highs = [p[0] for p in points], [p[2] for p in points], [p[3] for p in points]
    left, across = min(xs), (max(xs) - min(xs)) or 1.0
    bottom, up = min(lows), (max(highs) - min(lows)) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        return round(_WIDTH * (x - left) / across, 1), round(_HEIGHT * (1 - (y - bottom) / up), 1)

    lines = []
    for number, line in enumerate(curve.lines):
        at = [place(x, mean) for x, mean, _, _ in line.points]
        whiskers = [(*place(x, low), place(x, high)[1]) for x, _, low, high in line.points]
        joined = " ".join(f"{x},{y}" for x, y in at)
        lines.append(
            {"label": line.label, "points": joined, "whiskers": whiskers, "hue": 360 * number // len(curve.lines)}
        )
    ends = {"left": f"{left:g}", "right": f"{max(xs):g}", "low": f"{bottom:.1f}", "high": f"{max(highs):.1f}"}
    return {"title": curve.title, "x": curve.x, "lines": lines, **ends}


def _row(fields: Any) -> str:
    return f"| {' | '.join(fields)} |"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return " ".join("".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in text).split())


def _marked(entry: Entry) -> str:
    text = _plain(entry.text)
    return f"**{text}**" if entry.strong and text else text


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in " ".join(text.split()))


def _emphasized(entry: Entry) -> str:
    return rf"\textbf{{{_escaped(entry.text)}}}" if entry.strong and entry.text else _escaped(entry.text)
