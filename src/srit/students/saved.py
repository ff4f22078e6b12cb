"""A trained folder, such as instructed/: weights or an adapter, and all that other programs need to use them.

The tokenizer has the chat template that was trained with, and generation settings name every end of an answer, so that
`apply_chat_template` and `generate` do elsewhere what they did here. The README says how to load it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from srit.recipe import Student
from srit.run_directory import Json, write_bytes, write_json
from srit.students.embedded import EMBEDDED
from srit.students.loading import locate
from srit.students.prompts import Prompts

ADAPTER = "adapter_config.json"


def save(folder: Path, model: Any, prompts: Prompts, student: Student, *, name: str) -> None:
    """
    Args:
        model: what was trained, an adapter or the whole.
        student: what it was made of.
        name: of the folder in its run.
    """
    # PEFT would look on the hub whether the base's vocabulary has grown; no vocabulary does here.
    model.save_pretrained(folder, **({"save_embedding_layers": False} if hasattr(model, "peft_config") else {}))
    prompts.save(folder)
    _save_ends(folder, model, prompts.stop_ids)
    if (folder / ADAPTER).exists():
        _name_base(folder / ADAPTER, student)
    write_bytes(folder / "README.md", _card(prompts, student, name).encode())


def base(student: Student) -> str:
    """Under which name others find the model that a student starts from; a folder's name is only known here."""
    embedded = EMBEDDED.get(student.model)
    return embedded.origin if embedded else student.model


def _name_base(path: Path, student: Student) -> None:
    stated = _read(path)
    stated |= {"base_model_name_or_path": base(student), "revision": student.revision}
    if isinstance(stated["target_modules"], list):
        stated["target_modules"].sort()  # peft has them in a set: their order would differ from process to process
    write_json(path, stated)


def _save_ends(folder: Path, model: Any, ends: tuple[int, ...]) -> None:
    """The base's generation settings, with all that ended answers here.

    As JSON: transformers refuses to save settings of others that it would warn of, such as a temperature for greedy
    decoding, once anything in them is changed.
    """
    path = folder / "generation_config.json"
    settings = _read(path) if path.exists() else model.get_base_model().generation_config.to_diff_dict()
    # Settings that came from a config are taken from it again when they are loaded.
    settings.pop("_from_model_config", None)
    write_json(path, settings | {"eos_token_id": list(ends)})


def _read(path: Path) -> dict[str, Json]:
    read: dict[str, Json] = json.loads(path.read_bytes())
    return read


def _card(prompts: Prompts, student: Student, name: str) -> str:
    """A model card, as the hub and people read it."""
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
