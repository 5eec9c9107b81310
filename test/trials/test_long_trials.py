"""`patchline trial stops`, `latency` and `soak`, in short: what they say of a real graph."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from patchline_ros.trials.soak import Usage
from patchline_ros.trials.stops import LIMIT_SECONDS


def trial(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "patchline_ros.cli", "trial", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_stops_at_each_moment(tmp_path: Path) -> None:
    out = tmp_path / "stops"
    done = trial("stops", "--times", "3", "--out", str(out))
    stops = json.loads((out / "stops.json").read_text())["stops"]
    assert [stop["moment"] for stop in stops] == ["starting", "running", "training"]
    troubles = [stop["trouble"] for stop in stops if stop["trouble"]]
    assert done.returncode == bool(troubles), done.stdout + done.stderr
    # How soon a process ends is also up to what else runs on the cores of a test.
    assert all(re.fullmatch(r"it took [\d.]+ s", trouble) for trouble in troubles), troubles
    assert all(0 < stop["own_seconds"] < LIMIT_SECONDS and not stop["left"] for stop in stops), (
        stops
    )


def test_latency_knows_which_weights_answered(tmp_path: Path, bundle) -> None:
    out = tmp_path / "out"
    options = ["--seconds", "5", "--rate", "5", "--swaps", "2", "--bundle", str(bundle.path)]
    done = trial("latency", *options, "--out", str(out))
    # Whether the limits hold on a busy machine is not what is tested here.
    assert done.returncode in (0, 1), done.stderr
    assert (out / "latency.json").is_file(), done.stderr
    result = json.loads((out / "latency.json").read_text())
    assert list(result["phases"]) == ["alone", "training", "swaps"]
    for tasks in result["phases"].values():
        for found in tasks.values():
            assert found["sent"] == 25
            assert found["wrong"] == 0
            assert 0 < found["heard"] <= found["processed"] <= found["received"] <= found["sent"]
            assert 0 < found["latency_ms"][0] <= found["latency_ms"][1]
    assert (len(result["missed"]) > 0) == (done.returncode == 1)
    for cost in result["costs"].values():
        assert 0 < cost["bare_ms"] < cost["node_ms"]
    assert "bare pass" in done.stdout


def test_soak_measures_every_process(tmp_path: Path, bundle) -> None:
    out = tmp_path / "out"
    options = ["--minutes", "0.1", "--rate", "5", "--bundle", str(bundle.path)]
    done = trial("soak", *options, "--out", str(out))
    assert done.returncode in (0, 1), done.stderr
    assert (out / "soak.json").is_file(), done.stderr
    usage = json.loads((out / "soak.json").read_text())["usage"]
    assert len(usage) == 5
    for values in usage.values():
        assert min(values["memory_mib"]) > 20 and min(values["threads"]) >= 1


@pytest.mark.parametrize(
    ("grows", "trouble"),
    [
        ({}, ""),
        ({"memory_mib": 1.5}, "its memory grows by 1.50 MiB a minute"),
        ({"memory_mib": 0.5}, ""),
        ({"threads": 0.2}, "threads more"),
        ({"descriptors": 0.2}, "file descriptors more"),
    ],
)
def test_what_grows_is_named(grows: dict[str, float], trouble: str) -> None:
    minutes = np.linspace(0, 30, 361)
    rng = np.random.default_rng(0)
    usage = Usage(
        seconds=list(60 * minutes),
        memory_mib=list(300 + grows.get("memory_mib", 0) * minutes + rng.normal(0, 2, 361)),
        threads=[20 + int(grows.get("threads", 0) * minute) for minute in minutes],
        descriptors=[40 + int(grows.get("descriptors", 0) * minute) for minute in minutes],
    )
    # What a process takes while it warms up does not count.
    usage.memory_mib[:40] = [value - 200 for value in usage.memory_mib[:40]]
    found = usage.trouble()
    assert (trouble[:20] in found) if trouble else not found
