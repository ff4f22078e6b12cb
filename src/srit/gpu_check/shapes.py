"""Models of known shapes with random weights, made where they are computed."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from srit.compute.device import device_for, prepare
from srit.compute.rows import Group
from srit.samplers import Request

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Shape(NamedTuple):
    """The sizes of a Llama."""

    width: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    head_width: int
    vocabulary: int
    tied: bool  # whether the head shares the embedding's weights


SHAPES = {
    "tiny": Shape(64, 128, 2, 4, 2, 16, 512, True),
    "135M": Shape(576, 1536, 30, 9, 3, 64, 49_152, True),  # SmolLM2-135M
    "1B": Shape(2048, 8192, 16, 32, 8, 64, 128_256, True),  # Llama 3.2
    "3B": Shape(3072, 8192, 28, 24, 8, 128, 128_256, True),
    "8B": Shape(4096, 14_336, 32, 32, 8, 128, 128_256, False),  # Llama 3.1
}


def random_model(name: str, dtype: torch.dtype, *, spread: float = 0.02, seed: int = 0) -> PreTrainedModel:
    """Return a model of random weights in evaluation mode.

    Args:
        name: one of `SHAPES`.
        spread: the standard deviation of its weights; 0.2 makes a small model's greedy choices clear.
    """
    from transformers import AutoModelForCausalLM, LlamaConfig

    shape, device = SHAPES[name], device_for("auto")
    prepare(device)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        head_dim=shape.head_width,
        max_position_embeddings=16_384,
        initializer_range=spread,
        tie_word_embeddings=shape.tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(seed)
    with torch.device(device):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)  # type: ignore[no-untyped-call]
    model.generation_config.eos_token_id = None  # answers end where the caller says
    made: PreTrainedModel = model.to(device).eval()
    return made


def with_adapter(model: PreTrainedModel, rank: int = 16) -> PeftModel:
    """Put a new adapter on all linear layers, as srit trains one, with weights that are not 0."""
    from peft import LoraConfig, PeftModel, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config, autocast_adapter_dtype=False)
    assert isinstance(adapted, PeftModel)
    return adapted.eval()


def n_parameters(model: torch.nn.Module) -> int:
    """Return how many numbers a model has; shared ones count once."""
    return sum(weight.numel() for weight in model.parameters())


def random_ids(random: Random, n: int, vocabulary: int) -> tuple[int, ...]:
    """Return random token ids, none of them a special one."""
    return tuple(random.choices(range(3, vocabulary), k=n))


def random_requests(n: int, prompt_tokens: int, vocabulary: int, *, answers: int = 1) -> list[Request]:
    """Return requests for so many answers to each of `n` prompts of equal length."""
    random = Random(0)
    prompts = [random_ids(random, prompt_tokens, vocabulary) for _ in range(n)]
    return [Request(prompt, f"0/{a}/{p}") for p, prompt in enumerate(prompts) for a in range(answers)]


def random_groups(n: int, prompt_tokens: int, answers: int, answer_tokens: int, vocabulary: int) -> list[Group]:
    """Return prompts with answers, all of equal length."""
    random = Random(0)
    return [
        Group(
            random_ids(random, prompt_tokens, vocabulary),
            tuple(random_ids(random, answer_tokens, vocabulary) for _ in range(answers)),
        )
        for _ in range(n)
    ]
