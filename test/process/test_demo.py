"""The whole demo on the simulated road, end to end: the slowest test of all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from patchline_ros.demo.places import SIM_BUNDLE, share_folder

COMMAND = [sys.executable, "-m", "patchline_ros.cli", "demo"]


@pytest.fixture
def shipped_bundle() -> Path:
    """The bundle of the simulated road; skips where it was not made yet."""
    bundle = share_folder() / SIM_BUNDLE
    if not (bundle / "manifest.json").is_file():
        pytest.skip(f"no bundle {bundle}: make it with `patchline offline`")
    return bundle


def pids_with(text: str) -> list[int]:
    """Processes whose command line holds this text, but for this one."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes()
        except (NotADirectoryError, FileNotFoundError, ProcessLookupError):
            continue
        if text.encode() in line and entry.name != str(os.getpid()):
            found.append(int(entry.name))
    return found


def test_demo_adapts_loses_no_frame_and_reports(shipped_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = subprocess.run(
        [*COMMAND, "--out", str(out), "--rate", "8"], capture_output=True, text=True, timeout=400
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr

    report = json.loads((out / "report.json").read_text())
    assert report["source"]["kind"] == "sim"
    assert report["drift"]["frames_to_detect"] <= 24
    assert report["drift"]["false_alarms"] == 0
    assert report["frames"]["lost_during_swap"] == 0
    for task in ("signs", "objects", "lanes"):
        row = report["tasks"][task]
        assert row["test_frames"] >= 30
        assert report["adaptation"]["accepted"][task] and row["after"] > row["before"]
    assert (out / "report.html").stat().st_size > 100_000
    assert pids_with(str(out)) == []


def test_an_interrupted_demo_leaves_nothing_running(shipped_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen([*COMMAND, "--out", str(out)], start_new_session=True)
    deadline = time.monotonic() + 90
    while not (out / "camera.jsonl").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.2)
    assert len(pids_with(str(out))) > 5
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert pids_with(str(out)) == []


def test_wrong_options_are_one_sentence(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, "--condition", "hail", "--bundle", "x"], capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert ended.stderr == "patchline: --condition is 'hail'; use one of fog, rain, snow, night\n"
