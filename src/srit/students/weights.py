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
        DataError: they are missing, pickled or cut off.
    """
    from safetensors import SafetensorError, safe_open

    refuse_pickled(model, str(folder))
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise DataError(f"student.model: {model} has no weights (*.safetensors)")
    for path in files:
        try:
            with safe_open(path, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise DataError(f"student.model: {path} is damaged or cut off ({str(error).splitlines()[0]})") from None


def refuse_pickled(model: str, place: str) -> None:
    """
    Args:
        place: a folder, or a hub id, of which nothing is known here.

    Raises:
        DataError: a local model has no other weights than pickled ones, which run whatever code they contain.
    """
    folder = Path(place)
    pickled = sorted(path.name for path in folder.glob("*") if path.suffix in _PICKLED)
    if pickled and not any(folder.glob("*.safetensors")):
        convert = f"M.from_pretrained({place!r}, use_safetensors=False).save_pretrained('converted')"
        raise DataError(
            f"student.model: {model} has only pickled weights ({pickled[0]}), and loading them would run any code in "
            "them. "
            "If you trust their source, convert them and use the new folder (with the tokenizer's files copied): "
            f'python -c "from transformers import AutoModelForCausalLM as M; {convert}"'
        )
