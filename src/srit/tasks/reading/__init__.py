r"""Reads the final answer of a text. Pure: it evaluates nothing, and reads every text in bounded time.

These are the rules, in order; docs/answer-reading.md has them with examples:

1. Reading is confined to the turn that answers the question (`turns`): after the last thought, up to an end token,
   another turn, or another question. Within it, only what stands between answer tags (`tags`) is read, and only what
   follows the last correction (`corrections`): "The answer is 40. Wait, there are three. So it is 60."
2. An announced answer comes first (`clauses`): "The answer is …", "Answer: …", "#### 24", "\boxed{…}", or a heading
   "Final answer". Of several announcements, the last readable one counts. A sum counts by what follows its last "=".
3. Otherwise the last sentence decides: the number after its last "=", or else its last number (`numbers`); the formula
   it ends with (`formulas`); the last line (`texts`); or the option that the text decides on (`options/decisions`).
   What a text rules out is never its answer (`options/mentions`), and a letter is never taken out of prose.

Where a text leaves the answer open, or gives two, nothing is read.

A number is read as it is written, or not at all; part of a number is never read. Digits are ASCII. Full-width and
mathematical forms (０-９, 𝟎-𝟗, ． ， ％ －) are read as their ASCII twins, and a number in other digits (Arabic-Indic)
is not read. In `numerals/`, `digits` has the grammar of one number, `affixes` has what belongs to it before and after,
`amounts` has what joins two numbers into one, and `number_words` has the English words. `lines` decides which number of
a line is its result.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srit.tasks.reading.formulas import read_math
    from srit.tasks.reading.numbers import read_number
    from srit.tasks.reading.numerals.numerals import is_number, numbers_equal
    from srit.tasks.reading.options.choices import read_choice
    from srit.tasks.reading.quantities import has_words, read_quantity
    from srit.tasks.reading.texts import read_text, texts_equal
else:
    _MODULES = {
        "formulas": ("read_math",),
        "numbers": ("read_number",),
        "numerals.numerals": ("is_number", "numbers_equal"),
        "options.choices": ("read_choice",),
        "quantities": ("has_words", "read_quantity"),
        "texts": ("read_text", "texts_equal"),
    }
    _MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

    # Names are looked up when first used: their patterns take a quarter of a second to compile, and a run that has
    # nothing to do reads no text.
    def __getattr__(name):
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        return found


__all__ = [
    "has_words",
    "is_number",
    "numbers_equal",
    "read_choice",
    "read_math",
    "read_number",
    "read_quantity",
    "read_text",
    "texts_equal",
]
