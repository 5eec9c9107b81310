"""From a configuration that asks for a learnt patch predictor to a bundle that carries it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from tiny_watched import road

from patchline_ros.adaptation.patch_choice import choose_patches
from patchline_ros.bundle import PREDICTOR, Bundle
from patchline_ros.jobs.scheduler import ProcessPool
from patchline_ros.manifest import LearntKind
from patchline_ros.offline.bundle_making import Report, make_bundle
from patchline_ros.offline.config import OfflineConfig
from patchline_ros.offline.offline_run import OfflineOptions, run_offline
from patchline_ros.offline.sources import SourceData, TaskData
from patchline_ros.tasks import Task

KINDS: list[LearntKind] = ["light", "vgg16"]
CONFIG = {
    "name": "b",
    "sources": {"segmentation": {"set": "sim"}},
    "input_sizes": {"segmentation": [64, 64]},
    "recipe": {
        "width": 0.25,
        "epochs": {"classification": 1, "detection": 1, "segmentation": 1},
        "batch_size": 8,
        "drift_window": 4,
        "threads": 1,
        "seed": 3,
    },
    "predictor": {"drifts": [["fog", 0.5], ["noise", 0.9], ["night", 1.0]], "counts": [0, 1]},
}


def config_of(kind: LearntKind) -> OfflineConfig:
    """Of a bundle with such a predictor."""
    vgg16 = {"vgg16": {"weights": "random weights", "size": [32, 32]}} if kind == "vgg16" else {}
    return OfflineConfig.model_validate({**CONFIG, "patch_count": kind, **vgg16})


SAMPLES = [road(seed) for seed in range(16)]
SOURCE = SourceData(
    "sim",
    {
        Task.SEGMENTATION: TaskData(
            classes=("dark", "light"),
            names=[f"road{i}" for i in range(10)],
            train=SAMPLES[:10],
            held_out=SAMPLES[10:],
            held_out_names=[f"road{i}" for i in range(10, 16)],
        )
    },
)


def make(kind: LearntKind, out: Path, report: Report = lambda *_: None) -> Bundle:
    with closing(ProcessPool(1)) as executor:
        bundle = make_bundle(SOURCE, config_of(kind), None, out, executor, report)
    assert bundle is not None
    return bundle


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_predictor_also_after_a_kill(
    kind: LearntKind, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    whole = make(kind, tmp_path / "whole")
    entry = whole.manifest.patch_predictor
    assert entry is not None and entry.kind == kind
    assert entry.vgg16 == ("random weights" if kind == "vgg16" else "")
    needed = [label.patches for label in whole.manifest.drift_labels]
    hits = np.equal(entry.predicted, needed)
    assert entry.accuracy == pytest.approx(hits.mean())
    assert entry.mean_absolute_error == np.abs(np.subtract(entry.predicted, needed)).mean()

    def stop(stage: str, share: float, _: str) -> None:
        if stage == "patch predictor" and share > 0.5:
            raise KeyboardInterrupt

    out = tmp_path / "killed"
    torch.manual_seed(2)
    with pytest.raises(KeyboardInterrupt):
        make(kind, out, stop)
    kept = {
        path: path.stat().st_mtime_ns for path in out.glob(f".making/*/patch_predictor/{kind}-*")
    }
    # Two drifts were read; neither is read again.
    assert len(kept) == 2
    again: list[bool] = []

    def look(stage: str, share: float, _: str) -> None:
        if stage == "patch predictor" and share > 0.5 and not again:
            again.append({path: path.stat().st_mtime_ns for path in kept} == kept)

    make(kind, out, look)
    assert again == [True]
    read = Bundle.load(out)
    assert read.manifest == whole.manifest
    assert (out / PREDICTOR).read_bytes() == (whole.path / PREDICTOR).read_bytes()
    choice = choose_patches(read, [sample.image for sample in SAMPLES], 0.5)
    assert choice.by == kind and 1 <= choice.patches <= 7 and choice.gflops > 0


def test_what_is_no_vgg16_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "name: b\nsources: {segmentation: {set: sim}}\nweights: none\npatch_count: vgg16\n"
        "vgg16: {weights: mine.npz}\n"
    )
    # Relative to the folder of the file.
    with pytest.raises(ValueError, match=rf"weights file {tmp_path}/mine\.npz does not exist"):
        run_offline(OfflineOptions(config=str(mine), out=tmp_path / "b"), Console(quiet=True))
    stages: list[str] = []
    with closing(ProcessPool(1)) as executor, pytest.raises(ValueError, match="not those of a VGG"):
        make_bundle(
            SOURCE,
            config_of("vgg16"),
            None,
            tmp_path / "b",
            executor,
            lambda stage, *_: stages.append(stage),
            vgg16={"features.0.weight": torch.zeros(64, 3, 3, 3)},
        )
    assert stages == []
