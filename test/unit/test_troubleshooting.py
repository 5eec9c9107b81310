"""docs/troubleshooting.md names messages that the programs really print."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from patchline_ros.cli.app import app
from patchline_ros.datasets.bag_files import is_bag
from patchline_ros.datasets.recordings import open_frames

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
MESSAGES = re.findall(r"^### `(.+)`$", PAGE.read_text(encoding="utf-8"), flags=re.M)
# What is filled in: names and numbers of the reader, and words that are often the same.
CAPITALS = [
    "FOLDER",
    "FILE",
    "NAME",
    "NAMES",
    "NUMBER",
    "COMMAND",
    "FIRST",
    "LAST",
    "TOPIC",
    "OTHER",
    "HASH",
    "ADDRESS",
    "OPTION",
    "PYTHON",
    "PACKAGES",
]
USUAL = [r"C\+\+", "--then", "the adapted model", "best_effort", "picture"]
PLACEHOLDER = re.compile("|".join([*USUAL, *(rf"\b{word}\b" for word in CAPITALS)]))


def said_by_code() -> str:
    """All text in the code, one line for each string; what is filled in is a break, too."""
    texts = []
    for path in [
        ROOT / "patchline",
        *(p for f in ("patchline_ros", "tools") for p in (ROOT / f).rglob("*.py")),
    ]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_at_least_twenty_mistakes_are_told() -> None:
    assert len(set(MESSAGES)) >= 20


def test_each_message_is_in_the_code() -> None:
    code = said_by_code()
    unknown = []
    for message in MESSAGES:
        # What stands behind a semicolon is often a string of its own.
        for part in re.split(rf"{PLACEHOLDER.pattern}|;", message):
            words = part.strip(" '`:.,;?()")
            if len(words) > 3 and words not in code:
                unknown.append(f"{message}: {words!r}")
    assert unknown == []


def shown(message: str, text: str) -> bool:
    """Whether a message of the page is in a text."""
    pattern = ".+?".join(re.escape(part) for part in PLACEHOLDER.split(message))
    return re.search(pattern, " ".join(text.split())) is not None


def told(start: str, text: str) -> None:
    """Asserts that the text holds the message that begins so on the page."""
    message = next(message for message in MESSAGES if message.startswith(start))
    assert shown(message, text), text


def patchline(*arguments: object) -> str:
    """What a command says that ends with the code for what the user can mend."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    return result.output


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two pictures and a label map for none of them."""
    folder = tmp_path / "drive"
    (folder / "maps").mkdir(parents=True)
    for name in ("0", "1", "maps/7"):
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((8, 8), np.uint8))
    return folder


def test_mistakes_with_bundles_and_files_are_told_so(tmp_path: Path) -> None:
    told("bundle FOLDER does not exist", patchline("bundle", "show", tmp_path / "none"))
    damaged = shutil.copytree(ROOT / "resource" / "sim_road", tmp_path / "damaged")
    (damaged / "segmentation.safetensors").write_bytes(b"")
    told("bundle FOLDER is damaged", patchline("bundle", "check", damaged))
    config = tmp_path / "mine.yaml"
    config.write_text("name: mine\nsources: {segmentation: {set: sim}}\nrecipe: {epoch: {}}\n")
    told("there is no such key", patchline("offline", "--config", config))
    told("there is no experiment", patchline("bench", "run", "nothing"))


def test_mistakes_with_recordings_are_told_so(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as found:
        open_frames(pictures, pictures / "maps")
    told("the label map FILE belongs to no frame", str(found.value))
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0")
    with pytest.raises(ValueError) as found:
        is_bag(tmp_path / "old.bag")
        open_frames(tmp_path / "old.bag")
    told("the bag FILE is of ROS 1", str(found.value))
    (tmp_path / "drive.mcap").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError) as found:
        open_frames(tmp_path / "drive.mcap")
    told("the file FILE is a pointer", str(found.value))


def test_mistakes_with_the_demo_are_told_so(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="the demo needs ROS 2")
    told("--then goes with", patchline("demo", "--then", tmp_path))
    (tmp_path / "file").touch()
    told("--out FOLDER is not empty", patchline("demo", "--out", tmp_path))
