"""The recipe `studied` as a good user would write it with TRL and `generate`: python bench/plain.py OUT [KEY=VALUE ...]

It has the student, problems, demonstrations, settings and judges of `srit run studied`; training, sampling and
evaluation are those of transformers, peft and TRL. It does not resume, check or report anything. Set the precision
with student.dtype=float32 or bfloat16. Writes OUT/results.json with the seconds of each stage and the accuracies.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from srit.recipe import Recipe, read_recipe
from srit.records import Problem
from srit.stages.problems import load
from srit.students.loading import locate, torch_dtype
from srit.students.prompts import prompt_text
from srit.students.templates import CHATML
from srit.tasks import find_task, judge
from srit.training.losses.sigmoid import SigmoidSettings

BATCH = 32  # prompts of `generate` at once; bench.py finds the best of 8, 16, 32 and 64


def main(out: Path, overrides: list[str]) -> None:
    recipe = read_recipe("studied", overrides)
    tokenizer = AutoTokenizer.from_pretrained(str(locate(recipe.student)), padding_side="left")
    tokenizer.chat_template = CHATML
    seconds: dict[str, float] = {}

    def timed(name: str, work: Any) -> Any:
        started = time.perf_counter()
        result = work()
        seconds[name] = round(time.perf_counter() - started, 1)
        print(f"{name}: {seconds[name]} s", flush=True)
        return result

    train = list(load(recipe.tasks.train, "train", seed=recipe.tasks.seed))
    instructed = timed("instructed", lambda: instruct(recipe, tokenizer, train, out))
    answers = timed("completions", lambda: sample(recipe, tokenizer, merged(recipe, instructed), train))
    pairs = make_pairs(recipe, train, answers)
    refined = timed("refined", lambda: refine(recipe, tokenizer, instructed, pairs, out))
    accuracies = {
        name: timed(f"evaluate {name}", partial(evaluate, recipe, tokenizer, merged(recipe, model), limit))
        for name, model, limit in (
            ("base", None, recipe.evaluate.base_limit),
            ("instructed", instructed, None),
            ("refined", refined, None),
        )
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps({"seconds": seconds, "accuracies": accuracies}, indent=1))
    print(f"in all {sum(seconds.values()):.0f} s; {json.dumps(accuracies)}")


def message(problem: Problem, kind: Any) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt_text(problem, kind)}]


def merged(recipe: Recipe, adapter: Path | None) -> Any:
    model = AutoModelForCausalLM.from_pretrained(str(locate(recipe.student)), dtype=torch_dtype(recipe.student))
    return model if adapter is None else PeftModel.from_pretrained(model, adapter).merge_and_unload()


def instruct(recipe: Recipe, tokenizer: Any, train: list[Problem], out: Path) -> Path:
    limit, rows = recipe.demonstrations.limit or len(train), []
    for use in recipe.tasks.train:
        for index, problem in enumerate([p for p in train if p.task == use.task][:limit]):
            solution = find_task(use.task).solve(problem)
            turn = [{"role": "assistant", "content": solution}]
            rows.append({"prompt": message(problem, ("direct", "cot")[index % 2]), "completion": turn})
    arguments = SFTConfig(
        **_common(out / "sft", recipe.instruct),
        per_device_train_batch_size=recipe.instruct.batch_size,
        completion_only_loss=True,
    )
    adapters = LoraConfig(
        r=recipe.student.lora.rank,
        lora_alpha=recipe.student.lora.alpha,  # type: ignore[arg-type]  # a float, as in srit
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    trainer = SFTTrainer(
        model=merged(recipe, None),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=adapters,
    )
    trainer.train()
    trainer.save_model(str(out / "instructed"))
    return out / "instructed"


def sample(
    recipe: Recipe, tokenizer: Any, model: Any, problems: list[Problem]
) -> list[tuple[Problem, list[tuple[str, bool]]]]:
    drawn: dict[str, list[tuple[str, bool]]] = {problem.id: [] for problem in problems}
    for kind, n in (("direct", recipe.sample.direct), ("cot", recipe.sample.cot)):
        texts = generate(recipe, tokenizer, model, problems, kind, n)
        for problem, text in zip([p for p in problems for _ in range(n)], texts, strict=True):
            right = judge(find_task(problem.task), problem, text).verdict == "right"
            drawn[problem.id].append((text, right))
    return [(problem, drawn[problem.id]) for problem in problems]


@torch.inference_mode()
def generate(
    recipe: Recipe, tokenizer: Any, model: Any, problems: list[Problem], kind: str, n: int | None
) -> list[str]:
    drawn = {"do_sample": True, "temperature": recipe.sample.temperature, "top_k": 0, "num_return_sequences": n}
    texts = []
    for start in range(0, len(problems), BATCH):
        turns = [message(problem, kind) for problem in problems[start : start + BATCH]]
        inputs = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(
            **inputs, max_new_tokens=recipe.sample.max_new_tokens, **(drawn if n else {"do_sample": False})
        )
        texts += tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


def make_pairs(recipe: Recipe, train: list[Problem], answers: Any) -> list[dict[str, Any]]:
    """Pair correct with wrong answers, or else the demonstration with wrong ones, as many as the recipe allows."""
    shown = {use.task: recipe.demonstrations.limit or len(train) for use in recipe.tasks.train}
    pairs = []
    for problem, found in answers:
        shown[problem.task] -= 1
        right = list(dict.fromkeys(text for text, is_right in found if is_right))
        wrong = list(dict.fromkeys(text for text, is_right in found if not is_right))
        if not right and shown[problem.task] >= 0:
            right = [find_task(problem.task).solve(problem)]
        sides = [(good, bad) for good in right for bad in wrong][: recipe.pairs.pairs_per_problem]
        for good, bad in sides:
            turn = [[{"role": "assistant", "content": text}] for text in (good, bad)]
            pairs.append({"prompt": message(problem, "cot"), "chosen": turn[0], "rejected": turn[1]})
    return pairs


def refine(recipe: Recipe, tokenizer: Any, instructed: Path, pairs: list[dict[str, Any]], out: Path) -> Path:
    assert isinstance(recipe.refine, SigmoidSettings)
    size = recipe.refine.batch_size * recipe.pairs.pairs_per_problem
    arguments = DPOConfig(
        **_common(out / "dpo", recipe.refine),
        per_device_train_batch_size=8,
        gradient_accumulation_steps=max(1, size // 8),
        beta=recipe.refine.beta,
        precompute_ref_log_probs=True,
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, recipe.refine.nll_weight],
    )
    trainer = DPOTrainer(
        model=PeftModel.from_pretrained(merged(recipe, None), instructed, is_trainable=True),
        ref_model=merged(recipe, instructed),
        args=arguments,
        train_dataset=Dataset.from_list(pairs),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model(str(out / "refined"))
    return out / "refined"


def evaluate(recipe: Recipe, tokenizer: Any, model: Any, limit: int | None) -> dict[str, float]:
    accuracies = {}
    for use in recipe.tasks.evaluate:
        problems = list(load([use], "test", seed=recipe.tasks.seed))[:limit]
        texts = generate(recipe, tokenizer, model, problems, "cot", None)
        right = [judge(find_task(use.task), p, t).verdict == "right" for p, t in zip(problems, texts, strict=True)]
        accuracies[use.task] = sum(right) / len(right)
    return accuracies


def _common(folder: Path, settings: Any) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "num_train_epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": settings.warmup,
        "max_grad_norm": settings.clip,
        "weight_decay": 0.0,
        "save_strategy": "no",
        "logging_steps": 10,
        "disable_tqdm": True,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
