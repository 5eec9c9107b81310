"""`patchline data`: what is in a folder, and what is missing or broken, on small copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
from typer.testing import CliRunner

from patchline_ros.cli.app import app
from patchline_ros.datasets.catalogue import CATALOGUE
from patchline_ros.datasets.checking import PartReport, check_set
from patchline_ros.tasks import Task

ROOT = Path(__file__).parents[2]

SETS: dict[str, tuple[Callable[[Path], None], str, tuple[str, ...] | None]] = {
    "core50": (make_core50, "core50", None),
    "sbd": (make_sbd, ".", None),
    "acdc": (make_acdc, "acdc", None),
    "camvid": (make_camvid_and_gtsrb, "camvid", None),
    "gtsrb": (make_camvid_and_gtsrb, "gtsrb", None),
    "dawn": (make_vehicles_and_dawn, "dawn_fog", None),
    "yolo": (make_yolo, "yolo", ("bus", "car")),
    "voc": (make_voc, "voc", ("bus", "car")),
    "coco": (make_coco, "coco", None),
    "masks": (make_masks, "masks", ("sky", "road")),
    "bag": (make_bag, "drive", None),
}
WHOLE = {
    "core50": {"source": 432, "NC": 288, "NI": 162, "NIC": 108},
    "sbd": {
        "source, to train on": 9,
        "source, held out": 2,
        "drift, to adapt on": 14,
        "drift, to test on": 3,
    },
    "acdc": {
        f"{condition}, {split}": count
        for condition in ("fog", "night", "rain", "snow")
        for split, count in (("train", 4), ("val", 2))
    },
    "camvid": {"day": 50, "dusk": 20},
    "gtsrb": {"all": 55},
    "dawn": {"all": 20},
    "yolo": {"all": 50},
    "voc": {"all": 50},
    "coco": {"all": 50},
    "masks": {"all": 50},
    "bag": {"classification": 50, "detection": 50, "segmentation": 50},
}


def reports(name: str, data: Path, quick: bool = False, workers: int = 2) -> list[PartReport]:
    _, folder, classes = SETS[name]
    return list(check_set(CATALOGUE[name], data / folder, classes, quick, workers))


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    return result.exit_code, result.output


def test_every_set_has_a_small_copy() -> None:
    assert set(SETS) == set(CATALOGUE) == set(WHOLE)


@pytest.mark.parametrize("name", SETS)
def test_a_whole_copy(name: str, tmp_path: Path) -> None:
    if name == "bag":
        pytest.importorskip("rosbags", reason="bags need the package rosbags")
    SETS[name][0](tmp_path)
    found = reports(name, tmp_path)
    assert {part.name: part.pictures for part in found} == WHOLE[name]
    assert not any(part.broken for part in found)
    # The small copy of GTSRB has two of 43 classes.
    assert [part.missing for part in found] == [[]] * len(found) or name == "gtsrb"
    tasks = {task for part in found for task, _ in part.found}
    assert tasks == set(CATALOGUE[name].tasks)
    quick = reports(name, tmp_path, quick=True)
    assert [(part.name, part.pictures) for part in quick] == [
        (part.name, part.pictures) for part in found
    ]
    assert not any(part.found for part in quick)
    assert reports(name, tmp_path, workers=7) == found


def test_classes_are_counted(tmp_path: Path) -> None:
    make_yolo(tmp_path)
    (found,) = reports("yolo", tmp_path)
    assert found.found == {(Task.DETECTION, "bus"): 20, (Task.DETECTION, "car"): 20}
    make_masks(tmp_path)
    (found,) = reports("masks", tmp_path)
    assert found.found == {(Task.SEGMENTATION, "sky"): 50, (Task.SEGMENTATION, "road"): 50}


def test_broken_files_are_named_and_counted(tmp_path: Path) -> None:
    make_acdc(tmp_path)
    for path in sorted((tmp_path / "acdc" / "rgb_anon" / "fog" / "train").glob("*/*"))[:2]:
        path.write_bytes(path.read_bytes()[:50])
    (label,) = (tmp_path / "acdc" / "gt" / "fog" / "train").glob("*/*_000003_*")
    label.unlink()
    train = reports("acdc", tmp_path)[0]
    assert (train.name, train.pictures, len(train.broken)) == ("fog, train", 4, 3)
    assert [sentence.split(":")[0] for sentence in train.broken] == [
        "GOPR01_frame_000000",
        "GOPR01_frame_000001",
        "GOPR01_frame_000003",
    ]
    status, text = run("check", "acdc", tmp_path / "acdc")
    assert status == 2
    assert "broken: 3 of 4" in text
    assert "there is no label map" in text
    assert "acdc is not whole" in text


def test_what_is_missing_is_said_with_where_to_get_it(tmp_path: Path) -> None:
    make_core50(tmp_path)
    folder = tmp_path / "core50"
    (folder / "masks").rename(tmp_path / "masks")
    (folder / "core50_350x350" / "s3" / "o4").rename(tmp_path / "o4")
    status, text = run("check", "core50", folder, "--quick")
    assert status == 2
    assert "NIC: 105 pictures" in text
    assert "missing: 1 of 36 videos, such as s3/o4" in text
    assert "so there is no segmentation task" in text
    assert "vlomonaco.github.io/core50; licence: CC BY 4.0" in text
    status, text = run("check", "gtsrb", tmp_path / "nowhere")
    assert status == 2
    assert "benchmark.ini.rub.de" in text


def test_a_video_with_a_stray_picture_is_not_missing(tmp_path: Path) -> None:
    make_core50(tmp_path)
    stray = tmp_path / "core50" / "core50_350x350" / "s3" / "o4" / "foo.png"
    write_picture(stray)
    *others, last = reports("core50", tmp_path, quick=True)
    assert last.missing == [
        f"{stray} is not named C_SESSION_THING_FRAME.png; rename it or take it out"
    ]
    assert not any(part.missing for part in others)


def test_a_whole_copy_ends_well(tmp_path: Path) -> None:
    make_yolo(tmp_path)
    (tmp_path / "yolo").rename(tmp_path / "train")
    make_yolo(tmp_path, 5)
    (tmp_path / "yolo").rename(tmp_path / "valid")
    status, text = run("check", "yolo", tmp_path, "--classes", "bus,car")
    assert status == 0
    assert "train: 50 pictures\n  detection: bus 20, car 20\nvalid: 5 pictures" in text


def test_wrong_calls(tmp_path: Path) -> None:
    status, text = run("check", "kitti", tmp_path)
    assert status == 2
    assert "there is no data set 'kitti'; there are core50, sbd, acdc" in text
    make_voc(tmp_path)
    status, text = run("check", "voc", tmp_path / "voc")
    assert status == 2
    assert "name them with --classes" in text
    status, text = run("check", "voc", tmp_path / "voc" / "images" / "000.png", "--classes", "bus")
    assert status == 2


def test_list_and_page_name_every_set() -> None:
    status, text = run("list")
    assert status == 0
    page = (ROOT / "docs" / "datasets.md").read_text()
    for entry in CATALOGUE.values():
        assert entry.name in text
        assert f"| `{entry.name}` |" in page
        assert entry.licence in page
        assert entry.where in page
