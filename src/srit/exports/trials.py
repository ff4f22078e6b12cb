"""The test of an export: questions, and the greedy answers and probabilities of two models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING, NamedTuple

from srit.exports.sources import Source
from srit.recipe.compared import evaluated, problems_file
from srit.records import Problem, PromptKind
from srit.run_directory import each_record
from srit.samplers import Request, SamplingSettings
from srit.students.loading import load_prompts
from srit.students.prompts import Prompts
from srit.tasks import find_task

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel

SAME = 0.95  # the share of greedy answers that must be the same: two near ties in 40 may be decided differently
NEAR = 0.125  # nats; llama.cpp rounds what it computes in bfloat16, whose logits of 16 to 32 are 0.125 apart
UNCHECKED = "not checked"  # the name of a check that could not be made, for lack of software
SCORED = 8  # questions whose next tokens' probabilities are compared
UNKNOWN = "sums"  # whose problems are asked if no run says what a model was made for
SHORT = 64  # tokens of an answer there


class Question(NamedTuple):
    """A prompt."""

    text: str  # the user's turn
    ids: tuple[int, ...]


class Trial(NamedTuple):
    """The questions that two forms of a model are asked."""

    prompts: Prompts
    questions: tuple[Question, ...]
    max_new_tokens: int

    @property
    def texts(self) -> list[str]:
        """The users' turns."""
        return [question.text for question in self.questions]


Answers = Sequence[tuple[int, ...]]


def trial_of(source: Source, n: int) -> Trial:
    """Take evaluation problems of the run that made a model, from each task in turn; without a run, from our own task.

    Args:
        n: the most questions.
    """
    prompts = load_prompts(source.student, source.wording)
    kind, most = _asked(source)
    texts = [prompts.problem_text(problem, kind) for problem in islice(_problems(source), n)]
    questions = tuple(Question(text, prompts.prompt_ids(text, where="an evaluation problem")) for text in texts)
    return Trial(prompts, questions, most)


def _asked(source: Source) -> tuple[PromptKind, int]:
    if source.run is None:
        return "cot", SHORT
    evaluate = source.run.recipe.evaluate
    return "cot" if "cot" in evaluate.prompts else "direct", evaluate.max_new_tokens


def _problems(source: Source) -> Iterator[Problem]:
    if source.run is not None:
        paths = [source.run.folder / problems_file(task) for task in evaluated(source.run.recipe)]
        by_task = [each_record(path, Problem) for path in paths if path.exists()]
        if by_task:
            return (problem for problem in chain.from_iterable(zip_longest(*by_task)) if problem is not None)
    return iter(find_task(UNKNOWN).load("test", data=None, limit=None, seed=0))


def greedy(model: LanguageModel, trial: Trial) -> Answers:
    """Return a model's greedy answer to each question, without the token that ends it."""
    from srit.samplers.transformers.engine import TransformersSampler

    sampler = TransformersSampler(model, rows=len(trial.questions), pad_id=0)  # type: ignore[arg-type]
    settings = SamplingSettings(0.0, trial.max_new_tokens, trial.prompts.stop_ids)
    requests = [Request(question.ids, "") for question in trial.questions]
    return [without_end(answer.token_ids, trial.prompts.stop_ids) for answer in sampler.sample(requests, settings)]


def without_end(ids: tuple[int, ...], stop_ids: Sequence[int]) -> tuple[int, ...]:
    """Return an answer up to the first token that ends it."""
    return next((ids[:place] for place, token in enumerate(ids) if token in stop_ids), ids)


def same(one: Answers, other: Answers, n_ties: int = 0) -> tuple[bool, str]:
    """Say how many greedy answers are the same, and whether enough are.

    Args:
        n_ties: how many differ only by a near tie; they do not count as different.
    """
    n = sum(a == b for a, b in zip(one, other, strict=True))
    ties = f", and {n_ties} more up to a near tie" if n_ties else ""
    return n + n_ties >= SAME * len(one), f"{n} of {len(one)} greedy answers are the same, token by token{ties}"


def near_ties(model: LanguageModel, trial: Trial, answers: Answers, other: Answers) -> int:
    """Count the answers whose first other token is nearly as probable to the model as its own.

    Args:
        answers: the model's own.
    """
    differing = [(q, a, b) for q, a, b in zip(trial.questions, answers, other, strict=True) if a != b]
    return sum(_gap(model, trial, *one) <= NEAR for one in differing)


def _gap(
    model: LanguageModel, trial: Trial, question: Question, answer: tuple[int, ...], other: tuple[int, ...]
) -> float:
    """Return how much less probable the first other token is, in nats; where an answer ends, the likeliest end is."""
    import torch

    place = next(
        (n for n, (a, b) in enumerate(zip(answer, other, strict=False)) if a != b), min(len(answer), len(other))
    )
    ids = torch.tensor([[*question.ids, *answer[:place]]], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits[0, -1].float()
    own, theirs = (logits[list(one[place : place + 1] or trial.prompts.stop_ids)].max() for one in (answer, other))
    return float(own - theirs)


def furthest(one: LanguageModel, other: LanguageModel, trial: Trial, answers: Answers) -> float:
    """Return the largest difference between two models' probabilities of any next token, 0 to 1.

    Args:
        answers: to the questions; question and answer are the text that is scored.
    """
    import torch

    gaps = [0.0]
    with torch.inference_mode():
        for question, answer in islice(zip(trial.questions, answers, strict=True), SCORED):
            ids = torch.tensor([[*question.ids, *answer]])
            found = [m(input_ids=ids.to(m.device), use_cache=False).logits.float().cpu() for m in (one, other)]
            first, second = (logits.softmax(-1) for logits in found)
            gaps.append(float((first - second).abs().max()))
    return max(gaps)
