"""The scenes: on small copies of each data set's layout, and on the real data where it is there."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from miniatures import (
    make_acdc,
    make_camvid_and_gtsrb,
    make_core50,
    make_sbd,
    make_vehicles_and_dawn,
    write_picture,
    write_voc,
)

from patchline_ros.bench.made_scenes import MADE
from patchline_ros.bench.scene import TaskScene
from patchline_ros.bench.scenes import SCENES, Scene, load_scene, load_tuning_scene
from patchline_ros.datasets.paper_splits import CORE50_CATEGORIES, KNOWN_SESSIONS
from patchline_ros.datasets.voc import VocFolder
from patchline_ros.datasets.yolo import YoloFolder
from patchline_ros.drift.corruptions import FAMILIES, corruptions_of
from patchline_ros.offline.preparation import PreparationSettings
from patchline_ros.tasks import IGNORE, Boxes, Task
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
    assert all(counts(scene, task) == [32, 8, 10, 8] for task in Task)
    other = load_scene("smoke", None, seed=1).tasks[Task.SEGMENTATION]
    lanes = scene.tasks[Task.SEGMENTATION]
    assert not set(other.names["adapt"]) & set(lanes.names["adapt"])
    assert [other.names[p] for p in PARTS if p != "adapt"] == [
        lanes.names[p] for p in PARTS if p != "adapt"
    ]


def test_small_camvid_dusk(tmp_path: Path) -> None:
    make_camvid_and_gtsrb(tmp_path)
    scene = load_scene("camvid-dusk", tmp_path)
    check(scene)
    assert counts(scene, Task.SEGMENTATION) == [40, 10, 12, 8]
    lanes = scene.tasks[Task.SEGMENTATION]
    assert lanes.names["adapt"][:9] == tuple(f"dusk_{i:03d}" for i in [*range(8), 16])
    assert lanes.adapt[0].image is scene.tasks[Task.DETECTION].adapt[0].image
    # Three tracks of one class give one to test on and two that the source knows; of the other
    # class two of eight are held out.
    signs = scene.tasks[Task.CLASSIFICATION]
    assert counts(scene, Task.CLASSIFICATION) == [2 * 5 + 6 * 5, 5 + 2 * 5, 2 * 2, 5 + 5]
    assert sum(name in signs.names["source_train"] for name in signs.names["adapt"]) == 2
    assert {name.split("_")[1] for name in signs.names["adapt"]} == {"00000", "00004"}


def test_a_made_drift_shows_nothing_that_a_preparation_sees(tmp_path: Path) -> None:
    make_camvid_and_gtsrb(tmp_path, day=200)
    scene = load_scene("camvid-made-dark", tmp_path)
    check(scene)
    assert counts(scene, Task.SEGMENTATION) == [160, 10, 10, 20]
    assert counts(scene, Task.CLASSIFICATION) == [2 * 5 + 6 * 5, 5, 2, 5]
    for task in scene.tasks.values():
        drift = {*task.names["adapt"], *task.names["test"]}
        assert not drift & {*task.names["source_train"], *task.names["source_held_out"]}
    lanes = scene.tasks[Task.SEGMENTATION]
    # Stretches stay whole: frames to adapt on are no neighbours of those to test on.
    assert lanes.names["adapt"] == tuple(f"day_{i:03d}" for i in range(40, 50))
    assert lanes.adapt[0].image is scene.tasks[Task.DETECTION].adapt[0].image
    fog = load_scene("camvid-made-fog", tmp_path).tasks[Task.SEGMENTATION]
    assert fog.names == lanes.names
    assert fog.test[0].image.mean() > lanes.test[0].image.mean()


def test_made_drifts_are_of_severities_that_no_preparation_sees() -> None:
    settings = PreparationSettings()
    seen = {*settings.training_drifts, *settings.stopping_drifts, *settings.gate_drifts}
    assert set(MADE) == set(FAMILIES)
    for family, drifts in MADE.items():
        assert {name for name, _ in drifts} == set(corruptions_of(family))
        assert not seen & set(drifts)


def test_small_dawn_fog(tmp_path: Path) -> None:
    make_vehicles_and_dawn(tmp_path)
    scene = load_scene("dawn-fog", tmp_path)
    check(scene)
    objects = scene.tasks[Task.DETECTION]
    assert counts(scene, Task.DETECTION) == [8, 2, 12, 7]
    assert "fog-9" not in objects.names["test"]
    label = objects.adapt[0].label
    assert isinstance(label, Boxes)
    # 24x32 pixels become 192x256, and what is below the picture is cut off.
    assert label.boxes.tolist() == [[32, 48, 160, 192]]
    assert objects.classes[label.labels[0]] == "truck"


@pytest.mark.parametrize("name", ["core50-nc", "core50-ni", "core50-nic"])
def test_small_core50(name: str, core50: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        scene = load_scene(name, core50)
    check(scene)
    assert set(scene.tasks) == set(Task)
    known = 8 * 18 * 2
    drift = {"core50-nc": [144, 36], "core50-ni": [3 * 18 * 2, 30], "core50-nic": [72, 36]}[name]
    assert counts(scene, Task.CLASSIFICATION) == [known, 120, *drift]
    assert f"{name} has {known} + 120 + {drift[0]} + {drift[1]} pictures" in caplog.text
    signs = scene.tasks[Task.CLASSIFICATION]
    assert signs.classes == CORE50_CATEGORIES

    def seen(place: int, part: str) -> set[int]:
        return {int(shot.split("_")[place]) for shot in signs.names[part]}

    for part in ("adapt", "test"):
        new_places = not seen(1, part) & set(KNOWN_SESSIONS)
        new_things = not seen(2, part) & seen(2, "source_train")
        assert (new_places, new_things) == (name != "core50-nc", name != "core50-ni")
    label = scene.tasks[Task.DETECTION].test[0].label
    assert isinstance(label, Boxes)
    assert label.boxes.tolist() == [[44, 66, 264, 308]]
    assert set(np.unique(scene.tasks[Task.SEGMENTATION].test[0].label)) == {0, 1 + label.labels[0]}


@pytest.fixture(scope="module")
def core50(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    make_core50(data)
    return data


@pytest.mark.parametrize("condition", ["rain", "snow", "night"])
def test_small_acdc(condition: str, tmp_path: Path) -> None:
    make_acdc(tmp_path)
    scene = load_scene(f"acdc-{condition}", tmp_path)
    # The names of the miniature are the same in every condition.
    assert counts(scene, Task.SEGMENTATION) == counts(scene, Task.DETECTION) == [4, 2, 4, 2]
    first, second = (sample.label for sample in scene.tasks[Task.DETECTION].adapt[:2])
    assert isinstance(first, Boxes)
    assert isinstance(second, Boxes)
    assert first.boxes.tolist() == [[22, 44, 132, pytest.approx(161.3333)]]
    assert scene.tasks[Task.DETECTION].classes[first.labels[0]] == "car"
    assert len(second) == 0
    assert set(np.unique(scene.tasks[Task.SEGMENTATION].adapt[0].label)) == {0, 10, 13, IGNORE}


def test_small_sbd_plus(tmp_path: Path) -> None:
    make_sbd(tmp_path)
    scene = load_scene("sbd-plus", tmp_path)
    check(scene)
    assert counts(scene, Task.CLASSIFICATION) == [9, 2, 14, 3]
    assert {sample.label for sample in scene.tasks[Task.CLASSIFICATION].adapt} == {7, 11}
    lanes = scene.tasks[Task.SEGMENTATION]
    assert set(np.unique([sample.label for sample in lanes.source_train])) == {0, 8, 12, IGNORE}
    other = load_scene("sbd-plus", tmp_path, seed=1).tasks[Task.SEGMENTATION]
    assert other.names["source_train"] == lanes.names["source_train"]
    assert other.names == lanes.names
    assert np.any(other.test[0].image != lanes.test[0].image)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (make_camvid_and_gtsrb, "camvid-dusk"),
        (make_vehicles_and_dawn, "dawn-fog"),
        (make_sbd, "sbd-plus"),
    ],
)
def test_no_seed_is_tested_on_what_is_tuned_on(
    make: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    make(tmp_path)
    check_tuning(tmp_path, (load_scene(name, tmp_path, seed) for seed in range(5)))


def test_no_seed_of_core50_is_tested_on_what_is_tuned_on(core50: Path) -> None:
    check_tuning(core50, (load_scene("core50-nic", core50, seed) for seed in range(5)))


def check_tuning(data: Path, scenes: Iterable[Scene]) -> None:
    """With the seed that experiments tune with; `scenes` have seeds that they run with."""
    tuned: dict[Task, TaskScene] = {}
    for scene in scenes:
        tuned = tuned or load_tuning_scene(scene.name, data, 100).tasks
        for task, there in scene.tasks.items():
            assert not set(there.names["test"]) & set(tuned[task].names["adapt"])
            assert there.names["source_train"] == tuned[task].names["source_train"]
            assert len(tuned[task].adapt) == len(there.adapt)


def test_boxes_are_in_pixels_and_cut_off_at_the_picture(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "a.png", size=(24, 32))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.25 0.5\n")
    write_voc(tmp_path / "annotations" / "a.xml", ("car", 20, -2, 40, 30))
    for folder, box in ((YoloFolder, [12, 6, 20, 18]), (VocFolder, [20, 0, 32, 24])):
        label = folder(tmp_path, ("bus", "car"))[0].label
        assert isinstance(label, Boxes)
        assert (label.boxes.tolist(), label.labels.tolist()) == ([box], [1])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("2 0.5 0.5 0.1", "line 2 of .*a.txt is no box: it has 4 numbers instead of 5"),
        ("5 0.5 0.5 0.1 0.1", "line 2 of .*a.txt holds the class id 5; the ids are 0 to 1"),
        ("1 0.5 nan 0.1 0.1", "line 2 of .*a.txt is no box: .* no area inside the picture"),
        ("car 0.5 0.5 0.1 0.1", "line 2 of .*a.txt is no box"),
    ],
)
def test_broken_yolo_label(tmp_path: Path, line: str, complaint: str) -> None:
    write_picture(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text(f"1 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(ValueError, match=complaint):
        YoloFolder(tmp_path, ("bus", "car"))[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<annotation>", "a.xml is no XML"),
        ("<?xml version='1.0' encoding='utf-99'?><a/>", "a.xml is no XML: unknown encoding"),
        ("<?xml version='1.0' encoding='utf-7'?><a/>", "a.xml is no XML: multi-byte encodings"),
        ("<a><object><name>cow</name></object></a>", "holds the class 'cow'; it knows car"),
        ("<a><object><name>car</name></object></a>", "has a car without the four corners"),
    ],
)
def test_broken_voc_annotation(tmp_path: Path, text: str, complaint: str) -> None:
    write_picture(tmp_path / "images" / "a.png")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.xml").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        VocFolder(tmp_path, ("car",))[0]
    write_voc(tmp_path / "annotations" / "a.xml", ("car", 40, 2, 50, 9))
    with pytest.raises(ValueError, match=r"has a car at 40, 2, 50, 9, which is no area of the"):
        VocFolder(tmp_path, ("car",))[0]


@pytest.mark.parametrize(
    ("make", "scene", "broken"),
    [
        (make_vehicles_and_dawn, "dawn-fog", "vehicles/images/*.png"),
        (make_acdc, "acdc-rain", "acdc/gt/rain/val/*/*_gt_labelTrainIds.png"),
        (make_acdc, "acdc-rain", "acdc/gt_detection/fog/*_train_gt_detection.json"),
        (make_sbd, "sbd-plus", "sbd/cls/*.mat"),
        (make_sbd, "sbd-plus", "VOCdevkit/VOC2012/SegmentationClass/*.png"),
        (make_sbd, "sbd-plus", "VOCdevkit/VOC2012/JPEGImages/*.jpg"),
    ],
)
def test_broken_file_is_named(
    make: Callable[[Path], None], scene: str, broken: str, tmp_path: Path
) -> None:
    make(tmp_path)
    paths = list(tmp_path.glob(broken))
    for path in paths:
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match="|".join(re.escape(str(path)) for path in paths)):
        load_scene(scene, tmp_path)


@pytest.fixture
def own_core50(core50: Path, tmp_path: Path) -> Path:
    """One whose files can be removed and added to."""
    data = tmp_path / "data"
    shutil.copytree(core50, data, copy_function=os.link)
    return data


def test_core50_without_boxes_or_masks(own_core50: Path) -> None:
    (own_core50 / "core50" / "masks").rename(own_core50 / "masks")
    assert set(load_scene("core50-ni", own_core50).tasks) == {Task.CLASSIFICATION, Task.DETECTION}
    boxes = own_core50 / "core50" / "bbox" / "s1" / "CropC_o1.txt"
    boxes.unlink()
    boxes.write_text("Color000: 1 2 3 4\n")
    with pytest.raises(ValueError, match=r"CropC_o1.txt has no line for the frame"):
        load_scene("core50-ni", own_core50)


def test_a_stray_picture_among_core50s_is_named(own_core50: Path) -> None:
    video = own_core50 / "core50" / "core50_350x350" / "s1" / "o1"
    for name in ("foo.png", "C_01_01_x.png", "C_01_02_000.png", "C_01_01_7.png"):
        write_picture(video / name)
        with pytest.raises(ValueError, match=f"{video / name} is not named C_SESSION_THING_FRAME"):
            load_scene("core50-ni", own_core50)
        (video / name).unlink()


# The real data.


def test_camvid_dusk(data_root: Path) -> None:
    scene = load_scene("camvid-dusk", data_root)
    check(scene)
    assert counts(scene, Task.SEGMENTATION) == counts(scene, Task.DETECTION) == [326, 80, 32, 30]
    assert counts(scene, Task.CLASSIFICATION) == [1907, 792, 86, 648]
    signs = scene.tasks[Task.CLASSIFICATION]
    assert {sample.label for sample in signs.adapt} == set(range(43))
    assert {sample.label for sample in signs.test} == set(range(43))

    def tracks(part: str) -> set[str]:
        return {name.split("_")[0] for name in signs.names[part]}

    assert not tracks("test") & (tracks("adapt") | tracks("source_train"))
    assert np.mean([s.image.mean() for s in signs.test]) < 0.7 * np.mean(
        [s.image.mean() for s in signs.source_held_out]
    )
    assert sum(len(s.label) for s in scene.tasks[Task.DETECTION].test if isinstance(s.label, Boxes))
    check_tuning(data_root, [scene])


def test_dawn_fog(data_root: Path) -> None:
    scene = load_scene("dawn-fog", data_root)
    check(scene)
    assert scene.tasks[Task.DETECTION].classes == ("bus", "car", "motorcycle", "truck")
    assert counts(scene, Task.DETECTION) == [304, 76, 112, 96]
