r"""Reads the final answer of a text. Pure: nothing is evaluated, and every text is read in bounded time.

The rules, in order; docs/answer-reading.md has them with examples:

1. Only the turn that answers is read (`turns`): after the last thought, up to an end token, another turn or another
   question. Within it, what stands between answer tags (`tags`), and what is said after the last correction
   (`corrections`): "The answer is 40. Wait, there are three. So it is 60."
2. An announced answer (`clauses`): "The answer is …", "Answer: …", "#### 24", "\boxed{…}", a heading "Final answer".
   Of several announcements the last that can be read counts. A sum counts by what follows its last "=".
3. Otherwise what the last sentence says: the number after its last "=", else its last number (`numbers`); the formula
   that it ends on (`formulas`); the last line (`texts`); the option that the text decides for (`decisions`). What a
   text rules out is never its answer (`mentions`), and a letter is never taken out of prose.

Where a text leaves the answer open, or gives two, nothing is read.

A number is read as it is written, or not at all: never a part of it. Digits are ASCII; full-width and mathematical
forms (０-９, 𝟎-𝟗, ． ， ％ －) are read as their ASCII twins, and a number in other digits (Arabic-Indic) is not read.
`digits` has the grammar of one number, `affixes` what belongs to it before and after, `amounts` what makes one number
of two, `number_words` the English words, and `lines` which number of a line is its result.
"""
