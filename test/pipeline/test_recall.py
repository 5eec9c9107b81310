"""A drift that returns: kept patch sets are verified by the worker, and nothing is trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
from test_adaptation import events_of, fill, runner_for

from patchline_ros.adaptation.bank import KnownDrift
from patchline_ros.adaptation.episode import Accepted, Finished, Rejected
from patchline_ros.adaptation.planner import settled_since
from patchline_ros.adaptation.store import FrameStore
from patchline_ros.bundle import Bundle
from patchline_ros.drift.window import FrameWindow
from patchline_ros.patching.patch_set import apply, read_metadata, renumbered
from patchline_ros.tasks import Task


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    """A bundle, and a folder in which a first episode accepted a patch set for signs."""
    folder = tmp_path_factory.mktemp("trained")
    bundle = tiny_bundle.make_bundle(folder / "b")
    fill(FrameStore(folder / "store", 100, 100), [Task.CLASSIFICATION], 20)
    runner = runner_for(folder, bundle, epochs=20)
    runner.start(since_ns=1000, mmd2=0.5, active={})
    assert any(isinstance(event, Accepted) for event in events_of(runner))
    return bundle, folder


@pytest.fixture
def bundle(trained: tuple[Bundle, Path]) -> Bundle:
    return trained[0]


@pytest.fixture
def kept(trained: tuple[Bundle, Path], tmp_path: Path) -> Path:
    """That patch set, in a copy of the folder."""
    for part in ("store", "work"):
        shutil.copytree(trained[1] / part, tmp_path / part)
    (path,) = (tmp_path / "work").rglob("classification.v1.safetensors")
    return path


def test_what_holds_becomes_a_new_version_without_training(
    tmp_path: Path, bundle: Bundle, kept: Path
) -> None:
    runner = runner_for(tmp_path, bundle, epochs=100_000)
    _, source = runner.return_to_source(Task.CLASSIFICATION, "")
    assert runner.latest()[Task.CLASSIFICATION] == (2, source) and source.read_bytes() == b""
    known = KnownDrift("000001", 0.0, 0.5, {Task.CLASSIFICATION: kept}, "labels")
    runner.start(since_ns=1000, mmd2=0.5, active={Task.CLASSIFICATION: 0}, known=known)
    accepted, finished = events_of(runner)
    assert isinstance(accepted, Accepted) and accepted.version == 3
    assert isinstance(finished, Finished)
    assert finished.episode.bank_entry == "000001"
    assert finished.episode.accepted == {"classification": True}
    assert not finished.episode.train_gflops
    gate = finished.episode.gate[Task.CLASSIFICATION]
    assert gate.after > gate.before + gate.error > gate.before
    again = accepted.path.read_bytes()
    assert read_metadata(again).version == 3
    expected = read_metadata(again).expected
    assert expected is not None and expected.ran == "", "the source ran while it was judged"
    before, now = (
        apply(
            bundle.model(Task.CLASSIFICATION), bundle.fingerprint(Task.CLASSIFICATION), data
        ).state_dict()
        for data in (kept.read_bytes(), again)
    )
    assert all((before[name] == now[name]).all() for name in before)


def test_what_does_not_hold_is_rejected(tmp_path: Path, bundle: Bundle, kept: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(
        tiny_bundle.make_patch_set(bundle, Task.SEGMENTATION, 1, base_fingerprint="ab" * 32)
    )
    fill(FrameStore(tmp_path / "store", 100, 100), [Task.SEGMENTATION], 4)
    weak = tmp_path / "weak.safetensors"
    weak.write_bytes(tiny_bundle.make_patch_set(bundle, Task.CLASSIFICATION, 1))
    runner = runner_for(tmp_path, bundle, epochs=100_000)
    patch_sets = {Task.CLASSIFICATION: weak, Task.SEGMENTATION: other}
    known = KnownDrift("000001", 0.0, 0.5, patch_sets, "labels")
    runner.start(since_ns=1000, mmd2=0.5, active={Task.CLASSIFICATION: 1}, known=known)
    worse, wrong_base, finished = events_of(runner)
    assert isinstance(worse, Rejected) and "labelled frames the model of an earlier" in worse.reason
    assert isinstance(wrong_base, Rejected) and "another source model" in wrong_base.reason
    assert isinstance(finished, Finished)
    assert finished.episode.accepted == {"classification": False, "segmentation": False}
    assert finished.episode.gate[Task.CLASSIFICATION].error >= 0
    assert runner.latest() == {Task.CLASSIFICATION: (1, kept)}


def test_what_runs_already_holds_and_gets_no_new_version(
    tmp_path: Path, bundle: Bundle, kept: Path
) -> None:
    runner = runner_for(tmp_path, bundle, epochs=100_000)
    # As it comes back from the bank after a restart: the same tensors as another version.
    again = tmp_path / "again.safetensors"
    again.write_bytes(renumbered(kept.read_bytes(), 7))
    known = KnownDrift("000001", 0.0, 0.5, {Task.CLASSIFICATION: again}, "labels")
    runner.start(since_ns=2000, mmd2=0.5, active={Task.CLASSIFICATION: 1}, known=known)
    same, finished = events_of(runner)
    assert isinstance(same, Rejected) and "runs already" in same.reason
    assert isinstance(finished, Finished) and finished.episode.accepted == {"classification": True}
    assert settled_since(finished.episode) == 2000
    assert runner.latest() == {Task.CLASSIFICATION: (1, kept)}


def test_a_window_is_the_drifts_once_it_is_full_of_it() -> None:
    window = FrameWindow(width=2, size=3)
    for stamp in range(4):
        window.add(stamp, np.full(2, stamp, np.float32))
        window.add(stamp, np.full(3, stamp, np.float32))
        window.add(stamp, np.array([np.nan, 0], np.float32))
    assert window.since(2) is None
    features = window.since(1)
    assert features is not None
    np.testing.assert_array_equal(features[:, 0], [1, 2, 3])
    assert FrameWindow(width=2, size=3).since(0) is None
