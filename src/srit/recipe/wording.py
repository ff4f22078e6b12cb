"""How problems are presented to a model."""

from __future__ import annotations

from srit.settings import Part

TRIGGER = "Let's think step by step."  # Kojima et al. 2022, arXiv 2205.11916


class Example(Part):
    """A question and its answer, shown before each problem."""

    question: str
    answer: str  # as it should be written, reasoning included


class Prompt(Part):
    """How problems are presented to the student, and to a teacher that is asked, in every stage."""

    instruction: str | None = None  # before each question; None: the task's own
    system: str | None = None  # a system turn before each question; it is saved in the model's chat template
    trigger: str = TRIGGER  # what the CoT prompt ends with
    examples: tuple[Example, ...] = ()  # between the instruction and the question


PLAIN = Prompt()
