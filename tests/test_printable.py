"""What is shown of texts that others wrote."""

import sys
import unicodedata

import pytest

from srit.printable import one_line, printable

TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def test_no_character_that_controls_a_terminal_or_turns_text_is_shown():
    unsafe = {
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    } - {"\t", "\n"}

    shown = printable("".join(sorted(unsafe | set(TURNING))))

    assert not unsafe & set(shown) and not set(TURNING) & set(shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb\x07\x9b", r"a\x1b[31mb\x07\x9b"),
        ("evil\u202etxt.exe", r"evil\u202etxt.exe"),
        ("half a pair \ud83d", r"half a pair \ud83d"),
        ("a\r\nb\rc", "a\nb\\x0dc"),
        ("1\u00a0000 €, 三つ\t\U0001f469\u200d\U0001f680 نیم\u200cفاصله", None),
    ],
)
def test_what_is_unsafe_is_spelled_out_and_the_rest_stays(text, shown):
    assert printable(text) == (text if shown is None else shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [(" a\n b\u2028\tc ", "a b c"), ("x" * 201, "x" * 200 + "…"), ("\x1b]0;title\x07", r"\x1b]0;title\x07")],
)
def test_a_foreign_line_is_one_line_of_bounded_length(text, shown):
    assert one_line(text) == shown
