r"""Reads the final answer of a text, and compares numbers. Pure: nothing is evaluated, every pattern is linear.

The rules, in order; the first that finds an answer wins, and its name is the reading's `reason`:

1. An announced answer: "The answer is …", "Answer: …", "#### …", "A: …" (numbers), "\boxed{…}". Of several
   announcements the last that can be read counts. A sum counts by what follows its last "=".
2. Else what the last sentence says: the number after its last "=", else its last number; for choices an option
   that the conclusion names. A letter is never taken out of running prose.

Digits are ASCII; full-width forms (０-９ ． ， ％ －) are read as their ASCII twins. Other digits (Arabic-Indic,
superscripts) are letters here: no number is read from them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import NamedTuple

from srit.tasks import Reading

MAX_CHARS = 20_000  # only the end of a longer text is read
MAX_DIGITS = 100
MAX_CLAUSE = 2000  # characters of a sentence that announces an answer
MAX_CUES = 20  # announcements that are looked at, from the last: with MAX_CLAUSE it bounds the time
MAX_EXPONENT = 10_000
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# One character each, so that spans stay true.
_PLAIN = str.maketrans("０１２３４５６７８９．，％－＋／＝＄：（）−‑\u00a0\u202f", "0123456789.,%-+/=$:()--  ")

# ------------------------------------------------------------------------------------------------ numbers

_SEPARATOR = r"(?:,|\{,\}|\\!|,\\!|\\,)"
_DIGITS = rf"(?:[0-9]{{1,3}}(?:{_SEPARATOR}[0-9]{{3}})+(?![0-9])|[0-9]+)"
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_NUMERAL = re.compile(
    rf"""
    (?:(?<![\w)\]}}%.])(?P<sign>[-+])(?=[\\$£€¥0-9.]))?    # not "18-15", and not the list mark of "- 15"
    (?:(?:\\?\$|[£€¥])\s?(?P<inner>-)?)?
    (?<![A-Za-z0-9_])(?<![0-9]\.)(?<![0-9],)
    (?:
        (?:(?P<wide>[0-9]{{1,9}})\s?)?\\[dt]?frac\s?
            (?:\{{\s?(?P<top>-?[0-9]{{1,100}})\s?\}}\s?\{{\s?(?P<bottom>[0-9]{{1,100}})\s?\}}
            |(?P<tops>[0-9])(?P<bottoms>[0-9]))
      | (?:(?P<whole>[0-9]{{1,9}})(?:[ ]|[ ]and[ ]|-))?
        (?P<over>{_DIGITS})[ ]?/[ ]?(?P<under>[0-9]{{1,100}})(?![0-9]|[./][0-9])
      | (?P<plain>{_DIGITS}(?:\.[0-9]+)?|\.[0-9]+)
        (?:[eE](?P<power>[+-]?[0-9]{{1,6}})(?![\w.])|\s?(?:[x×*]|\\times|\\cdot)\s?10\^\{{?(?P<tens>-?[0-9]{{1,6}})\}}?)?
    )
    (?P<ordinal>(?:st|nd|rd|th)\b)?
    (?P<percent>\s?\\?%|[ ]per[ ]?cent\b)?
    (?:[ ]\b(?P<scale>{"|".join(_SCALES)})\b)?
    """,
    re.VERBOSE,
)
# As a first thing in a line it counts the steps.
_LIST_MARK = re.compile(r"(?m)^[ \t]*(?:(?:step|option)[ ])?[0-9]{1,3}[.):](?=\s)", re.IGNORECASE)
# A sum that has no result behind it: "3 * 5", "10-12".
_GOES_ON = re.compile(r"[ ]?(?:[-+*/×÷^]|x(?![A-Za-z])|\\times|\\cdot|\\div)[ ]?\\?\$?[0-9(]")
_BELOW_20 = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_FULL_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNITS = {word: value for value, word in enumerate(_BELOW_20.split(" "))}
_TENS = {word: 10 * value for value, word in enumerate(_FULL_TENS.split(" "), start=2)}
# The longest first: "sixty" before "six".
_WORD = "|".join(sorted([*_UNITS, *_TENS, *_SCALES], key=len, reverse=True))
_IN_WORDS = re.compile(
    rf"[\s*:\"'($]{{0,9}}((?:{_WORD})(?:[\s-](?:and\s)?(?:{_WORD})){{0,12}})\b(?![- ]of\b)",
    re.IGNORECASE,
)


def _from_words(words: str) -> int:
    """ "two hundred and four" is 204."""
    total = group = 0
    for word in re.findall(_WORD, words.lower()):
        if word in _SCALES and _SCALES[word] > 2:
            total, group = total + max(group, 1) * 10 ** _SCALES[word], 0
        elif word == "hundred":
            group = max(group, 1) * 100
        else:
            group += _UNITS[word] if word in _UNITS else _TENS[word]
    return total + group


class _Numeral(NamedTuple):
    text: str  # "-1234.5", "1/2", "5%"
    start: int
    end: int
    ordinal: bool


def _shown(value: Fraction) -> str:
    """A decimal where it ends, else a fraction."""
    rest, places = value.denominator, 0
    while rest % 10 == 0 or rest % 5 == 0 or rest % 2 == 0:
        rest //= 10 if rest % 10 == 0 else 5 if rest % 5 == 0 else 2
        places += 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    with localcontext() as context:
        context.prec = 2 * MAX_DIGITS + 500
        text = format(Decimal(value.numerator) / Decimal(value.denominator), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _magnitude(match: re.Match[str]) -> Fraction | None:
    part = match.groupdict()
    if part["plain"]:
        digits = re.sub(_SEPARATOR, "", part["plain"])
        return Fraction(digits) if len(digits) <= MAX_DIGITS else None
    top = part["top"] or part["tops"] or re.sub(_SEPARATOR, "", part["over"] or "")
    bottom = part["bottom"] or part["bottoms"] or part["under"]
    if len(top) > MAX_DIGITS or int(bottom) == 0:
        return None
    return int(part["wide"] or part["whole"] or 0) + Fraction(int(top), int(bottom))


def _numeral(match: re.Match[str]) -> _Numeral | None:
    """None: division by zero, or beyond MAX_DIGITS and MAX_EXPONENT."""
    value = _magnitude(match)
    power = int(match["power"] or match["tens"] or 0)
    if value is None or abs(power) > MAX_EXPONENT:
        return None
    value *= 10 ** _SCALES.get(match["scale"] or "", 0)
    negative = (match["sign"] == "-") != (match["inner"] == "-")
    text = _shown(-value if negative else value) + (f"e{power}" if power else "") + ("%" if match["percent"] else "")
    return _Numeral(text, *match.span(), ordinal=match["ordinal"] is not None)


def _numerals(text: str, start: int, end: int) -> list[_Numeral]:
    found = [_numeral(match) for match in _NUMERAL.finditer(text, start, end)]
    return [numeral for numeral in found if numeral is not None]


_CANONICAL = re.compile(r"(-?[0-9]+)(?:/([0-9]+)|(\.[0-9]+)?(?:e(-?[0-9]+))?)(%?)")


class _Value(NamedTuple):
    value: Fraction
    percent: bool
    places: int | None  # behind the point; None: a fraction or a power


def _value(text: str) -> _Value | None:
    """The one number of a short text; None: none, or several."""
    found = _numerals(text.translate(_PLAIN), 0, len(text)) if len(text) <= 1000 else []
    match = _CANONICAL.fullmatch(found[0].text) if len(found) == 1 else None
    if match is None:
        return None
    whole, under, decimals, power, percent = match.groups()
    value = Fraction(int(whole), int(under)) if under else Fraction(whole + (decimals or ""))
    places = None if under or power else len(decimals or ".") - 1
    return _Value(value * Fraction(10) ** int(power or 0), bool(percent), places)


def is_number(text: str) -> bool:
    """Whether a text is one number and at most a short unit beside it: "72", "$1,000.50", "5 cm", "1/2"."""
    plain = text.translate(_PLAIN).strip()
    found = _numerals(plain, 0, len(plain)) if len(plain) <= 200 else []
    if len(found) != 1:
        return False
    rest = plain[: found[0].start] + plain[found[0].end :]
    return re.fullmatch(r"[\s$£€¥.\\(]*[A-Za-z°²³. ()/]{0,20}", rest) is not None


MIN_ROUNDED_PLACES = 4  # AddSub writes 2/3 as 0.666667, and the question's own numbers have 16 places


def numbers_equal(first: str, second: str) -> bool:
    """Whether two texts hold the same number.

    Exactly, but for writing: 72.0 is 72, 1,000 is 1000, 1/2 is 0.5, $5 is 5. A percent sign is a unit that may be
    left out or worked in: 5% equals 5 and 0.05. A number with MIN_ROUNDED_PLACES or more equals what rounds to it:
    0.666667 is 2/3. A text without exactly one number (NaN, inf, "3 to 4") equals nothing.
    """
    one, other = _value(first), _value(second)
    if one is None or other is None:
        return False
    if one.value == other.value or _rounds_to(one, other) or _rounds_to(other, one):
        return True
    hundred = Fraction(1, 100) if one.percent else Fraction(100)
    return bool(one.percent != other.percent and one.value * hundred == other.value)


def _rounds_to(fine: _Value, coarse: _Value) -> bool:
    places = coarse.places
    if places is None or places < MIN_ROUNDED_PLACES or (fine.places is not None and fine.places <= places):
        return False
    return abs(fine.value - coarse.value) * int(10**places) <= Fraction(1, 2)


# ------------------------------------------------------------------------------------- where an answer stands

_ANNOUNCED = re.compile(
    r"""
    \b(?:answer|ans|(?:correct|best|right)[ ](?:option|choice))\b
    (?:[ ](?:choice|option))?
    [*_]{0,3}
    (?:\s{0,3}\([^()\n]{0,60}\))?
    (?:[ ](?:to|of|for|here|in)\b[^.:\n]{0,100}?)?
    [*_]{0,3}\s{0,3}
    (?:\b(?:is|are|was|would[ ]be|should[ ]be|will[ ]be)\b(?:[ ](?:therefore|thus|indeed|simply|just))?\s{0,3}:?|[:=])
    [*_]{0,3}
    """,
    re.VERBOSE | re.IGNORECASE,
)
# "to verify the answer:" announces a sum, not the answer.
_ABOUT = re.compile(
    r"\b(?:check|verify|confirm|find|get|asks?[ ]for|calculate|express)[ ](?:the|our|your|an?)[ ]$", re.IGNORECASE
)
_HASHES = re.compile(r"####")
_LINE_A = re.compile(r"(?m)^A:")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s?\{")
# Not behind an abbreviation: "Rs. 500" is one sentence.
_STOP = re.compile(r"(?<!\bRs)(?<!\bMr)(?<!\bDr)(?<!\bSt)(?<!\bMrs)(?<!\bNo)[.!?](?=[\s\"')*]|$)|\n")
_BLANK = re.compile(r"[\s*_]*")


_THEREFORE = r"(?:so|thus|therefore|hence|overall|consequently|in conclusion|in summary|finally|in short)"
_CONCLUDES = re.compile(rf"\s*{_THEREFORE}\b[\s,:]*", re.IGNORECASE)


class _Clause(NamedTuple):
    """The part of a text in which an announced answer stands."""

    start: int
    end: int
    rule: str


def _closing(text: str, start: int) -> int:
    """Where the brace that opened before `start` closes; the end of the text if it never does."""
    depth = 1
    for match in re.compile(r"\\.|[{}]").finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    return len(text)


def _clause_end(text: str, start: int) -> int:
    limit = min(len(text), start + MAX_CLAUSE)
    match = _STOP.search(text, start, limit)
    return match.start() if match else limit


def _spoken(text: str, cue: re.Match[str], rule: str) -> _Clause:
    blank = _BLANK.match(text, cue.end())
    start = blank.end() if blank else cue.end()
    return _Clause(start, _clause_end(text, start), rule)


def _clauses(text: str, *, line_a: bool = False) -> Iterator[_Clause]:
    """Announced answers, the last one first."""
    cues = [
        cue
        for cue in deque(_ANNOUNCED.finditer(text), MAX_CUES)
        if not _ABOUT.search(text[max(0, cue.start() - 40) : cue.start()])
    ]
    found = [_spoken(text, cue, "announced") for cue in cues]
    found += [_spoken(text, cue, "####") for cue in deque(_HASHES.finditer(text), MAX_CUES)]
    if line_a:
        found += [_spoken(text, cue, "A:") for cue in deque(_LINE_A.finditer(text), MAX_CUES)]
    # A box closes before the next may open: nested ones are not looked into, which keeps this linear.
    after = 0
    while box := _BOXED.search(text, after):
        after = _closing(text, box.end())
        found.append(_Clause(box.end(), after, "boxed"))
    return iter(sorted(found, key=lambda clause: clause.start, reverse=True)[:MAX_CUES])


def _sentences(text: str) -> list[tuple[int, int]]:
    ends = [match.end() for match in _STOP.finditer(text)]
    bounds = list(zip([0, *ends], [*ends, len(text)], strict=True))
    return [(start, end) for start, end in bounds if text[start:end].strip()]


class _Found(NamedTuple):
    answer: str
    start: int
    end: int
    rule: str


def _reading(text: str, find: Callable[[str], _Found | str]) -> Reading:
    """Applies a finder to the end of a text; a str from it says why nothing was read."""
    offset = max(0, len(text) - MAX_CHARS)
    found = find(text[offset:].translate(_PLAIN))
    if isinstance(found, str):
        return Reading(None, None, found)
    return Reading(found.answer, (offset + found.start, offset + found.end), found.rule)


# ---------------------------------------------------------------------------------------- reading a number


def read_number(text: str) -> Reading:
    """The final number of a text, as "1234.5", "-3", "1/2" or "5%"."""
    return _reading(text, _find_number)


def _find_number(text: str) -> _Found | str:
    for clause in _clauses(text, line_a=True):
        if _LEFT_OPEN.match(text, clause.start, clause.end):
            return "the answer is left open"
        found = _announced_number(text, clause)
        if found:
            return found
    return _concluded_number(text)


_LEFT_OPEN = re.compile(
    r"[\s:\"'*]{0,12}(?:it[ ]is[ ]|it[ ])?(?:not[ ](?:known|given|clear|provided|specified|possible|related"
    r"|definitive|certain)"
    r"|dependent|depends?|based[ ]on|unknown|unclear|impossible|indeterminate|inconclusive|undefined"
    r"|cannot[ ]be|can't[ ]be|debatable|subjective|maybe|possibly|neither)\b",
    re.IGNORECASE,
)
# "The answer is not 40, it is 50."; "the answer is to divide by 5 …"; "the answer is likely wrong".
_NO_ANSWER = re.compile(r"not\b[^,;.\n]*[,;]?|to\b[^.\n]*|(?:in)?correct\b[^.\n]*", re.IGNORECASE)


def _announced_number(text: str, clause: _Clause) -> _Found | None:
    denied = _NO_ANSWER.match(text, clause.start, clause.end)
    if denied:
        clause = clause._replace(start=denied.end())
    equals = max(text.rfind(sign, clause.start, clause.end) for sign in "=≈")
    numerals = _numerals(text, equals + 1 if equals >= 0 else clause.start, clause.end)
    words = _IN_WORDS.match(text, clause.start, clause.end)
    if words and equals < 0:
        return _Found(str(_from_words(words[1])), *words.span(1), clause.rule)
    if not numerals:
        return None
    first = numerals[0]
    if _GOES_ON.match(text, first.end, clause.end):
        return None
    return _Found(first.text, first.start, first.end, clause.rule if equals < 0 else f"{clause.rule}, after =")


# Behind such a word stands what the answer is measured against, not the answer: "6 more than 3", "2 of the 5".
_ASIDE = re.compile(
    r"\b(?:than|out of|of the|of all|from the|instead of|after|before|when|if|since|because|with|in|for|per|at|within"
    r"|using|selling|buying|eating|receiving|giving|spending|losing|each of|reach)"
    r"(?:[ ](?:the|his|her|their|its|my|our|all|only|about|another|these|those|each|every|original|initial|first|other"
    r"|buying|selling|eating|giving|receiving|adding|having|full|required))*[ ](?:\\?\$)?$",
    re.IGNORECASE,
)
_CHECK = re.compile(
    r"\s*(?:(?:so|now|finally|to|we|you|i|can|could|let(?:'|’)?s|let us|also|alternatively|just|it(?:'|’)?s"
    r"|important|in order)"
    r"[ ,]+){0,6}(?:double[- ]?check|check|verify|confirm)\b",
    re.IGNORECASE,
)


def _aside(text: str, start: int, numeral: _Numeral) -> bool:
    """Whether a number stands behind a word that introduces a circumstance, or in parentheses."""
    before = text[max(start, numeral.start - 60) : numeral.start + 1].rstrip("0123456789.$£€¥\\")
    return _ASIDE.search(before) is not None or text.rfind("(", start, numeral.start) > text.rfind(
        ")", start, numeral.start
    )


def _concluded_number(text: str) -> _Found | str:
    marks = {match.end() - 1 for match in _LIST_MARK.finditer(text)}
    sentences = [
        (start, end, numerals)
        for start, end in _sentences(text)
        if (numerals := [numeral for numeral in _numerals(text, start, end) if numeral.end not in marks])
        and not _DENIES.search(text, start, end)
    ]
    checks = [index for index, (start, end, _) in enumerate(sentences) if _CHECK.match(text, start, end)]
    if checks and checks[0] > 0:
        # What follows is arithmetic on the answer, whose result is a number of the question.
        sentences = sentences[: checks[0]]
    if not sentences:
        return "no number in the text"
    start, end, numerals = sentences[-1]
    numerals = [numeral for numeral in numerals if not numeral.ordinal] or numerals
    return _of_sentence(text, start, end, numerals)


_DENIES = re.compile(r"\banswer is not\b", re.IGNORECASE)


def _of_sentence(text: str, start: int, end: int, numerals: list[_Numeral]) -> _Found:
    equals = max(text.rfind(sign, start, end) for sign in "=≈")
    after = [numeral for numeral in numerals if numeral.start > equals]
    if equals >= 0 and after:
        return _Found(after[0].text, after[0].start, after[0].end, "last sentence, after =")
    result = _last_result(text, start)
    repeated = [numeral for numeral in numerals if numeral.text.rstrip("%") == result]
    if repeated:
        return _Found(result or "", repeated[-1].start, repeated[-1].end, "last sentence, repeats the last result")
    free = [numeral for numeral in numerals if not _aside(text, start, numeral)] or numerals
    # A conclusion says the answer first and the circumstances after: "So John needs 72 nails to secure 9 planks."
    if _CONCLUDES.match(text, start, end):
        return _Found(free[0].text, free[0].start, free[0].end, "conclusion, first number")
    return _Found(free[-1].text, free[-1].start, free[-1].end, "last sentence, last number")


def _last_result(text: str, end: int) -> str | None:
    """The number behind the last "=" before the last sentence."""
    equals = text.rfind("=", 0, end)
    numerals = _numerals(text, equals + 1, min(end, equals + 200)) if equals >= 0 else []
    return numerals[0].text.rstrip("%") if numerals else None


# ---------------------------------------------------------------------------------------- reading a choice

_OPEN = (
    r"[\s*_\"'`$\[{:<]{0,12}"
    r"(?:(?:either|most likely|likely|probably|going to be|both)[ ]){0,2}[*\"'`$]{0,4}"
    r"(?:\\(?:text|mathrm|textbf|mathbf|rm)\s?\{\s?)?"
)
_CONNECTIVES = r"because|since|as|for|which|and|or|but|due|based|given|so|if|is|with|in|on|by|from|not"


def read_choice(text: str, choices: Sequence[str]) -> Reading:
    """The letter of the option that a text ends on: A for the first.

    Letters in brackets or behind an announcement, else an option's own words; "yes"/"true" and "no"/"false"
    where these are the options.
    """
    return _reading(text, lambda plain: _find_choice(plain, choices))


def _find_choice(text: str, choices: Sequence[str]) -> _Found | str:
    for clause in _clauses(text):
        found = _announced_choice(text, clause, choices)
        if not found and _LEFT_OPEN.match(text, clause.start, clause.end):
            return "the answer is left open"
        if found:
            return found
    return _bare_choice(text, choices) or _concluded_choice(text, choices) or "no option is named"


def _letters(choices: Sequence[str]) -> str:
    return LETTERS[: len(choices)]


def _letter_at(text: str, start: int, end: int, choices: Sequence[str]) -> re.Match[str] | None:
    """An option letter with which a clause begins, told from the article "A" and the pronoun "I"."""
    letters = _letters(choices)
    behind = rf"(?=[.,:;)\]}}!?*_\"'`$/<>]|\s?[-–—(]|\s*$|\s+(?:{_CONNECTIVES})\b|\s*\n)"
    bracketed = re.compile(rf"{_OPEN}(?:\b(?:option|choice|letter)[ ])?\(\s?([{letters}{letters.lower()}])\s?\)", re.I)
    named = re.compile(rf"{_OPEN}(?i:option|choice|letter)[ ][*\"']*([{letters}])\b")
    single = re.compile(rf"{_OPEN}([{letters}])(?:{behind}|(?<![AI])[ ](?!['’]))")
    for pattern in (bracketed, named, single):
        match = pattern.match(text, start, end)
        if match:
            return match
    return None


def _announced_choice(text: str, clause: _Clause, choices: Sequence[str]) -> _Found | str | None:
    letter = _letter_at(text, clause.start, clause.end, choices)
    if letter:
        if _second_letter(text, letter.end(), clause.end, choices):
            return "several options are announced"
        return _Found(letter[1].upper(), *letter.span(1), clause.rule)
    return _yes_or_no(text, clause, choices) or _option_text(text, clause, choices)


def _second_letter(text: str, start: int, end: int, choices: Sequence[str]) -> bool:
    letters = _letters(choices)
    pattern = (
        rf"[)\]\"'* ]{{0,4}}(?:,|\bor\b|\band\b|/)(?:[ ]?(?:or|and)\b)?[ ]?[(*\"'\[]{{0,3}}[{letters}](?![A-Za-z'’])"
    )
    match = re.compile(rf"{pattern}(?=[)\]]|\s*[.,*]|\s*$)").match(text, start, end)
    bracketed = re.compile(r"[^.(]{0,80}?\b(?:or|and)[ ](?:possibly[ ]|maybe[ ])?\([A-Za-z]\)").match(text, start, end)
    return match is not None or bracketed is not None


_YES_NO = re.compile(
    r"[\s*_\"'`(\[{$:]{0,12}(?:(?:most likely|likely|probably|technically|almost certainly|definitely|generally|a)[ ])?"
    r"[*_\"'`(]{0,4}(?:\\text\{)?(yes|no|true|false)\b(?![ ](?:one|more|longer|matter|doubt))",
    re.IGNORECASE,
)


def _is_yes_no(choices: Sequence[str]) -> bool:
    return sorted(choice.strip().lower() for choice in choices) in (["no", "yes"], ["false", "true"])


def _yes_letter(word: str, choices: Sequence[str]) -> str:
    """The letter of the option that means the same as yes, no, true or false."""
    wanted = ("yes", "true") if word.lower() in ("yes", "true") else ("no", "false")
    return next(letter for letter, choice in zip(LETTERS, choices, strict=False) if choice.strip().lower() in wanted)


def _yes_or_no(text: str, clause: _Clause, choices: Sequence[str]) -> _Found | None:
    match = _YES_NO.match(text, clause.start, clause.end) if _is_yes_no(choices) else None
    return _Found(_yes_letter(match[1], choices), *match.span(1), clause.rule) if match else None


def _bare(text: str) -> str:
    """Words only, lower case, without an article in front."""
    words = re.sub(r"[^\w%°.+/=<>^-]+", " ", text.lower()).strip(" .")
    return re.sub(r"^(?:an?|the|to|that|option) ", "", words)


def _option_text(text: str, clause: _Clause, choices: Sequence[str]) -> _Found | None:
    """An option by its own words at the beginning of a clause; the longest if several fit."""
    said = _bare(text[clause.start : min(clause.end, clause.start + 2000)])
    # "(e) None", "The answer is none of the above" and so on are options like others.
    fits = [
        (len(option), letter)
        for letter, option in zip(LETTERS, map(_bare, choices), strict=False)
        if option and (said == option or said.startswith(option + " "))
    ]
    if fits:
        longest = max(fits)[0]
        letters = [letter for length, letter in fits if length == longest]
        if len(letters) == 1:
            return _Found(letters[0], clause.start, clause.end, f"{clause.rule}, the option's words")
    return _option_number(text, clause, choices) or _option_within(text, clause, choices)


def _option_within(text: str, clause: _Clause, choices: Sequence[str]) -> _Found | None:
    """The only option whose words end a clause: "Answer: Mittens can be made into storage"."""
    if _is_yes_no(choices):
        return None
    said = _bare(text[clause.start : clause.end])[-2000:]
    options = [(letter, _bare(choice)) for letter, choice in zip(LETTERS, choices, strict=False)]
    ends = [letter for letter, option in options if said.endswith(f" {option}")]
    named = [letter for letter, option in options if f" {option} " in f" {said} "]
    if (
        len(ends) != 1
        or len(named) != 1
        or not _bare(choices[LETTERS.index(ends[0])])
        or _NEGATES.search(text, clause.start, clause.end)
    ):
        return None
    return _Found(ends[0], clause.start, clause.end, f"{clause.rule}, ends in the option's words")


def _option_number(text: str, clause: _Clause, choices: Sequence[str]) -> _Found | None:
    """An option by its number, where all that options hold is a number."""
    if not all(is_number(choice) for choice in choices):
        return None
    number = _announced_number(text, clause)
    letters = [
        letter
        for letter, choice in zip(LETTERS, choices, strict=False)
        if number and numbers_equal(number.answer, choice)
    ]
    if number is None or len(letters) != 1:
        return None
    return _Found(letters[0], number.start, number.end, f"{clause.rule}, the option's number")


def _bare_choice(text: str, choices: Sequence[str]) -> _Found | None:
    """A first or last line that is an option letter, or a letter and the option's words, or yes or no."""
    lines = [match for match in re.finditer(r"[^\n]+", text) if match[0].strip()]
    for line in dict.fromkeys([*lines[-1:], *lines[:1]]):
        clause = _Clause(*line.span(), "a line by itself")
        found = _line_choice(text, clause, choices)
        if found:
            return found
    return None


def _line_choice(text: str, clause: _Clause, choices: Sequence[str]) -> _Found | None:
    letters = _letters(choices)
    marked = rf"{_OPEN}(?:\(([{letters}{letters.lower()}])\)|([{letters}])(?:[.):]|(?=[*_\s]*$)))[.*_\s]*([^\n]*)"
    match = re.compile(marked).match(text, clause.start, clause.end)
    if match:
        letter = (match[1] or match[2]).upper()
        rest = _bare(match[3])
        if not rest or rest.startswith(_bare(choices[LETTERS.index(letter)])):
            return _Found(letter, *match.span(1 if match[1] else 2), clause.rule)
    said = _bare(text[clause.start : clause.end])
    same = [letter for letter, choice in zip(LETTERS, choices, strict=False) if said and said == _bare(choice)]
    if len(same) == 1:
        return _Found(same[0], clause.start, clause.end, clause.rule)
    return None


def _concluded_choice(text: str, choices: Sequence[str]) -> _Found | None:
    """What the last sentence names: one letter in brackets or behind "option", yes or no, or one option's words."""
    sentences = _sentences(text)
    if not sentences:
        return None
    start, end = sentences[-1]
    if _is_yes_no(choices):
        return _concluded_yes(text, sentences, choices)
    return (
        _called_right(text, choices)
        or _lettered_sentence(text, start, end, choices)
        or _worded_sentence(text, start, end, choices)
    )


def _concluded_yes(text: str, sentences: list[tuple[int, int]], choices: Sequence[str]) -> _Found | None:
    """Yes or no as the first word of the last sentence, or of the text; or "… is false." as its last."""
    ends = re.compile(r"[^\n]*\bis[ ](?:therefore[ ])?(true|false)[.*\s]*$", re.IGNORECASE).match(
        text, sentences[-1][0]
    )
    if ends:
        return _Found(_yes_letter(ends[1], choices), *ends.span(1), "last sentence, its last word")
    for start, end in (sentences[-1], sentences[0]):
        therefore = _CONCLUDES.match(text, start, end)
        clause = _Clause(therefore.end() if therefore else start, end, "a sentence's first word")
        found = _yes_or_no(text, clause, choices)
        if found:
            return found
    return None


def _called_right(text: str, choices: Sequence[str]) -> _Found | None:
    """The last "(B) is the correct answer"."""
    letters = _letters(choices)
    pattern = re.compile(
        rf"(?:\(([{letters}{letters.lower()}])\)|\b([{letters}]))[\"'*)]{{0,3}}[ ]is[ ](?:therefore[ ])?(?:the[ ])?"
        r"(?:most[ ])?(?:correct|right|best|likely|plausible|appropriate|logical)\b"
    )
    before = [text[max(0, match.start() - 40) : match.start()] for match in pattern.finditer(text)]
    found = [match for match, left in zip(pattern.finditer(text), before, strict=True) if not _NEGATES.search(left)]
    if not found:
        return None
    return _Found((found[-1][1] or found[-1][2]).upper(), *found[-1].span(), "called the right option")


_NEGATES = re.compile(
    r"\b(?:not|incorrect|wrong|neither|nor|less|unlikely|cannot|eliminate|except)\b|n['’]t\b", re.IGNORECASE
)


def _lettered_sentence(text: str, start: int, end: int, choices: Sequence[str]) -> _Found | None:
    letters = _letters(choices)
    pattern = re.compile(
        rf"\(([{letters}{letters.lower()}])\)|\b(?i:option|choice|answer)[ ][*\"']*([{letters}])\b(?!['’])"
    )
    found = list(pattern.finditer(text, start, end))
    named = {next(filter(None, match.groups())).upper() for match in found}
    if len(named) != 1 or _NEGATES.search(text, start, end):
        return None
    return _Found(named.pop(), *found[-1].span(), "last sentence, the only option named")


def _worded_sentence(text: str, start: int, end: int, choices: Sequence[str]) -> _Found | None:
    if not _CONCLUDES.match(text, start, end) or _NEGATES.search(text, start, end):
        return None
    said = f" {_bare(text[start:end])} "
    named = [letter for letter, choice in zip(LETTERS, choices, strict=False) if f" {_bare(choice)} " in said]
    if len(named) != 1 or not _bare(choices[LETTERS.index(named[0])]):
        return None
    return _Found(named[0], start, end, "conclusion, the only option's words")


# ------------------------------------------------------------------------------------ reading LaTeX and text

_DOLLARS = re.compile(r"\$\$?([^$\n]{1,2000}?)\$\$?|\\\(([^\n]{1,2000}?)\\\)")


def read_math(text: str) -> Reading:
    """The final expression of a text as LaTeX: boxed, announced, the last formula, or the last number."""
    return _reading(text, _find_math)


def _find_math(text: str) -> _Found | str:
    for clause in _clauses(text):
        found = _expression(text, clause)
        if found:
            return found
    for start, end in reversed(_sentences(text)):
        formulas = list(_DOLLARS.finditer(text, start, end))
        if formulas and not _numerals(text, formulas[-1].end(), end):
            inside = formulas[-1].span(1 if formulas[-1][1] else 2)
            return _Found(_after_equals(text[slice(*inside)]), *inside, "last sentence, last formula")
        if formulas or _numerals(text, start, end):
            break
    return _concluded_number(text)


def _after_equals(formula: str) -> str:
    """The right side of a definition such as "x = 5", where nothing else is on the left."""
    match = re.fullmatch(r"\s*(?:[A-Za-z](?:_\{?\w\}?)?|[A-Za-z]\([a-z]\))\s*=\s*([^=]+)", formula)
    return (match[1] if match else formula).strip()


def _expression(text: str, clause: _Clause) -> _Found | None:
    if clause.rule == "boxed":
        inner = text[clause.start : clause.end].strip()
        return _Found(_after_equals(inner), clause.start, clause.end, clause.rule) if inner else None
    formula = _DOLLARS.search(text, clause.start, min(len(text), clause.start + 3000))
    blank = formula and not text[clause.start : formula.start()].strip(" *:\n(")
    if formula and blank:
        span = formula.span(1 if formula[1] else 2)
        return _Found(_after_equals(text[slice(*span)]), *span, clause.rule)
    said = text[clause.start : clause.end].strip(" *_`\"'").removeprefix("$").removesuffix("$").strip()
    return _Found(_after_equals(said), clause.start, clause.end, clause.rule) if said else None


def read_text(text: str) -> Reading:
    """An announced answer up to the end of its sentence, else the last line; quotes and emphasis removed."""
    return _reading(text, _find_text)


def _find_text(text: str) -> _Found | str:
    lines = [match.span() for match in re.finditer(r"[^\n]+", text) if match[0].strip()]
    clauses = [*_clauses(text), *[_Clause(start, end, "last line") for start, end in lines[-1:]]]
    for clause in clauses:
        said = text[clause.start : clause.end].strip(" \t\r*_`\"'").removesuffix(".").strip(" *_`\"'")
        if said:
            return _Found(said, clause.start, clause.end, clause.rule)
    return "the text is empty"


def texts_equal(first: str, second: str) -> bool:
    """Equal but for case, blanks, quotes and a final full stop; or the same number."""
    return _folded(first) == _folded(second) or (
        is_number(first) and is_number(second) and numbers_equal(first, second)
    )


def _folded(text: str) -> str:
    return " ".join(text.translate(_PLAIN).split()).strip(" \"'`*").removesuffix(".").casefold()
