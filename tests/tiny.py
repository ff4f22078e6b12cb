"""Random models of a few thousand weights, a real byte-level tokenizer, and token ids to train on."""

import json
from copy import deepcopy

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from srit.compute.rows import Group
from srit.training.instruction import Example
from srit.training.objective import Preference

VOCABULARY = 300
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,  # large enough that greedy choices are no near ties
    "bos_token_id": 257,
    "eos_token_id": 258,
    "pad_token_id": 258,
}
CONFIGS = {
    "llama": LlamaConfig(**SHAPE, tie_word_embeddings=True),
    "qwen": Qwen2Config(**SHAPE),
    "mistral": MistralConfig(**SHAPE, sliding_window=16),
    "gemma": Gemma2Config(**SHAPE, sliding_window=16),
}

# What both trainings learn from.
EXAMPLES = [Example(tuple(range(3, 6 + n % 5)), tuple(range(20 + n, 24 + n + n % 3))) for n in range(10)]
PREFERENCES = [
    Preference(Group((3, 4, 5 + n), ((9, 8, n + 30), (7, n + 40), (6, 6, 6))), ((0, 1), (0, 2)), (0,)) for n in range(6)
]


def tiny_model(kind="llama", seed=0):
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(deepcopy(CONFIGS[kind])).eval()  # a test may set its attention


def bytes_alone():
    """A tokenizer whose tokens are single bytes, and no others."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(alphabet)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def tiny_tokenizer():
    tokenizer = bytes_alone()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|unused|>"]})
    tokenizer.add_special_tokens({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"})
    tokenizer.pad_token = "<|im_end|>"
    return tokenizer


def chat_tokenizer(*special, plain=(), bos=None, eos=None, begins=False):
    """A tokenizer of single bytes, with the tokens of a chat.

    Args:
        special: tokens that are marked special and have no name.
        plain: added tokens that are not marked special.
        begins: whether it puts `bos` before every text.
    """
    tokenizer = bytes_alone()
    named = [token for token in (bos, eos) if token]
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in (*named, *special)])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in plain])
    tokenizer.bos_token, tokenizer.eos_token = bos, eos
    if begins:
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
        )
    return tokenizer


def save_tiny_student(folder):
    """A student in `folder` as `from_pretrained` loads it; its answers are noise."""
    tiny_model().save_pretrained(folder)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    return folder


def add_a_merge(folder):
    """Give the tokenizer of a student a merge, without which llama.cpp takes no tokenizer of this kind."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["th"] = vocabulary.pop("ÿ")  # the byte 255, which no text in UTF-8 has
    tokenizer["model"]["merges"] = [["t", "h"]]
    path.write_text(json.dumps(tokenizer))
    return folder
