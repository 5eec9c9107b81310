"""The whole offline phase as its user runs it, on small copies of the paper's data sets."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import miniatures
import pytest
from rich.console import Console
from typer.testing import CliRunner

from patchline_ros.bundle import Bundle
from patchline_ros.cli.app import app
from patchline_ros.cli.errors import USER_ERROR
from patchline_ros.offline.offline_run import OfflineOptions, run_offline
from patchline_ros.offline.stages import MAKING
from patchline_ros.runtime.backend_pass import AS_IN_A_NODE
from patchline_ros.runtime.model_runner import ModelRunner
from patchline_ros.tasks import Task

OFFLINE = [sys.executable, "-m", "patchline_ros.cli", "offline"]
SIDE = 32
"""Of the models' input: the least there is."""

context = multiprocessing.get_context("forkserver")
# What the command takes most of its start for.
context.set_forkserver_preload([run_offline.__module__, "lightning_fabric", "torch._dynamo"])

CONFIG = """
name: small
sources: {{{sources}}}
input_sizes: {{{sizes}}}
weights: none
onnx: false
recipe: {{width: 0.25, epochs: {{{epochs}}},
  batch_size: 8, drift_window: 4,
  threads: 1}}
predictor: {{drifts: [[fog, 0.5], [night, 0.9]], counts: [0, 1]}}
workers: 1
"""

STAGES = ("", "segmentation.safetensors", "detection.safetensors", "predictor/*/*-k1-*.json")
"""Below `.making`/KEY: the folder itself, and what comes in it one after the other."""

ROAD = (Task.DETECTION, Task.SEGMENTATION)
"""Of a set without pictures to classify."""


def _configured(folder: Path, data_set: str, tasks: tuple[Task, ...]) -> Path:
    """The file of a configuration of a bundle for these tasks from that set."""
    text = CONFIG.format(
        sources=", ".join(f"{task}: {{set: {data_set}}}" for task in tasks),
        sizes=", ".join(f"{task}: [{SIDE}, {SIDE}]" for task in tasks),
        epochs=", ".join(f"{task}: 1" for task in tasks),
    )
    config = folder / "small.yaml"
    config.write_text(text)
    return config


def _made(config: Path, out: Path) -> Bundle:
    command = [*OFFLINE, "--config", str(config), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    bundle = Bundle.load(out)
    for entry in bundle.manifest.models.values():
        assert f"{100 * entry.source_metric:.1f}" in done.stdout
    return bundle


def _work(config: Path, out: Path) -> None:
    run_offline(OfflineOptions(config=str(config), out=out), Console(quiet=True))


def _started(config: Path, out: Path) -> ForkServerProcess:
    """A process that does what the command does, from one that has loaded everything already."""
    process = context.Process(target=_work, args=(config, out))
    process.start()
    return process


def _made_by_itself(config: Path, out: Path) -> Bundle:
    process = _started(config, out)
    process.join()
    assert process.exitcode == 0
    return Bundle.load(out)


@pytest.fixture(scope="module")
def acdc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data set."""
    folder: Path = tmp_path_factory.mktemp("acdc")
    miniatures.make_acdc(folder, train=12, val=4)
    return folder


@pytest.fixture(scope="module")
def whole(acdc: Path) -> Bundle:
    """Made without a pause."""
    return _made_by_itself(_configured(acdc, "acdc", ROAD), acdc / "whole")


def _check(bundle: Bundle, tasks: tuple[Task, ...]) -> None:
    assert set(bundle.manifest.models) == set(tasks)
    assert {label.corruption for label in bundle.manifest.drift_labels} == {"fog", "night"}
    assert not set(bundle.held_out[Task.SEGMENTATION]) & set(bundle.trained_on[Task.SEGMENTATION])


def test_one_command_makes_a_bundle(tmp_path: Path) -> None:
    miniatures.make_core50(tmp_path)
    tasks = tuple(Task)
    _check(_made(_configured(tmp_path, "core50", tasks), tmp_path / "bundle"), tasks)


def test_the_bundle_has_its_graphs_where_they_can_be_made(acdc: Path, tmp_path: Path) -> None:
    for name in ("onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason="needs onnxruntime and onnxscript, the extra `onnx`")
    config = _configured(acdc, "acdc", (Task.SEGMENTATION,))
    # VGG16 is exported soonest.
    text = config.read_text().replace("width: 0.25", "width: 0.25, backbone: vgg16")
    mine = acdc / "graphs.yaml"
    mine.write_text(text.replace("onnx: false\n", ""))
    bundle = _made(mine, tmp_path / "bundle")
    model = ModelRunner(bundle, Task.SEGMENTATION, AS_IN_A_NODE)
    assert model.runs_on.endswith("since the bundle has the graph")
    graphs = [name for name in bundle.manifest.files if name.endswith(".onnx")]
    assert len(graphs) == 1 + len(bundle.model(Task.SEGMENTATION).backbone.specs)


def test_a_set_of_segmented_objects_makes_a_bundle(tmp_path: Path) -> None:
    miniatures.make_sbd(tmp_path, count=80)
    tasks = tuple(Task)
    _check(_made_by_itself(_configured(tmp_path, "sbd", tasks), tmp_path / "bundle"), tasks)


def test_a_set_without_pictures_to_classify_makes_a_bundle(whole: Bundle) -> None:
    _check(whole, ROAD)


def test_a_kill_at_any_stage_changes_nothing(acdc: Path, whole: Bundle) -> None:
    config = _configured(acdc, "acdc", ROAD)
    out = acdc / "killed"
    for stage in STAGES:
        process = _started(config, out)
        while not list((out / MAKING).glob(f"*/{stage}")):
            assert process.is_alive(), f"it ended without {stage}"
            time.sleep(0.01)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        with pytest.raises(ValueError, match="not a bundle, or not whole"):
            Bundle.load(out)
    # What a kill leaves while the bundle itself is written.
    (out / "segmentation.safetensors").write_bytes(b"half")
    (out / ".detection.safetensors.part").write_bytes(b"")
    assert _made_by_itself(config, out).manifest == whole.manifest
    assert sorted(path.name for path in out.iterdir()) == sorted(
        path.name for path in whole.path.iterdir()
    )


def test_what_is_missing_is_said_before_anything_is_made(tmp_path: Path) -> None:
    config = str(_configured(tmp_path, "core50", tuple(Task)))
    done = CliRunner().invoke(app, ["offline", "--config", config, "--out", str(tmp_path / "b")])
    assert done.exit_code == USER_ERROR
    assert "core50" in done.stderr and "vlomonaco.github.io" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "b").exists()
