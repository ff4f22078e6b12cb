"""problems/ → lengths.json: whether the student has room for every prompt and its answer, before anything is spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.stage import Stage, StageName
from srit.recipe import Recipe
from srit.recipe.compared import evaluated, problems_file, refine_problems
from srit.records import Problem, PromptKind
from srit.run_directory import Json
from srit.stages.pairs import prompts_of
from srit.students.lengths import Fitting, Needed, Room, bound_of, refuse, too_long, warning
from srit.students.prompts import Prompts

LENGTHS = "lengths.json"


def lengths_stage(recipe: Recipe) -> Stage:
    """Declare lengths.json, for which other stages wait."""
    sample = {"direct", "cot", "max_new_tokens"}
    settings = recipe.model_dump(
        mode="json",
        include={
            "instruct": {"epochs", "max_length"},
            "sample": sample,
            "pairs": {"prompt"},
            "evaluate": {"prompts", "max_new_tokens", "options"},
        },
    )
    # Only if it is set, so that the check of recipes without it stays what it is.
    settings |= {"greedy answers to pairs": True} if recipe.evaluate.pairs else {}
    tested = [problems_file(task) for task in evaluated(recipe)]
    inputs = dict.fromkeys(("problems/train.jsonl", refine_problems(recipe), "problems/dev.jsonl", *tested))
    return Stage(
        name=StageName("lengths"),
        version=3,
        settings=settings | {"chat_template": recipe.student.chat_template},
        reads=(
            "instruct.epochs",
            "instruct.max_length",
            *(f"sample.{field}" for field in sorted(sample)),
            "pairs.prompt",
            "evaluate.prompts",
            "evaluate.max_new_tokens",
            "evaluate.options",
            "evaluate.pairs",
        ),
        inputs=tuple(inputs),
        outputs=(LENGTHS,),
        make=lambda inputs, out, context: _make_lengths(inputs, out, context, tested),
        auxiliary=True,
    )


def _make_lengths(inputs: Inputs, out: Outputs, context: Context, tested: Sequence[str]) -> Mapping[str, Json]:
    prompts, room = context.texts.prompts, context.texts.room
    found = [] if room is None else too_long(_asked(inputs, tested, prompts), prompts, room.tokens)
    if room is not None:
        refuse(found, room)
    checks = [context.reports.check("prompts and answers fit", False, warning(found, room))] if found and room else []
    _check_demonstrations(inputs, prompts, room)
    out.json(LENGTHS, {"tokens": room and room.tokens, "longer": len(found)})
    return {"longer": len(found), "invariants": checks}


def _check_demonstrations(inputs: Inputs, prompts: Prompts, room: Room | None) -> None:
    """Refuse prompts that leave no token for a demonstration, since stage 1 would refuse once these are paid for.

    Raises:
        DataError: more than a fifth of the training problems have such a prompt.
    """
    instruct, train = inputs.recipe.instruct, "problems/train.jsonl"
    bound = bound_of(room, instruct.max_length, "instruct")
    if bound is None or not instruct.epochs or not inputs.has(train):
        return
    train_set = partial(inputs.each_record, train, Problem)
    shortest = (Needed(problem, "cot", 1, "a demonstration") for problem in train_set())
    if found := too_long(shortest, prompts, bound.tokens):
        most = max(found, key=lambda long: long.tokens)
        fitting = Fitting(bound, sum(1 for _ in train_set()), len(found), most.tokens, most.needed.problem.id)
        fitting.told("demonstrations, were each a single token,")


def _asked(inputs: Inputs, tested: Sequence[str], prompts: Prompts) -> Iterator[Needed]:
    """Yield every prompt that a run gives its student, with the length limit of its answer."""
    recipe, refine = inputs.recipe, "problems/refine.jsonl"
    sample, evaluate = recipe.sample, recipe.evaluate
    sampled: dict[PromptKind, int] = {"direct": sample.direct, "cot": sample.cot}
    kinds = {kind for kind, n in sampled.items() if n} | set(prompts_of(recipe.pairs.prompt))
    train = "problems/train.jsonl"
    for problem in inputs.each_record(train, Problem) if inputs.has(refine) else ():
        yield Needed(problem, "cot", 1, "a demonstration")  # those that are too long are left out
    refined_on = refine if inputs.has(refine) else train
    for problem in inputs.each_record(refined_on, Problem):
        yield from (Needed(problem, kind, sample.max_new_tokens, "sample.max_new_tokens") for kind in sorted(kinds))
    accepted = ("problems/dev.jsonl", *((refined_on,) if evaluate.pairs else ()))
    for problem in (problem for name in accepted for problem in inputs.each_record(name, Problem)):
        yield Needed(problem, "cot", evaluate.max_new_tokens, "evaluate.max_new_tokens")
    for name in tested:
        for problem in inputs.each_record(name, Problem):
            choices = (problem.choices or ()) if evaluate.options else ()
            longest = max((len(prompts.completion_ids(choice)) for choice in choices), default=0)
            for kind in evaluate.prompts:
                yield Needed(problem, kind, evaluate.max_new_tokens, "evaluate.max_new_tokens")
                if longest > evaluate.max_new_tokens:
                    yield Needed(problem, kind, longest, "its longest option")
