"""The scenes: on small copies of each data set's layout, and on the real data where it is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patchline_ros.bench.scenes import SCENES, Scene, load_scene
from patchline_ros.tasks import Boxes, Task
from patchline_ros.vision.inputs import check_label

PARTS = ("source_train", "source_held_out", "adapt", "test")


def counts(scene: Scene, task: Task) -> list[int]:
    return [len(getattr(scene.tasks[task], part)) for part in PARTS]


def check(scene: Scene) -> None:
    """Sizes, labels and names fit; what is tested on is nowhere else."""
    for task, one in scene.tasks.items():
        for part in PARTS:
            samples = getattr(one, part)
            names = one.names[part]
            assert len(samples) == len(names) == len(set(names)) > 0
            for sample in samples:
                assert sample.image.shape == (*one.input_size, 3)
                assert sample.image.dtype == np.uint8
                check_label(task, one.classes, sample)
        parts = {part: set(one.names[part]) for part in PARTS}
        assert not parts["test"] & parts["adapt"]
        assert not parts["test"] & parts["source_train"]
        assert not parts["source_train"] & parts["source_held_out"]


def test_unknown_scene_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no scene 'dusk'; there are camvid-dusk, .*smoke"):
        load_scene("dusk", None)


@pytest.mark.parametrize(
    "name", [name for name in SCENES if not name.startswith(("sim-", "smoke"))]
)
def test_missing_data_says_what_to_get(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no folder .*: put there .*"):
        load_scene(name, tmp_path)
    with pytest.raises(ValueError, match=r"no data folder was given"):
        load_scene(name, None)


def test_smoke() -> None:
    scene = load_scene("smoke", None)
    check(scene)
    assert all(counts(scene, task) == [12, 8, 8, 8] for task in Task)
    other = load_scene("smoke", None, seed=1).tasks[Task.LANES]
    lanes = scene.tasks[Task.LANES]
    assert not set(other.names["adapt"]) & set(lanes.names["adapt"])
    assert [other.names[p] for p in PARTS if p != "adapt"] == [
        lanes.names[p] for p in PARTS if p != "adapt"
    ]


def test_camvid_dusk(data_root: Path) -> None:
    scene = load_scene("camvid-dusk", data_root)
    check(scene)
    assert counts(scene, Task.LANES) == counts(scene, Task.OBJECTS) == [326, 80, 32, 30]
    assert counts(scene, Task.SIGNS) == [1907, 792, 86, 648]
    signs = scene.tasks[Task.SIGNS]
    assert {sample.label for sample in signs.adapt} == set(range(43))
    assert {sample.label for sample in signs.test} == set(range(43))

    def tracks(part: str) -> set[str]:
        return {name.split("_")[0] for name in signs.names[part]}

    assert not tracks("test") & (tracks("adapt") | tracks("source_train"))
    assert np.mean([s.image.mean() for s in signs.test]) < 0.7 * np.mean(
        [s.image.mean() for s in signs.source_held_out]
    )
    assert sum(len(s.label) for s in scene.tasks[Task.OBJECTS].test if isinstance(s.label, Boxes))


def test_dawn_fog(data_root: Path) -> None:
    scene = load_scene("dawn-fog", data_root)
    check(scene)
    assert scene.tasks[Task.OBJECTS].classes == ("bus", "car", "motorcycle", "truck")
    assert counts(scene, Task.OBJECTS) == [304, 76, 112, 96]
