"""Estimates what a recipe's stages will take, before anything is spent: teacher calls, tokens, steps, and time.

It needs no model and no network. If a task's problems are generated or on this machine, some of them are read for the
length of prompts and worked solutions; otherwise constants stand in, and answers count as half of their limit.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from srit.compute.plan import Rates
from srit.errors import SritError
from srit.recipe import Optimization, Recipe, TaskUse
from srit.recipe.wording import Prompt
from srit.records import Split
from srit.students.adapted import base_student
from srit.students.prompts import prompt_text
from srit.tasks import Counted, Task, find_task
from srit.tasks.benchmarks import BenchmarkTask
from srit.tasks.jsonl import JsonlTask
from srit.tasks.story import StoryTask
from srit.teachers import teacher_kind
from srit.teachers.gold import worked_solution

PROMPT_TOKENS = 80  # of a question with its instruction, if no problem can be read; the shipped tasks have 50 to 150
UNLIMITED = 1000  # problems counted for a task without a limit
EXAMPLES = 50  # problems of a task that are read for their length
# What a tokenizer makes at least one token of: a word, a digit, the blank before a digit, any other sign. With
# SmolLM2's tokenizer the count is 1 % below the tokens of the quickstart's prompts (3.3 characters a token), equal to
# those of its worked solutions (1.6), and up to 4 % above those of srit's own pages in Markdown.
PIECE = re.compile(r"[^\W\d_]+|\d| (?=\d)|[^\w\s]|_|\n")
CHAT_TOKENS = 8  # that ChatML puts around a prompt
# Measured with SmolLM2-135M in float32 on two cores: 520 tokens/s sampled, 335 trained through LoRA. Full training was
# measured before the rest became faster: 110 where LoRA had 190. bfloat16 units take about half the time.
SAMPLED = 520 * 135e6 / 2  # parameters * tokens a second, for each core
TRAINED = {"lora": 335 * 135e6 / 2, "qlora": 335 * 135e6 / 2, "full": 195 * 135e6 / 2}
LOADED = 1.5 / 135e6  # seconds a parameter, to load a model: SmolLM2-135M on the same two cores
SCORED = 3  # tokens are scored in the time of one that is trained: 716 and 213 tokens/s on one core in bfloat16
# The share of the speed measured by the probe or gpu-check that stages reach, since answers end at different lengths,
# rows are less even, and checkpoints are written: 0.6 to 0.95 in the quickstart.
REACHED = 0.8

# One H100 of 80 GB: a model from published figures, not a measurement (`make gpu-check` makes one). Training through
# LoRA takes 4 operations a parameter and token, and full training 6 (Kaplan et al. 2020, arXiv 2001.08361; frozen
# weights need no gradients). NVIDIA's NeMo AutoModel reaches 402e12 operations a second with packed rows of 4,096
# tokens; shorter rows are taken to reach half of that. A decoding step reads all weights, 2 bytes each, and the cache,
# at 65 % of 3.35e12 bytes a second, and takes 3 ms besides.
GPU_TRAINED = {
    tuning: 0.5 * 402e12 / n for tuning, n in (("lora", 4), ("qlora", 4), ("full", 6))
}  # parameters*tokens/s
GPU_WEIGHT = {"lora": 2, "qlora": 2, "full": 18}  # bytes a parameter: bfloat16; full: its optimizer's 16 besides
GPU_SHARED = GPU_WEIGHT | {"full": 16}  # the same for sharded weights: bfloat16 copies are made as needed
GPU_BYTES = 0.65 * 3.35e12  # a second
GPU_STEP = 0.003  # seconds
GPU_ROWS = 256  # answers at once: the cache of many more does not fit
GPU_CACHE = 3e-5  # bytes that a token of one answer takes in the cache, for each parameter: 1.6e-5 to 3.5e-5 in Llamas
GPU_COLUMNS = 300  # tokens of an answer in the cache, on average, its prompt included


class Work(NamedTuple):
    """What one stage takes; 0 for what it does not do."""

    calls: int = 0  # to the teacher, at most
    sampled: int = 0  # tokens written, by student or local teacher
    trained: int = 0  # tokens through a training step
    scored: int = 0  # tokens through the model without a gradient, for the reference of a training
    steps: int = 0
    loads: int = 0  # of the student's weights

    @property
    def as_trained(self) -> float:
        """How many tokens could be trained in the time that all tokens take that are trained or scored."""
        return self.trained + self.scored / SCORED

    def summary(self) -> str:
        """Return the work in words, such as "1,440 teacher calls, 46,080 tokens sampled"."""
        parts = [
            f"{n:,} {what}"
            for n, what in (
                (self.calls, "teacher calls"),
                (self.sampled, "tokens sampled"),
                (self.trained, "tokens trained"),
                (self.steps, "steps"),
            )
            if n
        ]
        return ", ".join(parts)


class Tokens(NamedTuple):
    """The mean length of a task's prompts, and of the answers to them."""

    prompt: float
    answer: float


def tokens_of(recipe: Recipe, use: TaskUse, split: Split, most: int) -> Tokens:
    """Estimate how long a task's prompts and the trained student's answers are.

    A student that learned from worked solutions writes answers of the same length: 22.2 tokens for solutions of 22.2,
    on the quickstart's training problems.

    Args:
        most: the most tokens of an answer.
    """
    prompt, solution = _lengths(use.task, use.data, split, recipe.tasks.seed, recipe.prompt)
    answer = solution if writes_solutions(recipe) else None
    return Tokens(prompt or PROMPT_TOKENS, min(answer or most / 2, most))


def writes_solutions(recipe: Recipe) -> bool:
    """Return whether the teacher writes the worked solutions of the tasks, and the student learns to write them."""
    return recipe.teacher.kind in ("solver", "gold")


@cache
def _lengths(
    name: str, data: str | None, split: Split, seed: int, wording: Prompt
) -> tuple[float | None, float | None]:
    """Return the mean tokens of a task's prompts and worked solutions; None if they are not known here."""
    folder = None if data is None else Path(data)
    try:
        task = find_task(name)
        is_here = _reads(task, split) or (isinstance(task, BenchmarkTask) and folder is not None)
        if not is_here:  # the hub would be asked, or a plug-in that may use the network
            return None, None
        limit = EXAMPLES if isinstance(task, StoryTask) else None  # a file is read no further than its first rows
        problems = list(islice(task.load(split, data=folder, limit=limit, seed=seed), EXAMPLES))
    except (SritError, OSError, ValueError):
        return None, None  # the run reports it in full
    around = CHAT_TOKENS + n_pieces(wording.system or "")
    prompts = [around + n_pieces(prompt_text(problem, "cot", wording)) for problem in problems]
    worked = [task.solve(problem) or worked_solution(problem) for problem in problems]
    solutions = [1 + n_pieces(solution) for solution in worked if solution is not None]
    return _mean(prompts), _mean(solutions)


def _reads(task: Task, split: Split) -> bool:
    """Return whether a task's problems are made or read without the network."""
    return isinstance(task, StoryTask) or (isinstance(task, JsonlTask) and task.is_here(split))


def n_pieces(text: str) -> int:
    """Return about how many tokens a text has."""
    return sum(1 for _ in PIECE.finditer(text))


def _mean(counts: Sequence[int]) -> float | None:
    return sum(counts) / len(counts) if counts else None


def teaching(recipe: Recipe, questions: int) -> Work:
    """Return the work of asking the teacher that many questions."""
    work = teacher_kind(recipe.teacher.kind).work(recipe.teacher, questions)
    return Work(calls=work.calls, sampled=work.sampled)


def n_problems(use: TaskUse, split: Split) -> int:
    """Return how many problems of a task are used, counted if they are on this machine."""
    there = n_there(use, split)
    return there if there is not None else use.limit or UNLIMITED


@cache
def n_there(use: TaskUse, split: Split) -> int | None:
    """Return how many problems of a task can be used; None: they are not on this machine."""
    try:
        task = find_task(use.task)
        folder = None if use.data is None else Path(use.data)
        return task.count(split, data=folder, limit=use.limit) if isinstance(task, Counted) else None
    except (SritError, OSError, ValueError):
        return None  # `looking` reports it in full


def demonstrated(recipe: Recipe) -> list[tuple[TaskUse, int]]:
    """Return the training tasks, each with how many of its problems the teacher is asked."""
    limit = recipe.demonstrations.limit
    counts = [(use, n_problems(use, "train")) for use in recipe.tasks.train]
    return [(use, n if limit is None else min(n, limit)) for use, n in counts]


def refined_on(recipe: Recipe) -> list[tuple[TaskUse, int]]:
    """Return the tasks that stage 2 works on, each with how many problems it has."""
    return [(use, n_problems(use, "train")) for use in recipe.tasks.refine or recipe.tasks.train]


def seconds(work: Work, recipe: Recipe, rates: Rates | None = None) -> float | None:
    """Estimate how many seconds work takes on this machine's cores; None if the student's size is not known.

    Args:
        rates: as probed on this machine for this student; None: by the student's size and another machine's speed.
    """
    size = n_parameters(recipe)
    if rates is not None:
        computed = work.sampled / rates.sampled + work.as_trained / rates.trained
        return computed / REACHED + work.loads * LOADED * (size or 0)
    if size is None:
        return None
    cores = os.cpu_count() or 1
    computed = (work.sampled / SAMPLED + work.as_trained / TRAINED[recipe.student.tuning]) / cores
    return size * (computed + work.loads * LOADED)


def gpu_seconds(work: Work, recipe: Recipe) -> float | None:
    """Estimate the same on one H100 of 80 GB, by the model above; None if the student's size is not known."""
    if (size := n_parameters(recipe)) is None:
        return None
    rows = min(recipe.rows, GPU_ROWS)
    step = size * (2 + rows * GPU_COLUMNS * GPU_CACHE) / GPU_BYTES + GPU_STEP
    return work.sampled * step / rows + size * work.as_trained / GPU_TRAINED[recipe.student.tuning]


def dollars(works: Iterable[Work], recipe: Recipe) -> float | None:
    """Return what the teacher's answers cost if all are as long as they may be; None if its prices are not known."""
    calls = sum(work.calls for work in works)
    prompts = [tokens_of(recipe, use, "train", 1).prompt for use in recipe.tasks.train] if calls else []
    return teacher_kind(recipe.teacher.kind).price(recipe.teacher, calls, math.ceil(max([PROMPT_TOKENS, *prompts])))


def gpu_bytes(recipe: Recipe, sharing: int = 1) -> int | None:
    """Return the fewest bytes that the student takes on a GPU, without a cache; None if its size is not known.

    Args:
        sharing: how many GPUs its weights, gradients and optimizer are sharded over; answers take whole weights.
    """
    size, tuning = n_parameters(recipe), recipe.student.tuning
    if size is None or sharing == 1:
        return None if size is None else size * GPU_WEIGHT[tuning]
    return max(size * GPU_WEIGHT["lora"], size * GPU_SHARED[tuning] // sharing)


def total_summary(
    works: Sequence[Work], recipe: Recipe, rates: Rates | None = None, device: Literal["cpu", "cuda"] = "cpu"
) -> str:
    """Return the cost of a plan in one line.

    Args:
        rates: as in `seconds`.
        device: what this machine computes on.
    """
    on_gpu = device == "cuda"
    times = [gpu_seconds(w, recipe) if on_gpu and rates is None else seconds(w, recipe, rates) for w in works]
    took = "time unknown (the student's size is not in its name)"
    if None not in times:
        took = duration(sum(filter(None, times)))
    if any(_is_unknown(use, split) for split, uses in uses_of(recipe) for use in uses):
        took += f" (a task of unknown size counted as {UNLIMITED:,} problems)"
    calls, price = sum(work.calls for work in works), dollars(works, recipe)
    money = f"; teacher: at most {calls:,} calls" if calls else ""
    money += "" if price is None else f" and ${price:.2f}"
    where = "GPU, by published figures of an H100" if on_gpu and rates is None else "GPU" if on_gpu else "processor"
    memory = gpu_bytes(recipe) if on_gpu else None
    room = "" if memory is None else f"; at least {memory / 2**30:.1f} GiB of its memory for the student"
    return f"in all {took} on this machine's {where}{room}{money}"


def duration(seconds: float) -> str:
    """Word an estimated time, as precisely as an estimate is."""
    minutes = seconds / 60
    if minutes < 1:
        return "less than a minute"
    if minutes < 1.5:
        return "about a minute"
    return f"about {minutes:.0f} minutes" if minutes < 120 else f"about {minutes / 60:,.0f} hours"


def uses_of(recipe: Recipe) -> list[tuple[Split, Sequence[TaskUse]]]:
    """Return the tasks that a recipe uses, by the split that it uses."""
    tasks = recipe.tasks
    return [("train", (*tasks.train, *tasks.refine)), ("dev", tasks.dev), ("test", tasks.evaluate)]


def _is_unknown(use: TaskUse, split: Split) -> bool:
    return use.limit is None and n_there(use, split) is None


def n_parameters(recipe: Recipe) -> int | None:
    """Return the size of the student, from its local weights or from its name, such as Llama-2-7b."""
    model = base_student(recipe.student).model
    weights = list(Path(model).glob("*.safetensors")) if Path(model).is_dir() else []
    if weights:
        return sum(path.stat().st_size for path in weights) // 2  # hub weights have two bytes a parameter
    named = re.search(r"(\d+(?:\.\d+)?)([bm])(?![a-z])", model.lower())
    return round(float(named[1]) * {"b": 1e9, "m": 1e6}[named[2]]) if named else None


def training(settings: Optimization, n: int, tokens: float, loads: int = 1) -> Work:
    """Return the work of a training.

    Args:
        n: how many examples or problems it has.
        tokens: that all of them have together.
        loads: of the student's weights.
    """
    steps = settings.epochs * math.ceil(n / settings.batch_size)
    return Work(trained=round(settings.epochs * tokens), steps=steps, loads=loads)
