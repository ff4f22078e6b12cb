"""Saves a trained folder, such as instructed/: weights or an adapter, and what other programs need to use them.

The tokenizer has the chat template that was used in training, and the generation settings name every end of an answer,
so that `apply_chat_template` and `generate` work elsewhere as they did here. The README says how to load the folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srit.compute.model import without_adapter
from srit.recipe import Student
from srit.run_directory import Json, require_room, write_bytes, write_json
from srit.students.adapted import ADAPTER, base_student, is_adapter
from srit.students.embedded import EMBEDDED
from srit.students.loading import locate
from srit.students.prompts import Prompts

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel


def save(folder: Path, model: LanguageModel, prompts: Prompts, student: Student, *, name: str) -> None:
    """Save a trained model, its tokenizer, its generation settings and a README.

    Args:
        model: what was trained: an adapter or all weights.
        student: what it was trained from.
        name: the folder's name in its run.
    """
    save_loadable(folder, model, prompts)
    student = base_student(student)
    if is_adapter(folder):
        _name_base(folder / ADAPTER, student)
    write_bytes(folder / "README.md", _card(prompts, student, name).encode())


def save_loadable(folder: Path, model: LanguageModel, prompts: Prompts) -> None:
    """Save what other programs need to load a model: its weights or adapter, tokenizer and generation settings."""
    require_room(folder, _n_bytes(model))
    # PEFT would ask the hub whether the base's vocabulary has grown; srit never changes a vocabulary.
    options: dict[str, Any] = {"save_embedding_layers": False} if hasattr(model, "peft_config") else {}
    model.save_pretrained(str(folder), **options)
    prompts.save(folder)
    _save_ends(folder, model, prompts.stop_ids)


def _n_bytes(model: LanguageModel) -> int:
    """Return the size of what is saved, in bytes: a trained adapter, or all weights."""
    weights = list(model.parameters())
    trained = [weight for weight in weights if weight.requires_grad] if hasattr(model, "peft_config") else weights
    return sum(weight.numel() * weight.element_size() for weight in trained)


def base(student: Student) -> str:
    """Return the name under which others find the model that a student starts from; a folder keeps its own name."""
    embedded = EMBEDDED.get(student.model)
    return embedded.origin if embedded else student.model


def _name_base(path: Path, student: Student) -> None:
    stated = _read(path)
    stated |= {"base_model_name_or_path": base(student), "revision": student.revision}
    if isinstance(stated["target_modules"], list):
        stated["target_modules"].sort()  # PEFT keeps them in a set, whose order differs between processes
    write_json(path, stated)


def _save_ends(folder: Path, model: LanguageModel, ends: tuple[int, ...]) -> None:
    """Save the base's generation settings with every end of an answer.

    Written as JSON: once anything in them has changed, transformers refuses to save settings that it would warn about,
    such as a temperature with greedy decoding.
    """
    path = folder / "generation_config.json"
    settings = _read(path) if path.exists() else without_adapter(model).generation_config.to_diff_dict()
    # Settings that came from a config are read from it again when the model is loaded.
    settings.pop("_from_model_config", None)
    write_json(path, settings | {"eos_token_id": list(ends)})


def _read(path: Path) -> dict[str, Json]:
    read: dict[str, Json] = json.loads(path.read_bytes())
    return read


def _card(prompts: Prompts, student: Student, name: str) -> str:
    """Render the model card for the hub and its readers."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("srit.students", "."), trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("saved.md.jinja").render(
        name=name,
        student=student,
        base=base(student),
        embedded=EMBEDDED.get(student.model),
        on_hub=student.model in EMBEDDED or locate(student) is None,
        adapter=student.tuning != "full",
        lines=prompts.lines,
        ends=prompts.ends,
    )
