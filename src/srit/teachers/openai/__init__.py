"""The `openai` teacher, behind any OpenAI-compatible server: one retry loop, one budget, no answer paid for twice.

A request ends in one of four ways:

- *Not accepted* (no connection, 429, 5xx): the question waits and is tried again. A question that fails alone is given
  up after some tries; all are given up if none is answered for `give_up_seconds`.
- *Refused* (another 4xx): this run does not ask the question again.
- *Lost* (broken off or late after it was sent): tried once more, with the same idempotency key.
- *Delivered*: never asked again; tried once more if it is unusable.

`reply` and `faults` read responses, `parameters` learns from them how to send the next request, `schedule` decides
which question is next, `asking` what becomes of each, and `wire` sends; `teacher` combines them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal

from pydantic import Field, model_validator

from srit.kinds import Finding, extra
from srit.recipe import TeacherSettings
from srit.recipe.former import TEACHER_FIELDS, with_former
from srit.run_directory import Json
from srit.settings import Count, Fraction, Positive
from srit.teachers import Surroundings, Teacher, TeacherKind, TeacherWork


class OpenAISettings(TeacherSettings):
    """A chat model behind an OpenAI-compatible server."""

    kind: Literal["openai"] = "openai"
    model: str
    base_url: str  # such as https://api.openai.com/v1
    api_key_env: str | None = "OPENAI_API_KEY"  # the variable that holds the key; null: the server needs none
    temperature: float | None = Field(default=0.0, ge=0)  # null: the server's own
    max_tokens: Count = 512  # of one answer; if it is raised, only those that were cut are asked for again
    concurrency: Count = 8  # questions asked at once
    # More fields of the request's body, such as {top_p: 0.9, reasoning_effort: low}.
    extra: dict[str, Any] = Field(default_factory=dict, exclude_if=lambda extra: not extra)
    samples: Count = Field(default=1, exclude_if=lambda samples: samples == 1)  # answers to each training problem
    # Whether thoughts are learned with an answer, sent beside it (reasoning_content) or in it (`<think>`).
    thoughts: bool = Field(default=False, exclude_if=lambda thoughts: not thoughts)
    # A budget of the whole run (or study), which calls that were not accepted do not touch; None: as many as it takes.
    max_calls: Count | None = None
    max_spent_tokens: Count | None = None  # likewise, of prompt and completion tokens together
    max_dollars: Positive | None = None  # likewise, at `prices`
    prices: tuple[Positive, Positive] | None = None  # dollars a million prompt and completion tokens
    max_refused: Fraction = 0.05  # share of the questions that the server may refuse before the run ends
    give_up_seconds: Positive = 600.0  # without any answer

    @property
    def learns_thoughts(self) -> bool:
        """Whether the thoughts in an answer are learned with it."""
        return self.thoughts

    @model_validator(mode="after")
    def _dollars_have_prices(self) -> OpenAISettings:
        if self.max_dollars is not None and self.prices is None:
            raise ValueError("max_dollars needs prices")
        return self

    @model_validator(mode="after")
    def _fields_have_one_place(self) -> OpenAISettings:
        if own := sorted(_OWN.keys() & self.extra.keys()):
            raise ValueError(f"extra: {own[0]} is {_OWN[own[0]]}: remove it from extra")
        return self

    @model_validator(mode="after")
    def _samples_differ(self) -> OpenAISettings:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                "samples: at temperature 0, all answers to a question are the same: raise teacher.temperature"
            )
        return self


# Fields of a request that are not extra.
_OWN = {
    "model": "teacher.model",
    "messages": "made of the problem and of prompt.system",
    "max_tokens": "teacher.max_tokens",
    "max_completion_tokens": "teacher.max_tokens",
    "temperature": "teacher.temperature",
    "n": "teacher.samples, each in a request of its own",
    "stream": "never set: answers come whole",
}

# What stops the teacher or prices its work shapes none of its answers.
_SHAPELESS = {"max_dollars", "max_refused", "give_up_seconds"}


def _make(settings: OpenAISettings, surroundings: Surroundings) -> Teacher:
    from srit.teachers.openai.endpoint import Endpoint
    from srit.teachers.openai.teacher import OpenAITeacher

    shaped = settings.model_dump(include={field.name for field in fields(Endpoint)})
    endpoint = Endpoint(**shaped)
    return OpenAITeacher(
        endpoint,
        surroundings.report,
        surroundings.record,
        surroundings.spent,
        system=surroundings.system,
        sample=surroundings.sample,
    )


def _work(settings: OpenAISettings, questions: int) -> TeacherWork:
    return TeacherWork(calls=min(questions, settings.max_calls or questions))


def _price(settings: OpenAISettings, calls: int, prompt_tokens: int) -> float | None:
    if settings.prices is None:
        return None
    prompt, completion = settings.prices
    return calls * (prompt * prompt_tokens + completion * settings.max_tokens) / 1e6


def _shaping(settings: OpenAISettings) -> Mapping[str, Json]:
    shaping = with_former(TEACHER_FIELDS, settings, without="prices")
    return {name: value for name, value in shaping.items() if name not in _SHAPELESS}


def _doctor() -> Sequence[Finding]:
    return [extra("openai", "openai", "a teacher behind an OpenAI-compatible server")]


def _look(settings: OpenAISettings) -> Iterable[Finding]:
    from srit.teachers.openai.looking import look

    return look(settings.base_url, settings.model, settings.api_key_env)


TEACHER = TeacherKind(
    OpenAISettings,
    _make,
    work=_work,
    price=_price,
    shaping=_shaping,
    samples=lambda settings: settings.samples,
    doctor=_doctor,
    look=_look,
    kept=True,
)
