"""The benchmarks that srit knows: where each split is on the Hugging Face hub, and how its rows become ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from srit.errors import DataError
from srit.installing import extra_install
from srit.kinds import Finding, extra
from srit.records import Split
from srit.tasks import reading
from srit.tasks.labels import unlabeled
from srit.tasks.reading.options import LETTERS

BenchmarkKind = Literal["number", "choice", "math"]
Fields = dict[str, Any]  # id, question, choices, answer, rationale, as in a row of the local files


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a split is on the hub."""

    id: str
    split: str
    configs: tuple[str | None, ...] = (None,)  # all are read, one after the other
    # For data sets published as a script, `datasets` reads only what the hub has converted.
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What is known about a benchmark."""

    name: str
    kind: BenchmarkKind
    license: str
    sizes: str
    hub: Mapping[Split, Hub]
    convert: Callable[[Fields], Fields]  # turns a row of the hub into one of ours; an id is added if it has none
    instruction: str = ""
    notes: str = field(default="")


@contextmanager
def asking_hub(where: str, otherwise: str = "") -> Iterator[None]:
    """Use `datasets` in the block, without its progress bars.

    Args:
        where: what is read, for errors.
        otherwise: what else a user can do, such as ", or give a data folder".

    Raises:
        DataError: it is not installed, or it cannot load what is read.
    """
    try:
        from datasets import disable_progress_bars
    except ImportError as error:
        raise without_datasets(where, otherwise) from error
    disable_progress_bars()
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # datasets raises whatever its many parts raise
        raise DataError(
            f"{where}: cannot be loaded from the hub ({type(error).__name__}: {str(error)[:200]}): check the name, its "
            f"configuration and the connection{otherwise}"
        ) from error


def without_datasets(where: str, otherwise: str = "") -> DataError:
    """Return the error for a library that is not installed; the arguments are those of `asking_hub`."""
    return DataError(f"{where}: reading the hub needs `datasets`: {extra_install('hub')}{otherwise}")


def datasets_installed() -> Finding:
    """Say whether the library that reads the hub is installed."""
    return extra("hub", "datasets", "benchmarks and data sets of the hub")


# -------------------------------------------------------------------------- rows of the hub, one format each


def _letter(index: int) -> str:
    return LETTERS[index]


def _lettered(row: Fields) -> Fields:
    """tau/commonsense_qa, allenai/ai2_arc, openbookqa: choices are {"text": [...], "label": [...]}."""
    texts, labels = row["choices"]["text"], row["choices"]["label"]
    answer = row["answerKey"]
    return {
        "id": row["id"],
        "question": row.get("question", row.get("question_stem")),
        "choices": list(texts),
        # ARC numbers some options 1-4. An empty key is a hidden answer.
        "answer": _letter(labels.index(answer)) if answer in labels else None,
    }


def _piqa(row: Fields) -> Fields:
    answer = _letter(row["label"]) if row["label"] in (0, 1) else None
    return {"question": row["goal"], "choices": [row["sol1"], row["sol2"]], "answer": answer}


def _social_iqa(row: Fields) -> Fields:
    choices = [row["answerA"], row["answerB"], row["answerC"]]
    return {
        "question": f"{row['context']} {row['question']}",
        "choices": choices,
        "answer": _letter(int(row["label"]) - 1),
    }


def _gsm8k(row: Fields) -> Fields:
    rationale, _, answer = row["answer"].rpartition("####")
    rationale = re.sub(r"<<[^<>]*>>", "", rationale).strip()
    return {"question": row["question"], "answer": answer.strip().replace(",", ""), "rationale": rationale}


def _multiarith(row: Fields) -> Fields:
    return {"question": row["question"].strip(), "answer": row["final_ans"]}


def _math(row: Fields) -> Fields:
    solution = row["solution"]
    found = reading.read_math(solution).answer
    answer = row.get("answer", found)
    return {"id": row.get("unique_id"), "question": row["problem"], "answer": answer, "rationale": solution}


def _mmlu(row: Fields) -> Fields:
    return {"question": row["question"], "choices": list(row["choices"]), "answer": _letter(row["answer"])}


def _aqua(row: Fields) -> Fields:
    choices = list(unlabeled(row["options"], "aqua").words)  # "A)12"
    return {"question": row["question"], "choices": choices, "answer": row["correct"], "rationale": row["rationale"]}


def _asdiv(row: Fields) -> Fields:
    question = f"{row['body']} {row['question']}"
    return {"question": question, "answer": row["answer"].partition("(")[0].strip()}  # "9 (apples)"


def _svamp(row: Fields) -> Fields:
    body = row["Body"].strip()
    joint = " " if body.endswith((".", "?", "!")) else ". "
    return {"id": row["ID"], "question": body + joint + row["Question"].strip(), "answer": row["Answer"]}


def _strategyqa(row: Fields) -> Fields:
    return {
        "id": row.get("qid"),
        "question": row["question"],
        "choices": ["Yes", "No"],
        "answer": "A" if row["answer"] else "B",
        "rationale": row.get("facts"),
    }


def _addsub(row: Fields) -> Fields:
    return {"question": row["input"], "answer": row["output_answer"]}


# ------------------------------------------------------------------------------------------------ the table

_CONVERTED = "refs/convert/parquet"
_MATH_SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)


def _hub(
    name: str, config: str | None = None, *, train: str = "", dev: str = "", test: str = "", revision: str | None = None
) -> dict[Split, Hub]:
    splits: dict[Split, str] = {"train": train, "dev": dev, "test": test}
    return {split: Hub(name, there, (config,), revision) for split, there in splits.items() if there}


_MATH_HUB: dict[Split, Hub] = {
    "train": Hub("EleutherAI/hendrycks_math", "train", _MATH_SUBJECTS),
    "test": Hub("HuggingFaceH4/MATH-500", "test"),
}
_THREE = {"train": "train", "dev": "validation", "test": "test"}
# The answers of these benchmarks' test splits are hidden: their validation split is our test.
_HIDDEN = {"train": "train", "test": "validation"}

BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "commonsense_qa", "choice", "MIT", "9,741 train, 1,221 test (its dev split)",
            _hub("tau/commonsense_qa", **_HIDDEN), _lettered,
        ),
        Benchmark(
            "openbookqa", "choice", "Apache-2.0", "4,957 train, 500 dev, 500 test",
            _hub("allenai/openbookqa", "main", **_THREE), _lettered,
        ),
        Benchmark(
            "piqa", "choice", "AFL-3.0", "16,113 train, 1,838 test (its validation split)",
            _hub("ybisk/piqa", **_HIDDEN, revision=_CONVERTED), _piqa,
        ),
        Benchmark(
            "social_iqa", "choice", "unclear", "33,410 train, 1,954 test (its dev split)",
            _hub("allenai/social_i_qa", **_HIDDEN, revision=_CONVERTED), _social_iqa,
        ),
        Benchmark(
            "gsm8k", "number", "MIT", "7,473 train, 1,319 test",
            _hub("openai/gsm8k", "main", train="train", test="test"), _gsm8k,
        ),
        Benchmark(
            "multiarith", "number", "none stated", "420 train, 180 test",
            _hub("ChilleD/MultiArith", train="train", test="test"), _multiarith,
        ),
        Benchmark("math", "math", "MIT", "7,500 train, 500 test (MATH-500)", _MATH_HUB, _math),
        Benchmark(
            "mmlu", "choice", "MIT", "1,531 dev, 14,042 test",
            _hub("cais/mmlu", "all", train="auxiliary_train", dev="validation", test="test"), _mmlu,
        ),
        Benchmark(
            "aqua", "choice", "Apache-2.0", "97,467 train, 254 dev, 254 test",
            _hub("deepmind/aqua_rat", "raw", **_THREE), _aqua,
        ),
        Benchmark(
            "arc_challenge", "choice", "CC BY-SA 4.0", "1,119 train, 299 dev, 1,172 test",
            _hub("allenai/ai2_arc", "ARC-Challenge", **_THREE), _lettered,
        ),
        Benchmark(
            "asdiv", "number", "CC BY-NC 4.0: non-commercial", "2,305 test",
            _hub("EleutherAI/asdiv", test="validation", revision=_CONVERTED), _asdiv,
        ),
        Benchmark(
            "svamp", "number", "MIT", "700 train, 300 test",
            _hub("ChilleD/SVAMP", train="train", test="test"), _svamp,
        ),
        Benchmark(
            "strategyqa", "choice", "MIT", "1,603 train, 687 test",
            _hub("ChilleD/StrategyQA", train="train", test="test"), _strategyqa,
            'Answer the question with yes or no. End with "The answer is" and yes or no.',
        ),
        Benchmark(
            "addsub", "number", "none stated", "395 test",
            _hub("allenai/lila", "addsub", train="train", dev="validation", test="test", revision=_CONVERTED), _addsub,
        ),
    )
}  # fmt: skip
