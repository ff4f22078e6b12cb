r"""The final formula of a text."""

import time

import pytest

from srit.records import Problem
from srit.tasks import benchmarks, judge
from srit.tasks.reading.formulas import find_formulas, read_math


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is not $5$.", None),
        ("The answer isn't $5$.", None),
        ("The answer is not known: $5$", None),
        ("The answer is $6$. The answer is never $5$.", "6"),
        ("The answer is not $5$. It is $6$.", "6"),
        ("The answer is not continuous.", "not continuous"),
    ],
)
def test_what_is_denied_is_not_the_answer(text, answer):
    assert read_math(text).answer == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is\n\\[\n\\frac{4}{7}\n\\]", r"\frac{4}{7}"),
        ("So the answer is \\[ 5\\sqrt{3}. \\]", r"5\sqrt{3}"),
        ("It is\n\\[\nx^2 - 5\n\\]", "x^2 - 5"),
        ("The answer is:\n\\[ (2, 9) \\]", "(2, 9)"),
        ("Thus\n$$\n\\frac{4}{7}\n$$", r"\frac{4}{7}"),
        ("\\[x^2-5\\]\nThis is the answer.", "x^2-5"),
        ("\\[ 4x^2 = 16 \\] and hence \\[ x = \\pm 2. \\]", r"x = \pm 2"),
        ("\\[ x = 5 \\]\nwhere $x$ counts apples.", "x = 5"),
        ("So\n\\[\nx + 2 = 5 \\implies x = 3.\n\\]", "x = 3"),
        ("\\begin{align*}\n2x &= 6 \\\\\nx &= 3\n\\end{align*}", "x = 3"),
        ("The answer is\n\\begin{align}\nS &= 2 + 3 \\\\\n&= 5.\n\\end{align}", "S = 2 + 3 = 5"),
        ("So\n\\[\n\\begin{aligned} x &= 1 \\\\ y &= 2 \\end{aligned}\n\\]", "x = 1, y = 2"),
        ("\\begin{equation}\nx = 5\n\\end{equation}", "x = 5"),
        ("Hence \\[ \\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix} \\]", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
        ("The answer is\n[\n\\frac{4}{7}\n]", r"\frac{4}{7}"),
        ("The answer is\n```math\n\\frac{4}{7}\n```", r"\frac{4}{7}"),
        ("The answer is\n\\[\n\\frac{4}{7}", r"\frac{4}{7}"),  # cut off
        ("### Final Answer\n\\[\n\\boxed{\\frac{3}{2}}\n\\]", r"\frac{3}{2}"),
    ],
)
def test_a_formula_on_lines_of_its_own_is_read_whole(text, answer):
    assert read_math(text).answer == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("They are \\boxed{3} and \\boxed{8}.", "3 and 8"),
        ("So x = \\boxed{-5} or x = \\boxed{5}.", "x = -5 and x = 5"),
        ("$\\boxed{3}$, $\\boxed{5}$, and $\\boxed{8}$", "3 and 5 and 8"),
        ("\\[\\boxed{3} \\quad\\text{or}\\quad \\boxed{8}\\]", "3 and 8"),
        ("The roots are:\n\n- $x = \\boxed{3}$\n- $x = \\boxed{8}$", "x = 3 and x = 8"),
        ("1. \\boxed{3}.\n2. \\boxed{8}.", "3 and 8"),
        ("One is \\boxed{8} and the other is \\boxed{3}.", "8 and 3"),
        ("It is \\boxed{3} and \\boxed{3}.", "3"),
        ("Both are: \\boxed{150, 300}.", "150, 300"),
        ("First \\boxed{3}, then \\boxed{8}; together \\boxed{11}.", "11"),
        ("\\boxed{3} + \\boxed{8} = \\boxed{11}", "11"),
        ("We get \\boxed{3}. Wait, that is wrong: \\boxed{8}.", "8"),
        ("So \\boxed{3}.\n\nFinal answer: \\boxed{3}", "3"),
        ("\\boxed{3}\n\n\\boxed{8}", "8"),
        ("So $y = \\boxed{2x+1}$.", "y = 2x+1"),
        ("\\boxed{\\text{The answer is } 5}", "\\text{The answer is } 5"),
        ("\\boxed 5", "5"),
        ("\\boxed{}\nThe answer is 5.", "5"),
        ("The answer is $x=3$ or $x=8$.", "x=3 and x=8"),
        ("The solutions are $x = 3$ and $x = 8$.", "x = 3 and x = 8"),
        ("Since $a = 1$ and $b = 2$, we have $c = 3$.", "c = 3"),
        ("The minimum is $-1$ at $x=2$.", "-1"),
        ("The solutions are 3 and 8.", "3 and 8"),
        ("So x = 3 or x = 8.", "x = 3 or x = 8"),
    ],
)
def test_boxes_and_formulas_that_follow_one_another_are_one_answer(text, answer):
    assert read_math(text).answer == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"Thus \boxed{\left( 3, \frac{\pi}{2} \right)}.", r"\left( 3, \frac{\pi}{2} \right)"),
        (r"so $x = \frac{1}{2}$.", r"x = \frac{1}{2}"),
        (r"The answer is $3\sqrt{2}$.", r"3\sqrt{2}"),
        ("The answer is the interval $(1,2)$.", "(1,2)"),
        ("The answer is $\\frac12$, since $x=2$.", r"\frac12"),
        ("The answer is b = -4", "b = -4"),
        ("The answer is 42 because 6*7=42.", "42"),
        ("The answer is <14>", "14"),
        ("The answer is 0.155</Solution Path>", "0.155"),
        ("The answer is \frac{1}{2}", r"\frac{1}{2}"),  # a form feed and "rac"
        ("5\\sqrt{6}", "5\\sqrt{6}"),
        ("Let me see.\n(2, 9)", "(2, 9)"),
        ("The line is y = 3x + 7.", "y = 3x + 7"),
        ("Thus the side is 5√6.", "5√6"),
        ("The length is $8$ cm.", "8 cm"),
        ("The length is 8 m.", "8 m"),
        ("So 3 + 4 = 7.", "7"),
        ("It costs $5 for 3 apples and $6 for 4.", "6"),
        ("We get 16.", "16"),
        ("It lies between 3 and 8.", None),
        ("No number.", None),
    ],
)
def test_a_formula_is_read(text, answer):
    assert read_math(text).answer == answer


@pytest.mark.parametrize(
    ("text", "gold", "verdict"),
    [
        ("They are \\boxed{3} and \\boxed{8}.", "3, 8", "right"),
        ("They are \\boxed{3} and \\boxed{8}.", "8", "wrong"),
        ("They are \\boxed{4} and \\boxed{9}.", "(4,9)", "wrong"),
        ("$x=\\boxed{4}$ and $y=\\boxed{9}$", "(4,9)", "right"),
        ("\\boxed{150, 300}", "150300", "wrong"),
        ("\\boxed{y = 4}", "x = 4", "wrong"),
        ("So $y = \\boxed{2x+1}$.", "2x - y + 1 = 0", "right"),
        ("The length is 8 m.", r"8 \text{ cm}", "wrong"),
        ("\\[ 9^{9^{9^{9}}} \\]", "x+7", "error"),
    ],
)
def test_what_is_read_is_judged(text, gold, verdict):
    problem = Problem("p1", "math", "test", "How much?", gold)
    assert judge(benchmarks.make("math"), problem, text).verdict == verdict


def test_formulas_are_found_between_any_delimiters():
    text = "a $x$ b \\(y\\) c $$z$$ costs \\$5 and $6 or $7"
    assert [text[slice(*formula.inner)] for formula in find_formulas(text)] == ["x", "y", "z"]


@pytest.mark.parametrize(
    "piece",
    [
        "$",
        "$$",
        "\\(",
        "\\[",
        "\\begin{align}",
        "```math\n",
        "[\n",
        "\\boxed",
        "\\boxed{3}\n\n\n\n- ",
        "1 and ",
        "1/",
        " ",
    ],
)
def test_hostile_formulas_are_read_in_bounded_time(piece):
    text = piece * (100_000 // len(piece))
    for hostile in (text, text + "x", f"The answer is {text}1", f"\\boxed{{{text}"):
        start = time.process_time()
        read_math(hostile)
        assert time.process_time() - start < 5  # 0.5 s of a core; what is quadratic takes minutes
