"""The outcome in sentences written by rule from results.json: what rose and what fell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from srit.records import Domain, PromptKind
from srit.records.scores import Comparison, Results
from srit.signed import points
from srit.stages.results import BASE, DOMAINS, INSTRUCTED, REFINED, over_domain

BOTH: tuple[Domain, ...] = ("in", "out")
NAMED = 4  # tasks that a sentence names one by one


def headline(results: Results) -> str:
    """Say in one sentence what refinement changed, and where it fell."""
    change = next((found for domain in BOTH if (found := _pooled(results, domain))), None)
    if change is None:
        return "Accuracies" if results.rows else "Self-refinement: not finished"
    return f"{_change(change)}{_falls(results, change)}"


def findings(results: Results) -> list[str]:
    """Write one sentence for each domain."""
    return [line for domain in BOTH for line in _finding(results, domain)]


def main_prompt(results: Results) -> PromptKind:
    """Return the prompt that the headline is about: CoT if models were asked with it."""
    return "cot" if any(row.prompt == "cot" for row in results.rows) else "direct"


def prompt_words(prompt: PromptKind) -> str:
    """Write which prompt."""
    return "CoT prompt" if prompt == "cot" else "direct prompt"


def refinements(results: Results) -> list[Comparison]:
    """Return refined against instructed on each task under the main prompt."""
    pooled = {over_domain(domain) for domain in BOTH}
    wanted = (REFINED, INSTRUCTED, main_prompt(results))
    return [c for c in results.comparisons if (c.a, c.b, c.prompt) == wanted and c.task not in pooled]


def _change(change: Comparison) -> str:
    where = DOMAINS[change.domain]
    if not change.changed:
        return f"Refined gets the same problems right as instructed {where}"
    if change.ci95.low > 0:
        return f"Refined beats instructed {where} by {points(change.delta)} points"
    if change.ci95.high < 0:
        return f"Refined is worse than instructed {where} by {points(change.delta)} points"
    return f"No evidence of a difference between refined and instructed {where} ({points(change.delta)} points)"


def _falls(results: Results, change: Comparison) -> str:
    """Name the other domain if it surely fell, or else the tasks that fell, the sure ones separately."""
    parts = []
    other = _pooled(results, "out") if change.domain == "in" else None
    if other is not None and other.ci95.high < 0:
        parts.append(f"falls {DOMAINS['out']} ({points(other.delta)})")
    fallen = sorted((c for c in refinements(results) if c.delta < 0), key=lambda c: c.delta)
    sure, unsure = [c for c in fallen if c.ci95.high < 0], [c for c in fallen if c.ci95.high >= 0]
    parts += [f"falls on {_tasks(sure)}"] if sure else []
    parts += [f"is lower within error on {_tasks(unsure)}"] if unsure else []
    return f"; it {' and '.join(parts)}" if parts else ""


def _tasks(fallen: Sequence[Comparison]) -> str:
    named = [f"{c.task} ({points(c.delta)})" for c in fallen[:NAMED]]
    named += [f"{len(fallen) - NAMED} more"] if len(fallen) > NAMED else []
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _finding(results: Results, domain: Domain) -> Iterator[str]:
    change, prompt = _pooled(results, domain), main_prompt(results)
    scores = {row.model: row for row in results.pooled if row.domain == domain and row.prompt == prompt}
    if change is not None and {BASE, INSTRUCTED, REFINED} <= set(scores):
        unchanged = "" if change.changed else ", none of which changed"
        of_base = "" if scores[BASE].n == change.n else f" (base on {scores[BASE].n:,})"
        shares = " → ".join(f"{100 * scores[m].accuracy:.1f}" for m in (BASE, INSTRUCTED, REFINED))
        yield (
            f"{DOMAINS[domain].capitalize()}, {prompt_words(prompt)}: base → instructed → refined {shares} %; "
            f"refined − instructed {points(change.delta)} points "
            f"({points(change.ci95.low)} to {points(change.ci95.high)}) on {change.n:,} problems{of_base}{unchanged}."
        )


def _pooled(results: Results, domain: Domain) -> Comparison | None:
    """Find refined against instructed over a domain, under the main prompt."""
    wanted = (REFINED, INSTRUCTED, over_domain(domain), main_prompt(results))
    return next((c for c in results.comparisons if (c.a, c.b, c.task, c.prompt) == wanted), None)
