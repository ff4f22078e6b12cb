"""srit chat: asks the models of a run, or one model, with the prompts that they were trained on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from srit.cli.display import display
from srit.cli.ends import reported_errors
from srit.cli.export import Place
from srit.cli.options import can_ask
from srit.errors import DataError
from srit.printable import printable

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from srit.exports.sources import Source
    from srit.records import PromptKind
    from srit.students.prompts import Prompts

SHOWN = ("base", "instructed", "refined")  # of a run


class Speaker(NamedTuple):
    """A model that answers."""

    name: str
    model: PreTrainedModel
    prompts: Prompts


def chat(
    place: Place,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model of the run; may be repeated. Default: base, instructed and refined."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Begin with this task's instruction. Default: the one that all training tasks share."),
    ] = None,
    direct: Annotated[bool, typer.Option("--direct", help="Ask for the answer without steps.")] = False,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The most tokens of an answer.")] = 256,
) -> None:
    """Ask a run's models, or one model, questions that are independent of each other. Ctrl-D or Ctrl-C ends it.

    Without a terminal, each line of standard input is a question.
    """
    with reported_errors(), suppress(KeyboardInterrupt):
        sources = _sources(place, model or [])
        put = _put(sources[0], task, direct)
        with display("lively"):
            speakers = [_loaded(source) for source in sources]
        for question in _questions():
            for speaker in speakers:
                typer.echo(f"{speaker.name}: ", nl=False)
                _answer(speaker, put(question), max_new_tokens)
                typer.echo()


def _sources(place: str, names: Sequence[str]) -> list[Source]:
    from srit.exports.sources import find_source, trained_models

    found: Sequence[str | None] = names or [name for name in trained_models(place) if name in SHOWN]
    return [find_source(place, name) for name in found or [None]]


def _put(source: Source, task: str | None, direct: bool) -> Callable[[str], str]:
    """Return a function that makes a question's prompt: as for a problem of a task, or with only the trigger."""
    from srit.records import Problem
    from srit.students.prompts import prompt_text
    from srit.tasks import find_task

    name, wording = task or _shared(source), source.wording
    if name is None:
        return lambda question: question if direct else f"{question}\n{wording.trigger}"
    find_task(name)  # raises if there is no such task
    kind: PromptKind = "direct" if direct else "cot"
    return lambda question: prompt_text(Problem("question", name, "test", question, ""), kind, wording)


def _shared(source: Source) -> str | None:
    """Return a training task of the run that made the model, if all of them have the same instruction."""
    from srit.tasks import find_task

    tasks = [] if source.run is None else [use.task for use in source.run.recipe.tasks.train]
    alike = source.wording.instruction is not None or len({find_task(name).instruction for name in tasks}) == 1
    return tasks[0] if tasks and alike else None


def _loaded(source: Source) -> Speaker:
    from srit.students.loading import load_model, load_prompts

    return Speaker(
        source.name, load_model(source.student, source.trained), load_prompts(source.student, source.wording)
    )


def _questions() -> Iterator[str]:
    """Yield what is typed, or the lines of standard input, without empty ones.

    Raises:
        DataError: a line is not UTF-8.
    """
    if sys.stdin is None or sys.stdout is None:  # it was closed before srit began
        return
    asks = can_ask()
    if asks:
        with suppress(ImportError):
            import readline  # noqa: F401  lets `input` edit and repeat lines
    lines = iter(partial(input, "> "), None) if asks else sys.stdin
    try:
        for question in filter(None, map(str.strip, lines)):
            if not asks:
                typer.echo(printable(f"> {question}"))
            yield question
    except EOFError:
        return
    except UnicodeDecodeError as error:
        raise DataError(f"standard input: a question is not UTF-8 ({error.reason}): convert it") from None


def _answer(speaker: Speaker, text: str, max_new_tokens: int) -> None:
    """Print a greedy answer as it is written; "…" ends one that was cut off.

    Raises:
        DataError: the model was not made for so long a text.
    """
    import torch
    from transformers import GenerationConfig

    from srit.students.lengths import room_of

    prompts = speaker.prompts
    prompt = prompts.prompt_ids(text, where="the question")
    room = room_of(speaker.model.config)
    if room is not None and len(prompt) + max_new_tokens > room.tokens:
        raise DataError(
            f"the question has {len(prompt):,} tokens with its prompt and its answer may have {max_new_tokens}, but "
            f"{speaker.name} was made for {room.tokens:,}: ask something shorter, or lower --max-new-tokens"
        )
    ids = torch.tensor([prompt], device=speaker.model.device)
    ends = list(prompts.stop_ids)
    settings = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=max_new_tokens, eos_token_id=ends, pad_token_id=ends[0]
    )
    written = _Written(prompts)
    model: Any = speaker.model  # the annotations of `generate` are not those of a mixin
    model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings, streamer=written)
    typer.echo("" if written.has_ended else " …")


class _Written:
    """The streamer of `generate`: prints the text as far as its characters are complete."""

    def __init__(self, prompts: Prompts) -> None:
        self._prompts, self._is_prompt = prompts, True
        self._ids: list[int] = []
        self._shown = ""

    @property
    def has_ended(self) -> bool:
        """Whether the answer ended by itself."""
        return bool(self._ids) and self._ids[-1] in self._prompts.stop_ids

    def put(self, ids: Tensor) -> None:
        """Take the prompt's ids, then those of each token."""
        if self._is_prompt:
            self._is_prompt = False
            return
        self._ids.extend(ids.flatten().tolist())
        text = self._prompts.text(self._ids)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):  # which stands for an incomplete character
            self._show(text)

    def end(self) -> None:
        """Print the rest."""
        self._show(self._prompts.text(self._ids))

    def _show(self, text: str) -> None:
        if text.startswith(self._shown):
            typer.echo(printable(text[len(self._shown) :]), nl=False)
            sys.stdout.flush()
            self._shown = text
