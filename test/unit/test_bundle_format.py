"""Bundles of each format load, and what is no bundle is refused with a sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle

from patchline_ros.adaptation.affinity import training_order
from patchline_ros.bundle import EXAMPLES, HELD_OUT, MANIFEST, Bundle, BundleError
from patchline_ros.tasks import Task

SHIPPED = Path(__file__).parents[2] / "resource" / "sim_road"
"""Of format 1."""


def test_format_1_is_migrated_as_it_is_read() -> None:
    written = json.loads((SHIPPED / MANIFEST).read_text())
    assert written["format"] == 1
    bundle = Bundle.load(SHIPPED)
    assert bundle.manifest.model_dump(mode="json", exclude={"models"}) == {
        **{name: value for name, value in written.items() if name != "models"},
        "format": 3,
        "drift": {**written["drift"], "task": "segmentation"},
        "affinity": {
            "perceptual_hash": {
                "detection segmentation": written["affinity"]["lanes objects"],
                "classification segmentation": written["affinity"]["lanes signs"],
                "classification detection": written["affinity"]["objects signs"],
            }
        },
        "affinity_measure": "perceptual_hash",
        "drift_labels": [],
        "label_margin": 0.01,
        "patch_predictor": None,
    }
    assert {task: entry.fingerprint for task, entry in bundle.manifest.models.items()} == {
        Task.CLASSIFICATION: written["models"]["signs"]["fingerprint"],
        Task.DETECTION: written["models"]["objects"]["fingerprint"],
        Task.SEGMENTATION: written["models"]["lanes"]["fingerprint"],
    }
    # What a car asks of it is as before.
    assert training_order(bundle.manifest.training_affinity, list(Task), 1) == [
        Task.SEGMENTATION,
        Task.DETECTION,
        Task.CLASSIFICATION,
    ]
    assert len(bundle.trained_on[Task.SEGMENTATION]) == 640
    assert bundle.held_out == bundle.examples == {}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    made = tiny_bundle.make_bundle(tmp_path / "b")
    read = Bundle.load(tmp_path / "b")
    assert read.manifest == made.manifest
    assert read.held_out[Task.CLASSIFICATION] == ["one", "two"]
    assert {task: len(pictures) for task, pictures in read.examples.items()} == dict.fromkeys(
        Task, 2
    )
    np.testing.assert_array_equal(read.examples[Task.SEGMENTATION][1], tiny_bundle.picture(901))
    assert {HELD_OUT, EXAMPLES} <= read.manifest.files.keys()
    # A card is for people: with another one, or none, the bundle is the same.
    (tmp_path / "b" / "card.html").write_text("a drawing")
    assert Bundle.load(tmp_path / "b").manifest == made.manifest


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 4}, r"has format 4; this patchline_ros reads 1 to 3: update it, or make"),
        ({"format": "new"}, r"has format 'new'; this patchline_ros reads 1 to 3"),
        ({"format": 1, "affinity": None}, r"affinity\.perceptual_hash: null is not .*a mapping"),
        ({"affinity_measure": "cka"}, "affinity_measure is 'cka', but affinity has only perceptu"),
        ({"affinity": 7}, "affinity: 7 is not allowed: it should be a mapping"),
    ],
)
def test_a_manifest_that_can_not_be_read(
    change: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    shutil.copytree(SHIPPED, tmp_path / "b")
    plain = Bundle.load(SHIPPED).manifest.model_dump(mode="json")
    (tmp_path / "b" / MANIFEST).write_text(json.dumps({**plain, **change}))
    with pytest.raises(BundleError, match=sentence):
        Bundle.load(tmp_path / "b")
