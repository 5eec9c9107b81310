"""What stands in a YAML file, and can't be used, is said in one sentence with the file's name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from patchline_ros.config_files import ConfigFileError, read_config_file


class Anything(BaseModel):
    """With whatever keys."""

    model_config = ConfigDict(extra="allow")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("2020-01-01: 1", "has a key that is no name: .* not datetime.date"),
        ("a: {2020-01-01: 1}", "has a key that is no name: .* not datetime.date"),
        ("a: !!map [1]", r"is not YAML: .* but found sequence \(line 1\)"),
        ("a: !!map b", r"is not YAML: .* but found scalar \(line 1\)"),
        ("!!map b", r"is not YAML: .* but found scalar \(line 1\)"),
        ("a: 1\nb: 2020-13-45", r"is not YAML: '2020-13-45' is no timestamp \(line 2\)"),
        ("a: !!timestamp b", r"is not YAML: 'b' is no timestamp \(line 1\)"),
        ("a: !!int b", r"is not YAML: 'b' is no int \(line 1\)"),
        ("a: !!bool b", r"is not YAML: 'b' is no bool \(line 1\)"),
        ("&a [*a]", "is no mapping of names to values"),
        ("a: &a [*a]", "holds something that is inside itself"),
        ("a: &a {b: *a}", "holds something that is inside itself"),
        ("a: " + 900 * "[" + 900 * "]", "is nested too deeply"),
        ('a: "\\uD800"', ": the whole file: something in it can't be used: .* escape .*"),
    ],
)
def test_strange_yaml(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "strange.yaml"
    path.write_text(text)
    with pytest.raises(ConfigFileError, match=rf"^{path}:? ?{sentence.lstrip(': ')}$"):
        read_config_file(path, Anything)
