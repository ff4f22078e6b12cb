"""A GGUF file with a Modelfile that makes Ollama prompt as in training: `ollama create NAME -f Modelfile`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from srit.errors import DataError
from srit.exports.gguf import FILE, Written, make_gguf
from srit.exports.sources import Source
from srit.exports.trials import Trial
from srit.records import Check
from srit.run_directory import write_bytes
from srit.students.prompts import Prompts
from srit.students.templates import ANSWER, QUESTION, REPLY, beginning


def make_ollama(source: Source, folder: Path, trial: Trial, converter: Path | None) -> list[Check]:
    """Write both; errors as in `make_gguf` and `turns_of`."""
    turns = turns_of(trial.prompts)
    write_bytes(folder / "Modelfile", modelfile(turns, trial.prompts.ends).encode())
    asked = [turns.begins + question.text + turns.opens for question in trial.questions]
    return make_gguf(source, folder, trial, converter, Written("Ollama's template", asked))


class Turns(NamedTuple):
    """What a chat template writes around the texts of a chat."""

    begins: str  # before the first question, without what the tokenizer adds itself
    opens: str  # between a question and its answer
    again: str | None  # between an answer and the next question; None: the template allows only one question


def turns_of(prompts: Prompts) -> Turns:
    """Take a chat template apart.

    Raises:
        DataError: it has text that Ollama would read as template instructions.
    """
    begins, _, opens = prompts.written(QUESTION, opens=True).partition(QUESTION)
    again = _again(prompts, begins, opens)
    if any("{{" in text or '"""' in text for text in (begins, opens, again or "")):
        raise DataError(
            "--to ollama: the chat template writes {{ or triple quotes, which Ollama's templates cannot: use --to gguf"
        )
    tokenizer = prompts.tokenizer
    first = "".join(tokenizer.convert_ids_to_tokens(list(beginning(tokenizer))))
    return Turns(begins.removeprefix(first), opens, again)


def _again(prompts: Prompts, begins: str, opens: str) -> str | None:
    try:
        chat = prompts.written(QUESTION, ANSWER, REPLY, opens=True)
    except DataError:  # the template allows only one question
        return None
    again = chat.partition(ANSWER)[2].partition(REPLY)[0]
    return again if chat == f"{begins}{QUESTION}{opens}{ANSWER}{again}{REPLY}{opens}" else None


def modelfile(turns: Turns, ends: tuple[str, ...]) -> str:
    """Return the Modelfile; Ollama's templates are those of Go's text/template."""
    if turns.again is None:
        template = f"{turns.begins}{{{{ .Prompt }}}}{turns.opens}"
    else:
        template = (
            f'{turns.begins}{{{{ range .Messages }}}}{{{{ if eq .Role "user" }}}}{{{{ .Content }}}}{turns.opens}'
            f'{{{{ else if eq .Role "assistant" }}}}{{{{ .Content }}}}{turns.again}{{{{ end }}}}{{{{ end }}}}'
        )
    stops = "".join(f'PARAMETER stop "{end}"\n' for end in ends)
    return (
        "# The template writes what the model was trained with, and leaves system messages out.\n"
        f'FROM ./{FILE}\nTEMPLATE """{template}"""\n{stops}PARAMETER temperature 0\n'
    )
