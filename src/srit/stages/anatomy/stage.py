"""completions.jsonl and pairs.jsonl → anatomy.json: what a round's pairs have to teach, before it is taught."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from srit.anatomy import Anatomy, PairCounts
from srit.errors import DataError
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.stage import Stage, StageName
from srit.records import Completion, Pair
from srit.run_directory import Json, checked, fault_of
from srit.stages.anatomy.pairs import count_pairs
from srit.stages.anatomy.samples import by_problem, count_samples


def anatomy_stage(number: int) -> Stage:
    """Declare a round's anatomy.json."""
    name = StageName("anatomy", number)
    completions, pairs = (f"round-{number}/{part}.jsonl" for part in ("completions", "pairs"))
    return Stage(
        name=name,
        version=1,
        settings={},
        reads=(),
        inputs=(completions, pairs),
        outputs=(f"{name}.json",),
        make=lambda inputs, out, context: _make_anatomy(inputs, out, context, completions, pairs, f"{name}.json"),
        uses_student=False,
    )


def _make_anatomy(
    inputs: Inputs, out: Outputs, context: Context, completions: str, pairs: str, file: str
) -> Mapping[str, Json]:
    samples, made = by_problem(inputs.records(completions, Completion)), inputs.records(pairs, Pair)
    anatomy = Anatomy(count_samples(samples), count_pairs(made, samples))
    out.json(file, _adapter().dump_python(anatomy, mode="json"))
    if not anatomy.pairs:
        return {"pairs": 0}
    counts = anatomy.pairs[-1]
    context.reports.report(f"     {foretold(counts)}")
    return {"pairs": counts.pairs, "chosen likelier": counts.chosen_likelier, "scored": counts.scored}


def foretold(counts: PairCounts) -> str:
    """Say how much pairs have to teach, before training."""
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
