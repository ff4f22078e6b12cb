r"""LaTeX answers compared. Each row: an answer, the gold answer, the verdict."""

import signal
import threading
import time

import psutil
import pytest

from srit.errors import JudgeError
from srit.tasks import math_judge
from srit.tasks.math_judge import decide_by_writing, math_equal

RIGHT, WRONG = True, False


def rows(text: str) -> list[tuple[str, str]]:
    """ "answer ; gold" on each line."""
    return [tuple(line.strip().split(" ; ")) for line in text.strip().splitlines()]  # type: ignore[misc]


def check(table: str, verdict: bool) -> None:
    judged = [(answer, gold, math_equal(answer, gold)) for answer, gold in rows(table)]
    assert [row for row in judged if row[2] is not verdict] == []


def test_a_set_is_in_any_order_a_point_is_not():
    check(
        r"""
        \{9,4\} ; \{4,9\}
        9 and 4 ; \{4,9\}
        {4,9} ; \{4,9\}
        \{4\} ; 4
        \{1,1,2\} ; \{1,2\}
        x\in\{4,9\} ; \{4,9\}
        \{1-\sqrt5,-2,1+\sqrt5\} ; \{1\pm\sqrt{5},-2\}
        (3, 1.5) ; (3,\frac32)
        \left( 3, \frac{\pi}{2} \right) ; (3,\pi/2)
        (1,2) and (3,4) ; (3,4), (1,2)
        4, 9 ; (4,9)
        x=4 and y=9 ; (4,9)
        y=9, x=4 ; (4,9)
        (x,y)=(4,9) ; (4,9)
        \langle 1,2\rangle ; (1,2)
        <1,2> ; (1,2)
        \begin{pmatrix}1\\2\end{pmatrix} ; (1,2)
        """,
        RIGHT,
    )
    check(
        r"""
        \{4,9\} ; (4,9)
        {4,9} ; (4,9)
        4 and 9 ; (4,9)
        x=4 or x=9 ; (4,9)
        (4,9) ; \{4,9\}
        (9,4) ; (4,9)
        9, 4 ; (4,9)
        \{1,2\} ; \{1,2,3\}
        (1,2,3) ; (3,2,1)
        x=9, y=4 ; (4,9)
        (1,2), (3,4) ; (2,1), (4,3)
        \emptyset ; 0
        """,
        WRONG,
    )


def test_an_interval_has_its_ends():
    check(
        r"""
        \left(4,9\right] ; (4, 9]
        4<x\le 9 ; (4,9]
        9 \geq x > 4 ; (4,9]
        x\in(4,9] ; (4,9]
        x > 4 and x < 9 ; (4,9)
        ]4,9[ ; (4,9)
        [4,9] ; 4\leq x\leq 9
        3<x ; (3,\infty)
        x \geq 3 ; [3,\infty)
        2x>6 ; x>3
        2x+y<5 ; y<5-2x
        \{x \mid x>3\} ; (3,\infty)
        (3,\infty)\cup(-\infty,2) ; (-\infty,2)\cup(3,\infty)
        x<2\text{ or }x>3 ; (-\infty,2)\cup(3,\infty)
        x\neq 3 ; (-\infty,3)\cup(3,\infty)
        \mathbb{R}\setminus\{3\} ; (-\infty,3)\cup(3,\infty)
        (0,1]\cup(1,2) ; (0,2)
        \text{all real numbers} ; (-\infty,\infty)
        """,
        RIGHT,
    )
    check(
        r"""
        [4,9] ; (4,9)
        (4,9] ; [4,9)
        \{4,9\} ; [4,9]
        [4,9] ; \{4,9\}
        4, 9 ; [4,9]
        4<x<9 ; (4,9]
        x\ge3 ; (3,\infty)
        x<3 ; x>3
        (-\infty,2]\cup(3,\infty) ; (-\infty,2)\cup(3,\infty)
        """,
        WRONG,
    )


def test_all_solutions_are_asked_for_in_any_order():
    check(
        r"""
        300, 150 ; 150,300
        150 and 300 ; 150,300
        150,300 ; 150300
        1{,}000 ; 1000
        1\,000 ; 1000
        8 or 3 ; 3, 8
        x = 3 \text{ or } x = 8 ; 3, 8
        x = 3 or 8 ; 8, 3
        x_1 = 3, x_2 = 8 ; 3,8
        1, 2, and 3 ; 3,2,1
        70, 73, 85, 88, 89 ; 89, 88, 85, 73, 70
        \text{A and B} ; B, A
        1+\sqrt{19}, 1-\sqrt{19} ; 1\pm\sqrt{19}
        \pm 5 ; 5, -5
        1/2, 0.5 ; \frac12
        """,
        RIGHT,
    )
    check(
        r"""
        150, 300 ; 150300
        1, 000 ; 1000
        8 ; 3, 8
        3, 8 ; 8
        3 and 5 ; 3, 8
        x=3,y=8 ; x=8,y=3
        \pm5 ; 5
        1,2 ; 1.2
        A,B,C ; \text{A,B,C,D}
        """,
        WRONG,
    )


def test_another_base_is_another_number():
    check(
        r"""
        2031_{4} ; 2031_4
        2031_{\text{four}} ; 2031_4
        (2031)_4 ; 2031_4
        2031 \text{ (base 4)} ; 2031_4
        2031 ; 2031_4
        101_{10} ; 101
        a3f_{16} ; A3F_{16}
        1011₂ ; 1011_2
        """,
        RIGHT,
    )
    check(
        r"""
        2031_5 ; 2031_4
        2031 base 5 ; 2031_4
        141 ; 2031_4
        101_2 ; 5
        10_2 ; 2_{10}
        1101_2 ; 1011_2
        x_2 ; x_3
        """,
        WRONG,
    )


def test_a_line_is_the_same_in_any_form():
    check(
        r"""
        y = 3x + 7 ; 3x - y + 7 = 0
        y = 3 - \frac{x}{3} ; x + 3y = 9
        x=\frac{y-7}{3} ; y=3x+7
        \frac{x}{3}+\frac{y}{9}=1 ; 3x+y=9
        y-10=3(x-1) ; y=3x+7
        10x-14y+22z+8=0 ; 5x - 7y + 11z + 4 = 0
        (x-1)^2+(y+2)^2=9 ; x^2-2x+y^2+4y=4
        xy=1 ; y=1/x
        2x=8 ; x=4
        y=x ; x=y
        3x+7 ; y=3x+7
        y=3x+7 ; 3x+7
        f(x)=2x+1 ; y=2x+1
        """,
        RIGHT,
    )
    check(
        r"""
        y=4 ; x=4
        y=0 ; x=0
        y=3x+8 ; 3x-y+7=0
        y=-x ; y=x
        y=2x+1 ; x=2y+1
        f(x)=2x+1 ; g(x)=2x+1
        x^2+y^2=5 ; x^2+y^2=25
        5x - 7y + 11z + 4 ; 5x - 7y + 11z + 4 = 0
        """,
        WRONG,
    )


def test_a_left_side_that_names_a_value_may_be_left_out():
    check(
        r"""
        x=5 ; 5
        -4 ; b = -4
        x = 2 + 3 = 5 ; 5
        2+3=5 ; 5
        \text{Area} = 84 ; 84
        \angle ABC = 30^\circ ; 30
        P(A)=\frac12 ; 0.5
        x\approx 3.14 ; 3.14
        \frac13 \approx 0.33 ; \frac13
        A = \{1,2\} ; \{2,1\}
        """,
        RIGHT,
    )


def test_another_unit_is_another_answer_and_none_is_no_other():
    check(
        r"""
        8 ; 8 \text{ cm}
        8\text{ cm} ; 8
        8 cm ; 8\,\mathrm{cm}
        8cm ; 8 \text{ centimeters}
        \text{8 cm} ; 8 cm
        8 square centimetres ; 8\text{ cm}^2
        8 cm² ; 8 sq. cm
        60 mph ; 60 miles per hour
        60 m/s ; 60\text{ m/s}
        90° ; 90 degrees
        90 ; 90^\circ
        20^\circ C ; 20 degrees Celsius
        \$5 ; 5 dollars
        \$1,234.50 ; 1234.5
        5\% ; 5 percent
        25\% ; \frac14
        5 hrs ; 5\text{ h}
        9:24\text{ a.m.} ; 9:24 AM
        (3 \text{ cm}, 4 \text{ cm}) ; (3,4)
        21 dogs ; 21
        114\text{ square units} ; 114
        2\pi \text{ inches} ; 2\pi
        """,
        RIGHT,
    )
    check(
        r"""
        8 \text{ m} ; 8 \text{ cm}
        8 m ; 8 cm
        8 \text{ cm}^2 ; 8 \text{ cm}
        2\sqrt{3}\text{ m} ; 2\sqrt{3}\text{ cm}
        60 km/h ; 60 mph
        90 radians ; 90^\circ
        20^\circ C ; 20^\circ F
        5 cents ; \$5
        €5 ; \$5
        5 hours ; 5 minutes
        9:24 p.m. ; 9:24 a.m.
        5t ; 5
        """,
        WRONG,
    )


def test_a_value_is_the_same_in_any_writing():
    check(
        r"""
        \dfrac12 ; \frac{1}{2}
        2 1/2 ; 5/2
        2\frac12 ; 2.5
        ½π ; \frac{\pi}{2}
        √5 ; \sqrt{5}
        12sqrt(13) ; 12\sqrt{13
        2\sqrt3 ; \sqrt{12}
        \frac{1}{\sqrt2} ; \frac{\sqrt2}{2}
        1.5 \cdot 10^3 ; 1500
        2(3) ; 6
        (2)(3) ; 6
        5! ; 120
        {5 \choose 2} ; \binom52
        \log_2 8 ; 3
        \sin 30^\circ ; 1/2
        ln(2) ; \ln 2
        (1+i)^2 ; 2i
        \sqrt{-4} ; 2i
        e^{i\pi} ; -1
        0.\overline{3} ; \frac13
        0.333333 ; 1/3
        3.141593 ; \pi
        (x+1)(x-1) ; x^2-1
        \frac{x+1}{2} ; 0.5x+\frac12
        2\sin x\cos x ; \sin 2x
        \ln x^2 ; 2\ln x
        105^\\circ ; 105^\circ
        2\begin{pmatrix}1\\2\end{pmatrix} ; \begin{pmatrix}2\\4\end{pmatrix}
        \text{No real solutions} ; \emptyset
        \text{(B)} ; B
        \textbf{(B)}\ 5 ; B
        5 ; \textbf{(B)}\ 5
        B. 5 ; (B)
        (b) ; \text{(B)}
        monday ; \text{Monday}
        an ellipse ; \text{ellipse}
        \text{two} ; 2
        """,
        RIGHT,
    )
    check(
        r"""
        3 ; 3\sqrt{10
        3.14 ; \pi
        0.33 ; 1/3
        5x ; 5
        3x ; 3y
        2R ; 2r
        -x ; x
        |x| ; x
        3-4i ; 3+4i
        10^{-20} ; 2\cdot 10^{-20}
        \infty ; -\infty
        C ; \text{(B)}
        \textbf{(C)}\ 5 ; \textbf{(B)}\ 5
        (a) + b ; a
        odd ; \text{even}
        listen ; silent
        6. There are six paths ; 10
        infinitely many ; 5
        """,
        WRONG,
    )


@pytest.mark.parametrize(
    "answer",
    [
        "9^{9^{9^{9}}}",
        r"\cos(10^{10^{10}})",
        "2^{100000000}",
        r"\binom{10000000}{5000000}",
        r"\prod_{n=1}^{10000000} (1+\frac1n)",
        r"\sum_{n=1}^{\infty} \frac{\sin n}{n^3+n}",
        "(" * 60 + "x" + ")" * 60,
        "a_{" * 200,
        "-" * 900 + "1",
        "x+" * 600 + "1",
        "9" * 100_000,
    ],
)
def test_what_would_take_long_is_refused_by_its_writing(answer):
    start = time.process_time()
    with pytest.raises(JudgeError, match="not computed"):
        math_equal(answer, "x^2+1")
    assert time.process_time() - start < 1


def test_a_gold_answer_that_no_one_can_read_is_an_error():
    with pytest.raises(JudgeError, match=r"cannot be read as a formula: \\frac\{1\}"):
        math_equal("0.5", r"\frac{1}")


def test_what_writing_decides_needs_no_worker():
    assert decide_by_writing(r"\{9, 4\}", r"\{4,9\}") is True
    assert decide_by_writing(r"8\text{ m}", "8 cm") is False
    assert decide_by_writing("x+1", "1+x") is None


def test_a_worker_that_hangs_is_killed_and_replaced():
    worker = math_judge.Worker(timeout_seconds=0.5)
    try:
        with pytest.raises(JudgeError, match=r"within 0\.5 s"):
            worker.ask("9^{9^{9^{9}}}", "7")
        assert worker.ask("(x+1)^2", "x^2+2x+1")  # by a new process
    finally:
        worker.close()


def test_what_is_asked_of_a_process_that_is_killed_is_asked_again():
    worker = math_judge.Worker()
    try:
        assert worker.ask("(x+1)^2", "x^2+2x+1")
        [child] = psutil.Process(worker._process.pid).children()
        child.kill()
        assert worker.ask("(x+2)^2", "x^2+4x+4")

        worker._process.send_signal(signal.SIGSTOP)  # it is killed before it has answered
        threading.Timer(0.2, worker._process.kill).start()
        assert worker.ask("(x+3)^2", "x^2+6x+9")
    finally:
        worker.close()
