"""Compare srit's evaluation with lm-evaluation-harness: python bench/against_lm_eval.py [--help]

Both run the same local model on the same problems with the same rendered prompts. The harness's tasks are its own
`gsm8k.yaml` and `arc_easy.yaml` (which `arc_challenge` includes), with the data, the prompt and the end of an answer
replaced. Three evaluations are compared problem by problem: srit's own; the harness's evaluation of the model; and the
harness's scorer applied to srit's output. Needs srit[lm-eval]; prints Markdown and writes nothing into the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

# Set before the libraries are imported, so that they download nothing.
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

import lm_eval
import yaml
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from srit.cli.audit import judged_rows
from srit.compute.rows import Group
from srit.compute.scoring import score
from srit.recipe import Student
from srit.records import Prediction, Problem
from srit.samplers import SamplingSettings
from srit.samplers.asked import asked, make_requests
from srit.samplers.transformers.engine import TransformersSampler
from srit.stages.options import Options, make_options, option_scores
from srit.stages.predictions import make_predictions
from srit.students.loading import load_model, load_tokenizer, locate
from srit.students.prompts import Prompts
from srit.tasks import benchmarks, find_task
from srit.tasks.reading.options import LETTERS

THEIRS = Path(lm_eval.__file__).parent / "tasks"
SHOWN = 8  # differences listed
UNREAD = "[invalid]"  # what the harness's filter returns if it finds nothing


class Side(NamedTuple):
    """The student, as both sides use it."""

    student: Student
    tokenizer: Any
    prompts: Prompts

    def text(self, ids: Sequence[int]) -> str:
        """Return a rendered prompt, including special tokens."""
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))


class Replay(LM):  # type: ignore[misc]  # the harness has no types
    """A "model" that repeats srit's answers, so that the harness only reads and judges them."""

    def __init__(self, answer: Callable[[str], str], logp: Callable[[str, str], float]) -> None:
        super().__init__()
        self._answer, self._logp = answer, logp

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        return [self._answer(request.args[0]) for request in requests]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        return [(self._logp(*request.args), False) for request in requests]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        raise NotImplementedError("neither task needs it")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--student", default="smollm2-135m-instruct", help="an embedded name or a local folder")
    parser.add_argument("--chat-template", default="chatml")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/benchmarks"))
    parser.add_argument("--tasks", nargs="+", default=["gsm8k", "arc_challenge"])
    parser.add_argument("-n", type=int, default=40, help="problems of each test split, drawn with seed 0")
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument(
        "--recordings", type=Path, nargs="*", default=[], help="recorded gsm8k answers to judge instead"
    )
    asked = parser.parse_args()
    if asked.recordings:
        for line in recordings(asked.recordings, asked.data):
            print(line, flush=True)
        return
    student = Student(model=asked.student, chat_template=asked.chat_template, dtype="float32")
    tokenizer = load_tokenizer(student)
    side = Side(student, tokenizer, Prompts(tokenizer, student.chat_template))
    model = load_model(student)
    # The harness loads the weights itself.
    harness = HFLM(pretrained=str(locate(student)), dtype="float32", device="cpu", batch_size=8, add_bos_token=False)
    print(f"{asked.student}, float32, lm_eval {version('lm_eval')}, torch {version('torch')}")
    for name in asked.tasks:
        problems = list(find_task(name).load("test", data=asked.data, limit=asked.n, seed=0))
        print(f"\n## {name}, {len(problems)} problems of the test split")
        lines = (
            generation(problems, side, model, harness, asked.max_new_tokens)
            if problems[0].choices is None
            else likelihood(problems, side, model, harness)
        )
        for line in lines:
            print(line, flush=True)


# ---------------------------------------------------------------------------------------------- generated answers


def generation(
    problems: Sequence[Problem], side: Side, model: Any, harness: HFLM, max_new_tokens: int
) -> Iterator[str]:
    """Greedy answers and verdicts, ours and theirs."""
    settings = SamplingSettings(0.0, max_new_tokens, side.prompts.stop_ids)
    wanted = asked(problems, [("direct", range(1))])
    requests = list(make_requests(wanted, side.prompts, "0/evaluate"))
    texts = [side.text(request.prompt_ids) for request in requests]
    yield _same_prompts(harness, texts, [request.prompt_ids for request in requests], max_new_tokens)
    sampled = list(TransformersSampler(model, rows=16, pad_id=0).sample(requests, settings))
    ours = list(make_predictions(wanted, sampled, side.prompts))
    rows = [
        {"id": p.id, "prompt": text, "question": p.question, "answer": p.answer}
        for p, text in zip(problems, texts, strict=True)
    ]
    changes = {
        "doc_to_text": "prompt",
        "doc_to_target": "answer",
        "generation_kwargs": {
            "until": [side.tokenizer.decode([i]) for i in side.prompts.stop_ids],
            "do_sample": False,
            "max_gen_toks": max_new_tokens,
        },
    }
    of_model = evaluated(harness, "gsm8k/gsm8k.yaml", changes, rows)
    answers = dict(zip(texts, (p.text for p in ours), strict=True))
    of_ours = evaluated(Replay(answers.__getitem__, _unasked), "gsm8k/gsm8k.yaml", changes, rows)
    texts_theirs = {s["doc"]["id"]: s["resps"][0][0] for s in of_model}
    other = [p.problem_id for p in ours if p.text != texts_theirs[p.problem_id]]
    yield f"- same text, character by character: {len(ours) - len(other)} of {len(ours)}{_not(other)}"
    yield f"- correct according to srit's reader: {sum(p.verdict == 'right' for p in ours)}"
    for reading in ("strict-match", "flexible-extract"):
        found = {s["doc"]["id"]: s for s in of_ours if s["filter"] == reading}
        of_its_own = [s for s in of_model if s["filter"] == reading]
        yield (
            f"- correct according to the harness's {reading}: {_total(of_its_own, 'exact_match')} of its own texts, "
            f"{_total(list(found.values()), 'exact_match')} of srit's"
        )
        yield from _verdicts(reading, ours, found)


def recordings(paths: Sequence[Path], data: Path) -> Iterator[str]:
    """Judge recorded gsm8k answers, which are correct often enough to show how the judges differ."""
    yield f"lm_eval {version('lm_eval')}"
    for path in paths:
        judged = list(judged_rows(find_task("gsm8k"), path, data=data))
        gold = {(p.split, p.id): p.answer for p in benchmarks.make("gsm8k").load_all(data)}
        rows = [
            {"id": str(place), "prompt": str(place), "answer": gold[row.fields["split"], row.fields["id"]]}
            for place, (row, _) in enumerate(judged)
        ]
        replay = Replay(lambda place, judged=judged: judged[int(place)][0].fields["output"], _unasked)  # type: ignore[misc]
        changes = {"doc_to_text": "prompt", "doc_to_target": "answer"}
        of_ours = evaluated(replay, "gsm8k/gsm8k.yaml", changes, rows)
        right = sum(judgment.verdict == "right" for _, judgment in judged)
        yield f"- {path.parent.name}: {len(judged)} texts, correct according to srit's reader: {right}"
        for reading in ("strict-match", "flexible-extract"):
            found = [s for s in of_ours if s["filter"] == reading]
            unread = sum(sample["filtered_resps"][0] == UNREAD for sample in found)
            apart: dict[bool, list[str]] = {True: [], False: []}  # by whether srit has it right
            for (row, judgment), sample in zip(judged, found, strict=True):
                mine, theirs = judgment.verdict == "right", sample["filtered_resps"][0]
                if mine != bool(sample["exact_match"]) and theirs != UNREAD:
                    read = f"gold {sample['doc']['answer']}, srit {judgment.answer!r:.20}, the harness {theirs!r:.20}"
                    apart[mine].append(f"{row.fields['id']}: {read}")
            yield f"  - {reading}: correct {_total(found, 'exact_match')}, unread {unread}; of those read:"
            yield f"    - only for srit: {len(apart[True])}{_listed(apart[True], '; ')}"
            yield f"    - only for the harness: {len(apart[False])}{_listed(apart[False], '; ')}"


def _verdicts(reading: str, ours: Sequence[Prediction], theirs: dict[str, Any]) -> Iterator[str]:
    against = [p for p in ours if (p.verdict == "right") != bool(theirs[p.problem_id]["exact_match"])]
    yield f"  - the same verdict as srit's on {len(ours) - len(against)} of srit's {len(ours)} texts"
    for p in against[:SHOWN]:
        found = theirs[p.problem_id]["filtered_resps"][0]
        gold = theirs[p.problem_id]["doc"]["answer"]
        yield f"  - {p.problem_id}: gold {gold}, srit read {p.answer!r} ({p.reason}), the harness {found!r:.40}"


# ------------------------------------------------------------------------------------------ likelihood of options


def likelihood(problems: Sequence[Problem], side: Side, model: Any, harness: HFLM) -> Iterator[str]:
    """Compare the log-probabilities of the options and the resulting choices; by words, then by letters."""
    options = make_options(problems, ("direct",), side.prompts)
    texts = [side.text(one.group.prompt_ids) for one in options]
    yield _same_prompts(harness, texts, [one.group.prompt_ids for one in options], 16)
    scored = score(model, [one.group for one in options], rows="shared")
    recut = score(model, [_as_harness_cuts(one.group, side) for one in options], rows="shared")
    for what in ("text", "letter"):
        yield f"- options by their {'words' if what == 'text' else 'letter, “(A)”'}"
        yield from _compared(what, options, texts, scored, recut, harness)


def _compared(
    what: str,
    options: Sequence[Options],
    texts: Sequence[str],
    scored: Sequence[Sequence[float]],
    recut: Sequence[Sequence[float]],
    harness: HFLM,
) -> Iterator[str]:
    rows: list[dict[str, Any]] = []
    ours = {}
    for one, text, logps, logps_recut in zip(options, texts, scored, recut, strict=True):
        problem, n = one.problem, len(one.problem.choices or ())
        part = slice(0, n) if what == "text" else slice(n, 2 * n)
        words = list(problem.choices or ()) if what == "text" else [f"({letter})" for letter in LETTERS[:n]]
        gold = LETTERS.index(problem.answer)
        rows.append({"id": problem.id, "prompt": text, "question": problem.question, "choices": words, "gold": gold})
        kept, cut = (
            option_scores(problem, "direct", "text", of, list(map(len, words)))
            for of in (logps[part], logps_recut[part])
        )
        ours[problem.id] = (kept, cut)
    changes = {"doc_to_text": "prompt", "doc_to_choice": "choices", "doc_to_target": "gold", "target_delimiter": ""}
    of_model = {s["doc"]["id"]: s for s in evaluated(harness, "arc/arc_easy.yaml", changes, rows)}
    logp_of = {
        (row["prompt"], word): logp
        for row in rows
        for word, logp in zip(row["choices"], ours[row["id"]][0].logps, strict=True)
    }
    replay = Replay(_unasked, lambda context, word: logp_of[context, word])
    of_ours = {s["doc"]["id"]: s for s in evaluated(replay, "arc/arc_easy.yaml", changes, rows)}
    gaps, shifts, spreads = [], [], []
    for problem_id, (kept, cut) in ours.items():
        theirs = [float(response[0]) for response in of_model[problem_id]["filtered_resps"]]
        gaps.append(max(abs(a - b) for a, b in zip(cut.logps, theirs, strict=True)))
        away = [a - b for a, b in zip(theirs, kept.logps, strict=True)]
        shifts.append(sum(away) / len(away))
        spreads.append(max(away) - min(away))
    yield f"  - log-probability of the same tokens: at most {max(gaps):.1e} nats apart"
    yield (
        f"  - theirs count the prompt's last whitespace to the option: {statistics.mean(shifts):+.3f} nats on average, "
        f"the same for all options of a problem within {max(spreads):.1e}"
    )
    for metric, field in (("acc", "right"), ("acc_norm", "right_norm")):
        mine = {problem_id: [getattr(kept, field), getattr(cut, field)] for problem_id, (kept, cut) in ours.items()}
        counts = [sum(both[0] for both in mine.values()), _total(list(of_ours.values()), metric)]
        counts += [_total(list(of_model.values()), metric), sum(both[1] for both in mine.values())]
        yield (
            f"  - {metric}: srit {counts[0]}, the harness's scorer over srit's log-probabilities {counts[1]}, "
            f"the harness {counts[2]}, srit with the whitespace counted {counts[3]}"
        )
        for name, theirs_of, place in (
            ("scorer over srit's", of_ours, 0),
            ("harness", of_model, 0),
            ("harness, whitespace counted by both", of_model, 1),
        ):
            other = [i for i, both in mine.items() if both[place] != bool(theirs_of[i][metric])]
            yield f"    - {name}: the same verdict on {len(mine) - len(other)} of {len(mine)}{_not(other)}"


def _as_harness_cuts(group: Group, side: Side) -> Group:
    """Return the same tokens with the prompt's trailing whitespace moved to each option, as `LM._encode_pair` does."""
    ids, blanks = group.prompt_ids, 0
    while side.text(ids[len(ids) - blanks - 1 :]).isspace():
        blanks += 1
    end = len(ids) - blanks
    return Group(ids[:end], tuple((*ids[end:], *completion) for completion in group.completions))


# ----------------------------------------------------------------------------------------------------- the harness


def evaluated(lm: LM, task: str, changes: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the harness's samples, one per row and filter, of one of its own tasks with some fields replaced."""
    config = yaml.safe_load((THEIRS / task).read_text())
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.json"
        data.write_text(json.dumps(list(rows)))
        for dropped in ("dataset_name", "training_split", "validation_split", "fewshot_split", "tag"):
            config.pop(dropped, None)
        config |= {"task": "srit_prompts", "dataset_path": "json", "test_split": "test", "num_fewshot": 0}
        config |= {"dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": folder}, **changes}
        (Path(folder) / "srit_prompts.yaml").write_text(yaml.safe_dump(config))
        manager = TaskManager(include_path=folder, include_defaults=False)
        found = lm_eval.simple_evaluate(lm, tasks=["srit_prompts"], task_manager=manager, bootstrap_iters=0)
    assert found is not None  # None only in other processes of a distributed run
    samples: list[dict[str, Any]] = found["samples"]["srit_prompts"]
    return samples


def _same_prompts(harness: HFLM, texts: Sequence[str], ids: Sequence[tuple[int, ...]], room: int) -> str:
    """
    Raises:
        SystemExit: the harness would truncate a prompt on the left.
    """
    if (longest := max(map(len, ids)) + room) > harness.max_length:
        raise SystemExit(f"{longest} tokens: the harness truncates at {harness.max_length} (max_position_embeddings)")
    same = sum(tuple(harness.tok_encode(text)) == one for text, one in zip(texts, ids, strict=True))
    return f"- the harness tokenizes the prompt to the same ids: {same} of {len(texts)}"


def _total(samples: Sequence[dict[str, Any]], metric: str) -> int:
    return int(sum(sample[metric] for sample in samples))


def _not(ids: Sequence[str]) -> str:
    return f", not on{_listed(ids)}" if ids else ""


def _listed(ids: Sequence[str], between: str = ", ") -> str:
    return f" ({between.join(ids[:SHOWN])}{' …' if len(ids) > SHOWN else ''})" if ids else ""


def _unasked(*_: str) -> Any:
    raise NotImplementedError("the task does not need it")


if __name__ == "__main__":
    main()
