"""The `local` teacher: a model on this machine, asked through a sampler."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence

from srit.teachers import CUT, Answer, Question

# From prompts to (text, whether it was cut), in the order of the prompts.
Complete = Callable[[Sequence[str]], Iterator[tuple[str, bool]]]


class LocalTeacher:
    """Answer with what a model writes greedily; an answer that was cut does not count."""

    def __init__(
        self, name: str, identity: dict[str, object], complete: Complete, *, max_tokens: int, rows: int
    ) -> None:
        """
        Args:
            max_tokens: the limit at which `complete` cuts an answer.
            rows: questions asked together; a kill may lose as many answers.
        """
        self.name = name
        self.identity = identity
        self.max_tokens = max_tokens
        self._complete = complete
        self._rows = rows

    def answer(self, questions: Sequence[Question]) -> Generator[Answer]:
        """Yield one Answer for each question, `rows` at a time."""
        for start in range(0, len(questions), self._rows):
            together = questions[start : start + self._rows]
            for question, (text, cut) in zip(together, self._complete([q.prompt for q in together]), strict=True):
                answer = Answer(question.problem.id, text, "", 1, limit=self.max_tokens)
                yield answer._replace(text=None, reason=CUT, cut=True, raw=text) if cut else answer
