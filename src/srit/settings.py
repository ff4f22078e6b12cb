"""Turns YAML files into checked settings: reading, overrides, and messages that explain a fault."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, SerializationInfo, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from srit.errors import RecipeError
from srit.keys import REMEDY, keys_in, masked
from srit.kinds import Kinds

MAX_BYTES = 1 << 16  # of a file: PyYAML reads some 100 KB a second
MAX_DEPTH = 32
MOST_FAULTS = 20  # reported at once

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Model = TypeVar("Model", bound=BaseModel)


class Part(BaseModel):
    """A part of a recipe: frozen, and refusing fields that it does not declare."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Settings = TypeVar("Settings", bound=Part)


@dataclass(frozen=True)
class Configured(Generic[Settings]):
    """A kind with its own settings."""

    settings: type[Settings]


@dataclass(frozen=True)
class OneOf:
    """Mark a field whose own fields depend on one of them: a union that plug-ins can extend.

    A member is imported when a recipe names it.
    """

    kinds: Kinds
    default: str  # the member if none is named
    former: Mapping[str, Any] = field(
        default_factory=dict
    )  # fields that all members once had, with their defaults then
    by_name: bool = False  # whether just a name may stand for the settings of a member
    or_else: str = ""  # instead of the default, if a field is set that only this one of the two has

    @property
    def by(self) -> str:
        """The field that names the member."""
        return self.kinds.by

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._check, serialization=core_schema.plain_serializer_function_ser_schema(self._dumped, info_arg=True)
        )

    def member(self, tree: Any) -> type[Part]:
        """Return the class that checks a mapping of fields.

        Raises:
            RecipeError: no member has that name, or it cannot be imported.
        """
        return self.kinds.find(self.name(tree), Configured).settings

    def name(self, tree: Any) -> str:
        """Return the member that a mapping of fields, or just a name, stands for."""
        if not isinstance(tree, dict):
            return str(tree)
        return str(tree[self.by] if self.by in tree else self._meant(tree))

    def users(self, name: str) -> list[str]:
        """Return the members that have a field of this name."""
        return [kind for kind, found in self.kinds.all(Configured) if name in found.settings.model_fields]

    def _check(self, value: Any) -> Part:
        if isinstance(value, Part):
            return value
        tree = {self.by: value} if self.by_name and isinstance(value, str) else value
        if not isinstance(tree, dict):
            example = f"{{{self.by}: {self.default}}}"
            raise PydanticCustomError("no_fields", "give its fields, such as {example}", {"example": example})
        tree = {self.by: self.name(tree), **tree}
        try:
            member = self.member(tree)
        except RecipeError as error:
            fault = PydanticCustomError("unknown_kind", "{error}", {"error": str(error)})
            where: InitErrorDetails = {"type": fault, "loc": (self.by,), "input": tree[self.by]}
            raise ValidationError.from_exception_data(self.kinds.what, [where]) from None
        return member.model_validate_json(_as_json(self._without_former(tree, member)))

    @property
    def others(self) -> list[str]:
        """The fields that set `or_else` if no member is named."""
        return list(self.kinds.find(self.or_else, Configured).settings.model_fields) if self.or_else else []

    def _meant(self, tree: Mapping[str, Any]) -> str:
        """Return the member that a mapping of fields without a name stands for."""
        if not self.or_else:
            return self.default
        own = set(self.others).difference(self.kinds.find(self.default, Configured).settings.model_fields)
        return self.default if own.isdisjoint(tree) else self.or_else

    def _without_former(self, tree: Mapping[str, Any], member: type[Part]) -> dict[str, Any]:
        """Drop fields of other members that are null or have their defaults: earlier versions wrote them."""
        return {
            name: value
            for name, value in tree.items()
            if name in member.model_fields or name not in self.former or value not in (None, self.former[name])
        }

    def _dumped(self, value: Part, info: SerializationInfo) -> Any:
        if self.by_name and set(type(value).model_fields) == {self.by}:
            return getattr(value, self.by)
        return value.model_dump(mode=info.mode)


def checked(
    model: type[Model], tree: Any, place_of: Callable[[Sequence[Any]], str], context: str | None = None
) -> Model:
    """Check a parsed tree and turn it into a model.

    Args:
        place_of: the file and line of a field, for the messages.
        context: what the model's validators are told about the occasion.

    Raises:
        RecipeError: names the fields at fault, one a line.
    """
    if keys := [f"{place_of(place)}: {masked(_named(place))} {reason}: {REMEDY}" for place, reason in keys_in(tree)]:
        raise RecipeError("\n".join(keys[:MOST_FAULTS]))
    try:
        return model.model_validate_json(_as_json(tree), context=context)
    except ValidationError as error:
        faults = _told(error.errors())
        lines = [_explain(fault, model, tree, place_of) for fault in faults[:MOST_FAULTS]]
        more = [f"… and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
        raise RecipeError("\n".join([*lines, *more])) from None


def _told(faults: Sequence[Any]) -> list[Any]:
    """Return the faults without those that only follow from others: a list is short of its faulty entries."""
    places = [fault["loc"] for fault in faults]
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short" or not any(_within(place, fault["loc"]) for place in places)
    ]


def _within(place: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def names_in(folder: Path) -> list[str]:
    """Return the names of the YAML files in one of srit's own folders."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find_yaml(name: str, folder: Path, what: str) -> Path:
    """Return the path of a .yaml file, or of the shipped one with that name.

    Raises:
        RecipeError: it does not exist; names the nearest.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise RecipeError(f"{path}: this file does not exist")
        return path
    if name in names_in(folder):
        return folder / f"{name}.yaml"
    near = difflib.get_close_matches(name, names_in(folder), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise RecipeError(f"there is no {what} {name!r}: {hint}give a .yaml file or one of {', '.join(names_in(folder))}")


def read_text(path: Path) -> str:
    """Read a YAML file.

    Raises:
        RecipeError: it is too long, or not UTF-8.
    """
    data = path.read_bytes()
    if len(data) > MAX_BYTES:
        raise RecipeError(f"{path}: {len(data):,} bytes: a recipe has at most {MAX_BYTES:,}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: byte {error.start} is not UTF-8") from None


class _Loader(yaml.SafeLoader):
    """Load YAML 1.2 scalars; refuse tags, aliases (PyYAML issue 235: they are unlimited) and duplicate keys."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  (PyYAML's own attribute)

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed", problem_mark=mark)
        if (tag := getattr(event, "tag", None)) is not None:
            name = str(tag).replace("tag:yaml.org,2002:", "!!")
            raise yaml.MarkedYAMLError(problem=f"tags ({name:.40}) are not allowed", problem_mark=mark)
        depth = self.__dict__["depth"] = self.__dict__.get("depth", 0) + 1
        if depth > MAX_DEPTH:
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
                raise yaml.MarkedYAMLError(problem=f"{key!r} is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _construct_text(loader: Any, node: Any) -> str:
    text: str = loader.construct_scalar(node)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise yaml.MarkedYAMLError(problem="half of a surrogate pair is not a character", problem_mark=node.start_mark)
    return text


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
_Loader.add_constructor("tag:yaml.org,2002:str", _construct_text)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def parse(text: str, path: Path) -> dict[str, Any]:
    """Parse a YAML text that is a mapping.

    Raises:
        RecipeError: it is not one; names the line.
    """
    try:
        node = _composed(text)
        tree = None if node is None else _Loader("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RecipeError(masked(f"{path}{line}: {error.problem}")) from None
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise RecipeError(masked(f"{path}: not YAML: {str(error).splitlines()[0]}")) from None
    if not isinstance(tree, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of fields, but this is a {type(tree).__name__}")
    return tree


def parse_override(override: str) -> tuple[str, Any]:
    """Split KEY=VALUE into a key and a YAML value.

    Raises:
        RecipeError: it does not have that form.
    """
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"{override!r}: an override is KEY=VALUE, such as refine.beta=0.2")
    return key, parse(f"value: {value}", Path(override))["value"]


def set_field(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a field by its dotted key, such as refine.beta or tasks.train.0.limit.

    Raises:
        RecipeError: a part of the key is not a place in the tree.
    """
    *path, last = key.split(".")
    if len(path) >= MAX_DEPTH:
        raise RecipeError(f"{key:.80}…: nested deeper than {MAX_DEPTH}")
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
    # Strict validation accepts a JSON array as a tuple, but a Python list only as a list.
    return json.dumps(tree)


def _explain(fault: Any, model: type[BaseModel], tree: Any, place_of: Callable[[Sequence[Any]], str]) -> str:
    place = [part for part in fault["loc"] if part not in ("str", "tuple[str, ...]")]
    source, name = place_of(place), _named(place)
    if fault["type"] == "missing":
        _, union, called = _fields_at(model, tree, place[:-1])
        return f"{source}: {name}: {called} needs it" if union else f"{source}: {name} is missing"
    if fault["type"] == "value_error" and isinstance(
        fault["input"], dict
    ):  # it concerns several fields, and names them
        return f"{source}: {name}{'.' if name else ''}{fault['ctx']['error']}"
    if fault["type"] != "extra_forbidden":
        return f"{source}: {name} is {fault['input']!r:.200}: {fault['msg'][0].lower()}{fault['msg'][1:]}"
    fields, union, called = _fields_at(model, tree, place[:-1])
    if union and (users := union.users(place[-1])):
        return f"{source}: {name}: {called} does not use it (only {' and '.join(users)}): remove it, or set it to null"
    others = union.others if union else []
    near = difflib.get_close_matches(str(place[-1]), [*fields, *others], n=1)
    return f"{source}: there is no field {name}" + (f"; did you mean {near[0]}?" if near else "")


def _named(place: Sequence[Any]) -> str:
    return ".".join(str(part) for part in place)


def _fields_at(model: type[BaseModel], tree: Any, place: Sequence[Any]) -> tuple[list[str], OneOf | None, str]:
    """Return the fields that a place of a tree can have; for a union also that, and its member's name in messages."""
    found: type[BaseModel] | None = model
    union, called = None, ""
    for part in place:
        tree = _part_of(tree, part)
        if isinstance(part, int) or found is None:
            continue
        info = found.model_fields[part]
        union = next((mark for mark in info.metadata if isinstance(mark, OneOf)), None)
        if union is not None:
            found, called = union.member(tree), union.kinds.called.format(union.name(tree))
        else:
            inner = (info.annotation, *getattr(info.annotation, "__args__", ()))
            found = next((one for one in inner if hasattr(one, "model_fields")), None)
    return list(found.model_fields) if found else [], union, called


def _part_of(tree: Any, part: Any) -> Any:
    try:
        return tree[part]
    except (KeyError, IndexError, TypeError):
        return {}


def where(source: str, text: str, place: Sequence[Any]) -> str:
    """Return a source with the line of a field, if the field is in it."""
    line = line_of(text, place)
    return f"{source}:{line}" if line else source


def line_of(text: str, place: Sequence[Any]) -> int | None:
    """Return the line of a field; None if the field is not in the text."""
    node = _composed(text) if text else None
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


@lru_cache(maxsize=1)  # parsing takes as long as everything else, so one tree gives both the values and their lines
def _composed(text: str) -> yaml.Node | None:
    return yaml.compose(text, Loader=_Loader)
