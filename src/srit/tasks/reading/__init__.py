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

Digits are ASCII; full-width forms (０-９ ． ， ％ －) are read as their ASCII twins. Other digits (Arabic-Indic,
superscripts) are letters here: no number is read from them.
"""
