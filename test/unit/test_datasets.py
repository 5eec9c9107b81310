"""The picture sets: on small copies of each layout, and on the real data where it is there."""

from pathlib import Path

import numpy as np
import pytest
from miniatures import write_map, write_picture

from patchline_ros.datasets.camvid import (
    CAMVID_CLASSES,
    LANE_CLASSES,
    OBJECT_CLASSES,
    CamVid,
    lanes_of,
    objects_of,
)
from patchline_ros.datasets.gtsrb import SIGN_CLASSES, Gtsrb
from patchline_ros.tasks import IGNORE, Boxes, Image, Task

RED = (200, 10, 20)


def red(size: tuple[int, int] = (12, 16)) -> Image:
    return np.full((*size, 3), RED, dtype=np.uint8)


def road_ids(height: int = 12, width: int = 16) -> np.ndarray:
    ids = np.zeros((height, width), dtype=np.uint8)
    ids[height // 2 :] = CAMVID_CLASSES.index("road")
    return ids


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    for stem in ("0016E5_01890", "0006R0_f00990", "0016E5_901"):
        write_picture(tmp_path / "images" / f"{stem}.png", red())
        write_map(tmp_path / "labels" / f"{stem}.png", road_ids())
    return tmp_path


# CamVid


def test_lane_classes_and_what_is_ignored() -> None:
    lanes = lanes_of(np.arange(len(CAMVID_CLASSES), dtype=np.uint8).reshape(1, -1))[0]
    named = {
        camvid_name: LANE_CLASSES[lane]
        for camvid_name, lane in zip(CAMVID_CLASSES, lanes, strict=True)
        if lane != IGNORE
    }
    assert named == {name: name for name in LANE_CLASSES} | {"fence": "building"}


def test_boxes_around_regions() -> None:
    ids = road_ids(40, 60)
    ids[10:20, 5:25] = CAMVID_CLASSES.index("car")
    ids[20:22, 25:40] = CAMVID_CLASSES.index("car")  # touches the first at a corner: one region
    ids[5:25, 50:55] = CAMVID_CLASSES.index("pedestrian")
    ids[30:32, 0:3] = CAMVID_CLASSES.index("bicyclist")
    boxes = objects_of(ids, min_area=7)
    assert boxes.boxes.tolist() == [[5, 10, 40, 22], [50, 5, 55, 25]]
    assert [OBJECT_CLASSES[label] for label in boxes.labels] == ["car", "pedestrian"]
    assert len(objects_of(ids, min_area=6)) == 3
    assert objects_of(road_ids()).boxes.shape == (0, 4)


def test_camvid_frames_are_in_order_of_time(camvid: Path) -> None:
    frames = CamVid(camvid)
    assert frames.names == ("0006R0_f00990", "0016E5_901", "0016E5_01890")
    assert [frame.name for frame in frames] == list(frames.names)
    frame = frames[-1]
    assert frame.name == "0016E5_01890"
    assert frame.image[0, 0].tolist() == list(RED)
    assert set(frame.samples) == {Task.SEGMENTATION, Task.DETECTION}
    assert all(sample.image is frame.image for sample in frame.samples.values())
    lanes = frame.samples[Task.SEGMENTATION].label
    assert isinstance(lanes, np.ndarray)
    assert np.unique(lanes).tolist() == [LANE_CLASSES.index("sky"), LANE_CLASSES.index("road")]
    assert [frame.name for frame in frames[1:]] == list(frames.names[1:])


def test_camvid_names_what_is_missing(camvid: Path) -> None:
    with pytest.raises(ValueError, match=r"no folder .*nowhere"):
        CamVid(camvid / "nowhere")
    (camvid / "labels" / "0016E5_901.png").rename(camvid / "labels" / "0016E5_902.png")
    with pytest.raises(ValueError, match=r"0016E5_901\.png has no label map"):
        CamVid(camvid)
    (camvid / "images" / "0016E5_901.png").unlink()
    with pytest.raises(ValueError, match=r"0016E5_902\.png has no picture"):
        CamVid(camvid)


def test_camvid_names_a_bad_file(camvid: Path) -> None:
    label = camvid / "labels" / "0006R0_f00990.png"
    write_map(label, road_ids(6, 8))
    with pytest.raises(ValueError, match=r"f00990\.png is 8x6, its picture 16x12"):
        CamVid(camvid)[0]
    write_map(label, np.full((12, 16), 12))
    with pytest.raises(ValueError, match=r"f00990\.png holds the class id 12"):
        CamVid(camvid)[0]
    write_picture(label, red())
    with pytest.raises(ValueError, match="single-channel"):
        CamVid(camvid)[0]
    label.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"cannot decode the label map .*f00990\.png"):
        CamVid(camvid)[0]
    (camvid / "images" / "0006R0_f00990.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"cannot decode the picture .*f00990\.png"):
        CamVid(camvid)[0]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture_that_was_cut_short_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "14" / f"00000_00000{suffix}"
    write_picture(path, red((80, 80)))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="cannot decode the picture"):
        Gtsrb(tmp_path)[0]


def test_two_pictures_of_one_stem_are_refused(camvid: Path) -> None:
    write_picture(camvid / "images" / "0016E5_901.jpg", red())
    with pytest.raises(ValueError, match="share a stem"):
        CamVid(camvid)


@pytest.mark.parametrize(("part", "count", "brightness"), [("day", 406, 60), ("dusk", 62, 30)])
def test_real_camvid(data_root: Path, part: str, count: int, brightness: int) -> None:
    frames = CamVid(data_root / "camvid" / part)
    assert len(frames) == count
    moments = [
        (name.split("_")[0], int(name.split("_")[1].removeprefix("f"))) for name in frames.names
    ]
    assert moments == sorted(moments)
    seen: set[int] = set()
    objects = 0
    for frame in frames[:: count // 20]:
        lanes, boxes = frame.samples[Task.SEGMENTATION].label, frame.samples[Task.DETECTION].label
        assert isinstance(lanes, np.ndarray)
        assert isinstance(boxes, Boxes)
        assert frame.image.shape == (360, 480, 3)
        assert frame.image.mean() > brightness
        seen |= set(np.unique(lanes).tolist())
        x1, y1, x2, y2 = boxes.boxes.T
        assert np.all((x1 >= 0) & (y1 >= 0) & (x2 <= 480) & (y2 <= 360))
        assert np.all((x2 - x1) * (y2 - y1) >= 100)
        objects += len(boxes)
    assert seen == {*range(len(LANE_CLASSES)), IGNORE}
    assert objects > 40


# GTSRB


@pytest.fixture
def gtsrb(tmp_path: Path) -> Path:
    tracks = {"00": 4, "14": 10, "42": 1}
    for folder, count in tracks.items():
        for track in range(count):
            for frame in range(3):
                write_picture(tmp_path / folder / f"{track:05d}_{frame:05d}.png", red((5, 6)))
    return tmp_path


def test_gtsrb_samples(gtsrb: Path) -> None:
    signs = Gtsrb(gtsrb)
    assert len(signs) == 45
    assert SIGN_CLASSES[14] == "stop"
    assert len(SIGN_CLASSES) == len(set(SIGN_CLASSES)) == 43
    assert signs[12].label == 14
    assert signs[12].image.shape == (5, 6, 3)
    assert signs[0].image[0, 0].tolist() == list(RED)
    # Track 00000 of another class is another track.
    assert len(np.unique(signs.tracks)) == 15


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.8, 0.99])
def test_gtsrb_split_keeps_tracks_together(gtsrb: Path, fraction: float) -> None:
    signs = Gtsrb(gtsrb)
    first, second = signs.split_by_track(fraction, seed=1)
    assert sorted([*first, *second]) == list(range(45))
    assert not set(signs.tracks[first]) & set(signs.tracks[second])
    assert set(signs.labels[first]) == {0, 14, 42}
    assert set(signs.labels[second]) == {0, 14}
    stops = np.unique(signs.tracks[first][signs.labels[first] == 14])
    assert abs(len(stops) - np.clip(10 * fraction, 1, 9)) < 1


def test_gtsrb_split_follows_the_seed(gtsrb: Path) -> None:
    signs = Gtsrb(gtsrb)
    assert np.array_equal(signs.split_by_track(0.5, 1)[0], signs.split_by_track(0.5, 1)[0])
    assert not np.array_equal(signs.split_by_track(0.5, 1)[0], signs.split_by_track(0.5, 2)[0])
    for fraction in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            signs.split_by_track(fraction, 1)


def test_gtsrb_names_what_does_not_belong(gtsrb: Path, tmp_path: Path) -> None:
    write_picture(gtsrb / "14" / "sign.png", red())
    with pytest.raises(ValueError, match=r"sign\.png is not named TRACK_FRAME"):
        Gtsrb(gtsrb)
    (gtsrb / "14" / "sign.png").unlink()
    (gtsrb / "43").mkdir()
    with pytest.raises(ValueError, match=r"43 is not a class"):
        Gtsrb(gtsrb)
    (gtsrb / "43").rmdir()
    (gtsrb / "42" / "00000_00000.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"42/00000_00000\.png"):
        Gtsrb(gtsrb)[42]
    with pytest.raises(ValueError, match="holds no class folder"):
        Gtsrb(gtsrb / "00")
    with pytest.raises(ValueError, match="no folder"):
        Gtsrb(tmp_path / "nowhere")


def test_real_gtsrb(data_root: Path) -> None:
    signs = Gtsrb(data_root / "gtsrb")
    assert len(signs) == 2699
    assert set(signs.labels) == set(range(43))
    first, second = signs.split_by_track(0.75, seed=0)
    assert not set(signs.tracks[first]) & set(signs.tracks[second])
    assert set(signs.labels[first]) == set(signs.labels[second]) == set(range(43))
    assert abs(len(first) / len(signs) - 0.75) < 0.05
    assert min(signs[0].image.shape[:2]) >= 25
