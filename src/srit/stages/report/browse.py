"""Everything recorded about each problem → the data of the page's browser: an index, and the problems in chunks.

The script reads the index when the page opens, and a chunk when one of its problems is shown or searched. Keys and
positions are those of `script/browse.js`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from srit.page.islands import packed
from srit.printable import printable
from srit.recipe.wording import PLAIN, Prompt
from srit.records import Completion, Model, Pair, Prediction, Problem, PromptKind
from srit.run_directory import Json
from srit.stages.report.said import Gathered, ProblemTrace

CHUNK = 256  # problems that are compressed together
MOST = 100_000  # problems that a page holds
_LISTED = 400  # characters of a question that the list searches
_SHOWN = 20_000  # characters of a text
_VERDICTS = {"right": "r", "wrong": "w", "unread": "u", "error": "e"}


class Browser(NamedTuple):
    """The data of the page's browser, each part compressed."""

    n_problems: int
    n_left_out: int
    listed: str
    chunks: list[str]


def browser(found: Gathered, prompt: PromptKind, wording: Prompt = PLAIN) -> Browser:
    """Pack the problems that have records, evaluated ones first.

    Args:
        found: all problems of a run; above `MOST`, some spread evenly are kept.
        prompt: whose greedy answers the index has.
        wording: of the prompts.
    """
    there = found.spoken_of()
    kept = there if len(there) <= MOST else [there[i * len(there) // MOST] for i in range(MOST)]
    listed, chunks = _Listed(found.models(kept), prompt), []
    for start in range(0, len(kept), CHUNK):
        some = [found[number] for number in kept[start : start + CHUNK]]
        chunks.append(packed([_detail(said, wording) for said in some]))
        for said in some:
            listed.add(said)
    return Browser(len(kept), len(there) - len(kept), packed(listed.index()), chunks)


class _Listed:
    """What the list shows and filters by, in columns that grow problem by problem."""

    def __init__(self, models: Sequence[Model], prompt: PromptKind) -> None:
        self._models, self._prompt = models, prompt
        self._tasks: dict[str, int] = {}
        self._columns: dict[str, list[Json]] = {name: [] for name in ("id", "task", "question", "gold", "verdicts")}
        self._columns |= {name: [] for name in ("right", "samples", "pairs", "cut", "unread")}

    def add(self, said: ProblemTrace) -> None:
        """Add a problem."""
        row = {
            "id": printable(said.problem.id),
            "task": self._tasks.setdefault(said.problem.task, len(self._tasks)),
            "question": " ".join(_cut(said.problem.question, _LISTED).split()),
            "gold": _cut(said.problem.answer, _LISTED),
            "verdicts": "".join(_verdicts(said, self._models, self._prompt)),
            "right": sum(c.verdict == "right" for _, c in said.completions),
            "samples": len(said.completions),
            "pairs": len(said.pairs),
            "cut": int(any(a.truncated for a in _answers(said))),
            "unread": int(any(a.verdict in ("unread", "error") for a in _answers(said))),
        }
        for name, value in row.items():
            self._columns[name].append(value)

    def index(self) -> Json:
        """Return the columns."""
        tasks = list(map(printable, self._tasks))
        return {"chunk": CHUNK, "models": list(map(str, self._models)), "tasks": tasks, **self._columns}


def _answers(said: ProblemTrace) -> Iterator[Completion | Prediction]:
    yield from (completion for _, completion in said.completions)
    yield from (prediction for _, prediction in said.predictions)


def _verdicts(said: ProblemTrace, models: Sequence[Model], prompt: PromptKind) -> Iterator[str]:
    """Yield a letter for each model's greedy answer; "-": it has none."""
    greedy = {model: a.verdict for model, a in said.predictions if a.index == 0 and a.prompt == prompt}
    yield from (_VERDICTS[greedy[model]] if model in greedy else "-" for model in models)


def _detail(said: ProblemTrace, wording: Prompt) -> Json:
    """Return everything that is shown about one problem."""
    problem = said.problem
    return {
        "question": _cut(problem.question),
        "choices": [_cut(choice) for choice in problem.choices or ()],
        "gold": _cut(problem.answer),
        "prompts": _prompts(said, wording),
        "demonstrations": [
            [printable(d.teacher), d.verdict, int(d.kept), printable(d.reason), _cut(d.text)]
            for d in said.demonstrations
        ],
        "samples": [_sample(number, completion) for number, completion in said.completions],
        "pairs": [_pair(number, pair) for number, pair in said.pairs],
        "answers": [_answer(model, prediction) for model, prediction in said.predictions],
    }


def _sample(number: int, c: Completion) -> Json:
    figures = [float(f"{c.reward:.6g}"), float(f"{c.logp:.6g}"), len(c.token_ids), int(c.truncated)]
    return [number, c.prompt, c.index, c.verdict, *figures, _answer_text(c.answer), _cut(c.text)]


def _pair(number: int, p: Pair) -> Json:
    sides = [printable(p.chosen_from), _cut(p.chosen), printable(p.rejected_from), _cut(p.rejected)]
    return [number, p.prompt, *sides]


def _answer(model: Model, a: Prediction) -> Json:
    start, end = a.span or (0, 0)
    span = [len(printable(a.text[:start])), len(printable(a.text[:end]))] if end > start else []
    about = [str(model), a.prompt, a.index, a.verdict, a.n_tokens, int(a.truncated), _answer_text(a.answer)]
    return [*about, printable(a.reason), span, _cut(a.text)]


def _answer_text(answer: str | None) -> str | None:
    return None if answer is None else _cut(answer, _LISTED)


def _prompts(said: ProblemTrace, wording: Prompt) -> Json:
    """Return the problem's prompts as text; none if its task is not installed here."""
    kinds = {a.prompt for a in _answers(said)}
    return {kind: text for kind in sorted(kinds) if (text := _prompt(said.problem, kind, wording))}


def _prompt(problem: Problem, kind: PromptKind, wording: Prompt) -> str:
    from srit.errors import SritError
    from srit.students.prompts import prompt_text

    try:
        system = f"[system] {wording.system}\n\n" if wording.system else ""
        return _cut(f"{system}{prompt_text(problem, kind, wording)}")
    except SritError:
        return ""


def _cut(text: str, most: int = _SHOWN) -> str:
    """Return the beginning of a text as it is shown."""
    shown = printable(text[: most + 1])
    return shown if len(shown) <= most else f"{shown[:most]}… ({len(text):,} characters)"
