"""Text of others made safe to show: none of its control characters reaches a terminal or a page."""

from __future__ import annotations

import re

SHOWN = 200  # characters of a foreign line that are shown

# Control characters but tab and line feed, whatever turns or hides text (bidirectional marks, zero widths, tags),
# separators of lines that some programs see and others do not, and halves of surrogate pairs. What scripts and
# emoji need to be written (joiners U+200C and U+200D, soft hyphens, variation selectors) stays.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""Return a text with what is unsafe to show spelled out, as in "\x1b" and "\u202e"; its lines stay."""
    return _UNSAFE.sub(_spelled, text.replace("\r\n", "\n"))


def one_line(text: str, limit: int = SHOWN) -> str:
    """Return the beginning of a text as one line: white space is one blank, the rest as in `printable`."""
    # A word has a character at least, so the words needed lie in so many characters of a text without long gaps.
    line = printable(" ".join(text[: 100 * limit].split()))
    return line if len(line) <= limit else line[:limit] + "…"


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
