"""A stage: one step of a run, and everything that it is made from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from srit.pipeline.estimate import Work
from srit.recipe import Recipe
from srit.recipe.compared import OPTIONS
from srit.records import Model
from srit.run_directory import Json

if TYPE_CHECKING:
    from srit.pipeline.context import Chunks, Context
    from srit.pipeline.declared import Inputs, Outputs

UNSETTLED = "without an answer yet"  # the count of a stage's questions that its next run asks again

# The fields of a `ComputePlan` that shape a model's answers, its log-probabilities, and what is trained.
SAMPLES = ("dtype", "decoding", "device", "cache_bytes")
SCORES = ("dtype", "rows", "device", "batch_tokens")
TRAINS = ("dtype", "rows", "targets", "attention", "device", "batch_tokens", "stored_tokens")


@dataclass(frozen=True, slots=True)
class StageName:
    """Identifies a stage of a run."""

    product: str  # what it makes, such as "pairs": the name of its file in `srit.stages`, or of a part of it
    round: int = 0  # of stage 2 of the method, from 1; 0: part of no round
    model: Model | None = None  # the model of the predictions or options
    task: str = ""  # the place of the evaluation task, as `compared.evaluated` gives it
    control: str = ""  # which control it trains
    part: int = 0  # of its round, from 1; 0: the whole round, or part of no round

    def __str__(self) -> str:
        """Return the name in the manifest and on the screen: "round-1/pairs", "predictions/base/sums"."""
        if self.model is not None:
            return f"predictions/{self.model}/{self.task}{OPTIONS if self.product == 'options' else ''}"
        if self.control:
            return f"{self.product}/{self.control}"
        part = f"part-{self.part}/" if self.part else ""
        return f"round-{self.round}/{part}{self.product}" if self.round else self.product


PART = re.compile(r"(?<=/part-)\d+(?=/)")  # the number of a part in the name of a stage


def part_of(name: str) -> int:
    """Return the part of a round that the stage of this name belongs to; 0 for none."""
    found = PART.search(name) if name.startswith("round-") else None
    return int(found[0]) if found else 0


def no_work(recipe: Recipe) -> Work:
    """Return the work of a stage that costs next to nothing."""
    return Work()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a run.

    `make` makes the outputs and returns counts. It can read the declared inputs and recipe fields, and write the
    declared outputs; anything else raises (`declared.py`).
    """

    name: StageName
    version: int  # raised when the stage's code makes something else from the same inputs
    settings: Json  # everything that shapes its outputs, except its inputs
    reads: tuple[str, ...]  # fields of the recipe that `make` sees, such as "seed" or "refine.beta"
    inputs: tuple[str, ...]  # outputs of earlier stages
    outputs: tuple[str, ...]
    make: Callable[[Inputs, Outputs, Context], Mapping[str, Json]]
    work: Callable[[Recipe], Work] = no_work  # what it takes, estimated from the recipe alone
    uses_student: bool = True  # whether the student's weights or tokenizer shape the outputs
    shared_as: str = ""  # the name of the same work in every run; "": the stage's name
    computes: tuple[str, ...] = ()  # fields of the student's `ComputePlan` that shape the outputs
    # Checksums of everything that is read from outside the run, each under a readable name. If the names are
    # those of the outputs, each output is made from its own source alone.
    sources: Callable[[], Mapping[str, Json]] = dict
    # Outputs that must exist before this stage runs without changing what it makes: checks, and parts of its own work
    # that another stage does first. `make` can read them. Not in the fingerprint: they follow from what is in it.
    after: tuple[str, ...] = ()
    # Inputs that no other stage needs: a run removes them once this one is done (`Run.spend`). Not in the fingerprint.
    spends: tuple[str, ...] = ()
    auxiliary: bool = False  # made only for other stages, and not if those are already done
    continues: StageName | None = None  # the stage whose unfinished work it adds to; None: it has its own
    shows: tuple[StageName, ...] = ()  # stages whose counts it reads
    # The chunks of its answers, which `make` computes or finds computed (`ahead.py`); None: they have to wait for it.
    chunks: Callable[[Inputs, Context], Sequence[Chunks]] | None = None


def relief(stage: Stage, lacking: str) -> str:
    """Say how to make a stage take less memory or disk, as the beginning of a sentence."""
    if "memory" not in lacking:
        return "make room, and "
    part = {"instructed": "instruct", "refined": "refine", "controls": "refine"}.get(stage.name.product)
    smaller = f"lower {part}.row_tokens or {part}.batch_size" if part else "lower rows (answers decoded at once)"
    return f"{smaller}, or end other programs, and " if stage.computes else "end other programs, and "
