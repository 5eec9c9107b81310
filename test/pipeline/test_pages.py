"""The code of README and the tutorials runs as it stands there.

Blocks of `python` and `sh` run in the order of the page, and share what was defined before. A block
of `yaml` that begins with `# NAME` is written to that file. Indented code is shown and not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_drive import report, strip, timeline
from small_road import write_bag, write_labelled, write_video

from patchline_ros.demo.report import write_report
from patchline_ros.sim import Condition

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.M | re.S)


def program(page: Path) -> str:
    """The page's code as one Python program."""
    text = page.read_text(encoding="utf-8")
    parts = ["import subprocess as _run, pathlib as _files"]
    for found in BLOCK.finditer(text):
        language, code = found.groups()
        # So that a traceback names the line of the page.
        line = text[: found.start(2)].count("\n")
        if language == "python":
            padded = "\n" * line + code
            parts.append(f"exec(compile({padded!r}, {str(page)!r}, 'exec'), globals())")
        elif language == "sh":
            parts.append(f"_run.run(['bash', '-euc', {code!r}], check=True)")
        elif language == "yaml" and (named := re.match(r"# (\S+\.yaml)\n", code)):
            parts.append(f"_files.Path({named[1]!r}).write_text({code!r})")
    return "\n".join(parts)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like a checkout's, in which a reader works."""
    for name in ("resource", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = tmp_path / "bin" / "patchline"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m patchline_ros.cli "$@"\n')
    command.chmod(0o755)
    return tmp_path


def said_by(page: Path, folder: Path) -> str:
    """What the page's code prints in a folder."""
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent)])
    result = subprocess.run(
        [sys.executable, "-c", program(page)],
        cwd=folder,
        env={**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_an_own_video_is_answered_without_labels(checkout: Path) -> None:
    write_video(checkout / "drive.avi", 78, clear=20, fog=20)
    page = TUTORIALS / "own-video.md"
    said = said_by(page, checkout)
    line = re.compile(r"frame 2\d: drifts from the source \(MMD² [\d.]+ of ([\d.]+)\)")
    # The page shows the threshold of the bundle that comes with the package.
    assert line.findall(said)[0] == line.findall(page.read_text(encoding="utf-8"))[0]
    assert re.search(r"(is taken|is refused)\npredicted gain: [+-]", said)
    assert (checkout / "before-and-after.png").stat().st_size > 1000
    assert (checkout / "fog.safetensors").stat().st_size > 1000


def test_own_labelled_data_become_a_bundle(checkout: Path) -> None:
    write_labelled(checkout / "road", 41, Condition.CLEAR, 50)
    said = said_by(TUTORIALS / "own-data.md", checkout)
    assert "50 pictures" in said
    assert (checkout / "bundles" / "road" / "card.html").is_file()


def test_a_bag_is_looked_at_without_ros(checkout: Path) -> None:
    write_bag(checkout / "drive", "/camera/color/image_raw", 78, clear=16, fog=16)
    said = said_by(TUTORIALS / "own-bag.md", checkout)
    assert "32 pictures; the first is drive_000000 (192, 256, 3)" in said
    assert re.search(r"frame \d+: drifts from the source", said)
    names = sorted(path.name for path in (checkout / "to-label").iterdir())
    assert names == [f"drive_0000{tens}0.png" for tens in range(4)]


def test_a_report_is_read_by_a_program(checkout: Path) -> None:
    folder = checkout / "runs" / "first"
    folder.mkdir(parents=True)
    write_report(report(), timeline(), strip(), ["sky", "road"], "patchline demo", folder)
    said = said_by(TUTORIALS / "reading-a-report.md", checkout)
    assert "noticed after 9 frames" in said


def test_a_new_drift_takes_accuracy_as_it_grows(checkout: Path) -> None:
    said = said_by(TUTORIALS / "new-drift.md", checkout)
    rows = re.findall(r"dust \S+: MMD² (\S+), mean IoU ([\d.]+)%", said)
    distances, scores = zip(*((float(a), float(b)) for a, b in rows), strict=True)
    assert list(distances) == sorted(distances) and list(scores) == sorted(scores, reverse=True)


def test_a_new_backbone_and_head_take_patches(checkout: Path) -> None:
    assert "trained weights: " in said_by(TUTORIALS / "new-backbone.md", checkout)


def test_the_ten_lines_of_the_readme_adapt_a_folder(checkout: Path) -> None:
    write_labelled(checkout / "fog", 77, Condition.FOG, 20)
    said = said_by(ROOT / "README.md", checkout)
    metrics = [float(value) for value in re.findall(r"0\.\d+", said)]
    assert len(metrics) > 1 and max(metrics[1:]) > metrics[0]
    assert (checkout / "fog.safetensors").stat().st_size > 1000
