"""The parts of a round → its completions.jsonl and pairs.jsonl, for stages that read a round as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.stage import Stage, StageName
from srit.recipe.rounds import RoundPart
from srit.records import Completion, Pair
from srit.run_directory import Json
from srit.stages.completions import Tally


def joined_stages(parts: Sequence[RoundPart]) -> list[Stage]:
    """Declare the files of a round that is divided into these parts; none if it is not."""
    if len(parts) == 1:
        return []
    whole = RoundPart(parts[0].round)
    return [
        Stage(
            name=StageName("completions", whole.round),
            version=1,
            settings={},
            reads=(),
            inputs=tuple(part.completions for part in parts),
            outputs=(whole.completions,),
            make=lambda inputs, out, context: _join_completions(inputs, out, parts, whole),
            uses_student=False,
        ),
        Stage(
            name=StageName("pairs", whole.round),
            version=1,
            settings={},
            reads=(),
            inputs=tuple(part.pairs for part in parts),
            outputs=(whole.pairs,),
            make=lambda inputs, out, context: _join_pairs(inputs, out, parts, whole),
            uses_student=False,
            shows=tuple(StageName("pairs", part.round, part=part.shown) for part in parts),
        ),
    ]


def _join_completions(inputs: Inputs, out: Outputs, parts: Sequence[RoundPart], whole: RoundPart) -> Mapping[str, Json]:
    tally = Tally()
    joined = (one for part in parts for one in inputs.each_record(part.completions, Completion))
    out.records(whole.completions, tally.counting(joined))
    return tally.summary()


def _join_pairs(inputs: Inputs, out: Outputs, parts: Sequence[RoundPart], whole: RoundPart) -> Mapping[str, Json]:
    """Join the pairs and add up their counts; a problem counts once in each pass."""
    out.records(whole.pairs, (pair for part in parts for pair in inputs.each_record(part.pairs, Pair)))
    counts: Counter[str] = Counter()
    for entry in inputs.entries.values():
        counts.update({what: int(n) for what, n in entry.counts.items()})
    return counts
