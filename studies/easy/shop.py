"""Problems that a student soon solves, 72 to train on and 200 to test: python studies/easy/shop.py > shop.jsonl."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

N_TRAIN, N_TEST = 72, 200
NAMES = ("Ann", "Bob", "Cy", "Dee", "Eli", "Fay")


def rows() -> Iterator[dict[str, str]]:
    """Yield the rows, no question twice."""
    draw, seen = random.Random(5), set[str]()
    while len(seen) < N_TRAIN + N_TEST:
        apples, pears, eaten = draw.randint(2, 9), draw.randint(2, 9), draw.randint(1, 4)
        both, left = apples + pears, apples + pears - eaten
        name = draw.choice(NAMES)
        question = f"{name} buys {apples} apples and {pears} pears and eats {eaten} of them."
        row = {
            "split": "train" if len(seen) < N_TRAIN else "test",
            "question": f"{question} How many pieces of fruit are left?",
            "answer": str(left),
            "rationale": f"{apples} + {pears} = {both}. {both} - {eaten} = {left}. The answer is {left}.",
        }
        if question not in seen:
            seen.add(question)
            yield row


if __name__ == "__main__":
    for row in rows():
        print(json.dumps(row))
