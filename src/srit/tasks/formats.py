"""Turns rows of other formats into ours: Alpaca, ShareGPT, chat messages, prompt and completion, lettered options.

If a row has `question` and `answer`, these are used, whatever else it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from srit.errors import DataError
from srit.tasks.labels import out_of_order
from srit.tasks.lines import Row, text_field
from srit.tasks.reading.options import LETTERS

OURS = ("id", "question", "choices", "answer", "rationale", "split")

QUESTIONS = ("question", "problem", "query", "prompt", "instruction")
ANSWERS = ("answer", "answerKey", "output", "completion", "response", "solution", "label")
CHOICES = ("choices", "options")
SOLUTIONS = ("solution", "explanation")
CHATS = ("messages", "conversations")

_USERS, _ASSISTANTS = ("user", "human"), ("assistant", "gpt", "model", "bot")


def as_ours(row: Row, columns: Mapping[str, str]) -> Row:
    """Return a row with the fields of ours.

    Args:
        columns: the column of each field of ours, such as {"question": "problem"}. Choices may be in several columns,
            "A,B,C,D".

    Raises:
        DataError: a named column is missing, or a chat is not one question and its answer.
    """
    there = Row({**row.fields, **{ours: _column(row, ours, named) for ours, named in columns.items()}}, row.where)
    if not is_ours(there):
        fields = {**_exchange(there), **_named(there.fields), **_only(there.fields, OURS)}
        there = Row(fields, row.where)
    return _with_plain_choices(there)


def is_ours(row: Row) -> bool:
    """Return whether a row has a question, an answer, and no options under another name: nothing has to be found."""
    return all(row.fields.get(name) is not None for name in ("question", "answer")) and _first(row.fields, CHOICES) in (
        None,
        "choices",
    )


def _column(row: Row, ours: str, named: str) -> Any:
    names = named.split(",") if ours == "choices" else [named]
    if missing := [name for name in names if name not in row.fields]:
        there = ", ".join(row.fields) or "none"
        raise DataError(f"{row.where}: there is no column {missing[0]!r} for the {ours}; it has: {there}")
    return row.fields[names[0]] if len(names) == 1 else [row.fields[name] for name in names]


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if fields.get(name) is not None), None)


def _only(fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: fields[name] for name in names if fields.get(name) is not None}


def _named(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the row has under the usual names for a question, an answer and options."""
    usual = {"question": _first(fields, QUESTIONS), "answer": _first(fields, ANSWERS)}
    found = {ours: fields[name] for ours, name in usual.items() if name and not isinstance(fields[name], list)}
    if options := _first(fields, CHOICES):
        found["choices"] = fields[options]
    solution = _first(fields, SOLUTIONS)
    if solution and solution != usual["answer"] and isinstance(fields[solution], str):
        found["rationale"] = fields[solution]
    if usual["question"] == "instruction" and fields.get("input"):  # Alpaca
        found["question"] = f"{fields['instruction']}\n{fields['input']}"
    return found


# ---------------------------------------------------------------------------------------------------- chats


def _exchange(row: Row) -> dict[str, Any]:
    """Return the question and the answer of a chat; {} if the row has none."""
    name = _first(row.fields, CHATS)
    turns = row.fields[name] if name else [*_turns(row, "prompt"), *_turns(row, "completion")]
    if not turns:
        return {}
    said = [_turn(turn, f"{row.where}: {name or 'prompt'}[{place}]") for place, turn in enumerate(turns)]
    system = [text for role, text in said if role == "system" and text.strip()]
    rest = [(role, text) for role, text in said if role != "system"]
    if [role in _USERS for role, _ in rest] != [True, False] or rest[1][0] not in _ASSISTANTS:
        roles = ", ".join(role for role, _ in said)
        raise DataError(
            f"{row.where}: {name or 'prompt'}: its turns are {roles}: srit learns one question and its answer, so give "
            "one user turn and one assistant turn"
        )
    return {"question": "\n\n".join([*system, rest[0][1]]), "answer": rest[1][1]}


def _turns(row: Row, name: str) -> list[Any]:
    value = row.fields.get(name)
    return value if isinstance(value, list) else []


def _turn(turn: Any, where: str) -> tuple[str, str]:
    """Return the role and the text of a turn as OpenAI and TRL (role, content) or ShareGPT (from, value) have it."""
    if not isinstance(turn, dict):
        raise DataError(f"{where}: a turn has a role and a content, but this is {turn!r:.80}")
    fields = Row({"role": turn.get("role", turn.get("from")), "content": turn.get("content", turn.get("value"))}, where)
    return text_field(fields, "role"), text_field(fields, "content", blank=True)


# -------------------------------------------------------------------------------------------------- options


def _with_plain_choices(row: Row) -> Row:
    """Return a row whose choices are a list of texts: {"text": …, "label": …} and {"A": …} are taken apart.

    An answer that is the label of an option becomes its letter.

    Raises:
        DataError: options and labels do not match; or the labels are not in order, and the answer, such as "(B)", is
            neither one of them nor an option's words, so that it could mean two options.
    """
    choices = row.fields.get("choices")
    if isinstance(choices, list) and choices and all(isinstance(option, dict) for option in choices):
        choices = {"text": [o.get("text") for o in choices], "label": [o.get("label") for o in choices]}
    if not isinstance(choices, dict):
        return row
    lists = isinstance(choices.get("text"), list) and isinstance(choices.get("label"), list)
    texts = choices["text"] if lists else list(choices.values())
    labels = [str(label) for label in (choices["label"] if lists else choices)]
    if len(texts) != len(labels) or len(set(labels)) != len(labels) or len(labels) > len(LETTERS):
        raise DataError(f"{row.where}: choices: {len(texts)} options do not match the labels {', '.join(labels)}")
    there = row.fields.get("answer")
    answer = str(there).strip()
    letter = {"answer": LETTERS[labels.index(answer)]} if answer in labels else {}
    if not letter and there is not None and out_of_order(labels) and answer not in texts:
        raise DataError(
            f"{row.where}: answer: {answer!r:.80} is none of the labels {', '.join(labels)}, which are not in order, "
            "and no option's words: give one of the labels alone"
        )
    return Row({**row.fields, "choices": texts, **letter}, row.where)
