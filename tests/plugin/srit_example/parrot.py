"""A teacher that always says the same."""

from collections.abc import Generator, Sequence
from typing import Literal

from srit.recipe import TeacherSettings
from srit.teachers import Answer, Question, Surroundings, TeacherKind, TeacherWork


class ParrotSettings(TeacherSettings):
    kind: Literal["parrot"] = "parrot"
    says: str


class Parrot:
    max_tokens = None

    def __init__(self, says: str) -> None:
        self.name = "parrot"
        self.identity: dict[str, object] = {"parrot": says}

    def answer(self, questions: Sequence[Question]) -> Generator[Answer]:
        for question in questions:
            yield Answer(question.problem.id, str(self.identity["parrot"]), "", n_calls=1)


def make(settings: ParrotSettings, surroundings: Surroundings) -> Parrot:
    return Parrot(settings.says)


def work(settings: ParrotSettings, questions: int) -> TeacherWork:
    return TeacherWork(calls=questions)


TEACHER = TeacherKind(ParrotSettings, make, work=work)
