"""Samplers turn prompts into completions.

Each engine has a file or folder that declares everything srit needs to know about it: `SAMPLER = SamplerKind(…)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from srit.compute.plan import Decoding
from srit.kinds import SAMPLERS, Finding
from srit.recipe import SamplerSettings, Student
from srit.settings import Configured


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How a next token is drawn; temperature 0 is greedy and draws nothing."""

    temperature: float
    max_new_tokens: int
    stop_ids: tuple[int, ...]  # each of them ends an answer and is part of it
    top_k: int | None = None  # only the k likeliest tokens
    top_p: float = 1.0  # only the likeliest tokens that together have this probability (Holtzman et al. 2019)
    min_p: float = 0.0  # only tokens with this share of the likeliest one's probability (Nguyen et al. 2024)
    stop: tuple[str, ...] = ()  # texts that also end an answer, and are part of it


class Request(NamedTuple):
    """One wanted answer."""

    prompt_ids: tuple[int, ...]
    seed: str  # of this answer only, such as "0/sample/gsm8k-7/cot/3", whatever else is in the batch


class Sampled(NamedTuple):
    """One drawn answer."""

    token_ids: tuple[int, ...]  # the stop token is the last unless truncated
    logp: float  # nats, summed over token_ids, at temperature 1
    truncated: bool


class Sampler(Protocol):
    """Draws answers from one model."""

    def sample(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[Sampled]:
        """Draw one answer for each request, in the order of the requests."""
        ...


class SamplerNeeds(NamedTuple):
    """What an engine needs in order to draw answers."""

    student: Student
    trained: Path | None  # the folder of an adapter or a whole model that a stage trained from it; None: the student
    rows: int  # answers decoded at once
    text: Callable[[tuple[int, ...]], str]  # token ids as text
    decoding: Decoding | None  # how answers were proven to be computed correctly; None: not tested
    cache_bytes: int = 0  # that a batch's keys and values may take; 0: a share of the device's memory


Settings = TypeVar("Settings", bound=SamplerSettings)


@dataclass(frozen=True)
class SamplerKind(Configured[Settings]):
    """Everything that srit needs to know about an engine; `settings` are its fields in the recipe."""

    make: Callable[[Settings, SamplerNeeds], Sampler]
    doctor: Callable[[], Sequence[Finding]] = tuple  # lines of `srit doctor`
    release: Callable[[], None] = lambda: None  # ends what `make` keeps for the next model


_used: dict[str, SamplerKind[Any]] = {}  # engines with which this process has made samplers, by name


def make_sampler(settings: SamplerSettings, needs: SamplerNeeds) -> Sampler:
    """Make a sampler.

    Raises:
        DataError: the model cannot be loaded.
        MachineError: the engine is not installed.
    """
    kind = _used.setdefault(settings.kind, sampler_kind(settings.kind))
    return kind.make(settings, needs)


def release_engines() -> None:
    """Free what this process's engines keep for their next model, before something else takes the memory."""
    for kind in _used.values():
        kind.release()


def sampler_kind(name: str) -> SamplerKind[Any]:
    """Return the engine with that name.

    Raises:
        RecipeError: there is none, or its plug-in does not work.
    """
    return SAMPLERS.find(name, SamplerKind)
