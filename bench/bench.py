"""Compare srit with transformers and TRL: python bench/bench.py RUN [--entries NAME ...] [--repeats 5]

RUN is a finished run of the recipe `studied`: its models, problems, demonstrations and answers are the workload.
Every entry does the same work both ways, checks that the outputs agree, and then alternates the two sides. The ratio is
that of a repeat's two times; its median is reported with the least and the greatest. Writes bench/results.json.

Both sides compute in the run's precision with its weights. `memory` uses one process per side. `studied` does that
recipe whole, and bench/plain.py, once, side by side on one core each, since they take up to an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, MistralConfig
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from srit.compute.plan import ON_CPU
from srit.compute.rows import Group, layout_of, logps_by_group, micro_batches
from srit.machine.precision import compute_plan_of
from srit.recipe import Recipe, read_recipe
from srit.records import Completion, Demonstration, Problem, PromptKind
from srit.run_directory import read_records, write_json
from srit.samplers import SamplingSettings
from srit.samplers.asked import asked, make_requests
from srit.samplers.transformers.engine import TransformersSampler
from srit.stages.instructed import make_examples
from srit.stages.pairs import right_sides
from srit.students.loading import load_model, load_tokenizer, trainable
from srit.students.prompts import Prompts
from srit.training.instruction import Example
from srit.training.losses import Sides
from srit.training.losses.sigmoid import SigmoidSettings, dpo_loss
from srit.training.objective import Preference
from srit.training.preference import reference_logps

RESULTS = Path(__file__).with_name("results.json")
WINDOW = 48  # tokens; the prompts alone are longer
BATCHES = (8, 16, 32, 64)  # the other side gets the fastest of these


class Entry(NamedTuple):
    """One piece of work, done both ways."""

    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    check: Callable[[Any, Any], str]  # says how close the outputs are; raises if they are not the same work
    against: str


class Work:
    """The workload: what a finished run provides to measure on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe: Recipe = read_recipe(str(folder / "recipe.yaml"))
        self.tokenizer = load_tokenizer(self.recipe.student)
        self.prompts = Prompts(self.tokenizer, self.recipe.student.chat_template)
        self.train = read_records(folder / "problems/train.jsonl", Problem)
        self.pad_id = self.prompts.end_of_turn_id
        self.attention = compute_plan_of(self.recipe, None).attention

    def instructed(self) -> Any:
        """Return the instructed model with its adapter merged."""
        return load_model(self.recipe.student, self.folder / "instructed")

    def windowed(self) -> Any:
        """Return the instructed model as a Mistral: the weights of a Llama, with windows of WINDOW tokens."""
        model = self.instructed()
        config = MistralConfig(**model.config.to_dict() | {"model_type": "mistral", "sliding_window": WINDOW})
        windowed = AutoModelForCausalLM.from_config(config, dtype=model.dtype)  # type: ignore[no-untyped-call]
        windowed.load_state_dict(model.state_dict())
        return windowed.eval()

    def evaluated(self) -> list[Problem]:
        """Return all evaluation problems, task by task."""
        paths = sorted(self.folder.glob("problems/evaluate-*.jsonl"))
        return [problem for path in paths for problem in read_records(path, Problem)]

    def settings(self, temperature: float) -> SamplingSettings:
        """Return the settings that the run sampled with."""
        return SamplingSettings(temperature, self.recipe.sample.max_new_tokens, self.prompts.stop_ids)

    def contrasts(self, n: int, sides: int) -> list[Preference]:
        """Return `n` groups of `sides` correct and `sides` wrong answers, paired each with each."""
        own: dict[str, list[Completion]] = {}
        for completion in read_records(self.folder / "round-1/completions.jsonl", Completion):
            own.setdefault(completion.problem_id, []).append(completion)
        found = (self._contrast(problem, own[problem.id], sides) for problem in self.train)
        return list(islice(filter(None, found), n))

    def _contrast(self, problem: Problem, own: Sequence[Completion], sides: int) -> Preference | None:
        settings = self.recipe.pairs.model_copy(update={"pairs_per_problem": sides})
        right = [side.token_ids for side in right_sides(own, settings)]
        wrong = list(dict.fromkeys(c.token_ids for c in own if c.reward == 0 and not c.truncated))[:sides]
        if len(right) < sides or len(wrong) < sides:
            return None
        pairs = tuple((i, sides + j) for i in range(sides) for j in range(sides))
        return Preference(Group(self.prompts.problem_ids(problem, "cot"), (*right, *wrong)), pairs, ())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--entries", nargs="*", default=list(ENTRIES), choices=list(ENTRIES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)  # what `memory` runs in its own process
    options = parser.parse_args()
    if options.step:
        print(json.dumps(_peak_of_step(Work(options.run), options.step)))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in options.entries:
        results[name] = ENTRIES[name](Work(options.run), options.repeats)
        print(f"{name}: {json.dumps(results[name])}", flush=True)
        write_json(RESULTS, results)


def measure(entry: Entry, repeats: int) -> dict[str, Any]:
    """Check an entry in an unmeasured first round, then time both sides alternately."""
    agreement = entry.check(entry.ours(), entry.theirs())
    times = [(_seconds(entry.ours), _seconds(entry.theirs)) for _ in range(repeats)]
    ratios = [theirs / ours for ours, theirs in times]
    return {
        "ours": round(statistics.median(ours for ours, _ in times), 3),
        "theirs": round(statistics.median(theirs for _, theirs in times), 3),
        "ratio": round(statistics.median(ratios), 2),
        "unit": "s",
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "against": entry.against,
        "agreement": agreement,
        "machine": machine(),
    }


def machine() -> str:
    """Describe the machine: its cores and their fastest kind of unit."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    units = next((name for name in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if name in flags), platform.machine())
    return f"{os.cpu_count()} cores, {units}"


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# ---- sampling and evaluation -------------------------------------------------------------------


def sampling(work: Work) -> Entry:
    """4 direct and 4 CoT answers to each of 32 problems."""
    return _sampling(work, work.instructed)


def _sampling(work: Work, load: Callable[[], Any]) -> Entry:
    settings = work.settings(1.0)
    kinds: list[tuple[PromptKind, range]] = [("direct", range(1, 5)), ("cot", range(1, 5))]
    requests = list(make_requests(asked(work.train[::7][:32], kinds), work.prompts, "0/bench"))
    prompts = list(dict.fromkeys(request.prompt_ids for request in requests))
    halves = [prompts[0::2], prompts[1::2]]  # once per prompt kind
    sampler = TransformersSampler(load(), rows=work.recipe.rows, pad_id=work.pad_id)
    model = load()
    best = _best_of(lambda size: _generate(model, work, halves[0][:16], size, 4), BATCHES)

    def check(ours: Any, theirs: Any) -> str:
        n_ours, n_theirs = sum(len(a.token_ids) for a in ours), sum(map(len, theirs))
        assert len(ours) == len(theirs) == 256
        # The draws differ: the lengths of 256 answers agree within chance, or the work is not the same.
        assert abs(n_ours / n_theirs - 1) < 0.1, (n_ours, n_theirs)
        return f"{n_ours} and {n_theirs} tokens drawn"

    return Entry(
        lambda: list(sampler.sample(requests, settings)),
        lambda: [ids for half in halves for ids in _generate(model, work, half, best, 4)],
        check,
        _transformers(f"generate(num_return_sequences=4), {best} prompts at once, once per prompt kind"),
    )


def windows(work: Work) -> Entry:
    """The same for a model whose attention windows are shorter than its texts."""
    return _sampling(work, work.windowed)


def evaluation(work: Work) -> Entry:
    """Greedy answers of uneven length to 200 problems."""
    requests = list(make_requests(asked(work.evaluated()[::3][:200], [("cot", range(1))]), work.prompts, ""))
    settings = work.settings(0.0)
    sampler = TransformersSampler(work.instructed(), rows=work.recipe.rows, pad_id=work.pad_id)
    model = work.instructed()
    prompts = sorted((request.prompt_ids for request in requests), key=len)
    best = _best_of(lambda size: _generate(model, work, prompts[:64], size, None), BATCHES)

    def greedy(size: int) -> list[tuple[int, ...]]:
        answers = dict(zip(prompts, _generate(model, work, prompts, size, None), strict=True))
        return [answers[request.prompt_ids] for request in requests]

    def check(ours: Any, theirs: Any) -> str:
        different, by_itself = (_n_different(theirs, others) for others in (ours, greedy(best // 2)))
        # Batches of other sizes round differently, even between two runs of `generate`.
        assert different <= max(2, 2 * by_itself), (different, by_itself)
        other = f"{by_itself} between generate's own {best} and {best // 2} at once"
        return f"{different} of {len(ours)} answers differ in a token ({other})"

    return Entry(
        lambda: [answer.token_ids for answer in sampler.sample(requests, settings)],
        lambda: greedy(best),
        check,
        _transformers(f"generate, {best} prompts of like length at once"),
    )


def _n_different(some: Sequence[tuple[int, ...]], others: Sequence[tuple[int, ...]]) -> int:
    return sum(a != b for a, b in zip(some, others, strict=True))


@torch.inference_mode()
def _generate(
    model: Any, work: Work, prompts: Sequence[tuple[int, ...]], size: int, samples: int | None
) -> list[tuple[int, ...]]:
    """Token ids up to the end of turn; `samples` each at temperature 1, or greedy."""
    drawn = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "num_return_sequences": samples}
    answers = []
    for start in range(0, len(prompts), size):
        batch = prompts[start : start + size]
        longest = max(map(len, batch))
        ids = torch.tensor([[work.pad_id] * (longest - len(prompt)) + list(prompt) for prompt in batch])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in batch])
        output = model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=work.recipe.sample.max_new_tokens,
            eos_token_id=list(work.prompts.stop_ids),
            pad_token_id=work.pad_id,
            **(drawn if samples else {"do_sample": False}),
        )
        answers += [_ended(row, work.prompts.stop_ids) for row in output[:, longest:].tolist()]
    return answers


def _ended(row: list[int], stop_ids: Sequence[int]) -> tuple[int, ...]:
    end = next((index for index, token_id in enumerate(row) if token_id in stop_ids), len(row) - 1)
    return tuple(row[: end + 1])


# ---- training ----------------------------------------------------------------------------------


def dpo_4_pairs(work: Work) -> Entry:
    """One optimizer step's gradient over 8 problems with 4 pairs of 4 completions each."""
    return _dpo(work, sides=2)


def dpo_1_pair(work: Work) -> Entry:
    """The same for 24 problems with one pair each."""
    return _dpo(work, sides=1)


def _dpo(work: Work, sides: int) -> Entry:
    ours, trainer, model, rows, _ = _dpo_steps(work, sides)
    best = _best_of(lambda size: _trl_step(trainer, model, rows, size), (2, 4, 8, 16))
    return Entry(
        ours,
        lambda: _trl_step(trainer, model, rows, best),
        lambda ours, theirs: _near(ours, theirs, work),
        f"trl=={version('trl')} DPOTrainer.compute_loss and backward, reference precomputed, {best} pairs at once",
    )


def _dpo_steps(work: Work, sides: int) -> tuple[Callable[[], float], Any, Any, list[dict[str, Any]], int]:
    """Return srit's step; the trainer, model and rows of TRL's; and the number of tokens in srit's rows."""
    preferences = work.contrasts(8 if sides == 2 else 24, sides)
    settings = work.recipe.refine
    assert isinstance(settings, SigmoidSettings)
    start, end = work.folder / "instructed", work.folder / "round-1/refined"
    reference = reference_logps(trainable(work.recipe.student, start), preferences, settings.row_tokens)
    ours_model = trainable(work.recipe.student, end, attention=work.attention)
    theirs_model, layout = trainable(work.recipe.student, end), layout_of(ours_model, "shared")
    groups = [preference.group for preference in preferences]
    n_pairs = sum(len(preference.pairs) for preference in preferences)
    rows = [
        {
            "prompt_ids": list(p.group.prompt_ids),
            "chosen_ids": list(p.group.completions[good]),
            "rejected_ids": list(p.group.completions[bad]),
            "ref_chosen_logps": logps[good],
            "ref_rejected_logps": logps[bad],
        }
        for p, logps in zip(preferences, reference, strict=True)
        for good, bad in p.pairs
    ]

    def ours() -> float:
        total = 0.0
        for batch in micro_batches(
            groups, row_tokens=settings.row_tokens, batch_tokens=ON_CPU.batch_tokens, layout=layout
        ):
            losses = [
                dpo_loss(
                    Sides(logps[[g for g, _ in preferences[i].pairs]], logps[[b for _, b in preferences[i].pairs]]),
                    Sides(*(torch.tensor(side) for side in _referenced(preferences[i], reference[i]))),
                    Sides(logps, logps),
                    settings,
                ).sum()
                for i, logps in logps_by_group(ours_model, batch, groups).items()
            ]
            loss = torch.stack(losses).sum() / n_pairs
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        ours_model.zero_grad()
        return total

    n_tokens = sum(group.n_tokens for group in groups)
    return ours, _dpo_trainer(theirs_model, rows, work, settings.beta), theirs_model, rows, n_tokens


def _referenced(preference: Preference, logps: Sequence[float]) -> tuple[list[float], list[float]]:
    return [logps[good] for good, _ in preference.pairs], [logps[bad] for _, bad in preference.pairs]


def _dpo_trainer(model: Any, rows: Sequence[dict[str, Any]], work: Work, beta: float) -> DPOTrainer:
    DPOTrainer._prepare_dataset = lambda self, dataset, *_: dataset  # type: ignore[method-assign]  # they are ids
    arguments = DPOConfig(**_arguments(), beta=beta)
    trainer = DPOTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_list(list(rows)), processing_class=work.tokenizer
    )
    trainer.precompute_ref_logps = True  # the rows carry them; the argument would compute them from this very model
    return trainer


def sft(work: Work) -> Entry:
    """One step's gradient over 48 demonstrations of uneven length."""
    demonstrations = read_records(work.folder / "demonstrations.jsonl", Demonstration)
    problems = {problem.id: problem for problem in work.train}
    made = make_examples(demonstrations, lambda d: problems[d.problem_id], work.prompts, work.recipe.instruct, 0)
    examples = list(made)[::2][:48]
    start = work.folder / "instructed"
    ours_model, theirs_model = (trainable(work.recipe.student, start, attention=a) for a in (work.attention, "sdpa"))
    layout = layout_of(ours_model, "shared")
    groups = [Group(example.prompt_ids, (example.completion_ids,)) for example in examples]
    n_tokens = sum(len(example.completion_ids) for example in examples)
    row_tokens = work.recipe.instruct.row_tokens

    def ours() -> float:
        total = 0.0
        for batch in micro_batches(groups, row_tokens=row_tokens, batch_tokens=ON_CPU.batch_tokens, layout=layout):
            loss = -torch.cat(list(logps_by_group(ours_model, batch, groups).values())).sum() / n_tokens
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        ours_model.zero_grad()
        return total

    trainer, rows = _sft_trainer(theirs_model, examples, work)
    best = _best_of(lambda size: _trl_step(trainer, theirs_model, rows, size, n_tokens), (4, 8, 16, 48))
    return Entry(
        ours,
        lambda: _trl_step(trainer, theirs_model, rows, best, n_tokens),
        lambda ours, theirs: _near(ours, theirs, work),
        f"trl=={version('trl')} SFTTrainer.compute_loss and backward, completion-only loss, {best} at once by length",
    )


def _sft_trainer(model: Any, examples: Sequence[Example], work: Work) -> tuple[SFTTrainer, list[dict[str, Any]]]:
    rows = [
        {
            "input_ids": [*example.prompt_ids, *example.completion_ids],
            "completion_mask": [0] * len(example.prompt_ids) + [1] * len(example.completion_ids),
        }
        for example in examples
    ]
    rows.sort(key=lambda row: len(row["input_ids"]))
    arguments = SFTConfig(**_arguments(), completion_only_loss=True)
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=work.tokenizer
    )
    return trainer, list(cast(Dataset, trainer.train_dataset))


def _arguments() -> dict[str, Any]:
    """Return what both trainers of TRL are told: compute as srit does here, and report nowhere."""
    return {
        "output_dir": tempfile.mkdtemp(),
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "max_length": None,
    }


def _trl_step(trainer: Any, model: Any, rows: Sequence[Any], size: int, n_tokens: int | None = None) -> float:
    """Return the mean loss of all rows; its gradient is accumulated over batches of `size`."""
    total = 0.0
    for batch in _batches(rows, size):
        inputs = trainer.data_collator(batch)
        if n_tokens is None:
            loss = trainer.compute_loss(model, inputs) * len(batch) / len(rows)
        else:
            loss = trainer.compute_loss(model, inputs, num_items_in_batch=torch.tensor(n_tokens))
        loss.backward()
        total += loss.item()
    model.zero_grad()
    return total


def _batches(rows: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(rows), size):
        yield list(rows[start : start + size])


def _best_of(work: Callable[[int], Any], sizes: Sequence[int]) -> int:
    return min(sizes, key=lambda size: _seconds(lambda: work(size)))


def _near(ours: float, theirs: float, work: Work) -> str:
    # bfloat16 rounds each log-probability of 30 tokens by about 0.1: equal in float32 (tests) means close here.
    tolerance = 1e-4 if work.recipe.student.dtype == "float32" else 3e-2
    assert abs(ours - theirs) <= tolerance * abs(theirs), (ours, theirs)
    return f"loss {ours:.6f} and {theirs:.6f}"


# ---- memory, peak throughput, and a whole run -----------------------------------------------------------------------

STEPS = ("ours", "theirs")


def memory(work: Work, repeats: int) -> dict[str, Any]:
    """Peak memory of a DPO step with 4 pairs per problem: each side in its own process, `repeats` times."""
    command = [sys.executable, __file__, str(work.folder), "--step"]
    found = {side: [json.loads(_output([*command, side])) for _ in range(repeats)] for side in STEPS}
    ours, theirs = ([peak["above the model"] for peak in found[side]] for side in STEPS)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    whole = " and ".join(f"{statistics.median(p['in all'] for p in found[side]):.0f}" for side in STEPS)
    return {
        "ours": round(statistics.median(ours)),
        "theirs": round(statistics.median(theirs)),
        "ratio": round(statistics.median(ratios), 2),
        "unit": "MB above the loaded model",
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "against": f"trl=={version('trl')} DPOTrainer, 8 pairs at once",
        "agreement": f"whole processes: {whole} MB",
        "machine": machine(),
    }


def _peak_of_step(work: Work, side: str) -> dict[str, float]:
    ours, trainer, model, rows, _ = _dpo_steps(work, sides=2)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak, which so far is that of loading
    before = _peak_megabytes()
    _ = ours() if side == "ours" else _trl_step(trainer, model, rows, 8)
    return {"above the model": _peak_megabytes() - before, "in all": _peak_megabytes()}


def _peak_megabytes() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def flops(work: Work, repeats: int) -> dict[str, Any]:
    """A DPO step's operations per second, as a share of those of a large matrix product in the same precision."""
    ours, *_, n_tokens = _dpo_steps(work, sides=2)
    model = work.instructed()
    head = model.get_output_embeddings().weight.numel()
    body = sum(weight.numel() for weight in model.parameters()) - head
    n_scored = sum(sum(map(len, p.group.completions)) for p in work.contrasts(8, 2))
    # 2 operations per weight and token forward and 2 backward: the weights themselves get no gradient.
    operations = 4 * (n_tokens * body + n_scored * head)
    ours()
    peaks, shares = [], []
    for _ in range(repeats):
        peaks.append(_product(model.dtype))
        shares.append(operations / _seconds(ours) / peaks[-1])
    share = statistics.median(shares)
    return {
        "ours": round(share * statistics.median(peaks) / 1e9),
        "theirs": round(statistics.median(peaks) / 1e9),
        "ratio": round(share, 2),
        "unit": "GFLOP/s",
        "spread": [round(min(shares), 2), round(max(shares), 2)],
        "against": f"a product of two {SIDE} x {SIDE} matrices in {model.dtype}",
        "agreement": f"{n_tokens} tokens, {n_scored} of them scored",
        "machine": machine(),
    }


SIDE = 2048


def _product(dtype: torch.dtype) -> float:
    a, b = torch.randn(2, SIDE, SIDE).to(dtype)
    a @ b
    return 10 * 2 * SIDE**3 / _seconds(lambda: [a @ b for _ in range(10)])


def studied(work: Work, repeats: int) -> dict[str, Any]:
    """The recipe `studied` including set-up, and the plain script: once, at the same time, on one core each."""
    dtype = f"student.dtype={work.recipe.student.dtype}"
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor() as pool:
        srit = [sys.executable, "-m", "srit", "run", "studied", dtype, "--out", f"{scratch}/ours"]
        plain = [sys.executable, str(Path(__file__).with_name("plain.py")), f"{scratch}/theirs", dtype]
        alone = [["env", "OMP_NUM_THREADS=1", "taskset", "-c", core] for core in "01"]
        commands = [[*core, *command] for core, command in zip(alone, (srit, plain), strict=True)]
        ours, theirs = pool.map(lambda command: _seconds(lambda: _output(command)), commands)
        rows = json.loads(Path(scratch, "ours/results.json").read_text())["pooled"]
        scores = {row["model"]: row["accuracy"] for row in rows if row["domain"] == "in"}
        trained = [use.task for use in work.recipe.tasks.train]
        accuracies = json.loads(Path(scratch, "theirs/results.json").read_text())["accuracies"]
    other = {model: sum(found[task] for task in trained) / len(trained) for model, found in accuracies.items()}
    summary = "; ".join(f"{model} {100 * scores[model]:.1f} and {100 * other[model]:.1f}" for model in other)
    return {
        "ours": round(ours),
        "theirs": round(theirs),
        "ratio": round(theirs / ours, 2),
        "unit": "s",
        "spread": [round(theirs / ours, 2)] * 2,
        "against": f"bench/plain.py: trl=={version('trl')}, transformers=={version('transformers')}, same settings",
        "agreement": f"in-domain accuracy: {summary}",
        "machine": f"a core each of {machine()}",
    }


def _output(command: Sequence[str]) -> str:
    """Return the last line that a command prints."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip().splitlines()[-1]


def _transformers(how: str) -> str:
    return f"transformers=={version('transformers')} {how}"


def _timed(entry: Callable[[Work], Entry]) -> Callable[[Work, int], dict[str, Any]]:
    return lambda work, repeats: measure(entry(work), repeats)


ENTRIES: dict[str, Callable[[Work, int], dict[str, Any]]] = {
    "sampling": _timed(sampling),
    "windows": _timed(windows),
    "evaluation": _timed(evaluation),
    "dpo_4_pairs": _timed(dpo_4_pairs),
    "dpo_1_pair": _timed(dpo_1_pair),
    "sft": _timed(sft),
    "memory": memory,
    "flops": flops,
    "studied": studied,
}

if __name__ == "__main__":
    main()
