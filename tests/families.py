"""A tiny random model of each model family in transformers, for facts that must hold on all of them.

A family's row has only what `SMALL` does not say. It brings out what sets the family apart: every kind of layer,
windows shorter than the tests' texts, logits that are scaled or capped.
"""

from dataclasses import fields

import torch
from tiny import SHAPE
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

WINDOW = 8  # tokens that a windowed layer sees; test texts are longer

# Sizes, under every name that some family uses for them; a config takes the ones it has a field for.
SMALL = SHAPE | {
    # learned positions and the scale of initial weights, by other names
    "n_positions": 512,
    "init_std": 0.2,
    # experts
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "num_experts_per_token": 2,
    "moe_topk": 2,
    "moe_k": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "shared_intermediate_size": 16,
    "shared_experts_intermediate_size": 16,
    "n_shared_experts": 1,
    "num_shared_experts": 1,
    "n_group": 1,
    "num_expert_group": 1,
    "topk_group": 1,
    # multi-head latent attention (DeepSeek-V2, arXiv 2405.04434), and the indexer of sparse attention (V3.2)
    "kv_lora_rank": 8,
    "q_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "index_n_heads": 16,  # with few heads, many scores are exactly zero: ties
    "index_head_dim": 8,
    "index_topk": WINDOW,
    # state spaces and linear attention
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_d_state": 8,
    "mamba_d_ssm": 64,
    "mamba_dt_rank": 4,
    "mamba_chunk_size": 8,
    "chunk_size": 8,
    "state_size": 8,
    "ssm_state_size": 8,
    "time_step_rank": 4,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_heads": 4,
    "linear_head_dim": 8,
}

SLIDING = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}
LINEAR = {"layer_types": ["linear_attention", "full_attention"]}
INDEXED = {"layer_types": ["indexed_attention"] * 2, "num_key_value_heads": 4}
LATENT = {"num_key_value_heads": 4}  # as many as query heads: latent attention expands keys for each
THEN_SPARSE = {"mlp_layer_types": ["dense", "sparse"]}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
MROPE = ROPE | {"mrope_section": [2, 1, 1]}  # pairs of channels for time, height and width
RELATIVE = {
    "layer_types": ["hybrid_sliding", "hybrid"],
    "sliding_window_size": WINDOW,
    "unpadded_vocab_size": 296,
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "swa_head_dim": 8,
    "d_rel": 4,
    "rel_extent": 16,
}
MULTIPLIED = {
    "embedding_multiplier": 2.0,
    "residual_multiplier": 0.5,
    "attention_multiplier": 0.3,
    "logits_scaling": 4.0,
}

FAMILIES = {
    # plain causal attention
    "apertus": {},
    "arcee": {},
    "bitnet": {},
    "cohere": {"logit_scale": 0.25},
    "diffllama": {},
    "ernie4_5": {},
    "gemma": {},
    "glm": {},
    "glm4": {},
    "gpt_neox": {},
    "gpt_neox_japanese": {},
    "granite": MULTIPLIED,
    "helium": {},
    "hunyuan_v1_dense": {},
    "hyperclovax": MULTIPLIED,
    "internlm3": {},
    "iquestcoder": {},
    "jais2": {},
    "llama": {},
    "minicpm3": LATENT | {"scale_emb": 2, "dim_model_base": 16},
    "mistral": {},
    "mistral-windowed": {"sliding_window": WINDOW},
    "nanochat": {"final_logit_softcapping": 3.0},
    "nemotron": {},
    "olmo": {"clip_qkv": 1.0},
    "olmo2": {},
    "persimmon": {},
    "phi": {},
    "phi3": {},
    "phi3-windowed": {"sliding_window": WINDOW},
    "qwen2": {},
    "qwen2-windowed": SLIDING | {"use_sliding_window": True},
    "qwen3": {},
    "seed_oss": {},
    "smollm3": {"no_rope_layer_interval": 2},
    "stablelm": {},
    "starcoder2": {"sliding_window": WINDOW},
    "youtu": LATENT,
    "hrm_text": {},
    "phi4_multimodal": {
        "vision_config": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
        "audio_config": {
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_blocks": 1,
            "num_attention_heads": 2,
            "ext_pw_out_channel": 32,
            "nemo_conv_channels": 32,
            "depthwise_separable_out_channel": 32,
        },
    },
    # learned positions, ALiBi, and rotary embeddings of the GPT-J kind
    "biogpt": {},
    "bloom": {},
    "codegen": {"rotary_dim": 4},
    "ctrl": {"dff": 64},
    "falcon": {"num_kv_heads": 2, "new_decoder_architecture": True},
    "falcon-alibi": {"alibi": True, "multi_query": False, "parallel_attn": False, "bias": True},
    "gpt2": {},
    "gpt_bigcode": {},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": WINDOW},
    "gptj": {"rotary_dim": 4},
    "mpt": {},
    "openai-gpt": {},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 16},
    "xglm": {"ffn_dim": 64},
    # sliding windows
    "cohere2": SLIDING | {"logit_scale": 0.25},
    "cohere_compass_text": SLIDING
    | {"logit_scale": 0.25, "rope_parameters": {"sliding_attention": MROPE, "full_attention": None}},
    "cwm": SLIDING,
    "doge": {},
    "exaone4": SLIDING,
    "gemma2": SLIDING | {"final_logit_softcapping": 3.0},
    "gemma3_text": SLIDING,
    "gemma3n_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "sliding_window": WINDOW,
        "intermediate_size": [64] * 4,
        "num_kv_shared_layers": 2,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 300,
        "laurel_rank": 4,
        "altup_num_inputs": 2,
        "activation_sparsity_pattern": [0.95, 0.0, 0.0, 0.0],
        "final_logit_softcapping": 3.0,
    },
    "gemma4_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "sliding_window": WINDOW,
        "num_kv_shared_layers": 2,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 300,
        "global_head_dim": 16,
        "final_logit_softcapping": 3.0,
    },
    "gemma4_unified_text": SLIDING | {"global_head_dim": 16},
    "granite_swa": SLIDING | MULTIPLIED,
    "ministral": SLIDING,
    "ministral3": {},
    "modernbert-decoder": SLIDING,
    "olmo3": SLIDING,
    "vaultgemma": SLIDING,
    # mixtures of experts
    "afmoe": SLIDING | {"num_dense_layers": 1, "mup_enabled": True},
    "aria_text": {},
    "axk1": LATENT | THEN_SPARSE,
    "beam": SLIDING | THEN_SPARSE | {"final_logit_softcapping": 3.0},
    "cohere2_moe": SLIDING | THEN_SPARSE | {"logit_scale": 0.25},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 1.0, "rope_theta": 10000.0},
        "ffn_config": {"hidden_size": 32, "ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": LATENT | {"first_k_dense_replace": 1},
    "deepseek_v3": LATENT | {"first_k_dense_replace": 1},
    "doge-moe": {"is_moe": True, "num_experts": 16},
    "doge-narrow": {"keep_window_size": WINDOW},
    "dots1": SLIDING | {"first_k_dense_replace": 1},
    "ernie4_5_moe": {"moe_layer_start_index": 1, "moe_layer_end_index": 1},
    "exaone_moe": SLIDING | THEN_SPARSE,
    "flex_olmo": {},
    "flint": SLIDING | {"mlp_only_layers": [0]},
    "glm4_moe": {"first_k_dense_replace": 1},
    "glm4_moe_lite": LATENT | THEN_SPARSE,
    "gpt_oss": SLIDING,
    "granitemoe": MULTIPLIED,
    "granitemoe_swa": SLIDING | MULTIPLIED,
    "granitemoeshared": MULTIPLIED,
    "hunyuan_v1_moe": {},
    "hy_v3": THEN_SPARSE,
    "jetmoe": {"kv_channels": 8},
    "kolibri1": SLIDING,
    "laguna": SLIDING | THEN_SPARSE,
    "llama4_text": {"layer_types": ["chunked_attention", "full_attention"], "attention_chunk_size": WINDOW},
    "longcat_flash": LATENT | {"num_layers": 2, "head_dim": 4, "zero_expert_num": 2},
    "mellum": SLIDING | THEN_SPARSE,
    "mimo_v2_flash": SLIDING | THEN_SPARSE,
    "minimax_m2": {},
    "mistral4": LATENT | {"first_k_dense_replace": 1},
    "mixtral": {},
    "olmoe": {},
    "phimoe": {},
    "qwen2_moe": SLIDING | {"use_sliding_window": True, "mlp_only_layers": [0]},
    "qwen3_moe": {"mlp_only_layers": [0]},
    "solar_open": {},
    # sparse attention: an indexer picks the tokens or blocks to attend to
    "axk2": INDEXED | THEN_SPARSE,
    "deepseek_v32": INDEXED | THEN_SPARSE,
    "deepseek_v4": {
        "layer_types": ["compressed_sparse_attention", "heavily_compressed_attention"],
        "mlp_layer_types": ["hash_moe", "moe"],
        "compress_rates": {"compressed_sparse_attention": 2, "heavily_compressed_attention": 4},
        "num_key_value_heads": 1,
        "head_dim": 8,
        "partial_rotary_factor": 0.5,
        "sliding_window": WINDOW,
        "index_topk": 2,
        "o_groups": 2,
        "o_lora_rank": 8,
        "hc_mult": 2,
    },
    "dots3_note_text": LATENT
    | THEN_SPARSE
    | {
        "layer_types": ["indexed_attention", "sliding_attention"],
        "sliding_window": WINDOW,
        "head_dim": 12,
        "per_layer_config": {1: {"num_attention_heads": 2, "num_key_value_heads": 2}},
    },
    "glm_moe_dsa": INDEXED | THEN_SPARSE,
    "hy_v4": INDEXED | THEN_SPARSE,
    "minimax_m3_vl_text": THEN_SPARSE
    | {
        "layer_types": ["minimax_m3_sparse", "full_attention"],
        "rotary_dim": 4,
        "dense_intermediate_size": 64,
        "index_n_heads": 2,
        "index_block_size": 4,
        "index_topk_blocks": 2,
    },
    "qwen4_exp_text": {
        "layer_types": ["linear_attention", "indexed_attention"],
        "hc_count": 2,
        "hc_lowrank": 8,
        "ple_layer_ids": [1],
        "heads_per_ngram": 2,
        "ngram_vocab_size_base": 100,
        "split_ngram_parts": 1,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": WINDOW,
        "indexer_compress_ratio": 4,
    },
    # recurrent layers (linear attention, short convolutions, state spaces), most of them beside attention
    "bailing_hybrid": LINEAR | LATENT | {"first_k_dense_replace": 1},
    "bamba": {"attn_layer_indices": [1]},
    "falcon_h1": {"lm_head_multiplier": 0.5},
    "falcon_mamba": {},
    "granitemoehybrid": LINEAR | MULTIPLIED,
    "inkling_text": RELATIVE | THEN_SPARSE | {"logits_mup_width_multiplier": 2.0},
    "inkling2_text": RELATIVE | {"final_logit_softcapping": 3.0},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": LINEAR | LATENT | THEN_SPARSE,
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "lfm3": {"layer_types": ["conv", "sliding_attention", "full_attention"], "sliding_window": WINDOW},
    "mamba": {},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1},
    "minimax": LINEAR | {"block_size": WINDOW},
    "nemotron_h": {
        "layers_block_type": ["linear_attention", "moe", "full_attention", "mlp"],
        "mamba_num_heads": 4,
        "mamba_head_dim": 16,
        "n_groups": 1,
        "moe_shared_expert_intermediate_size": 16,
    },
    "olmo_hybrid": LINEAR,
    "qwen3_5_moe_text": LINEAR,
    "qwen3_5_text": LINEAR,
    "qwen3_next": LINEAR | {"mlp_only_layers": [0]},
    "recurrent_gemma": {
        "num_hidden_layers": 3,
        "lru_width": 32,
        "attention_window_size": WINDOW,
        "logits_soft_cap": 3.0,
    },
    "rwkv": {"attention_hidden_size": 32},
    "xlstm": {"hidden_size": 64, "qk_dim_factor": 1.0, "num_heads": 2, "output_logit_soft_cap": 3.0},
    "zamba": {"layers_block_type": ["linear_attention", "hybrid"] * 2},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"] * 2},
    "zaya": {
        "layer_types": ["hybrid_sliding", "hybrid"],
        "sliding_window": WINDOW,
        "num_experts_per_tok": 1,
        "router_hidden_size": 8,
    },
}


# Models with vision or audio, whose text model is described in `text_config`; so is each row.
WRAPPED = {
    "aya_vision": {"model_type": "cohere2"} | FAMILIES["cohere2"],
    "cohere2_vision": {"model_type": "cohere2"} | FAMILIES["cohere2"],
    "cohere_compass": FAMILIES["cohere_compass_text"],
    "exaone4_5": {"model_type": "exaone4"} | FAMILIES["exaone4"],
    "gemma3": FAMILIES["gemma3_text"],
    "gemma4": FAMILIES["gemma4_text"],
    "gemma4_unified": FAMILIES["gemma4_unified_text"],
    "glm46v": {"model_type": "glm4v_text", "rope_parameters": MROPE},
    "glm4v": {"rope_parameters": MROPE},
    "glm5_next": LATENT
    | {"layer_types": ["linear_attention", "indexed_attention"], "qk_rope_head_dim": 0, "index_kpool": 4},
    "hunyuan_vl": {"rope_parameters": ROPE | {"mrope_section": [1, 1, 1, 1]}},
    "idefics3": {"model_type": "llama"},
    "internvl": {"model_type": "qwen3"},
    "kimi_k25": {"model_type": "deepseek_v3"} | FAMILIES["deepseek_v3"],
    "lfm2_vl": {"model_type": "lfm2"} | FAMILIES["lfm2"],
    "lfm3_vl": {"model_type": "lfm3"} | FAMILIES["lfm3"],
    "llama4": FAMILIES["llama4_text"],
    "llava": {"model_type": "llama"},
    "minimax_m3_vl": FAMILIES["minimax_m3_vl_text"],
    "mistral3": {"model_type": "ministral3"},
    "mistral_large4": LATENT,
    "mllama": {"cross_attention_layers": [1]},
    "paddleocr_vl": {"rope_parameters": MROPE},
    "paligemma": {"model_type": "gemma"},
    "qwen2_5_vl": {"rope_parameters": MROPE},
    "qwen2_vl": {"rope_parameters": MROPE},
    "qwen3_5": LINEAR,
    "qwen3_5_moe": LINEAR,
    "qwen3_vl": {"rope_parameters": MROPE},
    "qwen3_vl_moe": {"rope_parameters": MROPE},
    "qwen4_exp": FAMILIES["qwen4_exp_text"],
    "smolvlm": {"model_type": "llama"},
    "step3p7": SLIDING,
}
# Sizes of the encoders for images and sound, which no test uses.
TOWER = {
    "depth": 1,
    "embed_dim": 32,
    "num_heads": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "head_dim": 16,
    "out_hidden_size": 32,
    "projector_hidden_size": 32,
    "alignment_intermediate_size": 32,
    "projection_intermediate_size": 32,
    "img_max_token_num": 16,
}
# What else `AutoModelForCausalLM` knows, and why it is not here.
LEFT_OUT = {
    "encoders, or decoders that belong to an encoder": """
        bart bert bert-generation big_bird bigbird_pegasus blenderbot blenderbot-small camembert data2vec-text electra
        ernie marian mbart megatron-bert mvp pegasus plbart prophetnet rembert roberta roberta-prelayernorm roc_bert
        roformer trocr whisper xlm xlm-roberta xlm-roberta-xl xlnet xmod
    """,
    "made for images or sound, not for chat": """
        emu3 fuyu git got_ocr2 moshi moss_transcribe_diarize musicgen musicgen_melody
    """,
    "drafts for another model": "gemma4_assistant gemma4_unified_assistant",
    "in the table under another name": "dots3_note gpt-sw3",
    "needs the package timm; gemma3n_text is in the table": "gemma3n",
    "fails in transformers itself with a cache: its config has no num_hidden_layers": "blt",
    "too rare to be worth a row": "cpmant reformer",
}


def family_config(name):
    """The family's row, and the sizes of `SMALL` that its config has a field for."""
    if name in WRAPPED:
        return _wrapped(CONFIG_MAPPING[name], dict(WRAPPED[name]))
    model_type = name if name in CONFIG_MAPPING else name.split("-")[0]
    return _sized(CONFIG_MAPPING[model_type], SMALL, FAMILIES[name])


def family_model(name, seed=0):
    """A model in evaluation mode, of the class that transformers' auto classes choose."""
    torch.manual_seed(seed)
    config = family_config(name)
    causal = config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return (AutoModelForCausalLM if causal else AutoModelForImageTextToText).from_config(config).eval()


def _sized(kind, sizes, row):
    known = {field.name for field in fields(kind)} | set(kind.attribute_map)
    config = {kind.attribute_map.get(name, name): size for name, size in sizes.items() if name in known} | row
    for layers in ("layer_types", "layers_block_type"):
        if layers in row:
            config["num_hidden_layers"] = len(row[layers])
    return kind(**config)


def _wrapped(kind, row):
    usual = kind()
    text = CONFIG_MAPPING[row.pop("model_type")] if "model_type" in row else type(usual.text_config)
    towers = {
        name: _sized(type(getattr(usual, name)), TOWER, {})
        for name in kind.sub_configs
        if name != "text_config" and getattr(usual, name) is not None
    }
    return _sized(kind, TOWER, {"text_config": _sized(text, SMALL, row)} | towers)
