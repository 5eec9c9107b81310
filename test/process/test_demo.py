"""The whole demo on the simulated road, end to end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from demo_drives import short_drive

COMMAND = [sys.executable, "-m", "patchline_ros.cli", "demo"]


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


def test_demo_adapts_loses_no_frame_and_reports(shipped_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # The road goes on while it trains: slowly, it leaves the cores to the training.
    report = short_drive(48, out, "--rate", "4")
    assert report["source"]["kind"] == "sim"
    assert report["drift"]["frames_to_detect"] <= 24
    assert report["drift"]["false_alarms"] == 0
    assert report["frames"]["lost_during_swap"] == 0
    assert report["answer"]["seconds_to_swap"] < 60
    lanes = report["answer"]["tasks"]["segmentation"]
    assert lanes["accepted"] and lanes["predicted"] > lanes["error"] and lanes["gain"] > 0
    for task in ("classification", "detection", "segmentation"):
        row = report["tasks"][task]
        assert row["test_frames"] == 48 // 3
        # The signs' model knows fog as well as the clear road: there may be nothing to win.
        assert row["after"] >= row["before"]
    for task in ("detection", "segmentation"):
        assert report["adaptation"]["accepted"][task]
        assert report["tasks"][task]["after"] > report["tasks"][task]["before"]
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
