"""Bundles of each format load, and what is no bundle is refused with a sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
import torch

from patchline_ros.adaptation.affinity import training_order
from patchline_ros.adaptation.store import FrameStore
from patchline_ros.bundle import EXAMPLES, HELD_OUT, MANIFEST, Bundle
from patchline_ros.files import sha256
from patchline_ros.manifest import BundleError
from patchline_ros.patching.patch_set import apply, read_metadata
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.heads.base import tensors_in
from patchline_ros.vision.inputs import image_tensor

SHIPPED = Path(__file__).parents[2] / "resource" / "sim_road"
FORMAT_1 = Path(__file__).parent / "format_1_manifest.json"
"""A manifest of format 1, as the first bundle of the simulated road was written with."""


def test_format_1_is_migrated_as_it_is_read(tmp_path: Path) -> None:
    written = json.loads(FORMAT_1.read_text())
    assert written["format"] == 1
    # Its weights are no longer here: those of a smaller bundle stand in for them.
    made = tiny_bundle.make_bundle(tmp_path)
    _as_format_2(tmp_path)
    written["files"] = {name: sha256((tmp_path / name).read_bytes()) for name in written["files"]}
    (tmp_path / MANIFEST).write_text(json.dumps(written))
    bundle = Bundle.load(tmp_path)
    assert bundle.manifest.model_dump(mode="json", exclude={"models"}) == {
        **{name: value for name, value in written.items() if name != "models"},
        "format": 5,
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
        "prepared": {},
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
    assert bundle.trained_on == made.trained_on
    assert bundle.held_out == bundle.examples == {}


ROAD_NAMES = {"classification": "signs", "detection": "objects", "segmentation": "lanes"}


def _called_as_in_format_2(plain: object) -> object:
    """The same with the earlier names of tasks, wherever one stands for itself or in a pair."""
    if isinstance(plain, dict):
        named = {_called_as_in_format_2(key): value for key, value in plain.items()}
        return {key: _called_as_in_format_2(value) for key, value in named.items()}
    if isinstance(plain, str):
        words = [ROAD_NAMES.get(word, word) for word in plain.split(" ")]
        return " ".join(sorted(words) if len(words) == 2 and words[0] in ROAD_NAMES else words)
    return plain


def _as_format_2(folder: Path) -> None:
    """Rewrites a bundle as it was written before tasks had their present names."""
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in ("trained_on.json", HELD_OUT):
        text = json.dumps(_called_as_in_format_2(json.loads((folder / name).read_text())))
        (folder / name).write_text(text)
    for task, name in ROAD_NAMES.items():
        (folder / f"{task}.safetensors").rename(folder / f"{name}.safetensors")
    manifest = {**_called_as_in_format_2(manifest), "format": 2}
    del manifest["patch_predictor"], manifest["prepared"]
    names = [path.name for path in folder.iterdir() if path.name not in (MANIFEST, "card.html")]
    manifest["files"] = {name: sha256((folder / name).read_bytes()) for name in names}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_format_2_gives_the_outputs_of_before(tmp_path: Path) -> None:
    made = tiny_bundle.make_bundle(tmp_path / "b")
    models = {task: made.model(task) for task in Task}
    patch_sets = {task: tiny_bundle.make_patch_set(made, task, 3) for task in Task}
    _as_format_2(tmp_path / "b")
    read = Bundle.load(tmp_path / "b")
    assert json.loads((tmp_path / "b" / MANIFEST).read_text())["models"].keys() == {
        "signs",
        "objects",
        "lanes",
    }
    assert read.manifest.training_affinity == made.manifest.training_affinity
    assert read.held_out == made.held_out and read.examples.keys() == made.examples.keys()
    images = torch.stack([image_tensor(tiny_bundle.picture(seed)) for seed in range(2)])
    for task, name in ROAD_NAMES.items():
        data = patch_sets[Task(task)].replace(
            f'\\"format\\":3,\\"task\\":\\"{task}\\"'.encode(),
            f'\\"format\\":2,\\"task\\":\\"{name}\\"'.encode().ljust(
                len(f'\\"format\\":3,\\"task\\":\\"{task}\\"')
            ),
        )
        assert data != patch_sets[Task(task)]
        assert read_metadata(data).task is Task(name)
        for before, now in (
            (models[Task(task)], read.model(Task(task))),
            (
                apply(models[Task(task)], made.fingerprint(Task(task)), patch_sets[Task(task)]),
                apply(read.model(Task(task)), read.fingerprint(Task(task)), data),
            ),
        ):
            with torch.inference_mode():
                outputs = zip(tensors_in(before(images)), tensors_in(now(images)), strict=True)
                assert all(torch.equal(one, other) for one, other in outputs)


def test_a_store_adopts_the_names_of_tasks(tmp_path: Path) -> None:
    sample = Sample(tiny_bundle.picture(0), 1)
    FrameStore(tmp_path, 10, 10).add("a", Task.CLASSIFICATION, 5, sample)
    (tmp_path / "classification").rename(tmp_path / "signs")
    store = FrameStore(tmp_path, 10, 10)
    assert [frame.frame_id for frame in store.select(Task.CLASSIFICATION, 0)] == ["a"]
    assert not (tmp_path / "signs").exists()


def test_a_file_that_is_not_the_manifests_is_named(tmp_path: Path) -> None:
    made = tiny_bundle.make_bundle(tmp_path / "b")
    for name in made.manifest.files:
        whole = (made.path / name).read_bytes()
        (made.path / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(BundleError, match=f"is damaged: {name} does not have the sha256"):
            Bundle.load(made.path)
        (made.path / name).write_bytes(whole)
    assert Bundle.load(made.path).manifest == made.manifest


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    made = tiny_bundle.make_bundle(tmp_path / "b")
    read = Bundle.load(tmp_path / "b")
    assert read.manifest == made.manifest
    assert read.held_out[Task.CLASSIFICATION] == ["one", "two"]
    assert {task: len(pictures) for task, pictures in read.examples.items()} == dict.fromkeys(
        Task, 2
    )
    assert list(read.examples) == list(read.manifest.models)
    np.testing.assert_array_equal(read.examples[Task.SEGMENTATION][1], tiny_bundle.picture(901))
    assert {HELD_OUT, EXAMPLES} <= read.manifest.files.keys()
    # A card is for people: with another one, or none, the bundle is the same.
    (tmp_path / "b" / "card.html").write_text("a drawing")
    assert Bundle.load(tmp_path / "b").manifest == made.manifest


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 6}, r"has format 6; this patchline_ros reads 1 to 5: update it, or make"),
        ({"format": "new"}, r"has format 'new'; this patchline_ros reads 1 to 5"),
        ({"format": 1, "affinity": None}, r"affinity\.perceptual_hash: null is not .*a mapping"),
        (
            {"affinity_measure": "ssim"},
            "affinity_measure is .ssim., but affinity has only perceptual_hash, mean_hash",
        ),
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
