"""The whole demo on the simulated road, end to end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny_bundle

from patchline_ros.bundle import Bundle
from patchline_ros.package_share import SIM_BUNDLE, share_folder

COMMAND = [sys.executable, "-m", "patchline_ros.cli", "demo"]
SHORT_DRIVE = """
from patchline_ros.cli.app import app
from patchline_ros.demo import planning

planning.SIM_SOURCE_FRAMES, planning.SIM_DRIFT_FRAMES = 24, {drift_frames}
app()
"""
"""The command on a part of the road: what it does is the same, and each frame costs a training."""


@pytest.fixture
def shipped_bundle() -> Path:
    """The bundle of the simulated road; skips where it was not made yet."""
    bundle = share_folder() / SIM_BUNDLE
    if not (bundle / "manifest.json").is_file():
        pytest.skip(f"no bundle {bundle}: make it with `patchline offline`")
    return bundle


def family(pid: int) -> list[psutil.Process]:
    """The process and all below it that still run."""
    process = psutil.Process(pid)
    return [one for one in [process, *process.children(recursive=True)] if runs(one)]


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended; a zombie has."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def short_drive(drift_frames: int, out: Path, *options: str) -> Any:
    """The report of a drive, of whose frames after the change a third are for the test."""
    code = SHORT_DRIVE.format(drift_frames=drift_frames)
    command = [sys.executable, "-c", code, "demo", "--out", str(out), *options]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads((out / "report.json").read_text())


def test_without_labels_prepared_patches_answer(shipped_bundle: Path, tmp_path: Path) -> None:
    """What they are said to gain is what the graph has gained, though another program asks them."""
    bundle = tiny_bundle.with_prepared(Bundle.load(shipped_bundle), tmp_path / "b", 5.0)
    out = tmp_path / "out"
    report = short_drive(24, out, "--labels", "none", "--bundle", str(bundle.path))
    assert report["adaptation"] is None
    assert not list((out / "store").rglob("*.npz"))
    lines = [json.loads(line) for line in (out / "camera.jsonl").read_text().splitlines()]
    assert not any(line["labelled"] for line in lines)
    assert report["answer"]["seconds_to_swap"] < 30
    # Other norm statistics change the class of few signs, and on so short a road of none.
    for task in ("detection", "segmentation"):
        row, answer = report["tasks"][task], report["answer"]["tasks"][task]
        assert answer["accepted"] and answer["predicted"] > answer["error"]
        assert row["answered"] == pytest.approx(row["after"], abs=0.01)
        assert answer["gain"] == pytest.approx(row["answered"] - row["before"])


def test_demo_adapts_loses_no_frame_and_reports(shipped_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # The road goes on while it trains: slowly, it leaves the cores to the training.
    report = short_drive(48, out, "--rate", "4")
    assert report["source"]["kind"] == "sim"
    assert report["drift"]["frames_to_detect"] <= 24
    assert report["drift"]["false_alarms"] == 0
    assert report["frames"]["lost_during_swap"] == 0
    for task in ("classification", "detection", "segmentation"):
        row = report["tasks"][task]
        assert row["test_frames"] == 48 // 3
        assert report["adaptation"]["accepted"][task] and row["after"] > row["before"]
    assert (out / "report.html").stat().st_size > 100_000


def test_an_interrupted_demo_leaves_nothing_running(shipped_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen([*COMMAND, "--out", str(out)], start_new_session=True)
    deadline = time.monotonic() + 120
    while not (out / "camera.jsonl").exists() and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before the camera started"
        time.sleep(0.2)
    started = family(process.pid)
    process.send_signal(signal.SIGINT)
    code = process.wait(60)
    left = [process for process in started if runs(process)]
    assert (code, left) == (130, [])
    assert len(started) == 8, "the demo, five nodes, the camera and the recorder"


def test_wrong_options_are_one_sentence(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, "--condition", "hail", "--bundle", "x"], capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert ended.stderr == "patchline: --condition is 'hail'; use one of fog, rain, snow, night\n"
