"""demonstrations.jsonl → instructed/: stage 1, instruction-tuning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import compress
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from srit.errors import TrainingError
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.estimate import Work, demonstrated, tokens_of, training
from srit.pipeline.stage import TRAINS, Stage, StageName
from srit.recipe import Instruct, Optimization, Recipe
from srit.records import Demonstration, Problem, PromptKind
from srit.records.own import key_of
from srit.run_directory import Json, Scratch
from srit.stages.lengths import LENGTHS
from srit.students.configs import dropout
from srit.students.lengths import Fitting, bound_of
from srit.students.prompts import Prompts
from srit.students.saved import save

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel
    from srit.training.instruction import Example


def instructed_stage(recipe: Recipe) -> Stage:
    """Declare instructed/."""
    return Stage(
        name=StageName("instructed"),
        version=3,
        settings=recipe.model_dump(mode="json", include={"seed", "student", "instruct"}),
        reads=("seed", "student", "instruct"),
        inputs=("problems/train.jsonl", "demonstrations.jsonl"),
        outputs=("instructed", "instructed.json"),
        make=_make_instructed,
        work=_work,
        computes=TRAINS,
        after=(LENGTHS,),
    )


def _work(recipe: Recipe) -> Work:
    shown, most = demonstrated(recipe), recipe.sample.max_new_tokens
    tokens = sum(n * sum(tokens_of(recipe, use, "train", most)) for use, n in shown)
    return training(recipe.instruct, sum(n for _, n in shown), tokens)


def _make_instructed(inputs: Inputs, out: Outputs, context: Context) -> Mapping[str, Json]:
    def start() -> LanguageModel:
        from srit.training.loop import seed_torch

        seed_torch(f"{inputs.recipe.seed}/instructed")  # a new adapter starts from random values
        model = context.trainable(None)
        _report_dropout(context, model)
        return model

    if not inputs.recipe.instruct.epochs:
        save_trained(out, context, start(), "instructed")
        out.json("instructed.json", {"history": [], "invariants": []})
        return {"examples": 0}
    return instruct_on(inputs, out, context, start, "instructed", inputs.recipe.instruct, max_tokens=None)


def _report_dropout(context: Context, model: LanguageModel) -> None:
    if rates := dropout(model.config):
        named = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
        context.reports.report(
            f"     the student's config has dropout ({named}): it is trained without dropout, as it is sampled"
        )


def instruct_on(
    inputs: Inputs,
    out: Outputs,
    context: Context,
    start: Callable[[], LanguageModel],
    name: str,
    settings: Optimization,
    *,
    max_tokens: int | None,
) -> Mapping[str, Json]:
    """Train a model on the demonstrations, write it, and return counts.

    Args:
        start: builds the training's starting model.
        name: of the output.
        settings: of the optimizer.
        max_tokens: as in `instruction.instruct`.

    Raises:
        TrainingError: a row does not have one beginning and one end.
        DataError: more than a fifth of the demonstrations are too long.
    """
    from srit.training.instruction import instruct

    examples, n_long = _fitting(context, _examples(inputs, context), settings.max_length)
    ends = _check_ends(context, examples)
    work = partial(
        instruct,
        examples=examples,
        settings=settings,
        rows=context.models.plan.rows,
        budget=context.models.budget,
        seed=f"{inputs.recipe.seed}/{name}",
        checkpoints=context.partial,
        max_tokens=max_tokens,
    )
    model, history = context.train(start, work, name)
    save_trained(out, context, model, name)
    out.json(f"{name}.json", {"history": history, "invariants": [ends]})
    counts = {"examples": len(examples), "steps": len(history), "tokens": sum(m["tokens"] for m in history)}
    return counts | ({"left out: too long": n_long} if n_long else {})


def _examples(inputs: Inputs, context: Context) -> Sequence[Example]:
    recipe = inputs.recipe
    demonstrations = inputs.filed("demonstrations.jsonl", Demonstration)
    problems = inputs.grouped("problems/train.jsonl", Problem, key_of)

    def problem_of(demonstration: Demonstration) -> Problem:
        return problems.of(key_of(demonstration))[0]

    return Scratch(make_examples(demonstrations, problem_of, context.texts.prompts, recipe.instruct, recipe.seed))


def _check_ends(context: Context, examples: Sequence[Example]) -> Json:
    prompts = context.texts.prompts
    learned = sum(example.completion_ids.count(prompts.end_of_turn_id) == 1 for example in examples)
    begun = {prompts.n_beginnings(example.prompt_ids) for example in examples}
    if learned < len(examples) or len(begun) != 1:
        raise TrainingError(
            f"{learned} of {len(examples)} rows train one end of turn; they begin with {sorted(begun)} BOS tokens: "
            "every row must have one end and the same beginning. Check student.chat_template"
        )
    line = f"each of the {len(examples)} rows begins with {begun.pop()} BOS and trains one end of turn"
    return context.reports.check("one beginning and one end of turn a row", True, line)


def _fitting(context: Context, examples: Sequence[Example], max_length: int | None) -> tuple[Sequence[Example], int]:
    """Return the examples that are not too long to train on, and how many are.

    Raises:
        DataError: more than a fifth are.
    """
    fitting = Fitting(bound_of(context.texts.room, max_length, "instruct"))
    fit = [fitting.fits(len(e.prompt_ids) + len(e.completion_ids), e.problem_id) for e in examples]
    if not (line := fitting.told("demonstrations")):
        return examples, 0
    context.reports.check("demonstrations fit", False, line)
    return Scratch(compress(examples, fit)), fitting.n_long


def save_trained(out: Outputs, context: Context, model: LanguageModel, name: str) -> None:
    """Write a trained model or adapter as an output."""
    with out.folder(name) as folder:
        save(folder, model, context.texts.prompts, context.models.student, name=name)


def make_examples(
    demonstrations: Sequence[Demonstration],
    problem_of: Callable[[Demonstration], Problem],
    prompts: Prompts,
    settings: Instruct,
    seed: int,
) -> Iterator[Example]:
    """Yield one example for each kept demonstration, with the CoT prompt for a `cot_fraction` of each task's."""
    from srit.training.instruction import Example

    for problem, kind, target in taught(demonstrations, problem_of, settings, seed):
        yield Example(prompts.problem_ids(problem, kind), prompts.completion_ids(target), problem.id)


class Taught(NamedTuple):
    """What one demonstration teaches."""

    problem: Problem
    kind: PromptKind
    target: str  # the answer that is trained


def taught(
    demonstrations: Sequence[Demonstration],
    problem_of: Callable[[Demonstration], Problem],
    settings: Instruct,
    seed: int,
) -> Iterator[Taught]:
    """Yield what is taught by the kept demonstrations, as `make_examples`."""
    n_of = Counter(d.task for d in demonstrations if d.kept)
    for task, n in n_of.items():
        under_cot = set(Random(f"{seed}/instruct/{task}").sample(range(n), round(settings.cot_fraction * n)))
        of_task = (d for d in demonstrations if d.kept and d.task == task)
        for index, demonstration in enumerate(of_task):
            kind: PromptKind = "cot" if index in under_cot else "direct"
            problem = problem_of(demonstration)
            bare = kind == "direct" and settings.direct_target == "answer"
            yield Taught(problem, kind, problem.answer if bare else demonstration.text)
