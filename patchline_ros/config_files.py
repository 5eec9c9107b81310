"""Configuration files in YAML: how one is read and checked, and what is said of a mistake."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

_Model = TypeVar("_Model", bound=BaseModel)


class ConfigFileError(ValueError):
    """A configuration file can't be used; the message says why in one sentence."""


class _Loader(yaml.SafeLoader):
    """YAML whose mappings may not name a key twice: the first of the two would be lost."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        names: list[Any] = []
        # What a tag calls a mapping and is none fails further down.
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.value in names:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            names.append(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (AttributeError, LookupError, ValueError) as error:
            kind = node.tag.rpartition(":")[-1]
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value[:40]!r} is no {kind}", node.start_mark
            ) from error


# In YAML 1.1, which PyYAML reads, 1e-3 would be a word.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_mapping(path: Path) -> dict[str, Any]:
    """What a YAML file says, not checked any further.

    Raises:
        ConfigFileError: no such file, no YAML (with the line), or no mapping of names to values.
    """
    try:
        plain = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except RecursionError as error:
        raise ConfigFileError(f"{path} is nested too deeply") from error
    except OSError as error:
        raise ConfigFileError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigFileError(f"{path} is not YAML: it is no text in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" (line {mark.line + 1})" if mark else ""
        reason = " ".join((error.problem or error.context or "").split())
        raise ConfigFileError(f"{path} is not YAML: {reason}{line}") from error
    except yaml.YAMLError as error:
        raise ConfigFileError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(plain, dict):
        raise ConfigFileError(f"{path} is no mapping of names to values")
    return plain


def read_config_file(path: Path, model: type[_Model]) -> _Model:
    """Reads and checks a configuration file; a value of another type than its field is refused.

    Raises:
        ConfigFileError: as read_mapping raises it, or the first key or value that is wrong: where
            it stands, and what would be right.
    """
    # In Python's types a list would be no tuple and a name no Task; in JSON's they are.
    plain = read_mapping(path)
    try:
        text = json.dumps(plain, default=str)
    except TypeError as error:
        raise ConfigFileError(f"{path} has a key that is no name: {error}") from error
    except ValueError as error:
        raise ConfigFileError(f"{path} holds something that is inside itself") from error
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise ConfigFileError(f"{path}: {_first_mistake(error, model)}") from error


_IN_A_KEY: Final = "[key]"
"""What pydantic puts behind a key that is wrong itself."""


_IN_YAML: Final = {"an object": "a mapping of names to values", "a valid array": "a list"}
"""How JSON's words, which pydantic uses, are called here."""


def _first_mistake(error: ValidationError, model: type[BaseModel]) -> str:
    """A key that is not known before a value that is wrong: it may be why one is missing."""
    mistakes = sorted(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    first = mistakes[0]
    known, place, node = _followed(model.model_json_schema(), first["loc"])
    where = ".".join(place) or "the whole file"
    given, allowed = first["input"], first.get("ctx", {})
    match first["type"]:
        case "extra_forbidden":
            return f"{where}: there is no such key{_meant(place[-1], known, 'it may have')}"
        case "json_invalid":
            # Half of a character, or hundreds of lists in each other.
            return f"{where}: something in it can't be used: {allowed['error']}"
        case "missing":
            return f"{where}: this key is missing"
        case "union_tag_invalid":
            kind = str(allowed["discriminator"]).strip("'")
            words = re.findall(r"'([^']*)'", str(allowed["expected_tags"]))
            named = str(allowed["tag"])
            return f"{where}.{kind}: {_refused(named)}{_meant(named, words, 'known are')}"
        case "union_tag_not_found":
            kind = str(allowed["discriminator"]).strip("'")
            words = list(node["discriminator"]["mapping"])
            return f"{where}.{kind}: this key is missing; known are {', '.join(words)}"
        case "enum" | "literal_error":
            words = re.findall(r"'([^']*)'", str(allowed["expected"])) or [allowed["expected"]]
            wrong = "there is no such key" if first["loc"][-1] == _IN_A_KEY else _refused(given)
            return f"{where}: {wrong}{_meant(str(given), words, 'known are')}"
        case "value_error":
            return f"{where}: {first['msg'].removeprefix('Value error, ')}"
    # "Input should be ...", "List should have ...": what it should is what is allowed.
    _, _, should = first["msg"].partition(" should ")
    for theirs, ours in _IN_YAML.items():
        should = should.replace(theirs, ours)
    return f"{where}: {_refused(given)}: it should {should}"


def _meant(word: str, known: Sequence[str], otherwise: str) -> str:
    """The nearest of the known words; all of them where none is near."""
    nearest = get_close_matches(word, known, n=1)
    if nearest:
        return f"; did you mean {nearest[0]}?"
    return f"; {otherwise} {', '.join(known)}" if known else ""


def _refused(value: Any) -> str:
    text = json.dumps(value, default=str)
    return f"{text if len(text) <= 60 else f'{text[:57]}...'} is not allowed"


def _followed(
    schema: Mapping[str, Any], places: Sequence[str | int]
) -> tuple[list[str], list[str], Mapping[str, Any]]:
    """The keys that the JSON schema knows beside the last place, the places as in the file, and
    what the schema says of the last one.

    pydantic puts the tag of a union that is told apart by a key among the places; in the file there
    is nothing there.
    """
    node, in_file = _resolved(schema, schema), []
    known: list[str] = []
    for place in map(str, places):
        if place == _IN_A_KEY:
            continue
        tagged = node.get("discriminator", {}).get("mapping", {})
        if place in tagged:
            node = _resolved(schema, {"$ref": tagged[place]})
            continue
        in_file.append(place)
        properties = node.get("properties", {})
        known = list(properties)
        inner = properties.get(place) or node.get("additionalProperties") or node.get("items") or {}
        node = _resolved(schema, inner if isinstance(inner, dict) else {})
    return known, in_file, node


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node that a reference, or something that may also be null, stands for."""
    while "$ref" in node or "anyOf" in node:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        else:
            node = next(option for option in node["anyOf"] if option.get("type") != "null")
    return node
