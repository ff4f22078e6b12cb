r"""Reads the final answer of a text, and compares numbers. Pure: nothing is evaluated, every pattern is linear.

The rules, in order; the first that finds an answer wins, and its name is the reading's `reason`:

1. An announced answer: "The answer is …", "Answer: …", "#### …", "A: …" (numbers), "\boxed{…}". Of several
   announcements the last that can be read counts. A sum counts by what follows its last "=".
2. Else what the last sentence says: the number after its last "=", else its last number; for choices an option
   that the conclusion names. A letter is never taken out of running prose.

A number is read as it is written, or not at all: never a part of it. Digits are ASCII; full-width and mathematical
forms (０-９, 𝟎-𝟗, ． ， ％ －) are read as their ASCII twins, and a number in other digits (Arabic-Indic) is not read.
`digits` has the grammar of one number, `affixes` what belongs to it before and after, `amounts` what makes one number
of two, `number_words` the English words, and `lines` which number of a line is its result.
"""
