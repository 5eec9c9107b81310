"""The examples that need no ROS, as their readers run them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_road import write_labelled, write_video

from patchline_ros.sim import Condition

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "resource" / "sim_road"


def said_by(name: str, *arguments: object) -> str:
    """What an example prints."""
    command = [sys.executable, ROOT / "examples" / name, *arguments]
    result = subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", ["compare_methods.py", "watch_video_for_drift.py"])
@pytest.mark.parametrize("bundle", [SHIPPED, ROOT / "none"])
def test_a_wrong_path_is_told_in_a_sentence(name: str, bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "examples" / name, bundle, tmp_path / "none"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "none" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def percent(line: str, said: str) -> float:
    """The first percentage behind the beginning of a line."""
    found = re.search(rf"^{line}\D*([\d.]+)%", said, flags=re.M)
    assert found, said
    return float(found[1])


def test_a_segmenter_of_ones_own_gets_better_at_night() -> None:
    said = said_by("adapt_own_segmenter.py")
    assert percent("night, with patches", said) > percent("night, source model", said) + 5


def test_two_methods_are_compared_on_a_folder(tmp_path: Path) -> None:
    write_labelled(tmp_path, 77, Condition.FOG, 20)
    said = said_by("compare_methods.py", SHIPPED, tmp_path, "--epochs", 1)
    before = percent("source model", said)
    assert all(percent(name, said) > before for name in ("PatchLine", "FT-full"))


def test_the_drift_of_a_video_is_told(tmp_path: Path) -> None:
    write_video(tmp_path / "drive.avi", 78, clear=20, fog=20)
    said = said_by("watch_video_for_drift.py", SHIPPED, tmp_path / "drive.avi")
    first, last = said.splitlines()
    assert re.match(r"frame 2\d: drifts from the source", first)
    assert last == "40 frames"
