"""Drives of the demo on a part of the road, with the shipped bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from patchline_ros.package_share import SIM_BUNDLE, share_folder

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


def short_drive(drift_frames: int, out: Path, *options: str) -> Any:
    """The report of a drive, of whose frames after the change a third are for the test."""
    code = SHORT_DRIVE.format(drift_frames=drift_frames)
    command = [sys.executable, "-c", code, "demo", "--out", str(out), *options]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads((out / "report.json").read_text())
