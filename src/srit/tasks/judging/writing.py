r"""Normalizes LaTeX: "½π", "\tfrac12 \pi", and "\frac{1}{2}\pi" become the same text.

Every pattern is linear, and nothing is evaluated.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from srit.tasks.reading.numerals.numerals import PLAIN, find_numerals

_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho varsigma sigma tau"
_GREEK += " upsilon phi chi psi omega"
_UNICODE = {
    **{chr(ord("α") + index): f"\\{name} " for index, name in enumerate(_GREEK.split())},
    **{"Γ": "\\Gamma ", "Δ": "\\Delta ", "Θ": "\\Theta ", "Σ": "\\Sigma ", "Φ": "\\Phi ", "Ω": "\\Omega "},
    **{"∞": "\\infty ", "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "∙": "\\cdot ", "÷": "\\div "},
    **{"≤": "\\leq ", "⩽": "\\leq ", "≥": "\\geq ", "⩾": "\\geq ", "≠": "\\neq ", "≈": "\\approx ", "≡": "\\equiv "},
    **{"∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "∅": "\\emptyset ", "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}"},
    **{"±": "\\pm ", "∓": "\\mp ", "→": "\\to ", "⇒": "\\Rightarrow ", "∠": "\\angle ", "△": "\\triangle "},
    **{"⟨": "(", "⟩": ")", "⌊": "\\lfloor ", "⌋": "\\rfloor ", "⌈": "\\lceil ", "⌉": "\\rceil ", "…": "\\ldots "},
    **{"–": "-", "—": "-", "⁄": "/", "°": "^\\circ ", "º": "^\\circ ", "′": "'", "’": "'", "∛": "\\sqrt[3]√"},
    **{"\u2009": " ", "\u200b": "", "\ufeff": ""},
}
_FRACTIONS = zip("½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞", "112131234151357", "233445555668888", strict=True)
_UNICODE |= {char: f"\\frac{{{top}}}{{{bottom}}}" for char, top, bottom in _FRACTIONS}
_CHARACTERS = str.maketrans(_UNICODE)
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "₀₁₂₃₄₅₆₇₈₉"
_ON_LINE = str.maketrans(_RAISED + _LOWERED, "0123456789+-n0123456789")

# Commands with the same meaning.
_NAMES = {
    **dict.fromkeys(("dfrac", "tfrac", "cfrac", "nicefrac", "sfrac"), "\\frac"),
    **dict.fromkeys(("dbinom", "tbinom"), "\\binom"),
    **dict.fromkeys(("le", "leqslant", "leqq"), "\\leq"),
    **dict.fromkeys(("ge", "geqslant", "geqq"), "\\geq"),
    **dict.fromkeys(("lvert", "rvert", "vert", "mid"), "|"),
    **{"ne": "\\neq", "varnothing": "\\emptyset", "ast": "*", "implies": "\\Rightarrow", "dots": "\\ldots"},
    **{"lbrace": "\\{", "rbrace": "\\}", "lbrack": "[", "rbrack": "]", "lparen": "(", "rparen": ")"},
    **{"langle": "(", "rangle": ")", "lt": "<", "gt": ">", "colon": ":", "degree": "^\\circ", "textdegree": "^\\circ"},
    **{"textdollar": "\\$", "R": "\\mathbb{R}", "Re": "\\Re"},
    # Commands that change only the looks.
    **dict.fromkeys(("left", "right", "middle", "mleft", "mright", "displaystyle", "textstyle", "limits"), ""),
    **dict.fromkeys(("big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr"), ""),
    **dict.fromkeys(("quad", "qquad", "thinspace", "enspace", "square", "blacksquare", "qed", "nolimits"), " "),
    **dict.fromkeys(("boxed", "fbox", "underline", "mathbf", "mathit", "mathcal", "boldsymbol", "bm", "bold"), ""),
    **dict.fromkeys(("bf", "rm", "it"), ""),
}
_WORDS = r"text(?:rm|bf|it|normal|sf|tt|up)?|mbox|hbox|mathrm|mathsf|mathtt|emph"
_FUNCTIONS = r"sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|sinh|cosh|tanh|log|ln|exp|det|gcd|arg"


class _Rewrite(NamedTuple):
    pattern: re.Pattern[str]
    to: str


def _rewrites(*pairs: tuple[str, str]) -> tuple[_Rewrite, ...]:
    return tuple(_Rewrite(re.compile(pattern), to) for pattern, to in pairs)


_SPACES = _rewrites(
    (r"\\\\\s?\[[^\]\n]{0,20}\]", r"\\\\"),  # a line break and the space after it
    (r"(?<!\\)\\[()\[\]]|(?<!\\)\$", " "),
    (r"\\(?:hspace|vspace|phantom|label|tag)\*?\s?\{[^{}]*\}|\\(?:text)?color\s?\{\w*\}", " "),
    (r"(?<=[0-9])(?:\{,\}|,?\\!|,\s?\\!|\\[,;:]|~)(?=[0-9]{3}(?![0-9]))", ","),  # digits in groups of three
    (r"(?<!\\)\\[,;: ]|[~\s]", " "),
    (r"\\!|(?<![\\A-Za-z])\\(?=$)", ""),
)
_TEXTS = _rewrites(
    (rf"\\(?:operatorname|mathrm)\*?\s?\{{\s?({_FUNCTIONS})\s?\}}", r"\\\1 "),
    (r"\\mathrm\s?\{\s?([eid])\s?\}", r"\1"),
    (rf"\\(?:{_WORDS})\s?\{{\s*([^{{}}]*?)\s*\}}", r"\\text{\1}"),
    (r"\\text\{([^A-Za-z{}]*|[-+]?[0-9(][^{}]*)\}", r" \1 "),
    (r"\\text\{(,?\s?(?:and|or)\s?)\}", r" \1 "),
    (r"\\text\{(\(?\w\)?(?:\s?(?:,|and\b|or\b)\s?\(?\w\)?)+)\}", r" \1 "),  # "\text{A, B}"
    (r"(?:\\text\{infinity\}|(?<![\\A-Za-z])infinity\b)", r"\\infty "),
    (r"\\text\{\s?per\s?cent(?:age)?\s?\}|\bper\s?cent\b|\\?%", r"\\%"),
    (r"\^\s?\{\s?\\circ\s?\}", r"^\\circ "),
    (r"\b([AaPp])\.\s?([Mm])\b\.?", r"\1\2"),  # a.m.
)
_ARGUMENTS = _rewrites(
    (r"(?<![\\A-Za-z])sqrt", "√"),
    (r"√\s?([0-9]+(?:\.[0-9]+)?|[A-Za-z])", r"\\sqrt{\1}"),
    (r"(?:√|\\sqrt)\s?\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"√", r"\\sqrt"),
    (r"\\sqrt(\[[^\]]*\])?\s?\\sqrt", r"\\sqrt\1"),  # ∛ with its sign
    (r"\\sqrt(\[[^\]]*\])?\s?([0-9A-Za-z])", r"\\sqrt\1{\2}"),
    (r"\\(frac|binom)\s?([0-9A-Za-z])\s?([0-9A-Za-z])", r"\\\1{\2}{\3}"),
    (r"\\(frac|binom)\s?([0-9A-Za-z])\s?\{", r"\\\1{\2}{"),
    (r"(\\(?:frac|binom)\s?\{[^{}]*\})\s?([0-9A-Za-z])", r"\1{\2}"),
    (r"\{([^{}]*)\\over(?![A-Za-z])([^{}]*)\}", r"\\frac{\1}{\2}"),
    (r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}", r"\\binom{\1}{\2}"),
    (r"(?<![\\A-Za-z\]}^_])\{([^{},]*)(?<!\\)\}(?!\s?[{^_])", r" \1 "),  # a group that groups nothing
    (r"\s{2,}", " "),
)


@lru_cache(maxsize=1024)
def plain(latex: str) -> str:
    """Normalize a formula without changing its value; units and words stay."""
    text = closed(latex).translate(PLAIN).translate(_CHARACTERS)
    text = re.sub(f"[{_RAISED}]+", lambda run: "^{" + run[0].translate(_ON_LINE) + "}", text)
    text = re.sub(f"[{_LOWERED}]+", lambda run: "_{" + run[0].translate(_ON_LINE) + "}", text)
    if "\\begin" not in text:  # inside one, two backslashes end a row
        text = re.sub(r"\\\\(?=[A-Za-z]{2}|[!,;{}$%])", r"\\", text)
    for rewrite in _SPACES:
        text = rewrite.pattern.sub(rewrite.to, text)
    text = re.sub(r"\\\\|\\([A-Za-z]+)", lambda name: _NAMES.get(name[1], name[0]), text)
    text = _BARE_NAMES.sub(lambda name: f"\\{name[1]} " if name[1] else name[0], text)
    text = _REPEATING.sub(_repeating, text)
    for rewrite in (*_TEXTS, *_ARGUMENTS):
        text = rewrite.pattern.sub(rewrite.to, text)
    return rimless(text)


# "2pi", "ln(2)"; not "5 sec" and "5 min".
_BARE_NAMES = re.compile(
    r"\\\w+\s?\{[^{}]*\}|(?<![\\A-Za-z])(pi|theta|sin|cos|tan|cot|csc|arcsin|arccos|arctan|log|ln|exp)(?![A-Za-z])"
)
_REPEATING = re.compile(r"([0-9]{0,20})\.([0-9]{0,20})\\(?:overline|bar|dot)\s?\{([0-9]{1,20})\}")


def _repeating(decimal: re.Match[str]) -> str:
    """Write 0.1\\overline{6} as a fraction."""
    before, after, period = decimal[1] or "0", decimal[2], decimal[3]
    scale = 10 ** len(after)
    top = int(before + after) * (10 ** len(period) - 1) + int(period)
    return f"\\frac{{{top}}}{{{scale * (10 ** len(period) - 1)}}}"


def rimless(text: str) -> str:
    """Strip what surrounds a formula in a sentence: blanks, quotes, a full stop, a leading equals sign."""
    text = text.strip(" \t\n\"'`*_").rstrip(" .,;:?").strip(" \"'`*")
    return re.sub(r"^(?:\\text\{[^{}]*(?:\bis|\bare|:|=)\s?\}|\\approx(?![A-Za-z])|[=:+])\s*", "", text)


def closed(latex: str) -> str:
    """Add the braces that are missing at the end: cut-off data has "3\\sqrt{10", which would parse as 3."""
    return latex + "}" * max(0, latex.count("{") - latex.count("}"))


@lru_cache(maxsize=4096)
def tight(text: str) -> str:
    """Reduce a plain formula to what is compared: no blanks, and no signs or braces that may be omitted."""
    text = re.sub(r"\\text\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"(?<![0-9.])0+(?=[0-9])", "", text)
    text = re.sub(r"([_^])\s?\{(\w)\}", r"\1\2", text)
    text = re.sub(r"\s?(?:\\cdot(?![A-Za-z])|\\times(?![A-Za-z])|\*)\s?(?=[A-Za-z\\(])", "", text)
    return re.sub(r"(?<![0-9,])\s|\s(?![0-9])", "", text)


@lru_cache(maxsize=4096)
def number(text: str) -> str | None:
    """Return the number that a whole plain text is, as `find_numerals` writes it; None if it is anything else."""
    text = re.sub(r"(?<=^[-+])\s", "", text.strip())
    found = find_numerals(text, 0, len(text))
    return found[0].text if len(found) == 1 and (found[0].start, found[0].end) == (0, len(text)) else None


_OPENS = r"\\begin\b|\\\{|[{(\[]"
_CLOSES = r"\\end\b|\\\}|[})\]]"


class Segment(NamedTuple):
    """Holds a part of a text and the separator before it."""

    separator: str  # "" for the first
    text: str


@lru_cache(maxsize=64)
def _tokens(separators: str) -> re.Pattern[str]:
    return re.compile(rf"(?P<opens>{_OPENS})|(?P<closes>{_CLOSES})|(?P<separator>{separators})|\\[A-Za-z]+|\\.")


def split_top(text: str, separators: str) -> list[Segment]:
    """Split at separators outside brackets. A bracket of any kind closes one of any other kind: "(0, 1]".

    Args:
        separators: a pattern without groups; a match that begins with a letter or a command is kept whole.
    """
    parts, depth, start, before = [], 0, 0, ""
    for token in _tokens(separators).finditer(text):
        depth = max(0, depth + (token["opens"] is not None) - (token["closes"] is not None))
        if token["separator"] is not None and depth == 0:
            parts.append(Segment(before, text[start : token.start()].strip()))
            start, before = token.end(), token[0].strip()
    return [*parts, Segment(before, text[start:].strip())]


def unwrapped(text: str) -> tuple[str, str, str] | None:
    """Return the opening bracket of a text, what it holds, and the closing one; None if no pair encloses it all."""
    depth = 0
    first: re.Match[str] | None = None
    for token in _tokens("(?!)").finditer(text):
        if first is None and (token.start() != 0 or token["opens"] is None or token[0] == "\\begin"):
            return None
        first = first or token
        depth += (token["opens"] is not None) - (token["closes"] is not None)
        if depth <= 0:
            inner = text[first.end() : token.start()].strip()
            return (first[0], inner, token[0]) if token.end() == len(text) else None
    return None
