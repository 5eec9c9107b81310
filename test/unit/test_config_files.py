"""What stands in a YAML file, and can't be used, is said in one sentence with the file's name."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from patchline_ros.config_files import ConfigFileError, read_config_file, read_mapping


class Anything(BaseModel):
    """With whatever keys."""

    model_config = ConfigDict(extra="allow")


class Epochs(BaseModel, extra="forbid"):
    """With one key."""

    epochs: int


def test_an_unknown_key_is_named_before_the_one_that_is_missing_for_it(tmp_path: Path) -> None:
    path = tmp_path / "misspelt.yaml"
    path.write_text("epoch: 3")
    with pytest.raises(ConfigFileError, match="epoch: there is no such key"):
        read_config_file(path, Epochs)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("2020-01-01: 1", "has a key that is no name: .* not datetime.date"),
        ("a: {2020-01-01: 1}", "has a key that is no name: .* not datetime.date"),
        ("a: !!map [1]", r"is not YAML: .* but found sequence \(line 1\)"),
        ("a: !!map b", r"is not YAML: .* but found scalar \(line 1\)"),
        ("!!map b", r"is not YAML: .* but found scalar \(line 1\)"),
        ("a: 1\nb: 2020-13-45", r"is not YAML: '2020-13-45' is no timestamp \(line 2\)"),
        ("a: !!timestamp b", r"is not YAML: failed to construct timestamp .* \(line 1\)"),
        ("a: !!int b", r"is not YAML: 'b' is no int \(line 1\)"),
        ("a: !!bool b", r"is not YAML: 'b' is no bool \(line 1\)"),
        ("&a [*a]", "is no mapping of names to values"),
        ("a: &a [*a]", "holds something that is inside itself"),
        ("a: &a {b: *a}", "holds something that is inside itself"),
        ("a: " + 900 * "[" + 900 * "]", "is nested too deeply"),
        ("a: " + 3000 * "[", "is nested too deeply"),
        ('a: "\\uD800"', ": the whole file: something in it can't be used: .* escape .*"),
    ],
)
def test_strange_yaml(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "strange.yaml"
    path.write_text(text)
    with pytest.raises(ConfigFileError, match=rf"^{path}:? ?{sentence.lstrip(': ')}$"):
        read_config_file(path, Anything)


ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(9 * ['*' + before])}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text", [ALIASES, ALIASES.replace("[", "{<<: [").replace("]", "]}").replace("x", "{y: 1}")]
)
def test_a_few_lines_that_say_billions_are_refused_at_once(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(text)
    start = time.monotonic()
    with pytest.raises(ConfigFileError, match=r"^\S+ says more than 100000 values, [^\n]*$"):
        read_config_file(path, Anything)
    assert time.monotonic() - start < 1


def test_numbers_and_words_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    path = tmp_path / "numbers.yaml"
    path.write_text("{a: 1e-3, b: no, c: 12:30, d: -2.5E+2, e: ~, f: &f [1], g: *f}")
    assert read_mapping(path) == {
        "a": 0.001,
        "b": "no",
        "c": "12:30",
        "d": -250.0,
        "e": None,
        "f": [1],
        "g": [1],
    }


def test_no_tag_builds_an_object(tmp_path: Path) -> None:
    path = tmp_path / "tag.yaml"
    path.write_text("a: !!python/object/apply:os.getcwd []")
    with pytest.raises(ConfigFileError, match=r"is not YAML: could not determine .* \(line 1\)$"):
        read_mapping(path)
