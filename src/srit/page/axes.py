"""The numbers on an axis."""

from __future__ import annotations

import math


def ticks(low: float, high: float, n: int) -> list[float]:
    """Return round numbers from `low` to `high` that divide it into about `n` parts; at least one."""
    raw = (high - low) / n or 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * min((1, 2, 5, 10), key=lambda factor: abs(math.log(factor * power / raw)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, max(first, last) + 1)]
