"""Options are read by their letters, by what is ruled out, and by their words."""

import pytest

from srit.tasks.reading.options.choices import read_choice

FOUR = ("gold", "lead", "coal", "salt")
FIVE = ("bank", "library", "mall", "store", "new york")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("(b) library", "B"),
        ("So the answer is (e) new york.", "E"),
        ("Answer: D. store\nExplanation: a mall has many.", "D"),
        ("Answer: A bank.", "A"),
        ("Answer: A library.", "B"),  # an article
        ("The answer is A because money is there.", "A"),
        ("Therefore, among A through E, the answer is C.", "C"),
        (r"The answer is \boxed{\text{C}}", "C"),
        ("The answer is Option D", "D"),
        ("The answer is C>", "C"),
        ("The answer is the library", "B"),
        ("Option (B) is the correct answer. Option (A) is incorrect.", "B"),
        ("Therefore, he went to the mall.", "C"),
        ("The answer is not provided in the question. (A) is near.", None),
        ("A bird flew over the house.", None),
        ("I think so", None),
        ("The answer is A bird in the sky.", None),
        ("", None),
    ],
)
def test_an_option_is_read_and_never_out_of_prose(text, answer):
    assert read_choice(text, FIVE).answer == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("c", "C"),
        ("a", "A"),
        ("b)", "B"),
        ("**B**", "B"),
        ("`c`", "C"),
        ("d. salt", "D"),
        ("c - coal", "C"),
        ("option b", "B"),
        ("Answer: b", "B"),
        ("The answer is c.", "C"),
        ("The answer is (b) because it is heavy", "B"),
        ("The correct answer is option c: coal", "C"),
        ("The answer must be C.", "C"),
        ("The correct choice would be B", "B"),
        ("My final choice is A.", "A"),
        ("Final answer - D", "D"),
        ("Answer → (c)", "C"),
        ("Answer: I believe it is B", "B"),
        ("I'd go with C", "C"),
        ("I'll pick (b).", "B"),
        ("I'm confident it's C.", "C"),
        ("One climbs with it, so A is the answer.", "A"),
        ("so b is the answer", "B"),
        ("Water is carried in it. Hence, B.", "B"),
        ("Therefore, C", "C"),
        ("B it is!", "B"),
        ("It must be (d).", "D"),
        ("That leaves C.", "C"),
        ("=> C", "C"),
        ("C is my final answer.", "C"),
        ("Die Antwort ist C.", "C"),
        ("答案是C。", "C"),
        ("Answer: B. (A) is wrong because it is soft.", "B"),
        ("A tall one is needed, but I cannot decide.", None),
        ("Error: c is not defined", None),
        ("The answer is a lot.", None),
        ("see section c", None),
        ("Vitamin C is best.", None),
        ("Plan B works.", None),
        ("I", None),
    ],
)
def test_a_letter_is_read_where_it_stands_alone_or_is_announced(text, answer):
    assert read_choice(text, FOUR).answer == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is not (A), it is (C).", "C"),
        ("The answer isn't A; it's C", "C"),
        ("The answer is not A. It is C.", "C"),
        ("Answer: neither A nor B, so D.", "D"),
        ("Answer: (B) is wrong, (C) is right", "C"),
        ("Answer: A can be excluded, C fits", "C"),
        ("The answer is (D), and (C) is a usual slip.", "D"),
        ("The answer is (C), not (B), which is a common mistake.", "C"),
        ("The answer is A and not B", "A"),
        ("The answer is (A) rather than (B).", "A"),
        ("Answer: C (not B)", "C"),
        ("The answer is B, as A and C are wrong.", "B"),
        ("You might think (A), but the correct answer is (B).", "B"),
        ("At first I thought A, but C.", "C"),
        ("I first chose B, but C is right.", "C"),
        ("A is possible, but B is more likely.", "B"),
        ("All except B are wrong.", "B"),
        ("A, B, and D can be eliminated.", "C"),
        ("A is wrong. B is wrong. D is wrong.", "C"),
        ("It isn't A, B, or C.", "D"),
        ("It is either A or C. It cannot be A.", "C"),
        ("A is not wrong.", "A"),
        ("A: incorrect\nB: incorrect\nC: correct\nD: incorrect", "C"),
        ("A) Wrong\nB) Correct\nC) Wrong\nD) Wrong", "B"),
        ("A? No. B? No. C? Yes. D? No.", "C"),
        ("❌ A\n❌ B\n✅ C\n❌ D", "C"),
        ("~~A~~ **C**", "C"),
        ("The answer is not gold, it is coal", "C"),
        ("Answer: gold is wrong, lead is right", "B"),
        ("The answer is lead, not gold.", "B"),
        ("The answer is not (A)", None),
        ("The answer is all except B.", None),
        ("Therefore, neither option (A) nor (B) is the correct answer.", None),
        ("A and B are wrong.", None),
        ("A is correct. B is correct.", None),
        ("The answer is (A) and (B) are incorrect.", None),
        ("I think B is wrong.", None),
        ("If B is the answer, then it would burn.", None),
    ],
)
def test_what_is_ruled_out_is_not_the_answer(text, answer):
    assert read_choice(text, FOUR).answer == answer


@pytest.mark.parametrize(
    "text",
    [
        "The answer is (B) or (C).",
        "The answer is A, B, or C.",
        "Answer: B/C",
        "Answer: both A and B",
        "Answer: B or maybe C",
        "Answer: B? Or C?",
        "It must be B, or C.",
        "Both A and B are plausible.",
        "The answer is lead or coal.",
        'Therefore, the answer is "gold" or "coal".',
        "(A) and (B) are incorrect, so it's between (C) and (D).",
    ],
)
def test_two_answers_are_none(text):
    assert read_choice(text, FOUR).answer is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is True", "A"),
        ("Therefore, the answer (Yes or No) is No.", "B"),
        ("Therefore, the answer (Yes or No) is most likely Yes.", "A"),
        ("Yes, it has a meaning in Sanskrit.", "A"),
        ('Therefore, the statement "x" is false.', "B"),
        ("It came later.\n\nConclusion: No, it did not.", "B"),
        ("So, to answer the question, yes, it did.", "A"),
        ("The answer is not yes; it's no.", "B"),
        ("The answer is yes.\nTherefore, the answer (Yes or No) is dependent on the meaning.", None),
        ("No one knows.", None),
        ("Yes and no.", None),
        ("The answer is no doubt yes.", "A"),
        ("The answer is no longer clear.", None),
    ],
)
def test_yes_and_no_are_read(text, answer):
    assert read_choice(text, ("Yes", "No")).answer == answer


@pytest.mark.parametrize(
    ("choices", "text", "answer"),
    [
        (("not enough", "too much"), "The answer is A: not enough", "A"),
        (("don't rinse it", "rinse it"), "The answer is (a) don't rinse it after draining", "A"),
        (("12", "15", "18"), "The answer is not 12, it is 15", "B"),
        (("12", "15", "18"), "\\boxed{18}", "C"),
        (("a cat", "a dog", "both a cat and a dog"), "The answer is a dog because it barks", "B"),
        (("a cat", "a dog", "both a cat and a dog"), "The answer is both a cat and a dog", "C"),
        (("bank", "none of the above"), "The answer is none of the above.", "B"),
    ],
)
def test_options_words_are_read_as_such(choices, text, answer):
    assert read_choice(text, choices).answer == answer


@pytest.mark.parametrize(
    ("choices", "text", "answer"),
    [
        (("200", "1200", "1400"), "Therefore, the distance is 1,200 meters.", "B"),
        (("200", "400", "1200"), "The answer is 1,200, not 1,400.", "C"),
        (("200 m", "1200 m", "none of these"), "The answer is 1,200 m.", "B"),
        (("$12", "$12000", "$120"), "Therefore, he paid $12,000 in total.", "B"),
        (("500", "1500", "2500"), "So there are 1,500 people.", "B"),
        (("500", "1500", "2500"), "I add.\n1,500", "B"),
        (("5", "0.5", "2"), "The answer is .5", "B"),
        (("25", "1/4", "4"), "The answer is .25", "B"),
        (("5", "-5", "10"), "The answer is –5.", "B"),  # an en dash
        (("–5", "5", "10"), "Therefore, the result is 5.", "B"),
        (("2", "2√3", "√3"), "The answer is 2 √3.", "B"),
        (("1", "1:2", "2"), "The answer is 1 : 2.", "B"),
        (("4/8", "2/4", "1/2"), "The answer is 2/4.", "B"),  # equal numbers, told apart as they are written
        (("1", "2", "3"), "The answer is 1,500.", None),
        ((".5", "1.5", "2"), "The answer is 5.", None),
        (("1", "3", "4"), "The answer is 1:2.", None),
        (("2", "3√2", "√3", "4"), "The answer is 2√3.", None),
        (("2", "3", "none of these"), r"The answer is 2\sqrt{3}.", None),
        (("3", "7", "none of these"), "The answer is 3 × 5 = 15.", None),
    ],
)
def test_an_option_that_is_a_number_is_read_only_as_a_whole_number(choices, text, answer):
    assert read_choice(text, choices).answer == answer
