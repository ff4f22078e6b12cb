"""Chooses the layers that get adapters: those whose adapters act the same beside their layer and merged into it.

PEFT's "all-linear" is right for most model families. It fails if a layer's weight is read without calling the layer
(Mamba's `dt_proj`, whose adapter has no effect until it is merged), if one layer is used in several places (Zamba), if
a subclass of Linear returns more than a tensor (expert routers), and if PEFT refuses a layer by its name. Training goes
through the adapters and sampling through merged weights, so such a layer would train one model and sample another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import torch

from srit.compute.head import output_head, parts_of
from srit.compute.plan import Targets
from srit.errors import DataError
from srit.recipe import Lora
from srit.students.adapted import peft_may_use_old_names

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel

    from srit.compute.model import LanguageModel

TEXT_TOKENS = 32
TOLERANCE = 2e-3  # nats of a log-probability; float32 rounding is 1e-5 of what a random adapter changes
ALL = "all-linear"

_BREAKS = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, NotImplementedError)


def lora_config(lora: Lora, targets: Targets, **more: Any) -> LoraConfig:
    """Return PEFT's configuration of the adapters that a recipe asks for, on these layers."""
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=0.0,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
        **more,
    )


def choose_targets(load: Callable[[], PreTrainedModel], lora: Lora, name: str) -> Targets:
    """Return the recipe's target modules, or a pattern of the linear layers that work if "all-linear" does not.

    Args:
        load: loads the model in float32; called for each attempt, since an attempt may change the model.
        name: the model's, for errors.

    Raises:
        DataError: the modules that the recipe names cannot be adapted, or none can.
    """
    problem = _problem(load(), lora, lora.target_modules)
    if not problem:
        return lora.target_modules
    if lora.target_modules != ALL:
        raise DataError(f"student.lora.target_modules is {lora.target_modules!r}: {problem}: name others, or {ALL!r}")
    prefix, kinds = _linear_kinds(load())
    good = [kind for kind in kinds if not _problem(load(), lora, _pattern(prefix, [kind]))]
    if not good or (problem := _problem(load(), lora, _pattern(prefix, good))):
        raise DataError(f"student.model: {name} takes no adapters ({problem}): set student.tuning to full")
    return _pattern(prefix, good)


def left_out(model: PreTrainedModel, targets: Targets) -> list[str]:
    """List the kinds of linear layers in the text model that get no adapter although the recipe asks for all."""
    prefix, kinds = _linear_kinds(model)
    chosen = targets if isinstance(targets, str) and targets != ALL else ".*"
    return [kind for kind in kinds if not re.fullmatch(chosen, f"{prefix}x.{kind}")]


def _linear_kinds(model: PreTrainedModel) -> tuple[str, list[str]]:
    """Return the text model's name prefix, and the last parts of its linear layers' names, the head excluded."""
    parts, head = parts_of(model), output_head(model)
    decoder: torch.nn.Module = parts.decoder if parts else model
    prefix = next(name for name, module in model.named_modules() if module is decoder)
    names = [
        name for name, module in decoder.named_modules() if isinstance(module, torch.nn.Linear) and module is not head
    ]
    return f"{prefix}." if prefix else "", list(dict.fromkeys(map(_kind, names)))


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


def _pattern(prefix: str, kinds: Sequence[str]) -> str:
    return rf"{re.escape(prefix)}.*\.(?:{'|'.join(map(re.escape, kinds))})"


def _problem(model: PreTrainedModel, lora: Lora, targets: Targets) -> str:
    """Say what is wrong with adapters on these layers; "" if they train and change the model equally when merged."""
    from peft import get_peft_model

    torch.manual_seed(0)
    try:
        # Random values: adapters start at zero, which has no effect to compare.
        with peft_may_use_old_names():
            adapted: Any = get_peft_model(model, lora_config(lora, targets, init_lora_weights=False))
        ids = _text(n_embeddings(model)).to(adapted.device)
        beside = adapted(input_ids=ids, use_cache=False).logits.log_softmax(-1)
        beside[..., 0].sum().backward()
        silent = _silent(adapted)
        adapted.merge_adapter()
        with torch.no_grad():
            gap = float((adapted(input_ids=ids, use_cache=False).logits.log_softmax(-1) - beside).abs().max())
        adapted.unmerge_adapter()
    except _BREAKS as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"
    if not gap <= TOLERANCE:
        return f"merged into the weights, adapters change log-probabilities by {gap:.2g} nats"
    return f"no gradient reaches adapters of {', '.join(silent)}" if silent else ""


def n_embeddings(model: LanguageModel) -> int:
    """Return the number of tokens that a model has input embeddings for."""
    embeddings: Any = model.get_input_embeddings()  # families have classes of their own for it
    return int(embeddings.num_embeddings)


def _silent(adapted: PeftModel) -> list[str]:
    """List the kinds of layers none of whose adapters has a gradient; experts that no token reached have none."""
    trained = [
        (name.partition(".lora_")[0], weight) for name, weight in adapted.named_parameters() if weight.requires_grad
    ]
    heard = {_kind(layer) for layer, weight in trained if weight.grad is not None}
    return sorted({_kind(layer) for layer, _ in trained} - heard)


def _text(vocabulary: int) -> torch.Tensor:
    return torch.tensor([Random(0).choices(range(vocabulary), k=TEXT_TOKENS)])
