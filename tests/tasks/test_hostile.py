"""Answers made to take for ever: each is decided soon, and the next is judged as if nothing had been."""

import contextlib
import time

import pytest

from srit.errors import JudgeError
from srit.tasks.math_judge import math_equal

pytest.importorskip("math_verify")

# Each family by its size, from 1 on.
FAMILIES = {
    "towers": lambda n: "9^{" * (n % 9 + 2) + "9" + "}" * (n % 9 + 2),
    "powers in Python": lambda n: f"{n + 1}**{n + 8}**{n + 9}",
    "exponents": lambda n: rf"\frac{{{n + 4}^{{({n + 4}^{{({n + 4}^5)}} - 4)}} - 5}}{{16}}",
    "powers near the limit": lambda n: f"{n + 3}^{{{99_000 + n}}}+x",
    "products of powers": lambda n: "".join(rf"({k + 2}^{{{90_000 + n}}})\cdot " for k in range(8)) + "1",
    "factorials": lambda n: f"{10**5 * n}!",
    "factorials of factorials": lambda n: f"((({n + 4})!)!)!",
    "binomials": lambda n: rf"\binom{{{99_990 + n % 9}}}{{{49_990 + n}}}",
    "sums": lambda n: rf"\sum_{{k=1}}^{{{9_900 + n}}} \frac{{k^{n}}}{{k!}}",
    "products": lambda n: rf"\prod_{{k=1}}^{{{9_900 + n}}} (1+\frac{{1}}{{k^{n + 1}}})",
    "integrals": lambda n: rf"\int_0^\infty \frac{{\sin^{{{n + 2}}} x}}{{x^{{{n + 1}}}+1}} dx",
    "integrals without a formula": lambda n: rf"\int_0^{{{n}}} e^{{x^x}} \sin(x^{{{n}}}) dx",
    "limits": lambda n: rf"\lim_{{x \to 0}} \frac{{\sin^{{{n}}}(\tan x) - \tan^{{{n}}}(\sin x)}}{{x^{{{n + 6}}}}}",
    "digits": lambda n: "7" * (2_000 * n),
    "decimals": lambda n: f"{n}." + "142857" * 160,
    "brackets": lambda n: "(" * (20 * n) + "x" + ")" * (20 * n),
    "roots": lambda n: r"\sqrt{1+" * (n % 19 + 1) + "x" + "}" * (n % 19 + 1),
    "expansions": lambda n: f"(x+y+z+w+{n})^{{{200 + n}}}",
    "equations": lambda n: f"x^{{{300 + n}}} + 3x^{{{n + 2}}} + y^{{{n + 1}}} = {n}",
    "large sets": lambda n: r"\{" + ", ".join(rf"\sqrt{{{k}}}" for k in range(n, n + 90)) + r"\}",
}
GOLDS = ("x^2+1", r"\frac{\pi}{3}", r"\{1, \sqrt{2}, x\}", "y = 3x + 7")


def longest(families, numbers):
    """Judges a hostile answer of each family and number; returns the longest time, with the family."""
    math_equal("(x+1)^2", "x^2+2x+1")  # starts what judges
    times = []
    for family in families:
        for number in numbers:
            started = time.monotonic()
            with contextlib.suppress(JudgeError):
                math_equal(FAMILIES[family](number), GOLDS[number % len(GOLDS)])
            times.append((time.monotonic() - started, family, number))
    started = time.monotonic()
    assert math_equal("(x-1)(x+1)", "x^2-1") and time.monotonic() - started < 5
    return max(times)


def test_a_hostile_answer_is_decided():
    families = ("towers", "powers near the limit", "factorials of factorials", "integrals", "digits", "brackets")

    assert longest(families, [40])[0] < 20  # beside other work on the machine


@pytest.mark.slow
def test_a_thousand_hostile_answers_are_each_decided_within_two_seconds():
    slowest = longest(FAMILIES, range(1, 51))

    assert slowest[0] < 2, slowest
