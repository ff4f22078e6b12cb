"""How the student reads and writes text, and its length limit."""

from __future__ import annotations

from functools import cached_property

from srit.pipeline.context.reports import Report
from srit.recipe import Student
from srit.recipe.wording import Prompt
from srit.students.lengths import Room
from srit.students.loading import load_prompts, load_room
from srit.students.prompts import Prompts


class Texts:
    """The student's tokenizer and its room for text, loaded on first use."""

    def __init__(self, student: Student, wording: Prompt, report: Report) -> None:
        self._student, self._wording, self._report = student, wording, report

    @cached_property
    def prompts(self) -> Prompts:
        """The tokenizer with its chat template; loading it reports what was fixed in the template."""
        prompts = load_prompts(self._student, self._wording)
        for line in prompts.lines:
            self._report(line if line.startswith("WARN") else f"     {line}")
        return prompts

    @cached_property
    def room(self) -> Room | None:
        """The most tokens of the student's texts; None: there is no limit."""
        return load_room(self._student)
