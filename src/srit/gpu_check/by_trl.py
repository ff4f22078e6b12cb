"""A training step by TRL's own trainers, if TRL is installed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

import torch

from srit.compute.device import plain_writes
from srit.gpu_check.timing import wait

if TYPE_CHECKING:
    from peft import PeftModel

    from srit.compute.model import LanguageModel
    from srit.compute.rows import Group


def lacking() -> str:
    """Return what TRL's side lacks here; "" if it can run."""
    missing = [name for name in ("trl", "datasets", "accelerate") if find_spec(name) is None]
    return f"{', '.join(missing)} cannot be imported" if missing else ""


def dpo_step(
    model: LanguageModel, groups: Sequence[Group], pairs: Sequence[tuple[int, int]], n_tokens: int, batch: int
) -> Callable[[], int]:
    """Return a step of DPOTrainer over the pairs of each group, `batch` at once; it returns `n_tokens`."""
    trl: Any = import_module("trl")
    rows = [
        {
            "prompt_ids": list(group.prompt_ids),
            "chosen_ids": list(group.completions[good]),
            "rejected_ids": list(group.completions[bad]),
            "ref_chosen_logps": 0.0,
            "ref_rejected_logps": 0.0,
        }
        for group in groups
        for good, bad in pairs
    ]
    adapted = cast("PeftModel", model)
    if "ref" in adapted.peft_config:  # that of an earlier trainer
        adapted.delete_adapter("ref")
    made = type("DPOTrainer", (trl.DPOTrainer,), {"_prepare_dataset": lambda self, dataset, *_: dataset})  # ids already
    arguments = trl.DPOConfig(**_arguments())
    trainer = made(model=model, args=arguments, train_dataset=_dataset(rows), processing_class=_tokenizer())
    trainer.precompute_ref_logps = True  # the rows carry them; the argument would compute them from this very model

    def loss_of(some: Sequence[Any]) -> Any:
        return trainer.compute_loss(model, _moved(trainer.data_collator(some), model)) * len(some) / len(rows)

    return _step(model, rows, loss_of, n_tokens, batch)


def sft_step(model: LanguageModel, groups: Sequence[Group], n_tokens: int, batch: int) -> Callable[[], int]:
    """Return a step of SFTTrainer over the answers of each group, `batch` at once; it returns `n_tokens`."""
    trl: Any = import_module("trl")
    rows = [
        {
            "input_ids": [*group.prompt_ids, *completion],
            "completion_mask": [0] * len(group.prompt_ids) + [1] * len(completion),
        }
        for group in groups
        for completion in group.completions
    ]
    trainer = trl.SFTTrainer(
        model=model,
        args=trl.SFTConfig(**_arguments(), completion_only_loss=True),
        train_dataset=_dataset(rows),
        processing_class=_tokenizer(),
    )
    prepared = list(trainer.train_dataset)
    n_scored = torch.tensor(sum(len(c) for group in groups for c in group.completions), device=model.device)

    def loss_of(some: Sequence[Any]) -> Any:
        inputs = _moved(trainer.data_collator(some), model)
        return trainer.compute_loss(model, inputs, num_items_in_batch=n_scored)

    return _step(model, prepared, loss_of, n_tokens, batch)


def _step(
    model: LanguageModel, rows: Sequence[Any], loss_of: Callable[[Sequence[Any]], Any], n_tokens: int, batch: int
) -> Callable[[], int]:
    def work() -> int:
        with plain_writes(model.device):  # sums in any order, as usual
            for start in range(0, len(rows), batch):
                loss_of(list(rows[start : start + batch])).backward()
        model.zero_grad()
        return n_tokens

    work()
    wait()
    return work


def _moved(inputs: dict[str, Any], model: LanguageModel) -> dict[str, Any]:
    return {name: value.to(model.device) if hasattr(value, "to") else value for name, value in inputs.items()}


def _arguments() -> dict[str, Any]:
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": tempfile.mkdtemp(),
        "report_to": [],
        "use_cpu": not on_gpu,
        "bf16": on_gpu,
        "gradient_checkpointing": False,
        "max_length": None,
    }


def _dataset(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(rows)


def _tokenizer() -> Any:
    """Return a tokenizer that knows nothing but padding: the rows are ids already."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2}, unk_token="<pad>"))
    made: Any = PreTrainedTokenizerFast
    return made(tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
