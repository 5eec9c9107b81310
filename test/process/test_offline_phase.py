"""The whole offline phase as its user runs it, on small copies of the paper's data sets."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import miniatures
import pytest

from patchline_ros.bundle import Bundle
from patchline_ros.cli.errors import USER_ERROR
from patchline_ros.offline.stages import MAKING
from patchline_ros.tasks import Task

OFFLINE = [sys.executable, "-m", "patchline_ros.cli", "offline"]

CONFIG = """
name: small
sources: {{{sources}}}
input_sizes: {{{sizes}}}
weights: none
recipe: {{width: 0.25, epochs: {{classification: 1, detection: 1, segmentation: 1}},
  batch_size: 8, drift_window: 4,
  drift_permutations: 50, threads: 1}}
predictor: {{drifts: [[fog, 0.5], [night, 0.9]], counts: [0, 1, 2]}}
workers: 1
"""

STAGES = ("", "segmentation.safetensors", "detection.safetensors", "predictor/*/*-k1-*.json")
"""Below `.making`/KEY: the folder itself, and what comes in it one after the other."""

ROAD = (Task.DETECTION, Task.SEGMENTATION)
"""Of a set without pictures to classify."""


def _configured(folder: Path, data_set: str, tasks: tuple[Task, ...]) -> list[str]:
    """The command that makes a bundle for these tasks from that set."""
    text = CONFIG.format(
        sources=", ".join(f"{task}: {{set: {data_set}}}" for task in tasks),
        sizes=", ".join(f"{task}: [64, 64]" for task in tasks),
    )
    (folder / "small.yaml").write_text(text)
    return [*OFFLINE, "--config", str(folder / "small.yaml"), "--out"]


def _made(command: list[str], out: Path) -> Bundle:
    done = subprocess.run([*command, str(out)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    bundle = Bundle.load(out)
    for entry in bundle.manifest.models.values():
        assert f"{100 * entry.source_metric:.1f}" in done.stdout
    return bundle


def _make_sbd(data: Path) -> None:
    miniatures.make_sbd(data, count=80)


@pytest.fixture(scope="module")
def acdc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data set."""
    folder: Path = tmp_path_factory.mktemp("acdc")
    miniatures.make_acdc(folder, train=12, val=4)
    return folder


@pytest.fixture(scope="module")
def whole(acdc: Path) -> Bundle:
    """Made without a pause."""
    return _made(_configured(acdc, "acdc", ROAD), acdc / "whole")


def _check(bundle: Bundle, tasks: tuple[Task, ...]) -> None:
    assert set(bundle.manifest.models) == set(tasks)
    assert {label.corruption for label in bundle.manifest.drift_labels} == {"fog", "night"}
    assert not set(bundle.held_out[Task.SEGMENTATION]) & set(bundle.trained_on[Task.SEGMENTATION])


@pytest.mark.parametrize(
    ("data_set", "make"), [("sbd", _make_sbd), ("core50", miniatures.make_core50)]
)
def test_one_command_makes_a_bundle(
    data_set: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path)
    tasks = tuple(Task)
    _check(_made(_configured(tmp_path, data_set, tasks), tmp_path / "bundle"), tasks)


def test_a_set_without_pictures_to_classify_makes_a_bundle(whole: Bundle) -> None:
    _check(whole, ROAD)


def test_a_kill_at_any_stage_changes_nothing(acdc: Path, whole: Bundle) -> None:
    command = _configured(acdc, "acdc", ROAD)
    out = acdc / "killed"
    for stage in STAGES:
        process = subprocess.Popen([*command, str(out)], stdout=subprocess.DEVNULL)
        while not list((out / MAKING).glob(f"*/{stage}")):
            assert process.poll() is None, f"it ended without {stage}"
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        with pytest.raises(ValueError, match="not a bundle, or not whole"):
            Bundle.load(out)
    # What a kill leaves while the bundle itself is written.
    (out / "segmentation.safetensors").write_bytes(b"half")
    (out / ".detection.safetensors.part").write_bytes(b"")
    assert _made(command, out).manifest == whole.manifest
    assert sorted(path.name for path in out.iterdir()) == sorted(
        path.name for path in whole.path.iterdir()
    )


def test_what_is_missing_is_said_before_anything_is_made(tmp_path: Path) -> None:
    command = _configured(tmp_path, "core50", tuple(Task))
    done = subprocess.run([*command, str(tmp_path / "b")], capture_output=True, text=True)
    assert done.returncode == USER_ERROR
    assert "core50" in done.stderr and "vlomonaco.github.io" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "b").exists()
