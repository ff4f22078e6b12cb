r"""Reads the final answer of a text, and compares numbers. Pure: nothing is evaluated, every pattern is linear.

The rules, in order; the first that finds an answer wins, and its name is the reading's `reason`:

1. An announced answer: "The answer is …", "Answer: …", "#### …", "A: …" (numbers), "\boxed{…}". Of several
   announcements the last that can be read counts. A sum counts by what follows its last "=".
2. Else what the last sentence says: the number after its last "=", else its last number; for choices an option
   that the conclusion names. A letter is never taken out of running prose.

Digits are ASCII; full-width forms (０-９ ． ， ％ －) are read as their ASCII twins. Other digits (Arabic-Indic,
superscripts) are letters here: no number is read from them.
"""
