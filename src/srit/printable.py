"""Makes foreign text safe to show: none of its control characters reaches a terminal or a page."""

from __future__ import annotations

import re

SHOWN = 200  # characters of a foreign line that are shown

# Control characters except tab and line feed, whatever reverses or hides text (bidirectional marks, zero widths, tags),
# line separators that only some programs recognize, and halves of surrogate pairs. What scripts and emoji need
# (joiners U+200C and U+200D, soft hyphens, variation selectors) stays.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""Return a text with unsafe characters spelled out, as in "\x1b" and "\u202e"; line breaks stay."""
    return _UNSAFE.sub(_spelled, text.replace("\r\n", "\n"))


def one_line(text: str, limit: int = SHOWN) -> str:
    """Return the beginning of a text as one line: white space becomes one blank, the rest is as in `printable`."""
    # A word has at least one character, so a text without long gaps has the needed words in this many characters.
    line = printable(" ".join(text[: 100 * limit].split()))
    return line if len(line) <= limit else line[:limit] + "…"


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
