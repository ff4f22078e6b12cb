"""One GGUF file, as llama.cpp, Ollama and LM Studio read it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from srit.exports.gguf.converter import convert, find_converter
from srit.exports.gguf.llama_cpp import Server, serving
from srit.exports.gguf.writing import unwritable, write_gguf
from srit.exports.sources import Source
from srit.exports.trials import UNCHECKED, Trial, greedy, near_ties, same
from srit.installing import extra_install
from srit.records import Check
from srit.students.loading import load_model
from srit.students.saved import save_loadable

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel

FILE = "model.gguf"


class Written(NamedTuple):
    """The questions of a trial as written by something other than the model's chat template."""

    by: str
    texts: Sequence[str]


def make_gguf(
    source: Source, folder: Path, trial: Trial, converter: Path | None, written: Written | None = None
) -> list[Check]:
    """Write the file in the model's precision, and ask llama.cpp the same questions.

    Args:
        converter: llama.cpp's convert_hf_to_gguf.py; None: srit writes the file if it can, otherwise the one in PATH
            does.
        written: the same questions by another chat template.

    Raises:
        DataError: the model cannot be written, or llama.cpp cannot load the file.
        MachineError: the converter is needed and missing.
    """
    import torch

    model = load_model(source.student, source.trained)
    path = folder / FILE
    reason = unwritable(model, trial.prompts)
    if converter is None and not reason:
        write_gguf(path, model, trial.prompts, name=source.name)
    else:
        script = converter or find_converter(reason)
        save_loadable(folder / "hf", model, trial.prompts)
        convert(script, folder / "hf", path, source.student.dtype)
        shutil.rmtree(folder / "hf")
    return compare(path, trial, model.to(torch.float32), written)  # type: ignore[arg-type]


def compare(path: Path, trial: Trial, model: LanguageModel, written: Written | None) -> list[Check]:
    """Compare llama.cpp with transformers: the prompts' token ids and the greedy answers.

    Args:
        model: the same weights in transformers.
        written: as in `make_gguf`.
    """
    answers, wanted = greedy(model, trial), [question.ids for question in trial.questions]
    with serving(path) as server:
        if server is None:
            line = f"not checked in llama.cpp: {extra_install('gguf')}, or put llama-server into PATH, and export again"
            return [Check(UNCHECKED, False, line)]
        checks = [_prompts("its chat template", map(server.chat_ids, trial.texts), wanted, server)]
        if written is not None:
            checks.append(_prompts(written.by, map(server.ids, written.texts), wanted, server))
        stops, most = trial.prompts.stop_ids, trial.max_new_tokens
        theirs = [server.answer(question.ids, most, stops) for question in trial.questions]
    alike, line = same(answers, theirs, near_ties(model, trial, answers, theirs))
    return [*checks, Check("greedy answers in llama.cpp", alike, f"{line}, by transformers and {server.name}")]


def _prompts(by: str, found: Iterable[tuple[int, ...]], wanted: Sequence[tuple[int, ...]], server: Server) -> Check:
    n = sum(ids == trained for ids, trained in zip(found, wanted, strict=True))
    line = f"{n} of {len(wanted)} prompts are those trained with, by {by}, in {server.name}"
    return Check(f"prompts by {by}", n == len(wanted), line)
