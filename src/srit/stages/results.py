"""predictions/ → results.json: accuracies with intervals, and models compared on the same problems."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import TypeAdapter

from srit.errors import DataError
from srit.intervals import compare, interval_of_equals, pass_at_k, wilson
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.environment import environment, origin
from srit.pipeline.stage import Stage, StageName
from srit.recipe import Recipe
from srit.recipe.compared import answered, options_file, predictions_file, scored, tuned_on
from srit.records import Domain, Model, OptionScores, Prediction, PromptKind, ScoredBy
from srit.records.columns import KINDS, VERDICTS, Columns, Problems, pass_counts, right_of
from srit.records.scores import Comparison, OptionAccuracy, Overlap, PassAtK, Results, Score
from srit.run_directory import Json, fault_of, write_json
from srit.stages.anatomy.overlaps import count_overlap

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Predictions = Mapping[tuple[Model, str], Iterable[Prediction]]  # by model and task

BASE, INSTRUCTED, REFINED = Model("base"), Model("instructed"), Model("refined")
DOMAINS = {"in": "in-domain", "out": "out-of-domain", "any": "on all tasks"}  # in words
MOST_CUT = 0.05  # of a model's answers


def results_stage(recipe: Recipe) -> Stage:
    """Declare results.json."""
    settings: dict[str, Json] = {"train": sorted(tuned_on(recipe)), "rounds": recipe.rounds, "seed": recipe.seed}
    # Only if it is set, so that the results of recipes without it stay what they are.
    settings |= {"options": True} if recipe.evaluate.options else {}
    settings |= {"pass_at": list(recipe.evaluate.pass_at)} if recipe.evaluate.pass_at else {}
    names = [predictions_file(model, task) for model, task in answered(recipe)]
    names += [options_file(model, task) for model, task in scored(recipe)]
    return Stage(
        name=StageName("results"),
        version=4,
        settings=settings,
        reads=("seed", "rounds", "controls", "tasks", "teacher", "evaluate"),
        inputs=tuple(names),
        outputs=("results.json",),
        make=_make_results,
        uses_student=False,
    )


def _make_results(inputs: Inputs, out: Outputs, context: Context) -> Mapping[str, Json]:
    recipe, report = inputs.recipe, context.reports
    predictions = {
        (model, task.label): inputs.each_record(predictions_file(model, task), Prediction)
        for model, task in answered(recipe)
    }
    results = make_results(predictions, tuned_on(recipe), pass_at=recipe.evaluate.pass_at, seed=recipe.seed)
    if recipe.evaluate.options:
        options = option_rows(
            (model, task.label, inputs.each_record(options_file(model, task), OptionScores))
            for model, task in scored(recipe)
        )
        results = replace(results, options=options)
    for c in results.comparisons:
        if (c.a, c.b, c.task) == (INSTRUCTED, BASE, over_domain("in")) and c.ci95.high < 0:
            line = f"instructed is worse than base in-domain ({c.prompt} prompt): look at the demonstrations"
            report.check("stage 1 helped", False, line)
    checks = [report.check("answers end by themselves", False, line) for line in _cut(results, recipe)]
    finished = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    made_on = {**environment(), **origin()}
    whole = replace(results, timings=dict(context.seconds), environment=made_on, finished=finished)
    write_results(out.path("results.json"), whole)
    return {"rows": len(results.rows), "invariants": checks}


def _cut(results: Results, recipe: Recipe) -> Iterator[str]:
    """Yield a line for each model whose accuracy says little, since many of its answers were cut."""
    for model in dict.fromkeys(row.model for row in results.rows):
        of_model = [row for row in results.rows if row.model == model]
        cut, n = sum(row.truncated for row in of_model), sum(row.n for row in of_model)
        limit = f"evaluate.max_new_tokens ({recipe.evaluate.max_new_tokens})"
        if model.kind == "teacher":
            limit = f"teacher.max_tokens ({getattr(recipe.teacher, 'max_tokens', None)})"
        if cut > MOST_CUT * n:
            yield f"{model}: {cut} of {n} answers were cut at {limit}: raise that limit"


def read_results(path: Path) -> Results:
    """Read a results.json, of this or an earlier version of srit.

    Raises:
        DataError: it is missing or damaged; names the field at fault.
    """
    try:
        found = _adapter().validate_json(path.read_bytes(), strict=True)  # which takes no half of a surrogate pair
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}: `srit evaluate {path.parent}` writes it") from None
    except ValueError as error:
        raise DataError(f"{path}: damaged ({fault_of(error)}): `srit evaluate {path.parent}` writes it again") from None
    return replace(found, comparisons=tuple(map(_with_width, found.comparisons)))


def _with_width(comparison: Comparison) -> Comparison:
    """Give models whose verdicts are all alike their interval; earlier versions wrote one without width."""
    if comparison.ci95.low < comparison.ci95.high:
        return comparison
    return replace(comparison, ci95=interval_of_equals(comparison.delta, comparison.n))


def write_results(path: Path, results: Results) -> None:
    """Write results.json, which `read_results` reads back as an equal value."""
    write_json(path, _adapter().dump_python(results, mode="json"))


@cache
def _adapter() -> TypeAdapter[Results]:
    return TypeAdapter(Results)


class _Greedy(NamedTuple):
    """The greedy answers under one prompt."""

    prompt: PromptKind
    answers: Mapping[tuple[Model, str], Columns]
    domains: Mapping[str, Domain]  # of each task
    models: Sequence[Model]
    sizes: Mapping[str, int]  # problems of each task

    def of_domain(self, model: Model, domain: Domain) -> list[Columns]:
        """Return a model's answers to the tasks of a domain."""
        return [self.answers[model, task] for task in self.domains if self.domains[task] == domain]

    def right(self, model: Model, tasks: Sequence[str]) -> NDArray[np.int8]:
        """Return whether a model is right, problem by problem, as `right_of`."""
        return right_of({task: self.answers[model, task] for task in tasks}, self.sizes)


def make_results(predictions: Predictions, trained: set[str], *, pass_at: Sequence[int] = (), seed: int) -> Results:
    """Score the greedy answers, compare the models, and estimate pass@k from the sampled answers.

    Args:
        predictions: index 0 is greedy, the others are sampled; those for one task have the same order for every model.
        trained: the tasks that the student was trained on: "in"; the others are "out".
        pass_at: every k of pass@k.
        seed: of the bootstrap.
    """
    models = list(dict.fromkeys(model for model, _ in predictions))
    domains: dict[str, Domain] = {task: "in" if task in trained else "out" for _, task in predictions}
    problems = {task: Problems() for task in domains}
    columns = {(model, task): problems[task].columns(found) for (model, task), found in predictions.items()}
    sizes = {task: len(found) for task, found in problems.items()}
    by_prompt = [
        _Greedy(
            KINDS[kind],
            {key: found.where((found.kind == kind) & (found.draw == 0)) for key, found in columns.items()},
            domains,
            models,
            sizes,
        )
        for kind in dict.fromkeys(kind for found in columns.values() for kind in _in_order(found.kind))
    ]
    return Results(
        rows=tuple(score for greedy in by_prompt for score in _rows(greedy)),
        pooled=tuple(score for greedy in by_prompt for score in _pooled(greedy)),
        comparisons=tuple(comparison for greedy in by_prompt for comparison in _comparisons(greedy, seed)),
        pass_at_k=tuple(_passes(columns, pass_at)),
        overlaps=tuple(overlap for greedy in by_prompt for overlap in _overlaps(greedy)),
    )


def _in_order(codes: NDArray[np.uint8]) -> list[int]:
    """Return a column's distinct values, in the order in which they first occur."""
    import numpy as np

    values, first = np.unique(codes, return_index=True)
    found: list[int] = values[np.argsort(first)].tolist()
    return found


def option_rows(scores: Iterable[tuple[Model, str, Iterable[OptionScores]]]) -> tuple[OptionAccuracy, ...]:
    """Count how often the likeliest option is the right one: a row for each model, task, prompt and kind of scoring.

    Args:
        scores: by model and task.
    """
    rows = []
    for model, task, of_task in scores:
        found: dict[tuple[PromptKind, ScoredBy], _Options] = {}
        for one in of_task:
            found.setdefault((one.prompt, one.scored), _Options()).add(one)
        rows += [options.accuracy(model, task, *key) for key, options in found.items()]
    return tuple(rows)


class _Options:
    """What is kept of a model's option scores, a few bytes each."""

    def __init__(self) -> None:
        self.correct = self.correct_norm = 0
        self.figures = {name: array("d") for name in ("probability", "confidence", "margin")}

    def add(self, scores: OptionScores) -> None:
        self.correct += scores.right
        self.correct_norm += scores.right_norm
        for name, values in self.figures.items():
            values.append(getattr(scores, name))

    def accuracy(self, model: Model, task: str, prompt: PromptKind, scored: ScoredBy) -> OptionAccuracy:
        n = len(self.figures["margin"])
        return OptionAccuracy(
            model=model,
            task=task,
            prompt=prompt,
            scored=scored,
            n=n,
            correct=self.correct,
            accuracy=self.correct / n,
            ci95=wilson(self.correct, n),
            correct_norm=self.correct_norm,
            accuracy_norm=self.correct_norm / n,
            ci95_norm=wilson(self.correct_norm, n),
            **{name: sum(values) / n for name, values in self.figures.items()},
        )


def _passes(columns: Mapping[tuple[Model, str], Columns], pass_at: Sequence[int]) -> Iterator[PassAtK]:
    for (model, task), found in columns.items():
        drawn = found.where(found.draw > 0)
        for kind in _in_order(drawn.kind):
            n, right = pass_counts(drawn.where(drawn.kind == kind))
            for k in pass_at:
                share = sum(pass_at_k(*counts, k) for counts in zip(n.tolist(), right.tolist(), strict=True)) / len(n)
                yield PassAtK(model, task, KINDS[kind], k, len(n), int(n[0]), share)


def _rows(greedy: _Greedy) -> Iterator[Score]:
    for model, task in product(greedy.models, greedy.domains):
        if (answered := greedy.answers[model, task]).n:  # a teacher answers only the CoT prompt
            yield _score(model, greedy.prompt, greedy.domains[task], [answered], task)


def _pooled(greedy: _Greedy) -> Iterator[Score]:
    for model, domain in product(greedy.models, sorted(set(greedy.domains.values()))):
        together = greedy.of_domain(model, domain)
        if any(answered.n for answered in together):
            yield _score(model, greedy.prompt, domain, together, None)


def _score(model: Model, prompt: PromptKind, domain: Domain, answers: Sequence[Columns], task: str | None) -> Score:
    import numpy as np

    counts = np.bincount(np.concatenate([of_task.verdict for of_task in answers]), minlength=len(VERDICTS))
    verdicts = dict(zip(VERDICTS, counts.tolist(), strict=True))
    n, correct = sum(of_task.n for of_task in answers), verdicts["right"]
    return Score(
        model=model,
        round=model.round,
        prompt=prompt,
        domain=domain,
        n=n,
        correct=correct,
        accuracy=correct / n,
        ci95=wilson(correct, n),
        unread=verdicts["unread"],
        errors=verdicts["error"],
        truncated=sum(int(of_task.truncated.sum()) for of_task in answers),
        mean_tokens=sum(int(of_task.n_tokens.sum()) for of_task in answers) / n,
        task=task,
    )


def _comparisons(greedy: _Greedy, seed: int) -> Iterator[Comparison]:
    """Yield the comparisons of all pairs of models, task by task and then over each domain."""
    first = next(iter(greedy.domains))
    students = [greedy.answers.get((model, first)) for model in (BASE, INSTRUCTED)]
    if not any(found.n for found in students if found is not None):
        return  # students that were not asked with this prompt have nothing to compare
    for a, b in _compared(greedy.models):
        for name, domain, tasks in _places(greedy):
            yield _comparison(greedy, a, b, name, domain, tasks, seed)


def _places(greedy: _Greedy) -> Iterator[tuple[str, Domain, list[str]]]:
    """Yield each task and then each domain: its name, the domain, and the tasks that it has."""
    for task, domain in greedy.domains.items():
        yield task, domain, [task]
    for domain in sorted(set(greedy.domains.values())):
        yield over_domain(domain), domain, [task for task in greedy.domains if greedy.domains[task] == domain]


def _overlaps(greedy: _Greedy) -> Iterator[Overlap]:
    """Yield what the first round's model and each control have in common, place by place."""
    instructed = greedy.answers.get((INSTRUCTED, next(iter(greedy.domains))))
    if instructed is None or not instructed.n:
        return  # students that were not asked in this way
    controls = [model for model in greedy.models if model.kind == "control"]
    for a, b in product(_first_round(greedy.models), controls):
        for name, domain, tasks in _places(greedy):
            before, of_a, of_b = (greedy.right(model, tasks) for model in (INSTRUCTED, a, b))
            counts = count_overlap(*(right[before >= 0] > 0 for right in (before, of_a, of_b)))
            yield Overlap(a, b, name, domain, greedy.prompt, **counts._asdict())


def _first_round(models: Sequence[Model]) -> list[Model]:
    """Return the model that was trained for as much compute as a control: that of the first round, if there is one."""
    return sorted((model for model in models if model.kind == "refined"), key=lambda model: model.is_last)[:1]


def over_domain(domain: str) -> str:
    """Return the name that a comparison over all tasks of a domain has instead of a task's."""
    return f"all {DOMAINS[domain]}"


def _compared(models: Sequence[Model]) -> list[tuple[Model, Model]]:
    """Pair each trained model with instructed, instructed with base, refined and the first round with each control."""
    others = [model for model in models if model not in (BASE, INSTRUCTED) and model.kind != "teacher"]
    controls = [model for model in others if model.kind == "control"]
    pairs = [(model, INSTRUCTED) for model in others] + ([(INSTRUCTED, BASE)] if INSTRUCTED in models else [])
    against = dict.fromkeys([*(model for model in others if model == REFINED), *_first_round(others)])
    return pairs + list(product(against, controls))


def _comparison(
    greedy: _Greedy, a: Model, b: Model, name: str, domain: Domain, tasks: Sequence[str], seed: int
) -> Comparison:
    """Compare two models on the problems that both answered: base may have answered fewer (`evaluate.base_limit`)."""
    right_a, right_b = greedy.right(a, tasks), greedy.right(b, tasks)
    both = (right_a >= 0) & (right_b >= 0)
    found = compare(right_a[both] > 0, right_b[both] > 0, seed=seed)
    return Comparison(a, b, name, domain, greedy.prompt, int(both.sum()), **found._asdict())
