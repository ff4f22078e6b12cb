"""Everything that a recipe can set: one YAML file, read into frozen models and checked before anything is spent.

The defaults of both trainings, of sampling, and of pairs are those that docs/choosing.md advises for a small student,
which learns from its own right answers alone, without a preference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from srit.kinds import LOSSES, SAMPLERS, TEACHERS, tracker_names
from srit.recipe.former import LOSS_FIELDS, TEACHER_FIELDS, is_of_run, without_former_kinds
from srit.recipe.waiting import waiting
from srit.recipe.wording import PLAIN, Prompt
from srit.settings import (
    Count,
    Fraction,
    OneOf,
    Part,
    Positive,
    checked,
    find_yaml,
    names_in,
    parse,
    parse_override,
    read_text,
    set_field,
    where,
)
from srit.tasks import is_task, unknown_task

# Longer than all but 1 in 1,000 recorded answers of Llama-3-70B and Gemini 1.5 Flash to GSM8K and of GPT-4o to
# OpenBookQA, in tokens of SmolLM2; 96 tokens cut 7 to 49 % of them. Competition mathematics takes more.
MAX_NEW_TOKENS = 256


class Lora(Part):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685)."""

    rank: Count = 16
    alpha: Positive = 32.0
    target_modules: str | tuple[str, ...] = "all-linear"


class Student(Part):
    """The model that learns."""

    model: str  # "smollm2-135m-instruct" (from PyPI), a local folder or a hub id
    revision: str | None = None  # of a hub id
    # Of the model on the hub that an adapter was trained on; None: the one that the adapter names.
    base_revision: str | None = Field(default=None, exclude_if=lambda revision: revision is None)
    chat_template: str | None = None  # "chatml", "gemma", a Jinja template, or None: the tokenizer's own
    tuning: Literal["lora", "full", "qlora"] = "lora"  # qlora: adapters over a 4-bit base (srit[qlora])
    lora: Lora = Lora()
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: whichever a short probe finds faster on this machine
    # auto: a GPU if there is one when the run begins. Only "cuda" is recorded: at first there was nothing else.
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", exclude_if=lambda device: device != "cuda")
    # Tokens that go through it at once in training; None: 2,048 on a CPU, and as many as fit into a GPU's memory.
    batch_tokens: Count | None = Field(default=None, exclude_if=lambda batch_tokens: batch_tokens is None)

    # Gradient checkpointing: whether layers are recomputed for the gradient instead of stored. auto: if a GPU's memory
    # holds less than a batch; the numbers are the same.
    recompute: Literal["auto", "always", "never"] = Field(
        default="auto", exclude_if=lambda recompute: recompute == "auto"
    )

    # On the field only: on the whole model, lists would be checked as Python's, none of which is a tuple.
    @field_validator("device", mode="before")
    @classmethod
    def _is_tested(cls, device: Any) -> Any:
        if device == "mps":
            raise ValueError("device: Apple's GPU (mps) is not supported, since srit was never tested on one: set cpu")
        return device


TO_RUN = "to run"  # the context in which a recipe's tasks must exist; one that has run is read without its plug-ins


class TaskUse(Part):
    """A task, and how many of its problems."""

    task: str
    limit: Count | None = None  # problems; None: all
    data: str | None = None  # folder laid out as NAME/SPLIT.jsonl.gz; None: generated, or the hub
    # Whether results count it as trained on ("in") or not; None: if a task of its name is. Only for tasks.evaluate.
    domain: Literal["in", "out"] | None = Field(default=None, exclude_if=lambda domain: domain is None)

    @field_validator("task")
    @classmethod
    def _exists(cls, name: str, info: ValidationInfo) -> str:
        if info.context == TO_RUN and not is_task(name):
            raise PydanticCustomError("unknown_task", "{error}", {"error": unknown_task(name)})
        return name


class Tasks(Part):
    """What is trained on, decided on and evaluated on."""

    train: tuple[TaskUse, ...]  # []: nothing is trained, and the untrained student is evaluated
    refine: tuple[TaskUse, ...] = ()  # whose problems stage 2 works on; (): those of train
    dev: tuple[TaskUse, ...] = ()  # rounds are accepted on these; never on evaluation problems
    evaluate: tuple[TaskUse, ...] = Field(min_length=1)
    seed: int = 0  # chooses the problems
    allow_overlap: bool = False  # train on problems that are also evaluated

    @model_validator(mode="after")
    def _evaluates_each_once(self) -> Tasks:
        repeated = [use.task for number, use in enumerate(self.evaluate) if use in self.evaluate[:number]]
        if any(use.domain for use in (*self.train, *self.refine, *self.dev)):
            raise ValueError("domain: only the tasks of evaluate have one: remove it from the others")
        if repeated:
            raise ValueError(f"evaluate: {repeated[0]} is given twice, with the same data and limit: remove one")
        return self


class TeacherSettings(Part):
    """Where step-by-step answers come from; each kind adds what it uses."""

    kind: str

    @property
    def learns_thoughts(self) -> bool:
        """Whether the thoughts in an answer are learned with it."""
        return True


class Demonstrations(Part):
    """Which of the teacher's answers are trained on."""

    limit: int | None = Field(default=None, ge=0)  # how many training problems of each task are demonstrated; None: all
    keep: Literal["correct", "all"] = "correct"  # all: also wrong answers, and those that cannot be read


Schedule = Literal["linear", "cosine", "constant"]


class Optimization(Part):
    """One stage of training by AdamW."""

    epochs: Count = 2
    learning_rate: Positive = 2e-4
    batch_size: Count = 16  # demonstrations, or problems, per step
    row_tokens: Count = 256  # tokens of a packed row: longer rows waste more attention
    warmup: Fraction = 0.1  # of the steps
    clip: Positive = 1.0  # gradient norm
    # Of the learning rate, after the warmup: linear and cosine end at 0.
    schedule: Schedule = Field(default="linear", exclude_if=lambda schedule: schedule == "linear")
    # A step takes this share of the learning rate off each matrix; vectors, such as norms, keep theirs.
    weight_decay: float = Field(default=0.0, ge=0, exclude_if=lambda decay: not decay)
    # Tokens of the longest text to train on, with its prompt: longer ones are left out. None: as many as the student
    # has positions; one with relative positions (RoPE, ALiBi) can be trained beyond them.
    max_length: Count | None = Field(default=None, exclude_if=lambda max_length: max_length is None)


class Instruct(Optimization):
    """Stage 1: instruction-tuning on the demonstrations."""

    # For a few hundred demonstrations; two or three for thousands. 0: no stage 1; stage 2 refines the student itself.
    epochs: int = Field(default=6, ge=0)
    learning_rate: Positive = 5e-4
    cot_fraction: Fraction = 0.5  # of the demonstrations trained with the CoT prompt; the rest with the direct one
    # What the direct prompt is trained to give: the whole demonstration, or its answer alone.
    direct_target: Literal["demonstration", "answer"] = "demonstration"


class Sample(Part):
    """The student's own answers to the training problems."""

    direct: int = Field(default=1, ge=0)  # answers to each direct prompt
    cot: int = Field(default=3, ge=0)  # answers to each CoT prompt
    temperature: Positive = 1.0
    top_k: Count | None = None
    top_p: float = Field(default=1.0, gt=0, le=1)
    min_p: float = Field(default=0.0, ge=0, lt=1)
    max_new_tokens: Count = MAX_NEW_TOKENS
    # A file of answers to the training problems, which are then judged and scored instead of sampled.
    path: str | None = Field(default=None, exclude_if=lambda path: path is None)


class Pairs(Part):
    """Which answers are preferred to which."""

    # What is chosen. cot: right answers to the CoT prompt; correctness: to either; teacher: the demonstration.
    heuristic: Literal["cot", "correctness", "teacher"] = "cot"
    fallback: Literal["demonstration", "skip"] = "demonstration"  # where no answer is right
    # With the heuristic cot: wrong answers, direct ones without steps, or both. With the others, wrong answers.
    rejected: Literal["direct_or_wrong", "wrong", "direct"] = "direct_or_wrong"
    rejected_by: Literal["sampled", "likeliest", "least_likely"] = "sampled"  # which answers are rejected first
    distinct: bool = True  # whether equal answers count once; False: as often as they were given
    swapped: Fraction = 0.0  # probability that a pair's sides are exchanged: at 0.5, a control that prefers nothing
    pairs_per_problem: Count = 2
    prompt: Literal["direct", "cot", "both"] = "cot"  # the prompt that pairs are conditioned on
    # A file of pairs for the training problems: then nothing is sampled, and of the other fields only `prompt` counts.
    path: str | None = Field(default=None, exclude_if=lambda path: path is None)


class Refine(Optimization):
    """Stage 2: preference optimization on the student's own answers; each loss adds what it uses."""

    loss: str
    batch_size: Count = 8  # problems per step
    # Of the joint likelihood term. 0 is the paper's loss, which lost 21.7 points where 4 gained 12.8.
    nll_weight: float = Field(default=4.0, ge=0)
    nll_on: Literal["chosen", "right"] = "right"  # on what a pair prefers, or on the student's own right answers
    parts: Count = 1  # of a round's problems: each is answered by the model that learned from the part before
    passes: Count = 1  # over a round's problems, with new answers in each; epochs learn the same answers again
    accept: Literal["better", "always"] = "better"  # on the dev problems; "better": no worse than noise explains


class Referenced(Refine):
    """Stage 2 with a loss that compares the policy with a reference."""

    reference: Literal["part", "round"] = "part"  # the model as it was before this part, or before the round's first


class SamplerSettings(Part):
    """What draws the student's answers; each kind adds what it uses."""

    reads_text: ClassVar[bool] = True  # whether it can end an answer at a text (evaluate.stop)

    kind: str


class Evaluate(Part):
    """Greedy answers of every model to every evaluation problem."""

    prompts: tuple[Literal["direct", "cot"], ...] = ("direct", "cot")
    base_limit: Count | None = None  # problems of each task that base answers, as it may never end a turn; None: all
    max_new_tokens: Count = MAX_NEW_TOKENS
    stop: tuple[str, ...] = ()  # texts that also end an answer, for models that do not end their turn
    pass_at: tuple[Count, ...] = ()  # k of pass@k; () draws no samples
    samples: Count = 8  # drawn for each prompt if pass_at asks for it
    temperature: Positive = 0.8  # of those samples
    options: bool = False  # also score the options of multiple-choice problems by likelihood
    pairs: bool = False  # measure what training did to the pairs' likelihood, and to greedy answers to their problems
    teacher: bool = False  # let the teacher answer too, with the CoT prompt; a recording may not have all answers
    noise_floor: bool = False  # let the instructed model answer twice, in other batches

    @model_validator(mode="after")
    def _samples_suffice(self) -> Evaluate:
        if max(self.pass_at, default=0) > self.samples:
            raise ValueError(
                f"samples: pass@{max(self.pass_at)} needs at least {max(self.pass_at)}, not {self.samples}"
            )
        return self


def _default(value: Any) -> Any:
    return Field(default=value, validate_default=True)


class Recipe(Part):
    """A whole run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    seed: int = 0  # for everything except the choice of problems
    student: Student
    tasks: Tasks
    teacher: Annotated[TeacherSettings, OneOf(TEACHERS, "solver", TEACHER_FIELDS)] = _default({})
    prompt: Prompt = Field(default=PLAIN, exclude_if=lambda prompt: prompt == PLAIN)
    demonstrations: Demonstrations = Demonstrations()
    instruct: Instruct = Instruct()
    sample: Sample = Sample()
    pairs: Pairs = Pairs()
    # By its loss; sigmoid (DPO) instead of none if a field of a preference, such as beta, is set without a loss.
    refine: Annotated[Refine, OneOf(LOSSES, "none", LOSS_FIELDS, or_else="sigmoid")] = _default({})
    rounds: int = Field(default=1, ge=0)  # of stage 2; 0: no stage 2
    controls: tuple[Literal["instruct", "right"], ...] = ()  # stage 1 on as many tokens; own right answers
    evaluate: Evaluate = Evaluate()
    sampler: Annotated[SamplerSettings, OneOf(SAMPLERS, "transformers", by_name=True)] = _default({})
    rows: Count = 128  # answers decoded at once; four times as many are stored together. Some thousand for vllm
    # Experiment trackers: tensorboard, wandb, mlflow, trackio; or none. null: those that the run had. It changes no
    # result, so it is not part of recipe.yaml.
    report_to: tuple[str, ...] | None = Field(default=None, exclude=True)

    _are_trackers = field_validator("report_to", mode="before")(tracker_names)

    @model_validator(mode="after")
    def _parts_are_few_enough(self) -> Recipe:
        parts = self.refine.parts * self.refine.passes
        if (n := self.rounds * parts) > 10_000:
            raise ValueError(f"rounds, refine.parts and refine.passes make {n:,} parts; at most 10,000 are trained")
        if self.controls and parts > 1:
            raise ValueError(
                "controls: they learn from the answers of one model, but with refine.parts or refine.passes there are "
                "several: set both to 1; or set controls: [], and compare with a run with refine.loss: none"
            )
        return self

    @model_validator(mode="after")
    def _swapped_answers_are_not_learned(self) -> Recipe:
        if self.pairs.swapped and self.refine.nll_weight and self.refine.nll_on == "chosen":
            raise ValueError(
                "pairs.swapped: the likelihood of the chosen answers would be raised, which exchanged sides make wrong "
                "ones: set refine.nll_on: right, or refine.nll_weight: 0"
            )
        return self

    @model_validator(mode="after")
    def _parts_that_are_left_out_leave_nothing_waiting(self) -> Recipe:
        if reason := waiting(self):
            raise ValueError(reason)
        return self

    @model_validator(mode="after")
    def _sampler_reads_text(self) -> Recipe:
        if self.evaluate.stop and not self.sampler.reads_text:
            kind = self.sampler.kind
            raise ValueError(f"evaluate.stop: the sampler {kind} reads only token ids: set sampler: transformers")
        return self


def read_recipe(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        source: a .yaml file, the name of a shipped recipe, or the fields as a mapping.
        overrides: KEY=VALUE for fields to replace, such as "refine.beta=0.2".

    Returns:
        The recipe, with defaults for what it does not set.

    Raises:
        RecipeError: it does not exist, is not YAML, or is not a recipe that can run. Names every field at fault, with
            its line.
    """
    return check_recipe(*_parsed(source, overrides), context=TO_RUN)


def read_old_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe of a run, whose tasks may be those of plug-ins that are no longer installed.

    Raises:
        RecipeError: as by `read_recipe`.
    """
    return check_recipe(*_parsed(path, overrides))


def _parsed(source: str | Path | Mapping[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], str, str]:
    """Return a recipe's fields with the overrides, its name in messages, and its YAML."""
    if isinstance(source, Mapping):
        name, text, tree, is_complete = "the recipe", "", deepcopy(dict(source)), False
    else:
        path = find_yaml(str(source), SHIPPED, "recipe")
        name, text = str(path), read_text(path)
        tree, is_complete = parse(text, path), is_of_run(path)
    changes = [parse_override(override) for override in overrides]
    if is_complete:
        tree = without_former_kinds(tree, changes, Recipe)
    for key, value in changes:
        set_field(tree, key, value)
    return tree, name, text


def check_recipe(tree: Any, source: str, text: str = "", *, context: str | None = None) -> Recipe:
    """Check a parsed tree.

    Args:
        source: its name in messages.
        text: its YAML, to find the lines of faults; "" if there is none.
        context: `TO_RUN`, or None.

    Raises:
        RecipeError: names every field at fault.
    """
    return checked(Recipe, tree, lambda place: where(source, text, place), context)


def shipped() -> list[str]:
    """Return the names of the recipes that come with srit."""
    return names_in(SHIPPED)


SHIPPED = Path(__file__).parent.parent / "recipes"
