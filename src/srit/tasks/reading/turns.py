"""Which part of a text answers the question that was asked: after thoughts, before whatever a model goes on with."""

from __future__ import annotations

from typing import NamedTuple


class Turn(NamedTuple):
    """The part of a text that answers the question that was asked."""

    start: int  # where the answer begins: after the last closed thought; 0 where there is none
    end: int  # where end tokens, another question or another turn begin; len(text) where none does
    open_thought: bool  # a thought was opened and never closed: the text holds no answer


def own_turn(text: str, question: str = "") -> Turn:
    """The answer's place in a text.

    Args:
        text: what a model wrote, in one or several turns.
        question: what was asked; a text that repeats it does not begin another question.
    """
    return Turn(0, len(text), open_thought=False)
