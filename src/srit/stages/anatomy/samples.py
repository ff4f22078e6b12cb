"""What a round's samples leave to learn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from srit.records import Completion
from srit.records.anatomy import SampleCounts

ByProblem = Mapping[tuple[str, str], Sequence[Completion]]  # by task and id


def by_problem(completions: Iterable[Completion]) -> ByProblem:
    """Sort completions by their problems."""
    found: dict[tuple[str, str], list[Completion]] = {}
    for completion in completions:
        found.setdefault((completion.task, completion.problem_id), []).append(completion)
    return found


def likeliest(samples: Sequence[Completion]) -> Completion:
    """Return the likeliest answer to the CoT prompt, or to the direct one where none was given to the CoT prompt."""
    return max([c for c in samples if c.prompt == "cot"] or samples, key=lambda c: c.logp)


def count_samples(samples: ByProblem) -> tuple[SampleCounts, ...]:
    """Count by task, and then over all tasks."""
    tasks = dict.fromkeys(task for task, _ in samples)
    counted = [_counts(task, [of for (one, _), of in samples.items() if one == task]) for task in tasks]
    return (*counted, _counts(None, list(samples.values()))) if counted else ()


def _counts(task: str | None, groups: Sequence[Sequence[Completion]]) -> SampleCounts:
    n_right = [sum(c.reward == 1 for c in of) for of in groups]
    sizes = [len(of) for of in groups]
    mixed = [0 < right < n for right, n in zip(n_right, sizes, strict=True)]
    best = [likeliest(of).reward == 1 for of in groups]
    return SampleCounts(
        task=task,
        problems=len(groups),
        samples=sum(sizes),
        right=sum(n_right),
        all_right=sum(right == n for right, n in zip(n_right, sizes, strict=True)),
        all_wrong=n_right.count(0),
        mixed=sum(mixed),
        distinct=sum(len({c.text.strip() for c in of}) for of in groups) / len(groups),
        likeliest_right=sum(best),
        can_flip=sum(not good and right > 0 for good, right in zip(best, n_right, strict=True)),
    )
