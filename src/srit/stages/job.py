"""What a stage is, and what the stages of one run share."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from srit.errors import SritError
from srit.precision import Way
from srit.prompts import Prompts
from srit.recipe import Recipe
from srit.records import Problem
from srit.run import Json, Run, read_records, recorded_sum
from srit.samplers import Request, Sampled, Sampler, SamplingSettings
from srit.samplers.chunks import sample_in_chunks
from srit.students import load_model, load_tokenizer, locate
from srit.teachers import Teacher

CHUNK = 4  # times the rows are committed together: a row that ends early is given to another answer of the chunk
UNSETTLED = "without an answer yet"  # the count of a stage's questions that its next run asks again

Progress = Callable[[str, int, int], None]  # what, done, of how many
Tell = Callable[[str], None]


class Stage(NamedTuple):
    """One step of a run."""

    name: str
    version: int  # raised when the stage's code comes to make something else
    settings: Json  # all that shapes its outputs, beside its inputs
    inputs: tuple[str, ...]  # outputs of earlier stages
    outputs: tuple[str, ...]
    make: Callable[[Job, Path], Mapping[str, Json]]  # makes the outputs, returns counts
    uses_student: bool = True  # whether the student's weights or tokenizer go into the outputs
    work: str = ""  # what the same work is called wherever it is done; "": the stage's name


@dataclass(frozen=True, slots=True)
class Shared:
    """What several runs have in common."""

    folder: Path  # pool/: finished stages by fingerprint; teacher/: its answers
    failed: dict[str, SritError]  # stages that cannot succeed, by fingerprint: not tried again by this process
    in_vain: set[str] = field(default_factory=set)  # questions that were not answered: likewise


class Job:
    """What the stages of one run share: files, recipe, tokenizer, and where to tell of progress."""

    def __init__(
        self,
        run: Run,
        recipe: Recipe,
        *,
        way: Way,
        progress: Progress,
        tell: Tell,
        shared: Shared | None = None,
    ) -> None:
        """
        Args:
            shared: what the run has in common with others; None: it stands alone.
        """
        self.run = run
        self.shared = shared
        self.recipe = recipe
        self.way = way
        self.progress = progress
        self.tell = tell
        self.teacher: Teacher | None = None  # one behind a server: what it has learned of it holds for every stage
        self._sampler: tuple[tuple[str, int, str], Sampler] | None = None  # the last one, and what it was made of
        self._scoring: tuple[tuple[str, str], Any] | None = None  # likewise

    @cached_property
    def prompts(self) -> Prompts:
        """Loads the tokenizer when first asked."""
        return Prompts(load_tokenizer(self.recipe.student), self.recipe.student.chat_template)

    def problems(self, name: str) -> list[Problem]:
        """problems/NAME.jsonl."""
        return read_records(self.run.path(f"problems/{name}.jsonl"), Problem)

    def sample(
        self, model: str, requests: Sequence[Request], settings: SamplingSettings, partial: Path, what: str, rows: int
    ) -> list[Sampled]:
        """Answers of one of the run's models, `rows` decoded at once; it is loaded if any are missing."""
        return sample_in_chunks(
            lambda: self._sampler_of(model, rows),
            requests,
            settings,
            size=CHUNK * rows,
            partial=partial,
            progress=lambda done, total: self.progress(what, done, total),
        )

    def _sampler_of(self, model: str, rows: int) -> Sampler:
        """Kept for the next stage: the evaluation asks one model task after task."""
        made_of = (model, rows, self._sum_of(model))
        if self._sampler is None or self._sampler[0] != made_of:
            self._sampler = self._scoring = None  # frees their memory before the next is loaded
            self._sampler = (made_of, _sampler(self.recipe, self._trained(model), rows, self.prompts))
        return self._sampler[1]

    def scoring(self, model: str) -> Any:
        """One of the run's models in evaluation mode, to take log-probabilities with; kept for the next task."""
        made_of = (model, self._sum_of(model))
        if self._scoring is None or self._scoring[0] != made_of:
            self._sampler = self._scoring = None
            # Weights that could be trained would have the head round its logits to the model's precision (`head.py`).
            loaded = load_model(self.recipe.student, self._trained(model)).requires_grad_(False)
            self._scoring = (made_of, loaded)
        return self._scoring[1]

    def _trained(self, model: str) -> Path | None:
        return None if model == "base" else self.run.path(model)

    def _sum_of(self, model: str) -> str:
        return "" if model == "base" else recorded_sum(self.run.manifest["stages"], model)

    def invariant(self, name: str, ok: bool, line: str) -> Json:
        """Tells of an invariant, and returns it for the record."""
        self.tell(f"{'ok  ' if ok else 'WARN'} {line}")
        return {"name": name, "ok": ok, "line": line}


def _sampler(recipe: Recipe, trained: Path | None, rows: int, prompts: Prompts) -> Sampler:
    """An engine with the student, or with what a stage made of it."""
    student = recipe.student
    if recipe.sampler == "transformers":
        from srit.samplers.transformers import TransformersSampler

        return TransformersSampler(load_model(student, trained), rows=rows, pad_id=0, text=prompts.text)
    from srit.samplers.vllm import VllmSampler

    whole = trained is not None and not (trained / "adapter_config.json").exists()
    return VllmSampler(
        str(trained) if whole else str(locate(student) or student.model),
        dtype=student.dtype,
        revision=None if whole else student.revision,
        rank=student.lora.rank,
        adapter=None if whole else trained,
    )


def slug(name: str) -> str:
    """A task's name as part of a path."""
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip(".-")


def refine_problems(recipe: Recipe) -> str:
    """Which problems stage 2 works on."""
    return "refine" if recipe.tasks.refine else "train"


def rounds_of(recipe: Recipe) -> range:
    """Numbers of the rounds, from 1."""
    return range(1, recipe.rounds + 1)


def start_inputs(number: int) -> tuple[str, ...]:
    """What decides which model a round starts from."""
    earlier = range(1, number)
    return ("instructed", *(f"round-{n}/{part}" for n in earlier for part in ("refined", "accepted.json")))


def start_of(job: Job, number: int) -> str:
    """The last accepted model before a round."""
    for earlier in range(number - 1, 0, -1):
        if json.loads(job.run.path(f"round-{earlier}/accepted.json").read_bytes())["accepted"]:
            return f"round-{earlier}/refined"
    return "instructed"
