"""Measure how the cost of sampling grows: python bench/sampling_growth.py RUN

Seconds that srit and `generate` take, against answers per prompt, problems, and tokens per answer (whose answers never
end by themselves). Each point is measured once, the two sides in turn. Writes bench/growth.json and docs/growth.svg.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench import Work, machine
from srit.run_directory import write_json
from srit.samplers import SamplingSettings
from srit.samplers.asked import asked, make_requests
from srit.samplers.transformers.engine import TransformersSampler

RESULTS = Path(__file__).with_name("growth.json")
PICTURE = Path(__file__).parents[1] / "docs" / "growth.svg"
BATCH = 32  # prompts of `generate` at once: its best in bench/results.json
PLAIN = {"problems": 32, "answers": 4, "tokens": 32}  # the values of the two that are not varied
SECONDS = (2, 5, 10, 20, 50)  # ticks
SERIES = {"answers": (1, 2, 4, 8, 16), "problems": (32, 64, 128, 256, 512), "tokens": (16, 32, 64, 128)}


def main(folder: Path) -> None:
    work = Work(folder)
    ours, theirs = _ours(work), _theirs(work)
    ours(**PLAIN), theirs(**PLAIN)  # maps the memory
    found: dict[str, Any] = {}
    for name, values in SERIES.items():
        found[name] = []
        for value in values:
            size = {**PLAIN, "answers": 1 if name == "problems" else PLAIN["answers"], name: value}
            found[name].append({name: value, "ours": ours(**size), "theirs": theirs(**size)})
            print(name, json.dumps(found[name][-1]), flush=True)
    write_json(RESULTS, {"machine": machine(), "dtype": work.recipe.student.dtype, **found})
    draw(found)


def _ours(work: Work) -> Callable[..., float]:
    sampler = TransformersSampler(work.instructed(), rows=work.recipe.rows, pad_id=work.pad_id)

    def seconds(problems: int, answers: int, tokens: int) -> float:
        requests = list(make_requests(asked(work.train[:problems], [("cot", range(answers))]), work.prompts, "0"))
        started = time.perf_counter()
        list(sampler.sample(requests, SamplingSettings(1.0, tokens, stop_ids=())))
        return round(time.perf_counter() - started, 2)

    return seconds


def _theirs(work: Work) -> Callable[..., float]:
    model = work.instructed()

    @torch.inference_mode()
    def seconds(problems: int, answers: int, tokens: int) -> float:
        prompts = [work.prompts.problem_ids(problem, "cot") for problem in work.train[:problems]]
        size = max(1, BATCH // max(1, answers // 4))
        started = time.perf_counter()
        for start in range(0, len(prompts), size):
            batch = prompts[start : start + size]
            longest = max(map(len, batch))
            ids = torch.tensor([[work.pad_id] * (longest - len(prompt)) + list(prompt) for prompt in batch])
            mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in batch])
            model.generate(
                ids,
                attention_mask=mask,
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=True,
                top_k=0,
                num_return_sequences=answers,
                pad_token_id=work.pad_id,
            )
        return round(time.perf_counter() - started, 2)

    return seconds


def draw(found: dict[str, Any]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    titles = {"answers": "answers per prompt", "problems": "problems", "tokens": "tokens per answer"}
    for axes, (name, points) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        for side, color in (("theirs", "#5b8db8"), ("ours", "#d9733f")):
            label = "srit" if side == "ours" else "generate"
            values = [p[name] for p in points]
            axes.plot(values, [p[side] for p in points], marker="o", color=color, label=label)
        axes.set(xlabel=titles[name], xscale="log", yscale="log", xticks=values, xticklabels=values)
        axes.set_yticks(SECONDS, map(str, SECONDS))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("seconds")
    figure.axes[0].legend(frameon=False)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
