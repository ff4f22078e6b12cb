"""Looks at the files of a model's weights without loading them."""

from __future__ import annotations

from pathlib import Path

from srit.errors import DataError

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def check_weights(model: str, folder: Path) -> None:
    """Check the headers of a local model's weights.

    Args:
        model: its name in messages.

    Raises:
        DataError: they are missing, pickled, cut off or, without a quantization_config in the config, not
            floating-point numbers.
    """
    from safetensors import SafetensorError

    _refuse_pickled(model, folder)
    files = sorted(path for path in folder.glob("*.safetensors") if not path.is_fifo())
    if not files:
        raise DataError(f"student.model: {model} has no weights (*.safetensors)")
    config = folder / "config.json"
    is_quantized = config.exists() and b'"quantization_config"' in config.read_bytes()
    for path in files:
        try:
            integers = _integers(path)
        except (SafetensorError, OSError) as error:
            raise DataError(f"student.model: {path} is damaged or cut off ({str(error).splitlines()[0]})") from None
        if integers is not None and not is_quantized:
            raise DataError(
                f"student.model: {path}: {integers} has integers, and config.json has no quantization_config that says "
                "what they stand for: use a copy in float32 or bfloat16"
            )


def _integers(path: Path) -> str | None:
    """Return the name of a weight that consists of integers. Masks and positions, which some models store, are none."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as tensors:
        for name in tensors.keys():  # noqa: SIM118
            if name.endswith(".weight") and tensors.get_slice(name).get_dtype().startswith(("I", "U", "BOOL")):
                return str(name)
    return None


def _refuse_pickled(model: str, folder: Path) -> None:
    """
    Raises:
        DataError: a model has no other weights than pickled ones, which run whatever code they contain.
    """
    pickled = sorted(path.name for path in folder.glob("*") if path.suffix in _PICKLED)
    if pickled and not any(folder.glob("*.safetensors")):
        convert = f"M.from_pretrained({str(folder)!r}, use_safetensors=False).save_pretrained('converted')"
        raise DataError(
            f"student.model: {model} has only pickled weights ({pickled[0]}), and loading them would run any code in "
            "them. "
            "If you trust their source, convert them and use the new folder (with the tokenizer's files copied): "
            f'python -c "from transformers import AutoModelForCausalLM as M; {convert}"'
        )
