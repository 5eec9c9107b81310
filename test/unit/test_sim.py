"""The simulated road: repeatable, honest labels, weather that changes only the picture."""

from __future__ import annotations

import numpy as np
import pytest

from patchline_ros.sim import LANE_CLASSES, OBJECT_CLASSES, SIGN_CLASSES, Condition, RoadSimulator
from patchline_ros.tasks import IGNORE, Boxes, ClassMap, Frame, Image, Task

WEATHER = [Condition.FOG, Condition.RAIN, Condition.SNOW, Condition.NIGHT]


@pytest.fixture(scope="module")
def road() -> RoadSimulator:
    return RoadSimulator(seed=3)


def lanes(frame: Frame) -> ClassMap:
    label = frame.samples[Task.SEGMENTATION].label
    assert isinstance(label, np.ndarray)
    return label


def boxes(frame: Frame) -> Boxes:
    label = frame.samples[Task.DETECTION].label
    assert isinstance(label, Boxes)
    return label


def luminance(image: Image) -> float:
    return float(image.mean())


@pytest.mark.parametrize("condition", list(Condition))
def test_random_access_gives_the_same_bytes_as_driving_on(condition: Condition) -> None:
    driven = RoadSimulator(seed=3)
    frames = [driven.frame(index, condition) for index in range(5, 9)]
    fresh = RoadSimulator(seed=3).frame(8, condition)
    assert fresh.name == frames[-1].name == f"sim-3-{condition}-00008"
    for task in Task:
        assert np.array_equal(fresh.samples[task].image, frames[-1].samples[task].image)
    assert np.array_equal(lanes(fresh), lanes(frames[-1]))
    assert np.array_equal(boxes(fresh).boxes, boxes(frames[-1]).boxes)
    assert not np.array_equal(frames[0].image, frames[1].image)


def test_another_seed_is_another_road(road: RoadSimulator) -> None:
    assert not np.array_equal(road.frame(8).image, RoadSimulator(seed=4).frame(8).image)


@pytest.mark.parametrize("size", [(360, 480), (240, 320), (97, 131)])
def test_shapes_types_and_values(size: tuple[int, int]) -> None:
    road = RoadSimulator(seed=1, size=size)
    for index in range(0, 200, 40):
        frame = road.frame(index)
        assert frame.image.shape == (*size, 3) and frame.image.dtype == np.uint8
        assert frame.samples[Task.DETECTION].image is frame.image
        assert frame.samples[Task.SEGMENTATION].image is frame.image
        assert lanes(frame).shape == size and lanes(frame).dtype == np.uint8
        assert set(np.unique(lanes(frame)).tolist()) <= {*range(len(LANE_CLASSES)), IGNORE}
        assert frame.samples[Task.CLASSIFICATION].image.shape == (96, 96, 3)
        x1, y1, x2, y2 = boxes(frame).boxes.T
        assert (x1 >= 0).all() and (y1 >= 0).all()
        assert (x2 <= size[1]).all() and (y2 <= size[0]).all()
        assert (x2 > x1).all() and (y2 - y1 >= 8 * size[0] / 360 - 1e-3).all()


def test_boxes_hold_the_pixels_of_their_class(road: RoadSimulator) -> None:
    vehicle, person = LANE_CLASSES.index("vehicle"), LANE_CLASSES.index("person")
    found = 0
    for index in range(0, 240, 20):
        frame = road.frame(index)
        classes = lanes(frame)
        for (x1, y1, x2, y2), label in zip(
            boxes(frame).boxes.astype(int), boxes(frame).labels, strict=True
        ):
            wanted = person if OBJECT_CLASSES[label] == "person" else vehicle
            inside = classes[y1:y2, x1:x2] == wanted
            assert inside.mean() > (0.1 if wanted == person else 0.2)
            # Tight: each side of the box touches the object.
            assert inside[0].any() and inside[-1].any()
            assert inside[:, 0].any() and inside[:, -1].any()
            found += 1
    assert found > 40


def test_every_class_occurs(road: RoadSimulator) -> None:
    frames = [road.frame(index) for index in range(0, 400, 25)]
    seen = set(np.unique(np.stack([lanes(frame) for frame in frames])).tolist())
    assert seen >= set(range(len(LANE_CLASSES)))
    kinds = {label for frame in frames for label in boxes(frame).labels.tolist()}
    assert kinds == set(range(len(OBJECT_CLASSES)))


def test_signs_are_balanced_and_change_every_few_frames() -> None:
    road, every = RoadSimulator(seed=6, size=(48, 64)), 4
    frames = map(road.frame, range(0, 4 * 64, every))
    labels = [frame.samples[Task.CLASSIFICATION].label for frame in frames]
    counts = np.bincount(np.array(labels), minlength=len(SIGN_CLASSES))
    assert counts.min() > 0.6 * counts.mean() and counts.max() < 1.4 * counts.mean()
    changes = np.flatnonzero(np.diff(np.array(labels)))
    assert 6 <= every * np.diff(changes).mean() <= 10


def test_what_comes_nearer_grows() -> None:
    """Vehicles on the left half are oncoming: matched two frames on, nearly all have grown."""
    road = RoadSimulator(seed=3)
    grew = shrank = 0
    for index in range(0, 120, 6):
        now, later = boxes(road.frame(index)), boxes(road.frame(index + 2))
        for box, label in zip(now.boxes, now.labels, strict=True):
            if box[2] > 180 or box[0] < 60 or OBJECT_CLASSES[label] == "person":
                continue
            match = [other for other in later.boxes if _overlap(box, other) > 0.25]
            if len(match) == 1:
                taller = match[0][3] - match[0][1] >= box[3] - box[1]
                grew, shrank = grew + taller, shrank + (not taller)
    assert grew > 5 and grew > 4 * shrank


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    total = float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]))
    return shared / (total - shared)


@pytest.mark.parametrize("condition", WEATHER)
def test_weather_changes_the_picture_and_never_the_labels(
    road: RoadSimulator, condition: Condition
) -> None:
    for index in (0, 77):
        clear, drifted = road.frame(index), road.frame(index, condition)
        difference = np.abs(clear.image.astype(int) - drifted.image.astype(int)).mean()
        assert difference > 15
        assert np.array_equal(lanes(clear), lanes(drifted))
        assert np.array_equal(boxes(clear).boxes, boxes(drifted).boxes)
        assert np.array_equal(boxes(clear).labels, boxes(drifted).labels)
        assert (
            clear.samples[Task.CLASSIFICATION].label == drifted.samples[Task.CLASSIFICATION].label
        )
        milder = road.frame(index, condition, severity=0.4)
        less = np.abs(clear.image.astype(int) - milder.image.astype(int)).mean()
        assert less < difference
        none = road.frame(index, condition, severity=0.0)
        assert np.array_equal(none.image, clear.image)


def test_light_of_the_conditions(road: RoadSimulator) -> None:
    clear = luminance(road.frame(30).image)
    assert luminance(road.frame(30, Condition.NIGHT).image) < 0.5 * clear
    assert luminance(road.frame(30, Condition.SNOW).image) > clear
    assert luminance(road.frame(30, Condition.RAIN).image) < luminance(
        road.frame(30, Condition.FOG).image
    )


def test_fog_takes_contrast_with_depth(road: RoadSimulator) -> None:
    """Markings against the road, in the fog over in clear air, near the car and far from it."""
    near, far = [], []
    for index in range(0, 60, 10):
        clear, fog = road.frame(index), road.frame(index, Condition.FOG)
        for kept, rows in ((near, slice(280, 340)), (far, slice(175, 195))):
            classes = lanes(clear)[rows]
            contrast = [
                image[rows][classes == LANE_CLASSES.index("lane_marking")].mean()
                - image[rows][classes == LANE_CLASSES.index("road")].mean()
                for image in (clear.image, fog.image)
            ]
            kept.append(contrast[1] / contrast[0])
    assert 0.0 < np.mean(far) < 0.7 * np.mean(near)


@pytest.mark.parametrize("size", [(360,), (0, 480), (360, 20), (360.5, 480), (-360, 480)])
def test_bad_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="size"):
        RoadSimulator(seed=0, size=size)


def test_bad_arguments_are_refused(road: RoadSimulator) -> None:
    with pytest.raises(ValueError, match="seed"):
        RoadSimulator(seed=-1)
    with pytest.raises(ValueError, match="index is -1"):
        road.frame(-1)
    for severity in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="severity"):
            road.frame(0, Condition.FOG, severity)
    with pytest.raises(ValueError, match="hail"):
        road.frame(0, "hail")  # type: ignore[arg-type]
