"""A teacher that is a model on this machine, asked through the sampler."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence

from srit.teachers import CUT, Answer, Question

# Prompts to (text, whether it was cut), in the order of the prompts.
Complete = Callable[[Sequence[str]], Iterator[tuple[str, bool]]]


class LocalTeacher:
    """Answers with what a model writes, greedily; an answer that was cut is none."""

    def __init__(
        self, name: str, identity: dict[str, object], complete: Complete, *, max_tokens: int, rows: int
    ) -> None:
        """
        Args:
            max_tokens: the limit at which `complete` cuts.
            rows: questions asked together; as many answers may be lost with a kill.
        """
        self.name = name
        self.identity = identity
        self.max_tokens = max_tokens
        self._complete = complete
        self._rows = rows

    def answer(self, questions: Sequence[Question]) -> Generator[Answer]:
        """One Answer a question, some at a time."""
        for start in range(0, len(questions), self._rows):
            together = questions[start : start + self._rows]
            for question, (text, cut) in zip(together, self._complete([q.prompt for q in together]), strict=True):
                answer = Answer(question.problem.id, text, "", 1, limit=self.max_tokens)
                yield answer._replace(text=None, reason=CUT, cut=True, raw=text) if cut else answer
