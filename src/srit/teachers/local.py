"""The `local` teacher: a model on this machine, asked through a sampler."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from srit.errors import DataError
from srit.kinds import SAMPLERS, Finding
from srit.recipe import SamplerSettings, Student, TeacherSettings
from srit.recipe.former import TEACHER_FIELDS, with_former
from srit.recipe.wording import Prompt
from srit.run_directory import Json
from srit.samplers import Request, SamplingSettings
from srit.settings import Count, OneOf
from srit.teachers import CUT, Answer, Question, Surroundings, TeacherKind, TeacherWork

_log = logging.getLogger(__name__)


class LocalSettings(TeacherSettings):
    """A model on this machine."""

    kind: Literal["local"] = "local"
    model: str  # an embedded student, a folder or a hub id
    revision: str | None = None  # of a hub id
    chat_template: str | None = None  # as for the student
    max_tokens: Count = 512  # of one answer; if it is raised, only those that were cut are asked for again
    sampler: Annotated[SamplerSettings, OneOf(SAMPLERS, "transformers", by_name=True)] = Field(
        default={}, validate_default=True
    )


# Chunks of prompts to (text, whether it was cut) for each prompt of a chunk, in order; the chunks in any order.
Complete = Callable[[Mapping[int, Sequence[str]]], Iterator[tuple[int, Sequence[tuple[str, bool]]]]]


class LocalTeacher:
    """Answers with a model's greedy text; an answer that was cut does not count."""

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
        starts = range(0, len(questions), self._rows)
        chunks = {start: questions[start : start + self._rows] for start in starts}
        for start, answers in self._complete({start: [q.prompt for q in chunks[start]] for start in chunks}):
            for question, (text, cut) in zip(chunks[start], answers, strict=True):
                answer = Answer(question.problem.id, text, "", 1, limit=self.max_tokens)
                yield answer._replace(text=None, reason=CUT, cut=True, raw=text) if cut else answer


@contextmanager
def _blamed() -> Iterator[None]:
    """Blame the teacher for what is wrong with its model, which is loaded as a student is."""
    try:
        yield
    except DataError as error:
        raise DataError(str(error).replace("student.model", "teacher.model")) from None


def _look(settings: LocalSettings) -> Iterator[Finding]:
    from srit.students.loading import locate
    from srit.students.weights import check_weights

    with _blamed():
        folder = locate(_model(settings))
        if folder is not None:
            check_weights(settings.model, folder)
    yield Finding(
        True, f"teacher {settings.model}", "there" if folder else "no folder here, so a hub id; the hub was not asked"
    )


@_blamed()
def _make(settings: LocalSettings, surroundings: Surroundings) -> LocalTeacher:
    from srit.samplers.chunks import SamplerSource, SamplingWork, read_answers
    from srit.students.loading import identity, load_prompts, load_room

    model = _model(settings).model_copy(update={"dtype": surroundings.dtype})
    prompts = load_prompts(model, Prompt(system=surroundings.system), field="teacher.chat_template")
    for line in prompts.lines:
        _log.warning("the teacher %s: %s", model.model, line)
    room = load_room(model)
    greedy = SamplingSettings(0.0, settings.max_tokens, prompts.stop_ids)
    work = SamplingWork(SamplerSource(settings.sampler, model, None, surroundings.rows, None), greedy)

    def requests_of(texts: Sequence[str]) -> Sequence[Request]:
        requests = [Request(prompts.prompt_ids(text, where="a question to the teacher"), "") for text in texts]
        longest = max(len(request.prompt_ids) for request in requests) + greedy.max_new_tokens
        if room and room.hard and longest > room.tokens:
            raise DataError(
                f"teacher.model: {model.model} has positions for {room.tokens} tokens, and a question with "
                f"teacher.max_tokens ({greedy.max_new_tokens}) takes {longest}: lower it, or choose another teacher"
            )
        return requests

    def complete(chunks: Mapping[int, Sequence[str]]) -> Iterator[tuple[int, Sequence[tuple[str, bool]]]]:
        items = {number: requests_of(texts) for number, texts in chunks.items()}
        with _blamed():
            for number, data in surroundings.engine.map(work, items):
                yield number, [(prompts.text(answer.token_ids), answer.truncated) for answer in read_answers(data)]

    made_from = {"weights": identity(model), "template": model.chat_template, "dtype": model.dtype}
    return LocalTeacher(
        model.model,
        {**made_from, **_other_sampler(settings), **({"system": surroundings.system} if surroundings.system else {})},
        complete,
        max_tokens=greedy.max_new_tokens,
        rows=surroundings.rows,
    )


def _work(settings: LocalSettings, questions: int) -> TeacherWork:
    return TeacherWork(sampled=questions * settings.max_tokens // 2)


def _shaping(settings: LocalSettings) -> Mapping[str, Json]:
    shaping = with_former(TEACHER_FIELDS, settings, without="prices")
    return {name: value for name, value in shaping.items() if name != "sampler"} | _other_sampler(settings)


def _other_sampler(settings: LocalSettings) -> dict[str, Json]:
    """Return the engine, unless it is the one that all local teachers once had: their answers are stored without it."""
    named = settings.model_dump(mode="json")["sampler"]
    return {} if named == "transformers" else {"sampler": named}


def _model(settings: LocalSettings) -> Student:
    """Return the teacher's model as a student to load.

    Raises:
        DataError: its folder does not exist.
    """
    path = Path(settings.model)
    if (path.is_absolute() or settings.model.startswith(".")) and not path.is_dir():
        raise DataError(f"teacher.model: there is no folder {path}")
    return Student(model=settings.model, revision=settings.revision, chat_template=settings.chat_template)


@_blamed()
def _sources(settings: LocalSettings) -> Mapping[str, Json]:
    from srit.students.loading import identity

    return {f"the teacher {settings.model}": identity(_model(settings))}


TEACHER = TeacherKind(LocalSettings, _make, work=_work, shaping=_shaping, sources=_sources, model=_model, look=_look)
