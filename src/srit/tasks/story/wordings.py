"""Other words for what stories say: the same numbers and people, so the same answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from srit.tasks.story.words import Story, Template


class _Saying(NamedTuple):
    """What a story may say, and what it may say instead."""

    said: re.Pattern[str]
    ways: tuple[str, ...]  # the first keeps it


def _saying(said: str, *ways: str) -> _Saying:
    return _Saying(re.compile(said), (r"\g<0>", *ways))


# Longer ones first: what one has put in other words, the next does not find.
_SAYINGS = (
    # sums
    _saying(r"^Calculate (.*)\.$", r"Work out \1.", r"Find the value of \1.", r"How much does \1 make?"),
    _saying(r"^What is (.*)\?$", r"What does \1 come to?", r"What do you get for \1?"),
    _saying(r"^How much is (.*)\?$", r"What do you get for \1?", r"Say how much \1 is."),
    _saying(r"\bStart with (\d+)", r"Begin with \1", r"Take \1 first"),
    _saying(r"\bTake the number (\d+)", r"Write down \1", r"Begin with the number \1"),
    _saying(r"\bWhat is the result\?", "Which number comes out?", "Where does that end?"),
    _saying(r"\bWhat do you get\?", "Which number is that?", "What comes out?"),
    _saying(r"\bA counter shows (\d+)\. It goes", r"A meter reads \1. It moves", r"The display is at \1. It goes"),
    _saying(r"\bWhat does it show now\?", "What does it say now?", "Which number is there now?"),
    # trade and compare: what is asked
    _saying(
        r"\bHow many (\w+) does (\w+) have (now|in the end)\?",
        r"What is the number of \1 that \2 has \3?",
        r"Say how many \1 \2 has \3.",
        r"Count the \1 that \2 has \3.",
    ),
    _saying(
        r"\bHow many (\w+) does (\w+) have\?", r"What is the number of \1 that \2 has?", r"Say how many \1 \2 has."
    ),
    _saying(
        r"\bHow many (\w+) do they (have|pick) together\?",
        r"How many \1 do the two \2 in all?",
        r"Say how many \1 they \2 in total.",
    ),
    # trade and compare: what happens
    _saying(r"\bhas (\d+ (?:more|fewer))\b", r"owns \1", r"keeps \1"),
    _saying(r"\bhas (\d+)\b", r"owns \1", r"has got \1", r"keeps \1"),
    _saying(r"\bfinds (\d+) more\b", r"picks up \1 more", r"comes across \1 more"),
    _saying(r"\bloses (\d+)\b", r"misplaces \1", r"drops \1 on the way"),
    _saying(r"\bgives ((?:\d+)(?: \w+)?) to\b", r"hands \1 to", r"passes \1 on to"),
    _saying(r"\bgets ((?:\d+)(?: \w+)?) from\b", r"receives \1 from", r"is given \1 by"),
    _saying(r"\bbuys (\d+) more\b", r"brings home \1 more", r"pays for \1 more"),
    _saying(r"\beats (\d+)\b", r"has \1 for lunch", r"finishes \1"),
    _saying(r" and then\b", ", and after that", ", then"),
)


def reworded(template: Template) -> Template:
    """Make a template that says what another one says, in words that are drawn."""

    def told(draw: Random) -> Story:
        return _reworded(template(draw), [draw.choice(ways) for _, ways in _SAYINGS])

    return told


def _reworded(told: Story, chosen: Sequence[str]) -> Story:
    """Say it in the chosen ways, and its twin too: their events stay the same."""
    question = told.question
    for (said, _), way in zip(_SAYINGS, chosen, strict=True):
        question = said.sub(way, question)
    return told._replace(question=question, twin=told.twin and _reworded(told.twin, chosen))
