"""Source data by configuration: on small copies of each layout, and as it was on the known sets."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from miniatures import (
    make_acdc,
    make_bag,
    make_camvid_and_gtsrb,
    make_coco,
    make_core50,
    make_masks,
    make_sbd,
    make_vehicles_and_dawn,
    make_voc,
    make_yolo,
    write_picture,
)
from pydantic import TypeAdapter, ValidationError

from patchline_ros.bench.scenes import load_scene
from patchline_ros.datasets.camvid import CamVid
from patchline_ros.datasets.gtsrb import Gtsrb
from patchline_ros.datasets.sbd import Sbd
from patchline_ros.messages.label_check import check_label
from patchline_ros.offline import source_config
from patchline_ros.offline.source_config import SimSource, SourceConfig, held_out_indices
from patchline_ros.offline.sources import INPUT_SIZES, SourceData, load_source
from patchline_ros.sim import RoadSimulator
from patchline_ros.tasks import Boxes, Sample, Task
from patchline_ros.vision.inputs import resized

SIZES = {task: (32, 32) for task in Task}
OWN = {"classes": ["bus", "car"]}
CAMVID = {
    "classification": {"set": "gtsrb"},
    "detection": {"set": "camvid"},
    "segmentation": {"set": "camvid"},
}


def load(given: dict[str, dict[str, object]], data: Path | None, workers: int = 2) -> SourceData:
    sources = TypeAdapter(dict[Task, SourceConfig]).validate_python(given)
    return load_source(sources, data, SIZES, workers)


def same(one: Sample, other: Sample) -> bool:
    if isinstance(one.label, Boxes) and isinstance(other.label, Boxes):
        labels = np.array_equal(one.label.boxes, other.label.boxes) and np.array_equal(
            one.label.labels, other.label.labels
        )
    else:
        labels = np.array_equal(one.label, other.label)
    return labels and np.array_equal(one.image, other.image)


def all_same(some: list[Sample], others: list[Sample]) -> bool:
    return len(some) == len(others) and all(map(same, some, others))


def check(source: SourceData) -> None:
    for task, there in source.tasks.items():
        assert len(there.train) == len(there.names) > 0
        assert len(there.held_out) == len(there.held_out_names) > 0
        for sample in [*there.train, *there.held_out]:
            assert sample.image.shape == (*SIZES[task], 3)
            check_label(task, there.classes, sample)


def test_held_out_frames_are_whole_stretches() -> None:
    assert held_out_indices(120) == [*range(40, 50), *range(90, 100)]


def test_camvid_and_gtsrb_are_read_and_split_as_ever(tmp_path: Path) -> None:
    make_camvid_and_gtsrb(tmp_path)
    source = load(CAMVID, tmp_path)
    check(source)
    assert source.kind == "camvid"
    assert list(source.tasks) == list(Task)
    day = CamVid(tmp_path / "camvid" / "day")
    for task in (Task.DETECTION, Task.SEGMENTATION):
        there = source.tasks[task]
        small = [resized(frame.samples[task], SIZES[task]) for frame in day]
        assert all_same(there.train, small[:40])
        assert all_same(there.held_out, small[40:])
        assert there.names == list(day.names[:40])
        assert there.held_out_names == list(day.names[40:])
    signs = Gtsrb(tmp_path / "gtsrb")
    train, rest = signs.split_by_track(0.7, 0)
    there = source.tasks[Task.CLASSIFICATION]
    assert all_same(there.train, [resized(signs[i], SIZES[Task.CLASSIFICATION]) for i in train])
    assert there.held_out_names == [signs.names[i] for i in rest]
    # The picture that two tasks share is kept once.
    assert (
        source.tasks[Task.SEGMENTATION].train[0].image
        is source.tasks[Task.DETECTION].train[0].image
    )


def test_the_simulated_road_is_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name, _ in source_config._sim_jobs(source_config.SIM_TRAINING_SEEDS, 40)]
    assert names == [f"sim-{s}-clear-{i:05d}" for s in range(1000, 1016) for i in range(0, 280, 7)]
    monkeypatch.setattr(source_config, "SIM_TRAINING_SEEDS", range(1000, 1001))
    monkeypatch.setattr(source_config, "SIM_HELD_OUT_SEEDS", range(2000, 2001))
    monkeypatch.setattr(source_config, "SIM_TRAINING_FRAMES", 2)
    monkeypatch.setattr(source_config, "SIM_HELD_OUT_FRAMES", 1)
    source = load_source({task: SimSource() for task in Task}, None, INPUT_SIZES, 2)
    frames = [RoadSimulator(seed).frame(i) for seed, i in ((1000, 0), (1000, 7), (2000, 0))]
    for task, there in source.tasks.items():
        small = [resized(frame.samples[task], INPUT_SIZES[task]) for frame in frames]
        assert all_same([*there.train, *there.held_out], small)
        assert [*there.names, *there.held_out_names] == [frame.name for frame in frames]
    assert source.kind == "sim"


def test_known_sets_as_they_were(data_root: Path) -> None:
    """The counts of the bundles that were made before sources were configured."""
    source = load(CAMVID, data_root)
    assert not source.broken
    counts = {t: (len(there.train), len(there.held_out)) for t, there in source.tasks.items()}
    assert counts == {
        Task.CLASSIFICATION: (1907, 792),
        Task.DETECTION: (326, 80),
        Task.SEGMENTATION: (326, 80),
    }


@pytest.mark.parametrize(
    ("make", "name", "scene"),
    [
        (make_core50, "core50", "core50-nc"),
        (make_acdc, "acdc", "acdc-rain"),
        (make_sbd, "sbd", "sbd-plus"),
    ],
)
def test_the_papers_sources_are_those_of_the_benchmark(
    make, name: str, scene: str, tmp_path: Path
) -> None:
    make(tmp_path)
    there = load_scene(scene, tmp_path).tasks
    source = load({str(task): {"set": name} for task in there}, tmp_path)
    check(source)
    assert source.kind == name
    assert set(source.tasks) == set(there)
    for task, own in source.tasks.items():
        assert own.classes == there[task].classes
        assert own.names == list(there[task].names["source_train"])
        assert own.held_out_names == list(there[task].names["source_held_out"])


def test_a_picture_of_sbd_under_two_names_counts_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_sbd(tmp_path, 4)
    pictures = tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages"
    copy = (pictures / "2008_000001.jpg").read_bytes()
    (pictures / "2008_000003.jpg").write_bytes(copy)
    with caplog.at_level(logging.WARNING):
        assert Sbd(tmp_path).names == ("2008_000000", "2008_000001", "2008_000002")
    assert "left out 1 of 4 pictures, copies of others: 2008_000003 = 2008_000001" in caplog.text


OWN_SETS = {
    "yolo": (make_yolo, "detection", {"set": "yolo", "folder": "yolo", **OWN}),
    "voc": (make_voc, "detection", {"set": "voc", "folder": "voc", **OWN}),
    "coco": (
        make_coco,
        "detection",
        {
            "set": "coco",
            "images": "coco/images",
            "annotations": "coco/annotations.json",
            "classes": ["bus", "car"],
        },
    ),
    "masks": (
        make_masks,
        "segmentation",
        {"set": "masks", "folder": "masks", "classes": ["sky", "road"]},
    ),
    "bag": (make_bag, "classification", {"set": "bag", "bag": "drive", "classes": ["no", "yes"]}),
}
VALIDATION = {
    "yolo": "yolo",
    "voc": "voc",
    "coco": {"images": "coco/images", "annotations": "coco/annotations.json"},
    "masks": "masks",
    "bag": "drive",
}


@pytest.mark.parametrize("name", OWN_SETS)
def test_your_own_pictures(name: str, tmp_path: Path) -> None:
    if name == "bag":
        pytest.importorskip("rosbags", reason="bags need the package rosbags")
    make, task, given = OWN_SETS[name]
    make(tmp_path)
    source = load({task: given}, tmp_path)
    check(source)
    (there,) = source.tasks.values()
    assert (len(there.train), len(there.held_out)) == (40, 10)
    assert not set(there.names) & set(there.held_out_names)
    validated = load({task: {**given, "validation": VALIDATION[name]}}, tmp_path)
    (other,) = validated.tasks.values()
    assert (len(other.train), len(other.held_out)) == (50, 50)


def test_a_bag_for_each_task(tmp_path: Path) -> None:
    pytest.importorskip("rosbags", reason="bags need the package rosbags")
    make_bag(tmp_path)
    bag = {"set": "bag", "bag": "drive", "classes": ["no", "yes"]}
    source = load({str(task): bag for task in Task}, tmp_path)
    check(source)
    assert source.kind == "bag"
    assert len(source.tasks) == 3


def test_dawn_can_be_a_source(tmp_path: Path) -> None:
    make_vehicles_and_dawn(tmp_path)
    with pytest.raises(ValueError, match="20 pictures are too few to hold some out"):
        load({"detection": {"set": "dawn"}}, tmp_path)
    for i in range(20, 45):
        write_picture(tmp_path / "dawn_fog" / "images" / f"fog-{i}.png")
        text = (tmp_path / "dawn_fog" / "annotations" / "fog-0.xml").read_text()
        (tmp_path / "dawn_fog" / "annotations" / f"fog-{i}.xml").write_text(text)
    check(load({"detection": {"set": "dawn"}}, tmp_path))


def test_broken_pictures_are_named_and_left_out(tmp_path: Path) -> None:
    make_yolo(tmp_path)
    (tmp_path / "yolo" / "images" / "003.png").write_bytes(b"torn")
    (tmp_path / "yolo" / "labels" / "044.txt").write_text("7 0.5 0.5 0.1 0.1")
    given = {"detection": OWN_SETS["yolo"][2]}
    source = load(given, tmp_path)
    there = source.tasks[Task.DETECTION]
    assert (len(there.train), len(there.held_out)) == (39, 9)
    assert "003" not in there.names
    assert len(source.broken) == 2
    assert source.broken[0].startswith("yolo: 003: cannot decode the picture")
    assert "holds the class id 7" in source.broken[1]
    for workers in (1, 5):
        other = load(given, tmp_path, workers)
        assert other.broken == source.broken
        assert other.tasks[Task.DETECTION].names == there.names
        assert all_same(other.tasks[Task.DETECTION].train, there.train)
    for path in (tmp_path / "yolo" / "images").glob("04*.png"):
        path.write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"10 of 10 pictures of yolo to hold out can't be read"):
        load(given, tmp_path)


def test_a_source_without_labels_for_its_task(tmp_path: Path) -> None:
    make_camvid_and_gtsrb(tmp_path)
    with pytest.raises(
        ValueError, match="camvid has no labels for classification here, only for detection, s"
    ):
        load({"classification": {"set": "camvid"}}, tmp_path)
    make_core50(tmp_path)
    (tmp_path / "core50" / "masks").rename(tmp_path / "masks")
    with pytest.raises(ValueError, match="core50 has no labels for segmentation here"):
        load({"segmentation": {"set": "core50"}}, tmp_path)
    with pytest.raises(ValueError, match="no task to train"):
        load({}, tmp_path)


def test_missing_data_say_what_to_get(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no folder .*acdc: put there .*acdc\.vision\.ee\.ethz"):
        load({"segmentation": {"set": "acdc"}}, tmp_path)
    with pytest.raises(ValueError, match=r"no data folder was given: name one that has gtsrb"):
        load({"classification": {"set": "gtsrb"}}, None)
    with pytest.raises(ValueError, match=r"no folder .*/elsewhere: name one that has gtsrb"):
        load({"classification": {"set": "gtsrb"}}, tmp_path / "elsewhere")
    make_masks(tmp_path)
    absolute = {"set": "masks", "folder": str(tmp_path / "masks"), "classes": ["sky", "road"]}
    check(load({"segmentation": absolute}, None))


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"set": "kitti"}, "expected tags"),
        ({"set": "yolo", "folder": "x"}, "classes"),
        ({"set": "acdc", "condition": "hail"}, "condition"),
        ({"set": "gtsrb", "dir": "x"}, "dir"),
    ],
)
def test_wrong_sources(given: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        TypeAdapter(SourceConfig).validate_python(given)
