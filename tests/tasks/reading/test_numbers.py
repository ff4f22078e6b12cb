"""Numbers in the writings that people and models use. Where one cannot be decided, it is unread: never a part of it."""

import subprocess
import sys

import pytest

from srit.records import Problem
from srit.tasks import judge
from srit.tasks.jsonl import JsonlTask
from srit.tasks.reading.numbers import read_number
from srit.tasks.reading.numerals.numerals import is_number, numbers_equal
from srit.tasks.reading.texts import texts_equal


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        # Digits in groups, and the decimal point.
        ("48 000", "48000"),
        ("48 000 dollars", "48000"),
        ("9 200", "9200"),
        ("9\u202f200 km", "9200"),
        ("9\u00a0200 km", "9200"),
        ("9\u2009200 km", "9200"),
        ("9 200 gram packs", None),  # or nine packs of 200 grams
        ("1 000 000", "1000000"),
        ("6'500", "6500"),
        ("6’500.50", "6500.5"),
        ("1_000", "1000"),
        ("3,50,000", "350000"),
        ("Rs. 1,50,000", "150000"),
        ("1,234,567.89", "1234567.89"),
        (r"10\,000", "10000"),
        (r"10{,}000", "10000"),
        ("1.234.567", "1234567"),
        ("48.000,50", "48000.5"),
        ("1.234,5", "1234.5"),
        ("48.000", None),  # 48, or 48,000
        ("1.500", None),
        ("0.500", "0.5"),
        ("€1.234", None),
        ("1.234 Euro", None),
        ("3.142", "3.142"),
        ("8,5 hours", None),  # 8.5, or 8 and 5
        ("1,5", None),
        ("12,34", None),
        ("1,2345", None),
        ("0,500", None),
        ("1,000 000", None),
        ("1.5.2", None),
        ("007", "7"),
        (".5", "0.5"),
        ("9" * 101, None),
        # Signs.
        ("-15", "-15"),
        ("−15", "-15"),
        ("–15", "-15"),
        ("—15", "-15"),
        ("— 15", None),  # a dash
        ("- 3/4", "-0.75"),
        ("negative 15", "-15"),
        ("minus 15", "-15"),
        ("negative five", "-5"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("–$5", "-5"),
        ("(-5)", "-5"),
        ("+5", "5"),
        ("(5)", "5"),
        ("-(-5)", None),
        ("5 degrees below zero", None),
        ("($500)", None),  # accountants write losses so
        ("$(500)", None),
        ("±5", None),
        ("5 ± 1", None),
        ("> 5", None),
        ("x ≥ 5", None),
        ("<5>", "5"),
        # Fractions.
        ("3½", "3.5"),
        ("3½ cups", "3.5"),
        ("3 ½", "3.5"),
        ("½", "0.5"),
        ("−3½", "-3.5"),
        ("1⁄5", "0.2"),
        ("5∕8", "0.625"),
        ("3 5⁄8", "3.625"),
        ("3/4", "0.75"),
        ("-3 1/2", "-3.5"),
        ("3-1/2 cups", "3.5"),
        ("3 and 1/2", "3.5"),
        ("5 3/2", None),
        ("1/0", None),
        ("1/2/3", None),
        (r"$\frac{3}{4}$", "0.75"),
        (r"$-\frac{3}{4}$", "-0.75"),
        (r"$3\frac{1}{2}$", "3.5"),
        (r"$\dfrac34$", "0.75"),
        (r"$\frac{\pi}{4}$", None),
        (r"$\frac{3}{-4}$", None),
        (r"$\frac{x}{4}$", None),
        ("2 thirds", "2/3"),
        ("3 quarters", "3"),  # coins
        ("2 and a half", "2.5"),
        ("2 hours and a half", None),
        # Powers, and what else makes another number.
        ("7 × 10⁴", "70000"),
        ("7 x 10^4", "70000"),
        ("7*10^4", "70000"),
        (r"7 \times 10^{4}", "70000"),
        ("7·10^{-4}", "0.0007"),
        ("7 × 10⁻⁴", "0.0007"),
        ("7 × 10**4", "70000"),
        ("7e4", "70000"),
        ("7E-4", "0.0007"),
        ("10^3", "1000"),
        ("10⁻²", "0.01"),
        ("1e99999", None),
        ("3^4", None),
        ("5²", None),
        ("5 squared", None),
        ("2 to the 10th", None),
        ("10 to the power of 3", None),
        ("2**10", None),
        ("(1/2)^3", None),
        ("5 cm²", "5"),
        ("5 cm^2", "5"),
        ("90°", "90"),
        (r"$90^\circ$", "90"),
        ("√2", None),
        ("2√3", None),
        (r"$3\sqrt{2}$", None),
        ("sqrt(16)", None),
        ("π", None),
        ("2π", None),
        (r"$2\pi$", None),
        ("π/2", None),
        ("log_2 8", None),
        ("max(3, 5)", None),
        ("twice 13", None),
        ("the square root of 16", None),
        ("the sum of 3 and 4", None),
        ("an average of 5", "5"),
        ("3x", None),
        ("3x + 2", None),
        ("x + 2", None),
        ("x/2", None),
        ("5i", None),
        ("1010_2", None),
        ("101₂", None),
        ("0x1F", None),
        ("0.333...", None),
        ("0.(3)", None),
        ("33.3\u0305", None),
        (r"0.\overline{3}", None),
        ("12...", "12"),
        # Scales, currencies and percent.
        ("$90k", "90000"),
        ("2k", "2000"),
        ("1.5M people", "1500000"),
        ("3bn", "3000000000"),
        ("5 M", None),
        ("12 T-shirts", "12"),
        ("$5m", "5000000"),
        ("5m", "5"),  # meters
        ("$1.2 million", "1200000"),
        ("1.2 Million", "1200000"),
        ("1.5 lakh", "150000"),
        ("2 crore", "20000000"),
        ("5 hundred thousand", "500000"),
        ("2 million 300 thousand", None),
        ("3万", None),
        ("$5.00", "5"),
        ("5$", "5"),
        ("€5", "5"),
        ("₹1,50,000", "150000"),
        ("USD 5", "5"),
        ("Rs500", "500"),
        ("50 %", "50%"),
        (r"50\%", "50%"),
        ("50 percent", "50%"),
        ("50 per cent", "50%"),
        ("5‰", None),
        ("17 % 5", None),
        # Several numbers that are one, or several.
        ("4 dollars and 25 cents", "4.25"),
        ("$4 and 5 cents", "4.05"),
        ("five dollars and thirty cents", "5.3"),
        ("1 hour 30 minutes", None),
        ("2 hours and 15 minutes", None),
        ("two hours and fifteen minutes", None),
        ("2h30m", None),
        ("5'10\"", None),
        ("5 feet 10 inches", None),
        ("3 lbs 4 oz", None),
        ("12:30", None),
        ("3:4", None),
        ("2024-05-01", None),
        ("3-4", None),
        ("3–4", None),
        ("3 to 4", None),
        ("between 3 and 4", None),
        ("3 or 4", None),
        ("3 and 4", None),
        ("3, 4", None),
        ("8 apples and 3 oranges", None),
        ("x = 2 or x = 3", None),
        ("July 3, 2024", None),
        ("5, not 6", "5"),
        ("50% or 0.5", "50%"),
        ("5 out of 6", None),
        ("17 mod 5", None),
        # Words.
        ("three and a half", "3.5"),
        ("two and three quarters", "2.75"),
        ("twenty-one", "21"),
        ("one hundred and five", "105"),
        ("two thousand, three hundred and six", "2306"),
        ("two million", "2000000"),
        ("twelve hundred", "1200"),
        ("one-third", "1/3"),
        ("three quarters", "0.75"),
        ("half", "0.5"),
        ("half of it", None),
        ("a hundred", "100"),
        ("a dozen", "12"),
        ("half a dozen", None),
        ("4 dozen", None),  # 4, or 48
        ("7 dozens", "7"),
        ("two point five", "2.5"),
        ("thirty percent", "30%"),
        ("nineteen ninety", None),
        ("five six", None),
        ("twenty-fifth", None),
        # Other digits.
        ("５０", "50"),
        ("𝟓𝟎", "50"),
        ("٣٤", None),
        ("५०", None),
        ("1٣", None),
        ("XIV", None),
        ("none", None),
        # What only stands around a number.
        ("#5", "5"),
        ("3rd", "3"),
        ("about 5", "5"),
        ("≈ 5", "5"),
        ("**5**", "5"),
        ("_5_", "5"),
        ("`5`", "5"),
        (r"\boxed{5}", "5"),
    ],
)
def test_a_number_is_read_as_written_or_not_at_all(written, answer):
    # The number before it is what a reader takes who overlooks the answer.
    assert read_number(f"There were 77 before. The answer is {written}.").answer == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 77 = 50 + 27", "77"),
        ("The answer is $35 = 7 * $5.", "35"),
        ("The answer is 77 apples = 50 + 27 apples.", "77"),
        ("The answer is 1024 = 2^10.", "1024"),
        ("The answer is 2^10 = 1024.", "1024"),
        (r"\boxed{77 = 50 + 27}", "77"),
        ("Answer: a+b = 50+27 = 77", "77"),
        ("The answer is 5 = x.", "5"),
        ("The answer is 50+27 = 7*11.", None),
        ("So the total is 77 = 50 + 27.", "77"),
        ("The answer is 3 plus 4 equals 7.", "7"),
        ("The answer is 28 (check: 28 + 4 = 32).", "28"),
        ("The answer is 28 (since 14 + 14 = 28, as (a) says).", "28"),
        ("The answer is 28 [check: 28 + 4 = 32].", "28"),
        ("The answer is 28, because 28 + 4 = 32.", "28"),
        ("The answer is 28 since 28 + 4 = 32.", "28"),
        ("The answer is 28, as 28 + 4 = 32.", "28"),
        ("The answer is 28; check: 28 + 4 = 32", "28"),
        ("The answer is 28: 4 × 7 = 28.", "28"),
        ("The answer is 28, 28 + 4 = 32.", None),
        ("The answer is 28, or 4 × 7.", "28"),
        ("She has 28 apples (check: 28 + 4 = 32).", "28"),
        ("So she has 28 apples. 28 + 4 = 32, which is correct.", "28"),
        ("She has 28 apples (28 + 4 = 32).", None),  # a check, or one more sum
        ("She has 28 apples because 24 + 4 = 28.", "28"),
        ("She has 24 red and 4 green apples (24 + 4 = 28).", "28"),
        ("Danny's bus is in 6th place (3 + 3 = 6).", "6"),
        ("She had 24 and got 4 for a total of 24 + 4 = 28.", "28"),
        ("The answer is 4 dozen, which is 48.", "48"),
        ("The answer is 4 dozen, that is, 48.", "48"),
        ("The answer is 4 dozen, i.e., 48.", "48"),
        ("The answer is 4 dozen, i.e. 48.", "48"),
        ("The answer is 4 dozen → 48.", "48"),
        ("So she has 4 dozen, which is 48.", "48"),
        ("The answer is 48, which is 4 dozen.", "48"),
        ("The answer is 48, which is 12 more than 36.", "48"),
        ("The answer is 48, which is 4 bags of 12.", "48"),
        ("The answer is 48, which means that 5 are left.", "48"),
        ("The answer is 50 and 27, for a total of 77.", "77"),
        ("The answer is 50 + 27, which adds up to 77.", "77"),
        ("The answer is 50 + 27 ⇒ 77.", "77"),
        ("The answer is 28, which leaves 5 for Bob.", "28"),
        ("The answer is 28, so 5 are left.", None),
        ("The answer is 6 more than 20, so 26.", "26"),
        ("The answer is 6 more than 20.", None),
        ("The answer is 6 more apples than Bob.", "6"),
        ("The answer is 20% of 50, which is 10.", "10"),
        ("So each gets 1/3 of 12, which is 4.", "4"),
        ("The answer is 3 times 5, so 15.", "15"),
        ("The answer is 1 hour and 30 minutes, which is 90 minutes.", "90"),
        ("2 + 3 = 5, which is 5", "5"),
        ("The answer is:\n1. 31 km", "31"),
        ("The answer is:\n1) 31 km", "31"),
        ("The answer is:\n(1) 31 km", "31"),
        ("The answer is:\n- 31 km", "31"),
        ("Answer: 1) 31 km", "31"),
        ("The answer is:\n- 31 km\n- 40 km", None),
        ("Answer:\nStep 1: 31 km", "31"),
        ("The answer is:\n1. 31 km\n2. 40 km", None),
        ("The answer is\n1.", "1"),
        ("Therefore, she sold 7 - 2 apples.", None),
        ("The answer is 3 * 5", None),
        ("The answer is 3 + 5.", None),
        ("The answer is 3 × 5 dollars.", None),
        ("The answer is 15 ÷ 3.", None),
        ("The answer is 15/3.", "5"),  # a fraction is a number
        (r"\boxed{3 \times 5}", None),
        ("#### 3 * 5 + 2", None),
        ("18-15", None),
        ("3 * 5 = 15. The answer is 3 * 5.", None),
        ("The answer is 3 * 5. So she has 15 apples.", "15"),
        ("She sold more, by 145 minus 139 which is equal to 6 cakes.", "6"),
        ("So five apples are left after 12 - 7.", None),
        ("She had 12 and ate 7. So five apples are left.", "5"),
        ("She had 12 and ate 7. Thus one of them is left.", "7"),
        ("So the area is 5 cm^2.", "5"),
        ("答案是50元。", "50"),
    ],
)
def test_the_result_of_a_line_is_read_and_no_part_of_its_sum(text, answer):
    assert read_number(text).answer == answer


@pytest.mark.parametrize(
    ("gold", "said", "right"),
    [
        ("8 AM", "8 AM", True),
        ("8 AM", "8 a.m.", True),
        ("8 AM", "8am", True),
        ("8 AM", "8:00 a.m.", True),
        ("8 AM", "8:30 AM", False),
        ("8 AM", "8 PM", False),
        ("8 AM", "8 in the evening", False),
        ("8 AM", "8", False),
        ("July 3", "July 3", True),
        ("July 3", "July 3rd", True),
        ("July 3", "the 3rd of July", True),
        ("July 3", "Jul 3", True),
        ("July 3", "June 3", False),
        ("July 3", "July 4", False),
        ("July 3", "3", False),
        ("Hall 6", "Hall 6", True),
        ("Hall 6", "Tower 6", False),
        ("Hall 6", "6", False),
        ("42nd Street", "42nd Avenue", False),
        ("42nd Street", "42", False),
        ("100 BC", "100 AD", False),
        ("5 kg", "5 kg", True),
        ("5 kg", "5 kilograms", True),
        ("5 kg", "5kgs", True),
        ("5 kg", "5", True),
        ("5 kg", "5 in total", True),
        ("5 kg", "5 kg of flour", True),
        ("5 kg", "$5$ kg", True),
        ("5 kg", r"\boxed{5\,\text{kg}}", True),
        ("5 kg", "5 g", False),
        ("5 kg", "5 pounds", False),
        ("5 kg", "5 apples", False),
        ("5 kg", "6 kg", False),
        ("5 km", "5 km per hour", False),
        ("5 km/h", "5 kilometers per hour", True),
        ("5 mph", "5 miles per hour", True),
        ("5 mph", "5 km/h", False),
        ("5 square meters", "5 m²", True),
        ("5 square meters", "5 m^2", True),
        ("5 square meters", "5 sq m", True),
        ("5 square meters", "5 meters", False),
        ("5 square meters", "5 cubic meters", False),
        ("5 inches", "5 in.", True),
        ("5 feet", "5 ft tall", True),
        ("30 °C", "30 degrees Celsius", True),
        ("30 °C", "30°F", False),
        ("$5", "5 dollars", True),
        ("$5", "5", True),
        ("$5", "€5", False),
        ("$5", "5 cents", False),
        ("5 million dollars", "$5,000,000", True),
        ("3 apples", "three apples", True),
        ("3 apples", "3 red apples", True),
        ("3 apples", "3 oranges", False),
        ("-5 °C", "5 °C", False),
        ("5", "5 apples", True),
        ("5%", "5 percent", True),
        ("5%", "0.05", True),
        ("5%", "5 kg", False),
        ("twelve", "12", True),
        ("1 hour 30 minutes", "1 hr and 30 min", True),
        ("1 hour 30 minutes", "1 hour 20 minutes", False),
        ("8:00 AM", "8 AM", True),
        ("8:30 AM", "8:30 PM", False),
    ],
)
def test_the_words_beside_a_number_count_where_the_gold_answer_has_them(gold, said, right, tmp_path):
    task = JsonlTask(tmp_path)
    problem = Problem("p", task.name, "test", "How much?", gold)
    assert (judge(task, problem, f"There are 77 in all. The answer is {said}.").verdict == "right") is right
    assert judge(task, problem, f"The answer is {gold}.").verdict == "right"


def test_words_beside_a_number_are_read_out_of_a_sentence(tmp_path):
    task = JsonlTask(tmp_path)
    problem = Problem("p", task.name, "test", "How heavy?", "5 kg")
    assert judge(task, problem, "So the box weighs 5 kg in total.").answer == "5 kg"
    assert judge(task, problem, "So the box weighs 5 grams in total.").verdict == "wrong"


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ("48 000", "48000", True),
        ("3½", "3.5", True),
        ("7 × 10⁴", "70000", True),
        ("$90k", "90000", True),
        ("- 5", "-5", True),
        ("48.000", "48", True),  # a gold answer equals itself
        ("3^4", "3", False),
        ("3^4", "3^4", False),
        ("2π", "2", False),
        ("5x", "5", False),
        ("0x1F", "0", False),
    ],
)
def test_writings_are_compared_by_value(first, second, equal):
    assert numbers_equal(first, second) is equal
    assert numbers_equal(second, first) is equal


@pytest.mark.parametrize("text", ["5x", r"5\pi", "√5", "3^4", "12:30", "3-4", "1,5", "5 dozen", "0x1F"])
def test_what_is_not_read_is_no_number(text):
    assert not is_number(text)


def test_texts_without_numbers_are_equal_but_for_case_blanks_and_a_stop():
    assert texts_equal("green  Box.", "Green box")
    assert texts_equal("Amalia", r"\text{Amalia}")
    assert not texts_equal("green", "green box")


# 100,000 characters each; the last 20,000 are read.
_HOSTILE = """
import sys
from srit.tasks.reading.numerals.numerals import is_number, numbers_equal
from srit.tasks.reading.quantities import read_quantity
from srit.tasks.reading.texts import texts_equal

for piece in sys.stdin.read().split("|"):
    many = piece * (100_000 // len(piece))
    read_quantity(f"So {many} = 5 kg.", "5 kg")
    read_quantity(f"The answer is {many}", "5 kg")
    is_number(many), numbers_equal(many, "5"), texts_equal(many, "5 kg")
"""
_PIECES = (
    "9|1,|1 |1.|1:|1'|1_|1/|-|−5 |–|(|1(|(1|[1|{|^|10^|2^|%|5% |*|1e|1e5|×10|7 × 10^|½|1½|1 and |√|π|"
    "\\frac{|\\frac{1}{|one |one hundred and |and a half |half a |=|=1|1=1+|(1+1=2) |which is 1 |so 1 |"
    "because 1=1 |1 hour and |1 dollar and 1 cent |minus |negative |1 to |1-|1–2|1 ± |1 mod |x+|2x|<|"
    "A1|1a1|#### 1\n|1. |1.\n|Rs.|1₁|1…|٣|1 000 |1 100 |one point |1 million |5 kg |per |²|July 3 |a.m. |"
    "1 apples and 1 oranges, |To check 1=1\n|Therefore one |1 more than 1 |1 in 1 |≈1|→ 1 |1, |. |"
    "i.e. 1 "
)


def test_hostile_texts_are_read_in_seconds():
    # 4 s in all on one core; what is quadratic in 20,000 takes hours.
    subprocess.run([sys.executable, "-c", _HOSTILE], input=_PIECES, text=True, check=True, timeout=600)
