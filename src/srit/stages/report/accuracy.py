"""results.json → what the page draws: accuracies by task, and problems whose verdict a training changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from srit.records import Domain, Model, PromptKind
from srit.records.scores import Comparison, Results, Score
from srit.stages.report.headline import BOTH, main_prompt, prompt_words, refinements
from srit.stages.results import DOMAINS, over_domain


class Panel(NamedTuple):
    """The accuracies of all models on one task, or over a domain."""

    title: str
    domain: str  # in words; "" over a domain
    scores: list[Score]

    @property
    def asked(self) -> str:
        """Say on how many problems, and which models were asked fewer."""
        most = max(score.n for score in self.scores)
        fewer = [f"; {score.model}: {score.n}" for score in self.scores if score.n < most]
        return f"n = {most}{''.join(fewer)}"


class Group(NamedTuple):
    """The panels of one prompt in one domain, the one over the domain first."""

    title: str
    panels: list[Panel]


class Turned(NamedTuple):
    """How many problems of a task refinement turned right and wrong, and their share of the longest bar."""

    task: str
    domain: str
    change: Comparison
    fixed: float  # percent of the width
    broken: float


def groups(results: Results) -> list[Group]:
    """Group the accuracies by prompt, the main one first, and by domain."""
    main = main_prompt(results)
    prompts = sorted({row.prompt for row in results.rows}, key=lambda prompt: prompt != main)
    found = [_group(results, prompt, domain) for prompt in prompts for domain in BOTH]
    return [group for group in found if group.panels]


def _group(results: Results, prompt: PromptKind, domain: Domain) -> Group:
    rows = [row for row in results.rows if (row.prompt, row.domain) == (prompt, domain)]
    pooled = [row for row in results.pooled if (row.prompt, row.domain) == (prompt, domain)]
    tasks = list(dict.fromkeys(row.task or "" for row in rows))
    panels = [Panel(task, DOMAINS[domain], [row for row in rows if row.task == task]) for task in tasks]
    if len(tasks) > 1:
        panels.insert(0, Panel(over_domain(domain), "", pooled))
    return Group(f"{DOMAINS[domain].capitalize()}, {prompt_words(prompt)}", panels)


def turned(results: Results) -> list[Turned]:
    """Return the verdicts that refinement changed, task by task."""
    changes = refinements(results)
    most = max((max(c.only_a, c.only_b) for c in changes), default=0) or 1
    return [Turned(c.task, DOMAINS[c.domain], c, 100 * c.only_a / most, 100 * c.only_b / most) for c in changes]


def style_of(model: Model) -> str:
    """Return the class that colors a model."""
    return model.kind.removesuffix("-again")


def models_of(scores: Sequence[Score]) -> list[Model]:
    """Return the models that the rows have, each once."""
    return list(dict.fromkeys(row.model for row in scores))
