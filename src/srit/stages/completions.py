"""A model and problems → completions.jsonl: the student's own answers, each with its reward."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from random import Random

from srit.errors import TooFewPairs, TrainingError
from srit.pipeline.context import Context, sampling
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.estimate import Work, refined_on, tokens_of
from srit.pipeline.stage import SAMPLES, Stage, StageName, no_work
from srit.recipe import Recipe, Sample
from srit.recipe.compared import refine_problems
from srit.recipe.rounds import RoundPart
from srit.records import Completion, Problem, PromptKind
from srit.run_directory import Chosen, Json
from srit.samplers import Sampled, SamplingSettings
from srit.samplers.asked import Asked, asked, each, judging, make_requests
from srit.stages.accepted import start_inputs, start_of
from srit.stages.lengths import LENGTHS
from srit.stages.pairs import PAIR_FIELDS, demonstrations_for, make_pairs, pair_settings, usable
from srit.students.prompts import Prompts
from srit.tasks import find_task, judge
from srit.training.losses import loss_kind

LEAST_STOP_RATE = 0.95
LEAST_YIELD = 0.02  # the share of the probe's problems that must give a pair
MOST_JUDGE_ERRORS = 0.03  # of the answers
PROBE_PROBLEMS = 50


def probe_stage(recipe: Recipe, first: RoundPart) -> Stage:
    """Declare a round's probe.jsonl: completions of some problems, which show whether there will be pairs.

    Args:
        first: the round's first part, whose completions these are.
    """
    completions, problems = completions_stage(recipe, first), refine_problems(recipe)
    return replace(
        completions,
        name=StageName("probe", first.round),
        version=1,
        outputs=(_probe_file(first.round),),
        make=lambda inputs, out, context: _make_probe(inputs, out, context, problems, first),
        work=no_work,
        after=(LENGTHS,),
        auxiliary=True,
        continues=completions.name,  # whose first chunks it samples
    )


def yield_stage(recipe: Recipe, number: int) -> Stage:
    """Declare a round's yield.json: whether enough of the probe's problems teach something to sample the rest."""
    name, problems, probed = StageName("yield", number), refine_problems(recipe), _probe_file(number)
    grouped = loss_kind(recipe.refine.loss).token_loss is not None
    shaping = ("nll_weight", "nll_on", *(("loss",) if grouped else ()))
    refine = recipe.refine.model_dump(mode="json", include=set(shaping))
    return Stage(
        name=name,
        version=1,
        settings=pair_settings(recipe) | {"refine": refine},
        reads=(*PAIR_FIELDS, *(f"refine.{field}" for field in shaping)),
        inputs=(problems, "demonstrations.jsonl", probed),
        outputs=(f"{name}.json",),
        make=lambda inputs, out, context: _make_yield(inputs, out, context, problems, number, grouped),
        auxiliary=True,
    )


def completions_stage(recipe: Recipe, part: RoundPart) -> Stage:
    """Declare the completions of a round, or of a part of it.

    The probe of a round comes first, in a separate stage with the same inputs, so other pair settings sample nothing
    again.
    """
    problems = refine_problems(recipe)
    settings = recipe.model_dump(mode="json", include={"seed", "sample", "student", "sampler", "rows"})
    return Stage(
        name=StageName("completions", part.round, part=part.shown),
        version=3,
        settings=settings | part.settings,
        reads=("seed", "sample", "rows"),
        inputs=(problems, *start_inputs(part)),
        outputs=(part.completions,),
        make=lambda inputs, out, context: _make_completions(inputs, out, context, problems, part),
        work=lambda recipe: _work(recipe, part),
        computes=SAMPLES,
        after=(_probe_file(part.round), f"round-{part.round}/yield.json") if part.before is None else (),
    )


def _work(recipe: Recipe, part: RoundPart) -> Work:
    most, per_problem = recipe.sample.max_new_tokens, recipe.sample.direct + recipe.sample.cot
    answers = sum(n * tokens_of(recipe, use, "train", most).answer for use, n in refined_on(recipe))
    return Work(sampled=round(per_problem * answers / part.parts), loads=1)


def _probe_file(number: int) -> str:
    return f"round-{number}/probe.jsonl"


def _make_probe(inputs: Inputs, out: Outputs, context: Context, file: str, first: RoundPart) -> Mapping[str, Json]:
    problems = first.problems(inputs.filed(file, Problem))
    tally = Tally()
    probed = [problems[place] for place in _probed(inputs, len(problems), first)]
    out.records(
        _probe_file(first.round), tally.counting(_sample(inputs, context, probed, context.partial / "probe", first))
    )
    return {"completions": tally.n}


def _make_yield(
    inputs: Inputs, out: Outputs, context: Context, file: str, number: int, grouped: bool
) -> Mapping[str, Json]:
    recipe, completions = inputs.recipe, inputs.records(_probe_file(number), Completion)
    wanted, n_problems = dict.fromkeys(c.problem_id for c in completions), len(inputs.filed(file, Problem))
    by_id = {problem.id: problem for problem in inputs.each_record(file, Problem) if problem.id in wanted}
    probed = [by_id[problem_id] for problem_id in wanted]
    what, counts = _mixed(probed, completions) if grouped else _paired(inputs, context, probed, completions)
    n, share = counts[f"problems with {what}"], counts[f"problems with {what}"] / len(probed)
    why = "; ".join(f"{name} ({n})" for name, n in counts.most_common() if name.startswith("none: "))
    needed = not (recipe.refine.nll_weight and recipe.refine.nll_on == "right")
    if share < LEAST_YIELD and needed:
        raise TooFewPairs(
            f"of {len(probed)} problems tried, only {n} give {what}: {why}. Use problems that the student "
            "sometimes gets right (tasks.train), more samples, or a higher sample.temperature"
        )
    expected = round(share * n_problems)
    context.reports.report(f"ok   yield: about {expected} problems will give {what}" + (f"; {why}" if why else ""))
    found = {"problems": len(probed), f"problems with {what}": n, "expected": expected}
    out.json(f"round-{number}/yield.json", found)
    return found


def _paired(
    inputs: Inputs, context: Context, probed: Sequence[Problem], completions: Sequence[Completion]
) -> tuple[str, Counter[str]]:
    """Return what a loss over pairs learns from, how many problems have it, and why the others do not."""
    shown = demonstrations_for(inputs, context)
    _, counts = make_pairs(probed, completions, shown, inputs.recipe.pairs, context.texts.prompts.completion_ids)
    return "pairs", counts


def _mixed(probed: Sequence[Problem], completions: Sequence[Completion]) -> tuple[str, Counter[str]]:
    """Return the same for a loss over all answers to a problem."""
    rewards: dict[str, set[float]] = {problem.id: set() for problem in probed}
    for completion in usable(completions, Counter()):
        rewards[completion.problem_id].add(completion.reward)
    what = "right and wrong answers"
    names = {0: "none: no usable answer", 1: "none: all answers are right, or all wrong", 2: f"problems with {what}"}
    return what, Counter(names[len(found)] for found in rewards.values())


def _make_completions(inputs: Inputs, out: Outputs, context: Context, file: str, part: RoundPart) -> Mapping[str, Json]:
    problems = part.problems(inputs.filed(file, Problem))
    probed = set() if part.before else set(_probed(inputs, len(problems), part))
    known = inputs.records(_probe_file(part.round), Completion) if probed else []
    rest = Chosen(array("Q", (place for place in range(len(problems)) if place not in probed)), problems.__getitem__)
    sampled = _sample(inputs, context, rest, context.partial / "rest", part) if rest else iter(())
    tally = Tally()
    out.records(part.completions, tally.judged(_in_order(problems, known, sampled)))
    line = f"{tally.stop_rate:.1%} of the answers ended by themselves (the rest hit sample.max_new_tokens)"
    stops = context.reports.check("stop rate", tally.stop_rate >= LEAST_STOP_RATE, line)
    return {**tally.summary(), "invariants": [stops]}


def _in_order(
    problems: Iterable[Problem], known: Iterable[Completion], sampled: Iterator[Completion]
) -> Iterator[Completion]:
    """Yield the completions in the order of the problems.

    Args:
        known: those of the probe, in any order.
        sampled: those of the other problems, in order.
    """
    probed: dict[str, list[Completion]] = {}
    for completion in known:
        probed.setdefault(completion.problem_id, []).append(completion)
    groups = groupby(sampled, key=lambda completion: completion.problem_id)
    for problem in problems:
        yield from probed[problem.id] if problem.id in probed else next(groups)[1]


@dataclass
class Tally:
    """Counts of completions, updated as they pass."""

    n: int = 0
    errors: int = 0
    truncated: int = 0
    given: Counter[PromptKind] = field(default_factory=Counter)
    right: Counter[PromptKind] = field(default_factory=Counter)

    def counting(self, completions: Iterable[Completion]) -> Iterator[Completion]:
        """Yield completions while counting them."""
        for completion in completions:
            self.n += 1
            self.errors += completion.verdict == "error"
            self.truncated += completion.truncated
            self.given[completion.prompt] += 1
            self.right[completion.prompt] += completion.reward == 1
            yield completion

    def judged(self, completions: Iterable[Completion]) -> Iterator[Completion]:
        """Yield completions while counting them.

        Raises:
            TrainingError: too many of them could not be judged.
        """
        yield from self.counting(completions)
        if self.errors > MOST_JUDGE_ERRORS * self.n:
            raise TrainingError(
                f"{self.errors} of {self.n} answers could not be judged, so the rewards would mean nothing: fix the "
                "judge"
            )

    @property
    def stop_rate(self) -> float:
        """The share of answers that ended by themselves."""
        return (self.n - self.truncated) / self.n

    def summary(self) -> dict[str, Json]:
        """Return the number of completions, and the share of right ones after each prompt."""
        kinds: tuple[PromptKind, ...] = ("direct", "cot")
        means = {f"right, {kind}": round(self.right[kind] / self.given[kind], 4) for kind in kinds if self.given[kind]}
        return {"completions": self.n, "judge errors": self.errors, **means}


def _probed(inputs: Inputs, n: int, part: RoundPart) -> list[int]:
    return probe(n, f"{inputs.recipe.seed}/{part.round}")


def _sample(
    inputs: Inputs, context: Context, problems: Sequence[Problem], kept: Path, part: RoundPart
) -> Iterator[Completion]:
    settings, prompts = inputs.recipe.sample, context.texts.prompts
    earlier, seed = part.pass_number, f"{inputs.recipe.seed}/sample/{part.round}"
    wanted = asked(problems, _kinds(settings, earlier))
    drawn = SamplingSettings(
        settings.temperature,
        settings.max_new_tokens,
        prompts.stop_ids,
        top_k=settings.top_k,
        top_p=settings.top_p,
        min_p=settings.min_p,
    )
    source = context.models.sampler(inputs.trained(start_of(inputs, part)), inputs.recipe.rows)
    requests = make_requests(wanted, prompts, seed)
    judged = judging(wanted, lambda answer: prompts.text(answer.token_ids))
    sampled = context.sample(sampling(source, requests, drawn, kept), f"{part.folder}/completions", judged)
    return make_completions(wanted, sampled, prompts)


def make_completions(wanted: Asked, sampled: Iterable[Sampled], prompts: Prompts) -> Iterator[Completion]:
    """Judge the answers that were drawn for `make_requests`, one by one."""
    return (_judged(*one, answer, prompts) for one, answer in zip(each(wanted), sampled, strict=True))


def probe(n: int, seed: str) -> list[int]:
    """Draw the places of some of n problems, which show whether there will be pairs before everything is sampled."""
    return Random(f"{seed}/probe").sample(range(n), min(PROBE_PROBLEMS, n))


def _kinds(settings: Sample, earlier: int) -> tuple[tuple[PromptKind, range], ...]:
    """Return the indices of the answers to each prompt, after those of earlier passes."""
    direct, cot = (range(earlier * n, (earlier + 1) * n) for n in (settings.direct, settings.cot))
    return (("direct", direct), ("cot", cot))


def _judged(problem: Problem, kind: PromptKind, index: int, answer: Sampled, prompts: Prompts) -> Completion:
    text = prompts.text(answer.token_ids)
    judgment = judge(find_task(problem.task), problem, text)
    return Completion(
        problem_id=problem.id,
        task=problem.task,
        prompt=kind,
        index=index,
        text=text,
        token_ids=answer.token_ids,
        logp=answer.logp,
        # An answer that begins another turn did not end by itself, and that turn's tokens must not be learned.
        truncated=answer.truncated or not prompts.is_text(answer.token_ids),
        answer=judgment.answer,
        verdict=judgment.verdict,
        reward=float(judgment.verdict == "right"),
    )
