"""`patchline trial` through its commands, on a graph of its own: a few rounds, a few cases."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from patchline_ros.cli.app import app

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")
pytest.importorskip("patchline_ros.msg", reason="needs the built messages")

from patchline_ros.trials.own_time import OwnTime


def trial(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "patchline_ros.cli", "trial", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def test_own_time_is_waiting_and_work_but_not_the_work_of_others() -> None:
    waits = subprocess.Popen(["sleep", "60"])
    works = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        began = time.monotonic()
        waiting, working = OwnTime([waits.pid]), OwnTime([works.pid])
        for _ in range(10):
            time.sleep(0.05)
            waiting.look([waits.pid])
            working.look([works.pid])
        looked = time.monotonic() - began
        assert waiting.seconds >= 0.5
        # Python itself starts first; and whatever else wants the core takes its part.
        assert 0 < working.seconds < looked + 0.1
    finally:
        waits.kill()
        works.kill()
        waits.wait()
        works.wait()


def test_faults_of_each_kind(tmp_path: Path) -> None:
    out = tmp_path / "faults"
    only = "drift-monitor-sigkill,pictures-reordered,patch-set-bit,patch-file-garbage"
    done = trial("faults", "--only", only, "--out", str(out))
    result = json.loads((out / "faults.json").read_text())
    troubles = [trouble for case in result["cases"] for trouble in case["troubles"]]
    assert done.returncode == bool(troubles), done.stdout + done.stderr
    # How soon a process starts again is up to what else runs on the cores of a test.
    assert all(trouble.startswith("recovered only after") for trouble in troubles), troubles
    assert {case["name"] for case in result["cases"]} == set(only.split(","))
    assert result["answers"] > 20 and result["labelled_frames"]["acknowledged"] >= 8
    (killed,) = (case for case in result["cases"] if case["kind"] == "process")
    assert killed["ended"] == ["drift_monitor -9"]


def test_what_is_asked_wrongly_is_said(tmp_path: Path) -> None:
    call = CliRunner().invoke
    wrong = call(app, ["trial", "faults", "--only", "nonsense", "--out", str(tmp_path / "x")])
    assert wrong.exit_code == 2 and "no case is named 'nonsense'" in wrong.output
    listed = call(app, ["trial", "faults", "--list", "--only", "*-sigkill"])
    assert listed.exit_code == 0 and "drift-monitor-sigkill" in listed.output
