"""Writes a model of the Llama architecture with a byte-level BPE tokenizer as GGUF; llama.cpp's converter does others.

Source: the key names and the order of rotary halves of llama.cpp's conversion/llama.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srit.run_directory import require_room
from srit.students.prompts import Prompts
from srit.students.templates import beginning

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# llama.cpp's names for ways of splitting text into words, by the pre-tokenizer in tokenizer.json; llama.cpp's converter
# knows more of them.
_DIGITS = {"type": "Digits", "individual_digits": True}
_WORDS = {"gpt-2": [], "smollm": [_DIGITS]}


def unwritable(model: PreTrainedModel, prompts: Prompts) -> str:
    """Return why srit cannot write a model itself; "" if it can."""
    config = model.config
    if config.model_type != "llama":
        return f"srit itself writes only models of type llama, not {config.model_type}"
    rope = (config.rope_parameters or {}).get("rope_type", "default")
    if rope != "default" or config.attention_bias or config.mlp_bias or config.hidden_act != "silu":
        return "srit itself writes only plain Llama models, without scaled rotary positions and biases"
    if words_of(_backend(prompts.tokenizer)) is None:
        return "srit itself does not know llama.cpp's name for this tokenizer"
    return ""


def words_of(backend: Mapping[str, Any]) -> str | None:
    """Return llama.cpp's name for how a tokenizer.json splits text into words; None: srit does not know it."""
    cutting = backend.get("pre_tokenizer") or {}
    steps = cutting.get("pretokenizers", []) if cutting.get("type") == "Sequence" else [cutting]
    model = backend["model"]
    if model.get("type") != "BPE" or not model.get("merges") or backend.get("normalizer") or not steps:
        return None
    *before, last = steps
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space") or not last.get("use_regex", True):
        return None
    return next((name for name, wanted in _WORDS.items() if wanted == before), None)


def write_gguf(path: Path, model: PreTrainedModel, prompts: Prompts, *, name: str) -> None:
    """Write a model that is not `unwritable`, in its own precision."""
    from gguf import GGUFWriter

    require_room(path.parent, sum(weight.numel() * weight.element_size() for weight in model.parameters()))
    writer = GGUFWriter(path, "llama")
    try:
        _describe(writer, model, name)
        _add_tokenizer(writer, model, prompts)
        _add_weights(writer, model)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _describe(writer: GGUFWriter, model: PreTrainedModel, name: str) -> None:
    import torch
    from gguf import LlamaFileType

    config = model.config
    half = model.dtype == torch.bfloat16
    head = config.head_dim or config.hidden_size // config.num_attention_heads
    writer.add_name(name)
    writer.add_file_type(LlamaFileType.MOSTLY_BF16 if half else LlamaFileType.ALL_F32)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _backend(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return what tokenizer.json says."""
    backend: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return backend


def _add_tokenizer(writer: GGUFWriter, model: PreTrainedModel, prompts: Prompts) -> None:
    tokenizer = prompts.tokenizer
    backend = _backend(tokenizer)
    tokens, types = _tokens(tokenizer, model.config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words_of(backend) or "")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in backend["model"]["merges"]])
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(prompts.stop_ids[-1] if tokenizer.eos_token_id is None else tokenizer.eos_token_id)
    writer.add_eot_token_id(prompts.end_of_turn_id)
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(bool(beginning(tokenizer)))
    writer.add_chat_template(prompts.template)


def _tokens(tokenizer: PreTrainedTokenizerBase, rows: int) -> tuple[list[str], list[int]]:
    """Return the text and the type of each token; the model's rows without a token get a name that no text has."""
    from gguf import TokenType

    added, texts = tokenizer.added_tokens_decoder, {i: text for text, i in tokenizer.get_vocab().items()}
    tokens = [texts.get(token_id, f"[PAD{token_id}]") for token_id in range(rows)]
    types = [TokenType.NORMAL if token_id in texts else TokenType.UNUSED for token_id in range(rows)]
    for token_id, token in added.items():
        types[token_id] = TokenType.CONTROL if token.special else TokenType.USER_DEFINED
    return tokens, [int(kind) for kind in types]


def _add_weights(writer: GGUFWriter, model: PreTrainedModel) -> None:
    import torch
    from gguf import GGMLQuantizationType, quantize

    for name, weight in _named(model):
        # Vectors, such as the scales of norms, are float32 in any GGUF file.
        half = weight.dtype == torch.bfloat16 and weight.dim() > 1
        kind = GGMLQuantizationType.BF16 if half else GGMLQuantizationType.F32
        writer.add_tensor(name, quantize(weight.detach().float().cpu().numpy(), kind), raw_dtype=kind)


def _named(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Yield each weight with its name in GGUF."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    config = model.config
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj.weight": config.num_attention_heads, "k_proj.weight": config.num_key_value_heads}
    for own, weight in model.named_parameters():  # a head that shares the embeddings is not among them
        name = names.get_name(own, try_suffixes=(".weight",))
        assert name is not None, f"{own} has no name in GGUF"
        n_heads = next((n for end, n in heads.items() if own.endswith(end)), None)
        yield name, weight if n_heads is None else interleaved(weight, n_heads)


def interleaved(weight: Tensor, n_heads: int) -> Tensor:
    """Order the rows of a query or key projection as llama.cpp rotates them: pairs side by side, not halves.

    Args:
        weight: [heads × head size, width].
    """
    rows = weight.shape[0]
    return weight.reshape(n_heads, 2, rows // n_heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
