"""Configuration files in YAML: how one is read and checked, and what is said of a mistake."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import ScalarNode, SequenceNode

_Model = TypeVar("_Model", bound=BaseModel)


class StrictModel(BaseModel):
    """Values that are checked once and do not change; a key that is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ConfigFileError(ValueError):
    """A configuration file can't be used; the message says why in one sentence."""


_MOST_NODES: Final = 100_000
"""Of a file, with what its aliases stand for: a few lines of aliases of aliases say billions."""

_MOST_LEVELS: Final = 100
"""Of lists and mappings in each other; ruamel.yaml becomes slow where there are many."""


class _Constructor(SafeConstructor):
    """Values of the plain kinds; one that its tag does not fit is named with its line."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (AttributeError, LookupError, ValueError) as error:
            kind = str(node.tag).rpartition(":")[-1]
            raise ConstructorError(
                None, None, f"{str(node.value)[:40]!r} is no {kind}", node.start_mark
            ) from error


def read_mapping(path: Path) -> dict[str, Any]:
    """What a YAML file (of YAML 1.2) says, not checked any further.

    Raises:
        ConfigFileError: no such file, no YAML (with the line), one that says far too much, or no
            mapping of names to values.
    """
    try:
        plain = _read(path.read_text(encoding="utf-8"))
    except (MaxDepthExceededError, RecursionError) as error:
        raise ConfigFileError(f"{path} is nested too deeply") from error
    except OverflowError as error:
        raise ConfigFileError(f"{path} {error}") from error
    except OSError as error:
        raise ConfigFileError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigFileError(f"{path} is not YAML: it is no text in UTF-8") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" (line {mark.line + 1})" if mark else ""
        raise ConfigFileError(f"{path} is not YAML: {_reason(error)}{line}") from error
    except YAMLError as error:
        raise ConfigFileError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(plain, dict):
        raise ConfigFileError(f"{path} is no mapping of names to values")
    return plain


def _reader() -> YAML:
    """Builds plain values only, and refuses a key that is there twice."""
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = _Constructor
    reader.max_depth = _MOST_LEVELS
    return reader


def _open_brackets(text: str) -> int:
    """How many lists and mappings are open at once, at most; those in words count, too."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[{\]}]", text):
        depth = max(0, depth + (1 if bracket in "[{" else -1))
        deepest = max(deepest, depth)
    return deepest


def _read(text: str) -> Any:
    """What it says; OverflowError where that is far too much, RecursionError for what is deep."""
    # ruamel.yaml's time grows with the square of what is open, before it counts levels.
    if _open_brackets(text) > 4 * _MOST_LEVELS:
        raise RecursionError
    if _nodes(_reader().compose(text), {}) > _MOST_NODES:
        raise OverflowError(f"says more than {_MOST_NODES} values, counted with its aliases")
    return _reader().load(text)


def _reason(error: MarkedYAMLError) -> str:
    reason = " ".join((error.problem or error.context or "").split())
    twice = re.match('found duplicate key "(.*?)" with value', reason)
    return f"the key {twice[1]!r} is there twice" if twice else reason


def _nodes(node: Any, known: dict[int, int]) -> int:
    """How many nodes it is with all below it, those that aliases stand for each time.

    One that is inside itself counts once: it is found where it is written as JSON.
    """
    if node is None or isinstance(node, ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = 1
        inner = node.value if isinstance(node, SequenceNode) else chain.from_iterable(node.value)
        known[id(node)] = 1 + sum(_nodes(each, known) for each in inner)
    return known[id(node)]


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
        raise ConfigFileError(f"{path}: {first_mistake(error, model)}") from error


_IN_A_KEY: Final = "[key]"
"""What pydantic puts behind a key that is wrong itself."""


_IN_YAML: Final = {
    "an object": "a mapping of names to values",
    "a valid dictionary": "a mapping of names to values",
    "a valid array": "a list",
}
"""How the words of JSON and Python, which pydantic uses, are called here."""


def first_mistake(
    error: ValidationError, model: type[BaseModel], whole: str = "the whole file"
) -> str:
    """The first thing that is wrong, and where, in one sentence.

    A key that is not known comes before a value that is wrong: it may be why one is missing.

    Args:
        error: that the model's validation raised.
        model: that was validated.
        whole: what is wrong where it is no single key; empty: that is not said.
    """
    mistakes = sorted(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    first = mistakes[0]
    known, place, node = _followed(model.model_json_schema(), first["loc"])
    where, what = ".".join(place), _mistake(first, place, known, node)
    if first["type"] in _OF_A_KIND and (key := _kind_key(first)):
        where = f"{where}.{key}" if where else key
    return f"{where or whole}: {what}" if where or whole else what


_OF_A_KIND: Final = ("union_tag_invalid", "union_tag_not_found")
"""Where a key says of which kind the rest is."""


def _kind_key(first: ErrorDetails) -> str:
    """The key that tells the kinds apart; empty where a function does."""
    key = str(first["ctx"]["discriminator"])
    return "" if key.endswith("()") else key.strip("'")


def _mistake(
    first: ErrorDetails, place: Sequence[str], known: Sequence[str], node: Mapping[str, Any]
) -> str:
    """What is wrong with the value or key at a place."""
    given, allowed = first["input"], first.get("ctx", {})
    match first["type"]:
        case "extra_forbidden":
            return f"there is no such key{meant(place[-1], known, 'it may have')}"
        case "json_invalid":
            # Half of a character, or hundreds of lists in each other.
            return f"something in it can't be used: {allowed['error']}"
        case "missing":
            return "this key is missing"
        case "union_tag_invalid":
            named = str(allowed["tag"])
            words = re.findall(r"'([^']*)'", str(allowed["expected_tags"]))
            return f"{_refused(named)}{meant(named, words, 'known are')}"
        case "union_tag_not_found":
            words = list(node.get("discriminator", {}).get("mapping", {}))
            return f"this key is missing{meant('', words, 'known are')}"
        case "enum" | "literal_error":
            words = re.findall(r"'([^']*)'", str(allowed["expected"])) or [allowed["expected"]]
            wrong = "there is no such key" if first["loc"][-1] == _IN_A_KEY else _refused(given)
            return f"{wrong}{meant(str(given), words, 'known are')}"
        case "value_error":
            return first["msg"].removeprefix("Value error, ")
    # "Input should be ...", "List should have ...": what it should is what is allowed.
    said, _, should = first["msg"].partition(" should ")
    for theirs, ours in _IN_YAML.items():
        should = should.replace(theirs, ours)
    return f"{_refused(given)}: it should {should}" if should else f"{_refused(given)}: {said}"


def meant(word: str, known: Sequence[str], otherwise: str) -> str:
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
