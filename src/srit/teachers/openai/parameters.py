"""Learn from a server's refusals by which fields it accepts the limit and the temperature.

OpenAI's reasoning models accept neither `max_tokens` nor a temperature; other servers know only `max_tokens`. Each says
so with status 400 or 422, in its own words.
"""

from __future__ import annotations

import re
from typing import NamedTuple

LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")

_UNKNOWN_FIELD = re.compile(
    r"unsupported|not (?:\w+ )?supported|n[o']t support|no longer|deprecated|unknown|unrecogni[sz]ed|unexpected|"
    r"extraneous|extra[ _](?:input|field|forbid)|"
    r"not (?:be )?(?:permitted|allowed|accepted|recogni[sz]ed|available|a valid)|"
    r"removed?\b|renamed|replaced|omit|cannot (?:find|be)|can't be|must (?:not|be (?:unset|null|none|omitted))",
    re.IGNORECASE,
)
_OTHER_VALUE = re.compile(
    r"\bonly\b|\bmust\b|\bmay\b|default|invalid|between|range|positive|greater|less than|at least|at most|incompatible",
    re.IGNORECASE,
)
_TOO_MUCH = re.compile(
    r"too (?:large|long|big|many|high)|at most|maximum|exceed|context|reduce|less than|range|between", re.IGNORECASE
)


class Parameters(NamedTuple):
    """The fields of a request that differ between servers."""

    limit: str = LIMITS[0]  # the field that carries teacher.max_tokens
    refused: frozenset[str] = frozenset()  # fields the server does not accept

    def fields(self, max_tokens: int, temperature: float | None) -> dict[str, float | int]:
        """Return the fields to send."""
        sent: dict[str, float | int] = {self.limit: max_tokens}
        if temperature is not None and "temperature" not in self.refused:
            sent["temperature"] = temperature
        return sent


def adapted(sent: Parameters, complaint: str, named: str, temperature: float | None) -> Parameters | None:
    """Return what to send after a refusal; None if it is not about these fields, or nothing is left to try.

    Args:
        complaint: the server's message, without any repetition of the prompt.
        named: the fields that the error itself names ("param", "loc"); "" if none.
    """
    changed = _without_temperature(sent, complaint, named, temperature)
    changed = _other_limit(changed, complaint, named) or changed
    return changed if changed != sent else None


def is_limit_refused(sent: Parameters, complaint: str, named: str) -> bool:
    """Return whether the server does not know the limit's field. If it finds the limit too high, it does."""
    return _is_about(sent.limit, complaint, named) and bool(_UNKNOWN_FIELD.search(complaint + " " + named))


def _without_temperature(sent: Parameters, complaint: str, named: str, temperature: float | None) -> Parameters:
    if temperature is None or "temperature" in sent.refused or not _is_about("temperature", complaint, named):
        return sent
    # A value that no server accepts is a mistake in the recipe; leaving the field out would hide it.
    if temperature > 1 and _TOO_MUCH.search(complaint):
        return sent
    near = " ".join(
        sentence for sentence in re.split(r"(?<=[.;!?])\s|\n", complaint) if "temperature" in sentence.lower()
    )
    if named or _UNKNOWN_FIELD.search(near) or _OTHER_VALUE.search(near):
        return sent._replace(refused=sent.refused | {"temperature"})
    return sent


def _other_limit(sent: Parameters, complaint: str, named: str) -> Parameters | None:
    wanted = [name for name in LIMITS if name != sent.limit and _is_about(name, complaint, "")]
    asks_for_another = bool(wanted) and not _TOO_MUCH.search(complaint)
    if not (asks_for_another or is_limit_refused(sent, complaint, named)):
        return None
    refused = sent.refused | {sent.limit}
    left = [name for name in (*wanted, *LIMITS[:2]) if name not in refused]
    return Parameters(left[0], refused) if left else None


def _is_about(field: str, complaint: str, named: str) -> bool:
    return field in re.split(r"\W+", named) or bool(re.search(rf"(?<!\w){field}(?!\w)", complaint, re.IGNORECASE))
