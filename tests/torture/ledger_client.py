"""Asks a teacher's server n questions as a run does: `python ledger_client.py FOLDER URL N`."""

import json
import sys
import time
from functools import partial
from pathlib import Path

from srit.pipeline.context.teaching import Teaching
from srit.pipeline.engines.local import LocalEngine
from srit.recipe import check_recipe
from srit.records import Problem
from srit.run_directory import NoMirror
from srit.stages.demonstrations import answered, spent_on
from srit.teachers import Question


def peak_megabytes():
    """The most memory of this process; what getrusage says includes the process that it was forked from."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def main(folder, url, n):
    recipe = check_recipe(
        {
            "name": "ledger",
            "student": {"model": "smollm2-135m-instruct"},
            "tasks": {"train": [{"task": "sums", "limit": 1}], "evaluate": [{"task": "sums", "limit": 1}]},
            "teacher": {"kind": "openai", "model": "m", "base_url": url, "api_key_env": None, "concurrency": 32},
        },
        source="ledger",
    )
    questions = [Question(Problem(f"p{i}", "sums", "train", f"{i}?", "2"), f"What is {i} halved?") for i in range(n)]
    journal = Path(folder) / "teacher/answers.jsonl"
    report = partial(print, file=sys.stderr)
    teaching = Teaching(recipe, journal, (), set(), LocalEngine(), NoMirror(), report)
    paid, teacher = teaching.paid(lambda *counted: None), teaching.teacher()
    before, started = peak_megabytes(), (time.monotonic(), time.process_time())
    answers = {question.problem.id: answer for question, answer in answered(questions, teacher, paid)}
    open_questions = sorted(q for q, a in answers.items() if not a.settled and not a.reason.startswith("refused"))
    print(
        json.dumps(
            {
                "open": open_questions,
                "refused": sorted(q for q, a in answers.items() if a.reason.startswith("refused")),
                "wrong": [q for q, a in answers.items() if a.text and a.text.split()[2] != q[1:]],
                "spent": spent_on(questions, teacher, paid),
                "seconds": time.monotonic() - started[0],
                "processor": time.process_time() - started[1],
                "megabytes": [before, peak_megabytes()],
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
