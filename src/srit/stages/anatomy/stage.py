"""completions.jsonl and pairs.jsonl → anatomy.json: what a round's pairs can teach, before training on them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from srit.errors import DataError
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.stage import Stage, StageName
from srit.recipe import Recipe
from srit.recipe.rounds import RoundPart
from srit.records import Completion, Pair
from srit.records.anatomy import Anatomy, Learned, PairCounts
from srit.records.own import key_of
from srit.run_directory import Json, checked, fault_of
from srit.stages.anatomy.pairs import count_pairs
from srit.stages.anatomy.samples import Samples, count_samples
from srit.training.losses import loss_kind


def anatomy_stage(recipe: Recipe, number: int) -> Stage:
    """Declare a round's anatomy.json."""
    name, whole = StageName("anatomy", number), RoundPart(number)
    return Stage(
        name=name,
        version=1,
        settings={"loss": recipe.refine.loss},
        reads=("refine.loss",),
        inputs=(whole.completions, whole.pairs),
        outputs=(f"{name}.json",),
        make=lambda inputs, out, context: _make_anatomy(inputs, out, context, whole),
        uses_student=False,
    )


def _make_anatomy(inputs: Inputs, out: Outputs, context: Context, whole: RoundPart) -> Mapping[str, Json]:
    learned = _learned(inputs.recipe.refine.loss)
    samples = Samples(inputs.grouped(whole.completions, Completion, key_of))
    anatomy = Anatomy(count_samples(samples), count_pairs(inputs.each_record(whole.pairs, Pair), samples), learned)
    out.json(f"{whole.folder}/anatomy.json", _adapter().dump_python(anatomy, mode="json"))
    if not anatomy.pairs:
        return {"pairs": 0}
    counts = anatomy.pairs[-1]
    if learned == "pairs":
        context.reports.report(f"     {foretold(counts)}")
    return {"pairs": counts.pairs, "chosen likelier": counts.chosen_likelier, "scored": counts.scored}


def _learned(loss: str) -> Learned:
    kind = loss_kind(loss)
    return "pairs" if kind.loss else "samples" if kind.token_loss else "right answers"


def foretold(counts: PairCounts) -> str:
    """Say how much the pairs can teach, before training."""
    likelier = f"chosen is the likelier answer already in {counts.chosen_likelier} of {counts.scored} pairs"
    return f"{likelier}; {counts.rejected_likeliest} of {counts.pairs} reject their problem's likeliest answer"


def read_anatomy(path: Path) -> Anatomy:
    """Read an anatomy.json.

    Raises:
        DataError: it is missing or damaged; names the field at fault.
    """
    try:
        return checked(path.read_bytes(), _adapter())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}: rerun the run's command to make it") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({fault_of(error)}): delete it and rerun the run's command") from None


@cache
def _adapter() -> TypeAdapter[Anatomy]:
    return TypeAdapter(Anatomy)
