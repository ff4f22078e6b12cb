"""A round's answers → what stage 2 learns from each problem: pairs, likely answers, and advantages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from typing import TYPE_CHECKING, NamedTuple

from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs
from srit.recipe import Pairs, Refine
from srit.recipe.rounds import RoundPart
from srit.records import Completion, Pair, Problem
from srit.records.own import with_own
from srit.run_directory import Scratch
from srit.stages.pairs import prompts_of, right_sides, usable
from srit.students.lengths import Fitting, bound_of
from srit.students.prompts import Prompts
from srit.training.losses import loss_kind

if TYPE_CHECKING:
    from srit.training.objective import Preference

TokenIds = tuple[int, ...]


def fitting_of(context: Context, settings: Refine) -> Fitting:
    """Return what tells which answers can be trained on."""
    return Fitting(bound_of(context.texts.room, settings.max_length, "refine"))


def preferences_of(
    inputs: Inputs, context: Context, settings: Refine, file: str, part: RoundPart, fitting: Fitting
) -> Sequence[Preference]:
    """Return what a part's answers teach under these settings, set aside; `file` as in `make_refined`."""
    return Scratch(
        each_preference(
            part.problems(inputs.filed(file, Problem)),
            inputs.each_record(part.pairs, Pair),
            inputs.each_record(part.completions, Completion),
            context.texts.prompts,
            inputs.recipe.pairs,
            settings,
            fitting,
        )
    )


def each_preference(
    problems: Iterable[Problem],
    pairs: Iterable[Pair],
    completions: Iterable[Completion],
    prompts: Prompts,
    limits: Pairs,
    settings: Refine,
    fitting: Fitting,
) -> Iterator[Preference]:
    """Yield the groups that stage 2 trains on, in problem order, in which pairs and completions are too.

    Answers that are too long are left out, and counted by `fitting`.
    """
    kind = loss_kind(settings.loss)
    once, again = tee(problems)
    for (problem, own), (_, paired) in zip(with_own(once, completions), with_own(again, pairs), strict=True):
        right = right_sides(own, limits) if learns_right(settings) else []
        samples = _samples(own) if kind.token_loss else []
        for prompt in prompts_of(limits.prompt):
            of_prompt = [pair for pair in paired if pair.prompt == prompt]
            likely = [side.token_ids for side in right]
            if settings.nll_on == "chosen" and (kind.loss or settings.nll_weight):  # also logged with a weight of 0
                likely = list(dict.fromkeys(pair.chosen_ids for pair in of_prompt))
            taught = _Taught(of_prompt if kind.loss else [], likely, samples)
            if any(taught):
                prompt_ids = prompts.problem_ids(problem, prompt)
                fitted = taught.of(
                    ids for ids in taught.answers() if fitting.fits(len(prompt_ids) + len(ids), problem.id)
                )
                if any(fitted):
                    yield _preference(problem.id, prompt_ids, fitted)


def _samples(completions: Sequence[Completion]) -> list[tuple[TokenIds, float]]:
    """Return every answer to a problem with its reward, those to both prompts as one group, as they are in pairs."""
    return _contrasted([(answer.token_ids, answer.reward) for answer in usable(completions, Counter())])


def _contrasted(samples: list[tuple[TokenIds, float]]) -> list[tuple[TokenIds, float]]:
    """Return a group; [] if its answers are all right, or all wrong: they have no advantage over each other."""
    return samples if len({reward for _, reward in samples}) > 1 else []


def learns_right(settings: Refine) -> bool:
    """Return whether the likelihood of own right answers is raised, whether or not they are in a pair."""
    return settings.nll_weight > 0 and settings.nll_on == "right"


class _Taught(NamedTuple):
    """What the answers to one prompt teach."""

    pairs: Sequence[Pair]
    likely: Sequence[TokenIds]  # answers whose likelihood is raised
    samples: Sequence[tuple[TokenIds, float]]  # with their rewards, which differ

    def answers(self) -> Iterable[TokenIds]:
        """Return each answer once."""
        sides = (ids for pair in self.pairs for ids in (pair.chosen_ids, pair.rejected_ids))
        return dict.fromkeys((*sides, *self.likely, *(ids for ids, _ in self.samples)))

    def of(self, answers: Iterable[TokenIds]) -> _Taught:
        """Return what some of the answers teach."""
        some = set(answers)
        return _Taught(
            [pair for pair in self.pairs if {pair.chosen_ids, pair.rejected_ids} <= some],
            [ids for ids in self.likely if ids in some],
            _contrasted([(ids, reward) for ids, reward in self.samples if ids in some]),
        )


def _preference(problem_id: str, prompt_ids: TokenIds, taught: _Taught) -> Preference:
    from srit.compute.rows import Group
    from srit.training.objective import Preference, advantages

    over_others = advantages([reward for _, reward in taught.samples]) if taught.samples else []
    place = {ids: index for index, ids in enumerate(taught.answers())}
    return Preference(
        group=Group(prompt_ids, tuple(place)),
        pairs=tuple((place[pair.chosen_ids], place[pair.rejected_ids]) for pair in taught.pairs),
        likely=tuple(place[ids] for ids in taught.likely),
        samples=tuple((place[ids], a) for (ids, _), a in zip(taught.samples, over_others, strict=True)),
        problem_id=problem_id,
    )
