"""The stages of a run: what each is made from, and how.

`stages(recipe)` declares them; `run_stages` makes those whose fingerprint is not the recorded one.
A fingerprint covers the stage's settings, version, seeds, the student's weights and the content of
every input: what changed is made again, and only that.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from srit import problems as problem_sets
from srit.completions import make_completions, make_requests, probe, stop_rate
from srit.demonstrations import ask, make_demonstrations, questions_of
from srit.errors import TrainingError
from srit.intervals import compare
from srit.pairs import make_pairs
from srit.predictions import judged, make_predictions
from srit.predictions import make_requests as make_evaluation_requests
from srit.prompts import Prompts, prompt_text
from srit.recipe import Recipe, Student, TaskUse
from srit.records import Completion, Demonstration, Pair, Prediction, Problem
from srit.results import TEACHER, make_results
from srit.run import (
    Journal,
    Json,
    Run,
    building,
    canonical,
    read_records,
    recorded_sum,
    sha256_of,
    write_bytes,
    write_json,
    write_records,
)
from srit.samplers import Request, Sampled, SamplingSettings
from srit.samplers.chunks import sample_in_chunks
from srit.students import identity, load_model, load_tokenizer, trainable
from srit.tasks import find_task
from srit.teachers import Answer, Teacher
from srit.teachers.recording import RecordingTeacher
from srit.teachers.solver import SolverTeacher

AGREEMENT = 0.02  # nats a token between sampler and trainer: float32 gives 1e-5, bf16 about 1e-2
AGREEMENT_SAMPLES = 16
LEAST_STOP_RATE = 0.95
LEAST_YIELD = 0.02  # of the probe's problems must give a pair
MOST_JUDGE_ERRORS = 0.03  # of the answers
NOISE = 0.05  # a round is refused when it is worse than its start with p below this

AGAIN = "instructed-again"  # the instructed model, evaluated in other batches

Progress = Callable[[str, int, int], None]  # what, done, of how many
Tell = Callable[[str], None]


class Stage(NamedTuple):
    """One step of a run."""

    name: str
    version: int  # raised when the stage's code comes to make something else
    settings: Json  # all that shapes its outputs, beside its inputs
    inputs: tuple[str, ...]  # outputs of earlier stages
    outputs: tuple[str, ...]
    make: Callable[[Job, Path], Mapping[str, Json]]  # makes the outputs, returns counts


class Job:
    """What the stages of one run share: files, recipe, tokenizer, and where to tell of progress."""

    def __init__(self, run: Run, recipe: Recipe, *, progress: Progress, tell: Tell) -> None:
        self.run = run
        self.recipe = recipe
        self.progress = progress
        self.tell = tell

    @cached_property
    def prompts(self) -> Prompts:
        """Loads the tokenizer when first asked."""
        return Prompts(load_tokenizer(self.recipe.student), self.recipe.student.chat_template)

    def problems(self, name: str) -> list[Problem]:
        """problems/NAME.jsonl."""
        return read_records(self.run.path(f"problems/{name}.jsonl"), Problem)

    def sample(
        self, model: str, requests: Sequence[Request], settings: SamplingSettings, partial: Path, what: str, rows: int
    ) -> list[Sampled]:
        """Answers of one of the run's models, `rows` decoded at once; it is loaded if any are missing."""
        loaded: list[Any] = []

        def sampler() -> Any:
            if not loaded:
                from srit.samplers.transformers import TransformersSampler

                adapter = None if model == "base" else self.run.path(model)
                weights = load_model(self.recipe.student, adapter)
                loaded.append(TransformersSampler(weights, rows=rows, pad_id=0))
            return loaded[0]

        return sample_in_chunks(
            sampler,
            requests,
            settings,
            rows=rows,
            partial=partial,
            progress=lambda done, total: self.progress(what, done, total),
        )

    def invariant(self, name: str, ok: bool, line: str) -> Json:
        """Tells of an invariant, and returns it for the record."""
        self.tell(f"{'ok  ' if ok else 'WARN'} {line}")
        return {"name": name, "ok": ok, "line": line}


def stages(recipe: Recipe) -> list[Stage]:
    """Every stage of a run, in order."""
    declared = [_problems(recipe), _demonstrations(recipe), _instructed(recipe)]
    for number in range(1, recipe.rounds + 1):
        declared += [_completions(recipe, number), _pairs(recipe, number), _refined(recipe, number)]
        declared += [_accepted(recipe, number)]
    declared += [_control(recipe, control) for control in recipe.controls]
    for model, folder in models(recipe).items():
        declared += [_predictions(recipe, model, folder, use) for use in recipe.tasks.evaluate]
    if recipe.evaluate.teacher:
        declared += [_teacher_predictions(recipe, use) for use in recipe.tasks.evaluate]
    return [*declared, _results(recipe)]


def models(recipe: Recipe) -> dict[str, str]:
    """Evaluated models of the run and their folders; "base" is the student itself."""
    again = {AGAIN: "instructed"} if recipe.evaluate.noise_floor else {}
    rounds = {f"refined-{n}" if n < recipe.rounds else "refined": f"round-{n}/refined" for n in _rounds(recipe)}
    controls = {f"control-{name}": f"controls/{name}" for name in recipe.controls}
    return {"base": "base", "instructed": "instructed", **again, **rounds, **controls}


class Plan(NamedTuple):
    """Whether a stage would run, and why."""

    stage: Stage
    reason: str  # "" if it is done


def plan(run_manifest: Mapping[str, Any], recipe: Recipe, is_whole: Callable[[str], bool]) -> list[Plan]:
    """What would run, without making anything."""
    student = identity(recipe.student)
    redone: set[str] = set()
    plans = []
    for stage in stages(recipe):
        reason = _reason(stage, run_manifest["stages"], student, redone, is_whole)
        if reason:
            redone.update(stage.outputs)
        plans.append(Plan(stage, reason))
    return plans


def _reason(
    stage: Stage, entries: Mapping[str, Any], student: str, redone: set[str], is_whole: Callable[[str], bool]
) -> str:
    entry = entries.get(stage.name)
    if entry is None:
        return "not made yet"
    if changed := sorted(redone.intersection(stage.inputs)):
        return f"made from {changed[0]}, which is made again"
    sums = {name: recorded_sum(entries, name) for name in stage.inputs}
    if entry["fingerprint"] != fingerprint(stage, sums, student):
        return "its settings changed"
    return "" if is_whole(stage.name) else "a file of it is missing or damaged"


def fingerprint(stage: Stage, input_sums: Mapping[str, str], student: str) -> str:
    """Of all that goes into a stage's outputs."""
    made_from = [stage.name, stage.version, stage.settings, dict(input_sums), student]
    return hashlib.sha256(canonical(made_from)).hexdigest()


def run_stages(job: Job, only: str | None = None) -> list[str]:
    """Makes what is not done, and returns the names of the stages made.

    Args:
        only: stop behind the last stage of this name or folder, such as "instructed".
    """
    student = identity(job.recipe.student)
    made = []
    wanted = stages(job.recipe)
    if only is not None:
        last = max(index for index, stage in enumerate(wanted) if _belongs(stage.name, only))
        wanted = wanted[: last + 1]
    for stage in wanted:
        sums = {name: recorded_sum(job.run.manifest["stages"], name) for name in stage.inputs}
        mark = fingerprint(stage, sums, student)
        if job.run.is_done(stage.name, mark):
            continue
        job.tell(f"{stage.name} …")
        started = time.monotonic()
        counts = dict(stage.make(job, job.run.partial(stage.name, mark)))
        seconds = round(time.monotonic() - started, 1)
        entry = {"fingerprint": mark, "inputs": sums, "settings": stage.settings, "counts": counts, "seconds": seconds}
        job.run.commit(stage.name, entry, stage.outputs)
        made.append(stage.name)
        job.tell(f"{stage.name} done in {seconds:.0f} s  {_line(counts)}")
    return made


def slug(name: str) -> str:
    """A task's name as part of a path."""
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip(".-")


# ---- problems and demonstrations ---------------------------------------------------------------


def _problems(recipe: Recipe) -> Stage:
    names = ["train", "dev", *(f"evaluate-{slug(use.task)}" for use in recipe.tasks.evaluate)]
    settings = {"tasks": recipe.tasks.model_dump(mode="json"), "data": _data_sums(recipe.tasks.train)}
    settings["data"] |= _data_sums([*recipe.tasks.dev, *recipe.tasks.evaluate])
    outputs = tuple(f"problems/{name}.jsonl" for name in names)
    return Stage("problems", 1, settings, (), outputs, _make_problems)


def _make_problems(job: Job, partial: Path) -> Mapping[str, Json]:
    tasks = job.recipe.tasks
    train = problem_sets.load(tasks.train, "train", seed=tasks.seed)
    dev = problem_sets.load(tasks.dev, "dev", seed=tasks.seed)
    evaluated = {use.task: problem_sets.load([use], "test", seed=tasks.seed) for use in tasks.evaluate}
    if not tasks.allow_overlap:
        problem_sets.refuse_overlap([*train, *dev], [problem for found in evaluated.values() for problem in found])
    for problem in (*train, *dev, *(p for found in evaluated.values() for p in found)):
        # Before anything is spent: a text with a special token could end its turn.
        job.prompts.prompt_ids(prompt_text(find_task(problem.task), problem, "cot"), where=f"problem {problem.id}")
    write_records(job.run.path("problems/train.jsonl"), train)
    write_records(job.run.path("problems/dev.jsonl"), dev)
    for name, found in evaluated.items():
        write_records(job.run.path(f"problems/evaluate-{slug(name)}.jsonl"), found)
    return {"train": len(train), "dev": len(dev), "evaluate": sum(map(len, evaluated.values()))}


def _data_sums(uses: Sequence[TaskUse]) -> dict[str, str]:
    return {use.task: sha256_of(Path(use.data) / use.task) for use in uses if use.data and Path(use.data).is_dir()}


def _demonstrations(recipe: Recipe) -> Stage:
    settings = _teacher_settings(recipe) | recipe.model_dump(mode="json", include={"demonstrations"})
    inputs = ("problems/train.jsonl",)
    return Stage("demonstrations", 1, settings, inputs, ("demonstrations.jsonl",), _make_demonstrations)


def _make_demonstrations(job: Job, partial: Path) -> Mapping[str, Json]:
    settings = job.recipe.demonstrations
    questions = questions_of(job.problems("train"), settings.limit)
    stored, store = _paid_answers(job)
    made, counts = make_demonstrations(questions, _teacher(job.recipe), settings, stored, store)
    write_records(job.run.path("demonstrations.jsonl"), made)
    paid = _paid_answers(job)[0].values()
    return counts | {
        "n_calls": sum(answer.n_calls for answer in paid),
        "n_prompt_tokens": sum(answer.n_prompt_tokens for answer in paid),
        "n_completion_tokens": sum(answer.n_completion_tokens for answer in paid),
    }


def _paid_answers(job: Job) -> tuple[dict[str, Answer], Callable[[str, Answer], None]]:
    """The teacher's answers by key, and what keeps another. They lie apart from what is made of them and from
    any fingerprint: no changed setting pays for them again."""
    journal = Journal(job.run.path("teacher/answers.jsonl"))
    stored = {row["key"]: Answer(**row["answer"]) for row in journal.rows}
    return stored, lambda key, answer: journal.append({"key": key, "answer": answer._asdict()})


def _teacher_settings(recipe: Recipe) -> dict[str, Json]:
    recordings = [sha256_of(Path(path)) for path in recipe.teacher.paths if Path(path).is_file()]
    return {"teacher": recipe.teacher.model_dump(mode="json", exclude={"prices"}), "recordings": recordings}


def _teacher(recipe: Recipe) -> Teacher:
    teacher = recipe.teacher
    if teacher.kind == "recording":
        return RecordingTeacher([Path(path) for path in teacher.paths], teacher.variant)
    if teacher.kind == "openai" and teacher.model and teacher.base_url:
        from srit.teachers.openai import Endpoint, OpenAITeacher

        shaped = teacher.model_dump(
            include={"api_key_env", "temperature", "max_tokens", "concurrency", "max_calls", "max_spent_tokens"}
        )
        return OpenAITeacher(Endpoint(teacher.base_url, teacher.model, **shaped))
    if teacher.kind == "local" and teacher.model:
        return _local_teacher(recipe, Student(model=teacher.model, chat_template=teacher.chat_template))
    return SolverTeacher(find_task)


def _local_teacher(recipe: Recipe, model: Student) -> Teacher:
    from srit.samplers.transformers import TransformersSampler
    from srit.teachers.local import LocalTeacher

    prompts = Prompts(load_tokenizer(model), model.chat_template)
    sampler = TransformersSampler(load_model(model), rows=recipe.rows, pad_id=0)
    greedy = SamplingSettings(0.0, recipe.teacher.max_tokens, prompts.stop_ids)

    def complete(texts: Sequence[str]) -> Iterator[tuple[str, bool]]:
        requests = [Request(prompts.prompt_ids(text, where="a question to the teacher"), "") for text in texts]
        for answer in sampler.sample(requests, greedy):
            yield prompts.text(answer.token_ids), answer.truncated

    made_from: dict[str, object] = {
        "weights": identity(model),
        "template": model.chat_template,
        "max_tokens": greedy.max_new_tokens,
    }
    return LocalTeacher(model.model, made_from, complete, rows=recipe.rows)


# ---- stage 1 -----------------------------------------------------------------------------------


def _instructed(recipe: Recipe) -> Stage:
    settings = recipe.model_dump(mode="json", include={"seed", "student", "instruct"})
    inputs = ("problems/train.jsonl", "demonstrations.jsonl")
    return Stage("instructed", 1, settings, inputs, ("instructed", "instructed.json"), _make_instructed)


def _make_instructed(job: Job, partial: Path) -> Mapping[str, Json]:
    model = trainable(job.recipe.student, None)
    return _instruct(job, model, partial, "instructed", max_tokens=None)


def _instruct(job: Job, model: Any, partial: Path, name: str, *, max_tokens: int | None) -> Mapping[str, Json]:
    from srit.instructed import instruct, make_examples

    recipe = job.recipe
    demonstrations = read_records(job.run.path("demonstrations.jsonl"), Demonstration)
    problems = {problem.id: problem for problem in job.problems("train")}
    examples = make_examples(demonstrations, problems, job.prompts, recipe.instruct, recipe.seed)
    end = job.prompts.end_of_turn_id
    learned = sum(example.completion_ids.count(end) == 1 for example in examples)
    begun = {job.prompts.n_beginnings(example.prompt_ids) for example in examples}
    if learned < len(examples) or len(begun) != 1:
        raise TrainingError(
            f"{learned} of {len(examples)} rows train one end of turn; they begin with {sorted(begun)} BOS tokens: "
            "every row must have one end and the same beginning. Look at student.chat_template"
        )
    line = f"each of the {len(examples)} rows begins with {begun.pop()} BOS and trains one end of turn"
    ends = job.invariant("one beginning and one end of turn a row", True, line)
    rate = recipe.instruct.learning_rate if max_tokens is None else recipe.refine.learning_rate
    history = instruct(
        model,
        examples,
        recipe.instruct.model_copy(update={"learning_rate": rate}),
        seed=f"{recipe.seed}/{name}",
        checkpoints=partial,
        progress=lambda done, total: job.progress(name, done, total),
        max_tokens=max_tokens,
    )
    _save(job, model, name)
    write_json(job.run.path(f"{name}.json"), {"history": history, "invariants": [ends]})
    return {"examples": len(examples), "steps": len(history), "tokens": sum(m["tokens"] for m in history)}


def _save(job: Job, model: Any, name: str) -> None:
    with building(job.run.path(name)) as folder:
        model.save_pretrained(folder)


# ---- stage 2 -----------------------------------------------------------------------------------


def _rounds(recipe: Recipe) -> range:
    return range(1, recipe.rounds + 1)


def _starts(number: int) -> tuple[str, ...]:
    """What decides which model a round starts from."""
    earlier = range(1, number)
    return ("instructed", *(f"round-{n}/{part}" for n in earlier for part in ("refined", "accepted.json")))


def _start(job: Job, number: int) -> str:
    """The last accepted model before a round."""
    for earlier in range(number - 1, 0, -1):
        if json.loads(job.run.path(f"round-{earlier}/accepted.json").read_bytes())["accepted"]:
            return f"round-{earlier}/refined"
    return "instructed"


def _completions(recipe: Recipe, number: int) -> Stage:
    settings = recipe.model_dump(mode="json", include={"seed", "sample", "student", "rows"})
    inputs = ("problems/train.jsonl", *_starts(number))
    name = f"round-{number}/completions"
    outputs = (f"{name}.jsonl",)
    return Stage(name, 1, settings, inputs, outputs, lambda job, partial: _make_completions(job, partial, number))


def _make_completions(job: Job, partial: Path, number: int) -> Mapping[str, Json]:
    problems, recipe = job.problems("train"), job.recipe
    probed = probe(problems, f"{recipe.seed}/{number}")
    rest = [problem for problem in problems if problem not in probed]
    first = _sample(job, probed, partial / "probe", number)
    _check_yield(job, probed, first)
    completions = [*first, *(_sample(job, rest, partial / "rest", number) if rest else [])]
    errors = sum(completion.verdict == "error" for completion in completions)
    if errors > MOST_JUDGE_ERRORS * len(completions):
        raise TrainingError(f"{errors} of {len(completions)} answers could not be judged: the rewards mean nothing")
    ended = stop_rate(completions)
    line = f"{ended:.1%} of the answers ended by themselves (the rest hit sample.max_new_tokens)"
    stops = job.invariant("stop rate", ended >= LEAST_STOP_RATE, line)
    order = {problem.id: index for index, problem in enumerate(problems)}
    completions.sort(key=lambda c: (order[c.problem_id], c.prompt != "direct", c.index))
    write_records(job.run.path(f"round-{number}/completions.jsonl"), completions)
    rewards = {kind: [c.reward for c in completions if c.prompt == kind] for kind in ("direct", "cot")}
    means = {f"right, {kind}": round(sum(r) / len(r), 4) for kind, r in rewards.items() if r}
    return {"completions": len(completions), "judge errors": errors, **means, "invariants": [stops]}


def _sample(job: Job, problems: Sequence[Problem], partial: Path, number: int) -> list[Completion]:
    settings = job.recipe.sample
    requests = make_requests(problems, job.prompts, settings, f"{job.recipe.seed}/sample/{number}")
    drawn = SamplingSettings(
        settings.temperature,
        settings.max_new_tokens,
        job.prompts.stop_ids,
        top_k=settings.top_k,
        top_p=settings.top_p,
        min_p=settings.min_p,
    )
    model = _start(job, number)
    sampled = job.sample(model, requests, drawn, partial, f"round-{number}/completions", job.recipe.rows)
    return make_completions(problems, sampled, job.prompts, settings)


def _check_yield(job: Job, problems: Sequence[Problem], completions: Sequence[Completion]) -> None:
    demonstrations = read_records(job.run.path("demonstrations.jsonl"), Demonstration)
    _, counts = make_pairs(problems, completions, demonstrations, job.recipe.pairs, job.prompts.completion_ids)
    share = counts["problems with pairs"] / len(problems)
    why = "; ".join(f"{name} ({n})" for name, n in Counter(counts).most_common() if name.startswith("none: "))
    only_pairs = not (job.recipe.refine.nll_weight and job.recipe.refine.nll_on == "right")
    if share < LEAST_YIELD and only_pairs:
        raise TrainingError(
            f"of {len(problems)} problems tried, {counts['problems with pairs']} give a pair: {why}. Take problems "
            "that the student has sometimes right (tasks.train), or more samples, or a higher sample.temperature"
        )
    expected = round(share * len(job.problems("train")))
    job.tell(f"ok   yield: about {expected} problems will give pairs" + (f"; {why}" if why else ""))


def _pairs(recipe: Recipe, number: int) -> Stage:
    name = f"round-{number}/pairs"
    settings = recipe.model_dump(mode="json", include={"pairs"}) | {
        "chat_template": recipe.student.chat_template,
    }
    inputs = ("problems/train.jsonl", "demonstrations.jsonl", f"round-{number}/completions.jsonl")
    return Stage(name, 1, settings, inputs, (f"{name}.jsonl",), lambda job, _: _make_pairs(job, number))


def _make_pairs(job: Job, number: int) -> Mapping[str, Json]:
    pairs, counts = make_pairs(
        job.problems("train"),
        read_records(job.run.path(f"round-{number}/completions.jsonl"), Completion),
        read_records(job.run.path("demonstrations.jsonl"), Demonstration),
        job.recipe.pairs,
        job.prompts.completion_ids,
    )
    write_records(job.run.path(f"round-{number}/pairs.jsonl"), pairs)
    return counts


def _refined(recipe: Recipe, number: int) -> Stage:
    name = f"round-{number}/refined"
    settings = _refinement(recipe, {"seed", "student", "pairs"})
    inputs = ("problems/train.jsonl", f"round-{number}/completions.jsonl", f"round-{number}/pairs.jsonl")
    return Stage(
        name,
        1,
        settings,
        (*inputs, *_starts(number)),
        (name, f"{name}.json"),
        lambda job, partial: _make_refined(job, partial, number, name, only_right=False),
    )


def _refinement(recipe: Recipe, also: set[str]) -> Json:
    """The settings of stage 2; what is done with its outcome is not one."""
    return recipe.model_dump(mode="json", include=also) | {"refine": recipe.refine.model_dump(exclude={"accept"})}


def _make_refined(job: Job, partial: Path, number: int, name: str, *, only_right: bool) -> Mapping[str, Json]:
    from srit.refined import make_preferences, refine, step_0_loss

    recipe, problems = job.recipe, job.problems("train")
    completions = read_records(job.run.path(f"round-{number}/completions.jsonl"), Completion)
    pairs = read_records(job.run.path(f"round-{number}/pairs.jsonl"), Pair)
    preferences = make_preferences(problems, pairs, completions, job.prompts, recipe, only_right=only_right)
    if not preferences:
        raise TrainingError("no problem gave a pair or a right answer: there is nothing to refine on")
    model = trainable(recipe.student, job.run.path(_start(job, number)))
    agreement = _check_agreement(job, model, completions, problems)
    reference = _reference(job, model, preferences, partial)
    history = refine(
        model,
        preferences,
        reference,
        recipe.refine,
        preference_weight=0.0 if only_right else 1.0,
        seed=f"{recipe.seed}/{name}",
        checkpoints=partial,
        progress=lambda done, total: job.progress(name, done, total),
    )
    invariants = [agreement]
    if not only_right and (wanted := step_0_loss(recipe.refine)) is not None:
        loss = history[0]["preference_loss"]
        line = f"step 0: preference loss {loss:.4f}, and {wanted:.4f} where policy and reference are the same"
        invariants.append(job.invariant("the policy starts from its reference", True, line))
    _save(job, model, name)
    write_json(job.run.path(f"{name}.json"), {"history": history, "invariants": invariants})
    tokens = sum(metrics["tokens"] for metrics in history)
    return {"groups": len(preferences), "steps": len(history), "tokens": tokens}


def _reference(job: Job, model: Any, preferences: Sequence[Any], partial: Path) -> list[list[float]]:
    """Taken before the first step, and kept: a resumed training must not take them from moved weights."""
    from srit.refined import reference_logps

    path = partial / "reference.json"
    if not path.exists():
        write_json(path, reference_logps(model, preferences, job.recipe.refine.row_tokens))
    kept: list[list[float]] = json.loads(path.read_bytes())
    return kept


def _check_agreement(job: Job, model: Any, completions: Sequence[Completion], problems: Sequence[Problem]) -> Json:
    from srit.refined import disagreement

    some = completions[:: max(1, len(completions) // AGREEMENT_SAMPLES)][:AGREEMENT_SAMPLES]
    by_id = {problem.id: problem for problem in problems}
    gap = disagreement(model, some, by_id, job.prompts, job.recipe.refine.row_tokens)
    if gap > AGREEMENT:
        raise TrainingError(
            f"sampler and trainer differ by {gap:.3f} nats a token on the same answers: the answers came from "
            "another model than the one that is trained"
        )
    line = f"sampler and trainer agree on {len(some)} answers within {gap:.0e} nats a token"
    return job.invariant("sampler and trainer agree", True, line)


def _accepted(recipe: Recipe, number: int) -> Stage:
    name = f"round-{number}/accepted"
    settings = {"accept": recipe.refine.accept, "max_new_tokens": recipe.evaluate.max_new_tokens, "rows": recipe.rows}
    inputs = ("problems/dev.jsonl", f"round-{number}/refined", *_starts(number))
    return Stage(
        name, 1, settings, inputs, (f"{name}.json",), lambda job, partial: _make_accepted(job, partial, number)
    )


def _make_accepted(job: Job, partial: Path, number: int) -> Mapping[str, Json]:
    dev = job.problems("dev")
    decided: dict[str, Json] = {"accepted": True, "n": len(dev)}
    if dev and job.recipe.refine.accept == "better":
        before, after = (
            [
                p.verdict == "right"
                for p in _answers(job, model, dev, ("cot",), partial / label, f"round-{number}/dev", job.recipe.rows)
            ]
            for label, model in (("before", _start(job, number)), ("after", f"round-{number}/refined"))
        )
        result = compare(after, before, seed=job.recipe.seed)
        worse = result.delta < 0 and result.p < NOISE
        decided |= {"accepted": not worse, "delta": result.delta, "p": result.p}
        decided |= {"before": sum(before) / len(dev), "after": sum(after) / len(dev)}
    write_json(job.run.path(f"round-{number}/accepted.json"), decided)
    return decided


# ---- controls, evaluation, results -------------------------------------------------------------


def _control(recipe: Recipe, control: Literal["instruct", "right"]) -> Stage:
    name = f"controls/{control}"
    settings = _refinement(recipe, {"seed", "student", "instruct", "pairs"})
    inputs = ("problems/train.jsonl", "demonstrations.jsonl", "instructed", "round-1/completions.jsonl")
    make = _make_more_instruction if control == "instruct" else _make_own_right
    return Stage(name, 1, settings, (*inputs, "round-1/pairs.jsonl"), (name, f"{name}.json"), make)


def _make_more_instruction(job: Job, partial: Path) -> Mapping[str, Json]:
    """Stage 1 goes on for as many tokens as round 1 of stage 2 takes."""
    from srit.refined import make_preferences, n_row_tokens

    problems = job.problems("train")
    completions = read_records(job.run.path("round-1/completions.jsonl"), Completion)
    pairs = read_records(job.run.path("round-1/pairs.jsonl"), Pair)
    preferences = make_preferences(problems, pairs, completions, job.prompts, job.recipe)
    budget = n_row_tokens(preferences, job.recipe.refine)
    model = trainable(job.recipe.student, job.run.path("instructed"))
    return _instruct(job, model, partial, "controls/instruct", max_tokens=budget)


def _make_own_right(job: Job, partial: Path) -> Mapping[str, Json]:
    """Fine-tuning on own right answers (rejection sampling) in place of the preference loss."""
    return _make_refined(job, partial, 1, "controls/right", only_right=True)


def _predictions(recipe: Recipe, model: str, folder: str, use: TaskUse) -> Stage:
    name = f"predictions/{model}/{slug(use.task)}"
    rows = recipe.rows if model != AGAIN else max(1, recipe.rows // 3)
    settings = {
        "evaluate": recipe.evaluate.model_dump(mode="json", exclude={"teacher", "noise_floor"}),
        "rows": rows,
        "chat_template": recipe.student.chat_template,
    }
    problems = f"problems/evaluate-{slug(use.task)}.jsonl"
    inputs = (problems,) if model == "base" else (problems, folder)

    def make(job: Job, partial: Path) -> Mapping[str, Json]:
        found = job.problems(f"evaluate-{slug(use.task)}")
        evaluate = job.recipe.evaluate
        predictions = _answers(job, folder, found, evaluate.prompts, partial / "greedy", name, rows)
        if evaluate.pass_at:
            drawn = SamplingSettings(evaluate.temperature, evaluate.max_new_tokens, job.prompts.stop_ids)
            several = range(1, evaluate.samples + 1)
            path = partial / "drawn"
            predictions += _predicted(job, folder, found, evaluate.prompts, several, drawn, path, name, rows)
        write_records(job.run.path(f"{name}.jsonl"), predictions)
        return Counter(f"{p.prompt}: {p.verdict}" for p in predictions if p.index == 0)

    return Stage(name, 1, settings, inputs, (f"{name}.jsonl",), make)


def _teacher_predictions(recipe: Recipe, use: TaskUse) -> Stage:
    name = f"predictions/{TEACHER}/{slug(use.task)}"
    problems = f"problems/evaluate-{slug(use.task)}.jsonl"

    def make(job: Job, partial: Path) -> Mapping[str, Json]:
        questions = questions_of(job.problems(f"evaluate-{slug(use.task)}"), None)
        answers = ask(questions, _teacher(job.recipe), *_paid_answers(job))
        predictions = [
            judged(q.problem, "cot", 0, text, n_tokens=answer.n_completion_tokens, truncated=False)
            for q in questions
            for answer in [answers[q.problem.id]]
            if (text := answer.text) is not None
        ]
        write_records(job.run.path(f"{name}.jsonl"), predictions)
        return Counter(p.verdict for p in predictions) | {"no answer": len(questions) - len(predictions)}

    return Stage(name, 1, _teacher_settings(recipe), (problems,), (f"{name}.jsonl",), make)


def _answers(
    job: Job, model: str, problems: Sequence[Problem], kinds: Sequence[Any], partial: Path, what: str, rows: int
) -> list[Prediction]:
    """Greedy answers."""
    greedy = SamplingSettings(0.0, job.recipe.evaluate.max_new_tokens, job.prompts.stop_ids)
    return _predicted(job, model, problems, kinds, range(1), greedy, partial, what, rows)


def _predicted(
    job: Job,
    model: str,
    problems: Sequence[Problem],
    kinds: Sequence[Any],
    indices: range,
    settings: SamplingSettings,
    partial: Path,
    what: str,
    rows: int,
) -> list[Prediction]:
    requests = make_evaluation_requests(problems, kinds, job.prompts, indices, f"{job.recipe.seed}/evaluate")
    sampled = job.sample(model, requests, settings, partial, what, rows)
    return make_predictions(problems, kinds, indices, sampled, job.prompts)


def _results(recipe: Recipe) -> Stage:
    settings = {"train": [use.task for use in recipe.tasks.train], "rounds": recipe.rounds, "seed": recipe.seed}
    names = [f"predictions/{model}/{slug(use.task)}.jsonl" for model, use in _evaluated(recipe)]
    return Stage("results", 1, settings, tuple(names), ("results.json",), _make_results)


def _evaluated(recipe: Recipe) -> list[tuple[str, TaskUse]]:
    who = [*models(recipe), *([TEACHER] if recipe.evaluate.teacher else [])]
    return [(model, use) for model in who for use in recipe.tasks.evaluate]


def _make_results(job: Job, partial: Path) -> Mapping[str, Json]:
    recipe = job.recipe
    predictions = {
        (model, use.task): read_records(job.run.path(f"predictions/{model}/{slug(use.task)}.jsonl"), Prediction)
        for model, use in _evaluated(recipe)
    }
    trained = {use.task for use in recipe.tasks.train}
    rounds = {f"refined-{n}" if n < recipe.rounds else "refined": n for n in _rounds(recipe)}
    results = make_results(predictions, trained, rounds, pass_at=recipe.evaluate.pass_at, seed=recipe.seed)
    for row in results["comparisons"]:
        if (row["a"], row["b"], row["task"]) == ("instructed", "base", "all in-domain") and row["ci95"][1] < 0:
            line = f"instructed is worse than base in-domain ({row['prompt']} prompt): look at the demonstrations"
            job.invariant("stage 1 helped", False, line)
    results["timings"] = {name: entry["seconds"] for name, entry in job.run.manifest["stages"].items()}
    results["environment"] = environment()
    write_json(job.run.path("results.json"), results)
    return {"rows": len(results["rows"])}


def environment() -> dict[str, str]:
    """What figures depend on beside the recipe."""
    packages = ("srit", "torch", "transformers", "peft")
    return {"python": platform.python_version(), "machine": platform.machine(), **{p: version(p) for p in packages}}


@contextmanager
def held(folder: Path, recipe: Recipe, *, progress: Progress, tell: Tell) -> Iterator[Job]:
    """A run directory opened for a recipe, which is written into it."""
    run = Run(folder)
    write_bytes(folder / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False).encode())
    yield Job(run, recipe, progress=progress, tell=tell)


def _belongs(stage: str, wanted: str) -> bool:
    return stage == wanted or wanted in stage.split("/")


def _line(counts: Mapping[str, Json]) -> str:
    return ", ".join(f"{name} {value}" for name, value in counts.items() if isinstance(value, (int, float, bool)))
