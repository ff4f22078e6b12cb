"""What a stage is, and what the stages of one run share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from srit.compared import evaluated, refine_problems
from srit.compute.plan import ComputePlan
from srit.errors import SritError
from srit.recipe import Recipe
from srit.records import Problem, PromptKind
from srit.run_directory import Json, Run, read_records, recorded_sum
from srit.samplers import Request, Sampled, Sampler, SamplingSettings
from srit.samplers.chunks import sample_in_chunks
from srit.students.lengths import Asked, Room, refuse, too_long, warning
from srit.students.loading import load_model, load_prompts, load_room, locate, trainable
from srit.students.prompts import Prompts
from srit.teachers import Teacher

CHUNK = 4  # times the rows are committed together: a row that ends early is given to another answer of the chunk
SHORT = 128  # tokens; of answers that may be longer fewer are committed together, so that a kill costs no more work
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
    computes: tuple[str, ...] = ()  # fields of the student's `ComputePlan` that shape the outputs
    # Sums of all that is read from outside of the run, each by what a person calls it; where their names are those of
    # the outputs, each output is made of its own alone.
    sources: Callable[[], Mapping[str, Json]] = dict


NOT_THERE = "not there"  # the sum of a source that is missing
# What of a `ComputePlan` shapes a model's answers, its log-probabilities, and what is trained.
SAMPLES = ("dtype", "decoding")
SCORES = ("dtype", "rows")
TRAINS = ("dtype", "rows", "targets", "attention")


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
        way: ComputePlan | None,
        progress: Progress,
        tell: Tell,
        shared: Shared | None = None,
    ) -> None:
        """
        Args:
            way: how the student is computed; None: no stage that is wanted computes with it.
            shared: what the run has in common with others; None: it stands alone.
        """
        self.run = run
        self.shared = shared
        self.recipe = recipe
        self.known_way = way
        self.progress = progress
        self.tell = tell
        self.teacher: Teacher | None = None  # one behind a server: what it has learned of it holds for every stage
        self._sampler: tuple[tuple[str, int, str], Sampler] | None = None  # the last one, and what it was made of
        self._scoring: tuple[tuple[str, str], Any] | None = None  # likewise
        self._fits = False  # whether `check_lengths` has been here

    @property
    def way(self) -> ComputePlan:
        """How the student is computed."""
        assert self.known_way is not None, "a stage that computes says so: Stage.computes"
        return self.known_way

    @cached_property
    def prompts(self) -> Prompts:
        """Loads the tokenizer when first asked, and tells what was mended in its chat template."""
        prompts = load_prompts(self.recipe.student)
        for line in prompts.lines:
            self.tell(line if line.startswith("WARN") else f"     {line}")
        return prompts

    @cached_property
    def room(self) -> Room | None:
        """How long the student's texts may be."""
        return load_room(self.recipe.student)

    def check_lengths(self) -> None:
        """Before anything is spent: warns of prompts that are longer than what the student was trained on.

        Raises:
            DataError: the student has no positions for a prompt and its answer.
        """
        if self._fits or self.room is None:
            return
        found = too_long(asked(self.recipe, self.problems, self.prompts), self.prompts, self.room)
        refuse(found, self.room)
        if found:
            self.invariant("prompts and answers fit", False, warning(found, self.room))
        self._fits = True

    def problems(self, name: str) -> list[Problem]:
        """problems/NAME.jsonl."""
        return read_records(self.run.path(f"problems/{name}.jsonl"), Problem)

    def sample(
        self, model: str, requests: Sequence[Request], settings: SamplingSettings, partial: Path, what: str, rows: int
    ) -> list[Sampled]:
        """Answers of one of the run's models, `rows` decoded at once; it is loaded if any are missing."""
        self.check_lengths()
        return sample_in_chunks(
            lambda: self._sampler_of(model, rows),
            requests,
            settings,
            size=rows * max(1, CHUNK * SHORT // max(SHORT, settings.max_new_tokens)),
            partial=partial,
            progress=lambda done, total: self.progress(what, done, total),
        )

    def _sampler_of(self, model: str, rows: int) -> Sampler:
        """Kept for the next stage: the evaluation asks one model task after task."""
        made_of = (model, rows, self._sum_of(model))
        if self._sampler is None or self._sampler[0] != made_of:
            self._sampler = self._scoring = None  # frees their memory before the next is loaded
            self._sampler = (made_of, _sampler(self.recipe, self.way, self._trained(model), rows, self.prompts))
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

    def trainable(self, start: str | None) -> Any:
        """The student with what is trained of it.

        Args:
            start: the run's model that training goes on from; None: the student itself.
        """
        folder = None if start is None else self.run.path(start)
        return trainable(self.recipe.student, folder, targets=self.way.targets, attention=self.way.attention)

    def _trained(self, model: str) -> Path | None:
        return None if model == "base" else self.run.path(model)

    def _sum_of(self, model: str) -> str:
        return "" if model == "base" else recorded_sum(self.run.manifest.stages, model)

    def invariant(self, name: str, ok: bool, line: str) -> Json:
        """Tells of an invariant, and returns it for the record."""
        self.tell(f"{'ok  ' if ok else 'WARN'} {line}")
        return {"name": name, "ok": ok, "line": line}


def _sampler(recipe: Recipe, way: ComputePlan, trained: Path | None, rows: int, prompts: Prompts) -> Sampler:
    """An engine with the student, or with what a stage made of it."""
    student = recipe.student
    if recipe.sampler == "transformers":
        from srit.samplers.transformers import TransformersSampler

        model = load_model(student, trained)
        return TransformersSampler(model, rows=rows, pad_id=0, text=prompts.text, decoding=way.decoding)
    from srit.samplers.vllm import VllmSampler

    whole = trained is not None and not (trained / "adapter_config.json").exists()
    return VllmSampler(
        str(trained) if whole else str(locate(student) or student.model),
        dtype=student.dtype,
        revision=None if whole else student.revision,
        rank=student.lora.rank,
        adapter=None if whole else trained,
    )


def asked(recipe: Recipe, problems: Callable[[str], list[Problem]], prompts: Prompts) -> Iterator[Asked]:
    """Every prompt that a run puts to its student, and the room for its answer.

    Args:
        problems: those of a name, as in `Job.problems`.
    """
    from srit.stages.pairs import prompts_of

    sample, evaluate = recipe.sample, recipe.evaluate
    sampled: dict[PromptKind, int] = {"direct": sample.direct, "cot": sample.cot}
    kinds = {kind for kind, n in sampled.items() if n} | set(prompts_of(recipe.pairs.prompt))
    for problem in problems("train") if recipe.tasks.refine else ():
        yield Asked(problem, "cot", 1, "a demonstration")  # of which those that are too long are left out
    for problem in problems(refine_problems(recipe)):
        yield from (Asked(problem, kind, sample.max_new_tokens, "sample.max_new_tokens") for kind in sorted(kinds))
    for problem in problems("dev"):
        yield Asked(problem, "cot", evaluate.max_new_tokens, "evaluate.max_new_tokens")
    for task in evaluated(recipe):
        for problem in problems(f"evaluate-{task.place}"):
            choices = (problem.choices or ()) if evaluate.options else ()
            longest = max((len(prompts.completion_ids(choice)) for choice in choices), default=0)
            for kind in evaluate.prompts:
                yield Asked(problem, kind, evaluate.max_new_tokens, "evaluate.max_new_tokens")
                if longest > evaluate.max_new_tokens:
                    yield Asked(problem, kind, longest, "its longest option")
