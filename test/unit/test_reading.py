"""Readers of COCO's JSON, masks and labelled bags, and reading with several threads."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from miniatures import (
    KINDS,
    SIZE,
    coco_content,
    make_bag,
    make_coco,
    make_masks,
    stripes,
    write_map,
    write_palette,
    write_picture,
)

from patchline_ros.datasets.coco import CocoFolder
from patchline_ros.datasets.labelled_bag import DEFINITION, MESSAGE, LabelledBag
from patchline_ros.datasets.masks import MaskFolder
from patchline_ros.datasets.picture_files import copies, natural_order
from patchline_ros.datasets.reading import Readings, read_all
from patchline_ros.tasks import IGNORE, Boxes, Task

ROOT = Path(__file__).parents[2]


# Threads


def test_the_order_does_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(0)

    def read(number: int, pause: float) -> int:
        time.sleep(pause)
        if number % 7 == 3:
            raise ValueError(f"file {number} is broken")
        if number % 7 == 5:
            raise FileNotFoundError(f"file {number} is gone")
        return number

    jobs = [(f"n{i}", partial(read, i, rng.random() / 500)) for i in range(60)]
    alone = read_all(jobs, 1)
    assert alone.items == [i for i in range(60) if i % 7 not in (3, 5)]
    assert alone.names == [f"n{i}" for i in alone.items]
    assert alone.broken[:2] == ["n3: file 3 is broken", "n5: file 5 is gone"]
    assert all(read_all(jobs, workers) == alone for workers in (2, 5, 100))


def test_few_pictures_are_in_memory_at_a_time() -> None:
    taken = threading.Semaphore(0)
    ahead = []

    def jobs():
        for i in range(40):
            ahead.append(i)
            yield str(i), taken.release

    read_all(jobs(), 3)
    assert len(ahead) == 40
    blocked = threading.Event()
    ahead.clear()

    def slow():
        for i in range(40):
            ahead.append(i)
            yield str(i), blocked.wait

    reader = threading.Thread(target=read_all, args=(slow(), 3))
    reader.start()
    deadline = time.monotonic() + 30
    while len(ahead) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    # Here more would come, if more came.
    time.sleep(0.1)
    assert len(ahead) == 6
    blocked.set()
    reader.join()


def test_a_mistake_of_the_program_is_no_broken_file() -> None:
    with pytest.raises(ZeroDivisionError):
        read_all([("a", lambda: 1 // 0)], 2)


def test_most_of_a_set_has_to_be_readable() -> None:
    Readings(["a"], [1], ["b: broken"]).check("the set")
    with pytest.raises(ValueError, match=r"2 of 3 pictures of the set can't be read.*: b: broken"):
        Readings(["a"], [1], ["b: broken", "c: broken"]).check("the set")
    with pytest.raises(ValueError, match="no pictures in the set"):
        Readings([], [], []).check("the set")


def test_copies_are_found_by_their_bytes(tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.png" for name in ("a", "b", "c", "d", "torn", "too", "gone")}
    for name in ("a", "b", "d"):
        write_picture(paths[name], size=(7, 7) if name == "d" else SIZE)
    paths["c"].write_bytes(paths["a"].read_bytes())
    for name in ("torn", "too"):
        paths[name].write_bytes(paths["a"].read_bytes()[:40])
    assert copies(paths) == {"c": "a"}


# COCO


def test_coco_is_read_as_pycocotools_reads_it(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    make_coco(tmp_path, 12)
    folder = tmp_path / "coco"
    official = COCO(folder / "annotations.json")
    names = {c["id"]: c["name"] for c in official.loadCats(official.getCatIds())}
    pictures = CocoFolder(folder / "images", folder / "annotations.json")
    assert pictures.classes == ("car", "bus", "tree")
    assert len(pictures) == len(official.getImgIds())
    for image in official.loadImgs(official.getImgIds()):
        label = pictures[pictures.names.index(image["file_name"])].label
        assert isinstance(label, Boxes)
        things = official.loadAnns(official.getAnnIds(image["id"], iscrowd=False))
        corners = [[x, y, x + w, y + h] for x, y, w, h in (thing["bbox"] for thing in things)]
        assert label.boxes.tolist() == corners
        assert [pictures.classes[i] for i in label.labels] == [
            names[thing["category_id"]] for thing in things
        ]


def test_coco_classes_can_be_chosen(tmp_path: Path) -> None:
    make_coco(tmp_path, 2)
    folder = tmp_path / "coco"
    pictures = CocoFolder(folder / "images", folder / "annotations.json", ("bus", "car"))
    label = pictures[1].label
    assert isinstance(label, Boxes)
    assert label.labels.tolist() == [1, 0]
    assert len(KINDS) == 4
    with pytest.raises(ValueError, match=r"has no category 'cow'; it has car, bus, tree"):
        CocoFolder(folder / "images", folder / "annotations.json", ("cow",))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c.pop("images"), "is not in COCO's format: images: this key is missing"),
        (lambda c: c["annotations"][2].pop("category_id"), r"annotations\.2\.category_id"),
        (lambda c: c["annotations"][2].update(image_id=9), "image 9, which it does not list"),
    ],
)
def test_other_json_is_not_coco(
    change: Callable[[dict], object], complaint: str, tmp_path: Path
) -> None:
    make_coco(tmp_path, 3)
    path = tmp_path / "coco" / "annotations.json"
    content = coco_content(3)
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=complaint):
        CocoFolder(path.parent / "images", path)


def test_coco_names_what_is_missing(tmp_path: Path) -> None:
    make_coco(tmp_path, 3)
    folder = tmp_path / "coco"
    (folder / "images" / "001.png").unlink()
    pictures = CocoFolder(folder / "images", folder / "annotations.json")
    with pytest.raises(ValueError, match=r"no picture .*001\.png, which .*annotations\.json lists"):
        pictures[1]
    with pytest.raises(ValueError, match=r"there is no file .*none\.json"):
        CocoFolder(folder / "images", folder / "none.json")
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere"):
        CocoFolder(folder / "nowhere", folder / "annotations.json")
    (folder / "annotations.json").write_text("{")
    with pytest.raises(ValueError, match=r"annotations\.json is no JSON"):
        CocoFolder(folder / "images", folder / "annotations.json")


# Masks


def test_masks_grey_or_with_a_palette(tmp_path: Path) -> None:
    make_masks(tmp_path, 2)
    pictures = MaskFolder(tmp_path / "masks", ("sky", "road"))
    assert pictures.names == ("000", "001")
    for sample in pictures:
        assert np.array_equal(sample.label, stripes(0, 1, IGNORE))
    masks = tmp_path / "masks" / "masks"
    write_palette(masks / "001.png", stripes(0, 2))
    with pytest.raises(ValueError, match=r"001\.png holds the class id 2; ids are 0 to 1, and 255"):
        pictures[1]
    write_map(masks / "001.png", stripes(0, 1, size=(5, 6)))
    with pytest.raises(ValueError, match=r"001\.png is 6x5, its picture 32x24"):
        pictures[1]
    write_picture(masks / "001.png")
    with pytest.raises(ValueError, match=r"001\.png is of mode RGB; it must hold class ids"):
        pictures[1]
    (masks / "001.png").write_bytes((masks / "000.png").read_bytes()[:50])
    with pytest.raises(ValueError, match=r"cannot decode the label map .*001\.png"):
        pictures[1]


# Labelled bags


def test_a_labelled_bag_has_samples_of_each_task(tmp_path: Path) -> None:
    pytest.importorskip("rosbags", reason="bags need the package rosbags")
    frames = [
        ("a", "segmentation"),
        ("b", "detection"),
        ("a", "classification"),
        ("b", "detection"),
        ("c", "detection"),
    ]
    make_bag(tmp_path, frames)
    bag = LabelledBag(tmp_path / "drive")
    assert bag.names == {
        Task.CLASSIFICATION: ("a",),
        Task.DETECTION: ("b", "c"),
        Task.SEGMENTATION: ("a",),
    }
    labels = {}
    for task in Task:
        pictures = bag.pictures(task, ("no", "yes"))
        (read,) = read_all(pictures.jobs([0]), 2).items
        image = read[task].image
        assert image.shape == (*SIZE, 3)
        assert image.std() > 50
        labels[task] = read[task].label
    assert labels[Task.CLASSIFICATION] == 1
    assert isinstance(labels[Task.DETECTION], Boxes)
    assert labels[Task.DETECTION].boxes.tolist() == [[4, 6, 20, 18]]
    assert labels[Task.DETECTION].labels.tolist() == [1]
    assert np.array_equal(labels[Task.SEGMENTATION], stripes(0, 1))
    one = bag.pictures(Task.DETECTION, ("only",))
    assert read_all(one.jobs([1]), 1).broken == ["c: its label has the class id 1; ids are 0 to 0"]


def test_labelled_bags_of_before_there_were_signatures(tmp_path: Path) -> None:
    pytest.importorskip("rosbags", reason="bags need the package rosbags")
    earlier = DEFINITION.replace("uint8[] signature\n", "", 1)
    make_bag(tmp_path, [("a", "detection")], definition=earlier)
    pictures = LabelledBag(tmp_path / "drive").pictures(Task.DETECTION, ("no", "yes"))
    (read,) = read_all(pictures.jobs([0]), 1).items
    assert read[Task.DETECTION].label.labels.tolist() == [1]  # type: ignore[union-attr]
    (tmp_path / "later").mkdir()
    renamed = DEFINITION.replace("string id\n", "string name\n", 1)
    make_bag(tmp_path / "later", [("a", "detection")], definition=renamed)
    with pytest.raises(ValueError, match="had other fields than it has here"):
        LabelledBag(tmp_path / "later" / "drive")


def test_labelled_bags_that_can_t_be_read(tmp_path: Path) -> None:
    pytest.importorskip("rosbags", reason="bags need the package rosbags")
    make_bag(tmp_path, [("a", "segmentation"), ("b", "roads"), ("", "segmentation")], damaged=True)
    bag = LabelledBag(tmp_path / "drive")
    lanes = bag.pictures(Task.SEGMENTATION, ("no", "yes"))
    readings = read_all(lanes.jobs(range(len(lanes.names))), 2)
    assert readings.names == ["a"]
    assert [sentence.partition(" on ")[0] for sentence in readings.broken] == [
        "message 1",
        "message 2",
        "message 3",
    ]
    with pytest.raises(
        ValueError, match="no frame labelled for classification on /labelled_frames, but fo"
    ):
        bag.pictures(Task.CLASSIFICATION, ("a",))
    with pytest.raises(ValueError, match="no labelled frames on the topic /x; it has them on /lab"):
        LabelledBag(tmp_path / "drive", "/x")


def fields(text: str) -> list[str]:
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return [" ".join(words) for words in lines if words]


def test_the_definition_is_that_of_the_message_files() -> None:
    first, *others = DEFINITION.split("=" * 80 + "\n")
    assert fields(first) == fields((ROOT / "msg" / "LabelledFrame.msg").read_text())
    for part in others:
        head, _, text = part.partition("\n")
        name = head.removeprefix("MSG: vision_msgs/")
        path = ROOT / "tools" / "vision_msgs" / "msg" / f"{name}.msg"
        assert fields(text) == fields(path.read_text())
    assert MESSAGE == "patchline_ros/msg/LabelledFrame"


def test_frame_9_comes_before_frame_10() -> None:
    names = ["frame10", "frame9", "b2", "frame09", "a"]
    assert sorted(names, key=natural_order) == ["a", "b2", "frame09", "frame9", "frame10"]
