"""Finds the gold answer of a row: alone, at the end of a solution, or an option named by its letter or words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from srit.errors import DataError
from srit.tasks import reading
from srit.tasks.labels import RowOptions, labeled, unlabeled
from srit.tasks.lines import Row, choices_field, text_field
from srit.tasks.reading.options import LETTERS

MAX_ANSWER = 300  # characters; no reply could be expected to repeat more
MAX_READ = 20_000  # characters of a solution, from its end
MAX_SAID = 5  # words next to a number; with more, a text counts as a sentence about it

# These mark the answer of a solution. "#### Step 2" is a heading, so "####" counts only at the end.
_HASHES = re.compile(r"#{4,}[ \t]*\n?[ \t]*([^\n]*)")
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)
_ANNOUNCED = re.compile(
    r"(?:\b(?:answer|ans)\b[*_]*(?:[ ]is\b[*_]*[ ]?:?|[ ]?[:=])|(?:^|\n)A:|答案[是为]?[:：]?)[*_ \t]*(?:\n\s*)?"
    r"([^\n]*?)[ \t]*(?=\n|$|[.!。][*_\"']*(?:\s|$))",
    re.IGNORECASE,
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s?(?:\{|(?=[0-9A-Za-z]))")  # TeX accepts a single character without braces
_CALCULATION = re.compile(r"<<[^<>\n]*>>")  # GSM8K's calculator annotations
# These indicate a solution that marks no answer.
_EQUATION = re.compile(r"[0-9)][^=\n]{0,40}[-+*/×÷x][^=\n]{0,40}=[ ]*[$£€]?[ ]?-?[0-9]")
_DIGIT = re.compile(r"[0-9]")
_WORD = re.compile(r"[A-Za-z]{3,}")
_ANOTHER_SENTENCE = re.compile(r"[.!?]\s+[A-Z0-9$]")


class Final(NamedTuple):
    """Holds a gold answer and the solution that it ended."""

    answer: str
    solution: str | None  # None if the answer stood alone


class Gold(NamedTuple):
    """Holds what a row says is right."""

    answer: str  # a letter from A on if there are options
    solution: str | None
    choices: tuple[str, ...] | None  # in their own words


Numbering = Literal["words", 0, 1]  # a whole-number gold is an option's words, or counts options from 0 or 1


def gold_of(row: Row, numbering: Callable[[], Numbering] | None = None) -> Gold:
    """Return the gold answer of a row, and its options without their own letters.

    Args:
        numbering: what whole numbers mean in the row's file; None if unknown.

    Raises:
        DataError: the row has no gold answer, or several, or one that is none of its options.
    """
    found, choices = final_answer(text_field(row, "answer").strip(), row.where), choices_field(row)
    if choices is None:
        return Gold(found.answer, found.solution, None)
    options = unlabeled(choices, row.where)
    return Gold(_letter(found.answer, options, numbering, row.where), found.solution, options.words)


# ------------------------------------------------------------------------------------------------- solutions


def final_answer(text: str, where: str) -> Final:
    """Return the answer that a solution marks, after "####", boxed, tagged, or announced, else the whole text.

    Raises:
        DataError: the mark holds nothing, or two marks differ.
    """
    marked = _marked(text[-MAX_READ:])
    if not marked:
        return Final(text, None)
    answer = marked[0]
    if not answer:
        raise DataError(f"{where}: answer: {text[-40:]!r} marks an answer (as #### does), but none follows")
    if other := next((one for one in marked if not _same(one, answer)), None):
        raise DataError(f"{where}: answer: it ends in {answer!r:.60} and in {other!r:.60}: give only the right one")
    alone = not re.search(r"\w", _unmarked(text))
    return Final(answer, None if alone else _CALCULATION.sub("", _before_hashes(text)).strip())


def refuse_solution(answer: str, where: str) -> None:
    """Refuse a gold answer that is a whole solution with no marked answer, as no reply would equal it.

    Args:
        answer: a gold answer that is not a number.

    Raises:
        DataError: it is such a solution.
    """
    lines = [line for line in answer.splitlines() if line.strip()]
    # A grid also has several lines, but neither words nor equations.
    steps = len(lines) > 1 and any(len(_WORD.findall(line)) > 2 or _EQUATION.search(line) for line in lines)
    words = len(_WORD.findall(answer))
    prose = (words > 1 and _EQUATION.search(answer)) or (words > MAX_SAID and _DIGIT.search(answer))
    prose = prose or _ANNOUNCED.search(answer) or (words > 2 * MAX_SAID and _ANOTHER_SENTENCE.search(answer))
    if steps or prose or (words and len(answer) > MAX_ANSWER):
        raise DataError(
            f"{where}: answer: {answer[:60]!r} … is a whole solution, and nothing marks its final answer: give only "
            "the final answer, with the solution as rationale, or end it with a line of #### and the answer"
        )


def _marked(text: str) -> list[str]:
    """Return the marked answers of a text; an announcement before a clearer mark does not count."""
    boxes = _boxes(text)
    found, end = [_bare(text[box.start : box.end]) for box in boxes], boxes[-1].end if boxes else 0
    hashes, tagged, announced = (_last(pattern, text) for pattern in (_HASHES, _TAGGED, _ANNOUNCED))
    if hashes and not re.search(r"\w", _unmarked(text[hashes.end() :])):
        found, end = [_inner(hashes[1]), *found], max(end, hashes.end())
    if tagged:
        found, end = [*found, _inner(tagged[1])], max(end, tagged.end())
    if announced and announced.end() > end and not _DIGIT.search(_unmarked(text[announced.end() :])):
        said = _inner(announced[1])
        tells = _DIGIT.search(said) and len(_WORD.findall(said)) > 2 and not (reading.is_number(said) or labeled(said))
        found = found if tells else [*found, said]
    return found


def _inner(said: str) -> str:
    """Return what a mark holds, without any mark inside it: "#### \\boxed{5}"."""
    if boxes := _boxes(said):
        return _bare(said[boxes[-1].start : boxes[-1].end])
    announced = _last(_ANNOUNCED, said)
    return _bare(announced[1] if announced else said)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(reversed(list(pattern.finditer(text)))), None)


class _Box(NamedTuple):
    """Marks where a \\boxed{…} begins, and where its contents stand."""

    opening: int
    start: int
    end: int


def _boxes(text: str) -> list[_Box]:
    """Find boxes by balancing braces; a box that never closes extends to the end."""
    found: list[_Box] = []
    for match in _BOX.finditer(text):
        if not found or match.start() >= found[-1].end:
            found.append(_Box(match.start(), match.end(), _closing(text, match.end(), braced=match[0].endswith("{"))))
    return found


def _closing(text: str, start: int, *, braced: bool) -> int:
    if not braced:
        sign = re.compile(r"[0-9]+|[A-Za-z]").match(text, start)
        return sign.end() if sign else start
    depth = 1
    for brace in re.compile(r"\\.|[{}]").finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return brace.start()
    return len(text)


def _unmarked(text: str) -> str:
    """Return a text without its marks and what they hold."""
    for box in reversed(_boxes(text)):
        text = text[: box.opening] + text[box.end + 1 :]
    for pattern in (_HASHES, _TAGGED, _ANNOUNCED):
        text = pattern.sub("", text)
    return re.sub(r"(?i)\b(?:the|final|my|so|therefore|thus|hence)\b", "", text)


def _before_hashes(text: str) -> str:
    hashes = _last(_HASHES, text)
    return text[: hashes.start()] if hashes and hashes.end() == len(text.rstrip()) else text


def _bare(said: str) -> str:
    """Strip emphasis, the dollars around a formula, a text wrapper, and a final full stop."""
    text = said.strip(" \t\r\n*_`").removesuffix(".").removesuffix("。").strip(" \t\r\n*_`")
    for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        inner = text[len(opening) : -len(closing)].strip()
        if inner and text == f"{opening}{text[len(opening) : -len(closing)]}{closing}" and "$" not in inner:
            text = inner
    whole = re.fullmatch(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s?\{([^{}]*)\}", text)
    return whole[1].strip() if whole else text


def _same(one: str, other: str) -> bool:
    return reading.texts_equal(one, other) or _letters_and_digits(one) == _letters_and_digits(other)


def _letters_and_digits(text: str) -> str:
    return re.sub(r"[\s()$,{}]", "", text).lower()


# --------------------------------------------------------------------------------------------------- options


def numbering(rows: Iterable[Row]) -> Numbering:
    """Return what whole-number golds mean in a file: the one meaning that fits all of them.

    Raises:
        DataError: no meaning fits, or several do and differ.
    """
    possible: list[Numbering] = ["words", 0, 1]
    meanings: list[tuple[str, dict[Numbering, int]]] = []  # for each such row, by numbering
    for row in rows:
        choices = choices_field(row)
        answer = final_answer(text_field(row, "answer").strip(), row.where).answer if choices else ""
        options = unlabeled(choices or (), row.where)
        if not _WHOLE.fullmatch(answer) or _numbered(options):
            continue
        gold = f"{row.where}: answer: gold {answer!r}"
        found = {how: place for how in possible if (place := _place(answer, options, how)) is not None}
        possible = list(found)
        if not possible:
            raise DataError(f"{gold} is {_none_of(options)}, nor its number as the rows above count them")
        meanings.append((gold, found))
    for gold, found in meanings:
        if len({found[how] for how in possible}) > 1:
            raise DataError(
                f"{gold} may be an option's own words, or its number counted from 0 or from 1: give the option's letter"
            )
    return possible[0]


_WHOLE = re.compile(r"[0-9]{1,2}")
_LETTER = re.compile(r"[*_\s]*(?:(?i:option|choice|answer)\s)?[(\[（]?\s?([A-Za-z])\s?[)\]）]?[.:]?[*_\s]*")


def _letter(answer: str, options: RowOptions, numbering: Callable[[], Numbering] | None, where: str) -> str:
    n = len(options.words)
    if len(answer) == 1 and answer in LETTERS[:n]:
        return answer
    if answer.lower() in options.labels:
        return LETTERS[options.labels.index(answer.lower())]
    if _WHOLE.fullmatch(answer) and (numbering or _numbered(options) or int(answer) <= n):
        place = _place(answer, options, numbering()) if numbering and not _numbered(options) else None
    else:
        place = _named(answer, options, where)
    if place is None:
        raise DataError(f"{where}: answer: gold {answer!r:.80} is {_none_of(options)}")
    return LETTERS[place]


def _numbered(options: RowOptions) -> bool:
    """Return whether the options have numbers of their own, to which a gold number then refers."""
    return bool(options.labels) and options.labels[0].isdigit()


def _named(answer: str, options: RowOptions, where: str) -> int | None:
    """Return the option that an answer names by letter, by words, or by both."""
    by_words, alone, both = _by_words(answer, options), _LETTER.fullmatch(answer), labeled(answer)
    label = alone[1] if alone else both.label if both else ""
    by_letter = LETTERS.find(label.upper()) if len(label) == 1 else -1
    if not 0 <= by_letter < len(options.words):
        return by_words
    meant = by_words if alone or both is None else _by_words(both.words, options)
    if both is not None and by_words is not None:
        return by_words  # "A. Lincoln" is an option's words
    if meant not in (None, by_letter):
        raise DataError(f"{where}: answer: gold {answer!r:.80} is the letter of one option and the words of another")
    return by_letter


def _place(answer: str, options: RowOptions, how: Numbering) -> int | None:
    """Return which option a whole number names, or None."""
    if how == "words":
        return _by_words(answer, options)
    return int(answer) - how if 0 <= int(answer) - how < len(options.words) else None


def _by_words(answer: str, options: RowOptions) -> int | None:
    """Return the only option with these words, or with this number."""
    for same in (_same_words, _same_number):
        found = [place for place, words in enumerate(options.words) if words and same(answer, words)]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _same_words(one: str, other: str) -> bool:
    return _folded(one) == _folded(other)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split()).removesuffix(".")


def _same_number(one: str, other: str) -> bool:
    """Return whether two texts are the same number, with the same unit or at most one unit."""
    units = [re.sub(r"[^a-z%°]", "", text.casefold()) for text in (one, other)]
    return (
        reading.is_number(one)
        and reading.is_number(other)
        and reading.numbers_equal(one, other)
        and (units[0] == units[1] or "" in units)
    )


def _none_of(options: RowOptions) -> str:
    return f"none of {', '.join(LETTERS[: len(options.words)])}, and not the words of just one option"
