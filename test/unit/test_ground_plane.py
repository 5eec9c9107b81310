"""From pixels to the ground: against projections worked out otherwise, and the simulated road."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchline_ros.geometry.boundaries import Kind, find_boundaries
from patchline_ros.geometry.camera_model import CameraModel, CameraModelError
from patchline_ros.geometry.frames import MOST_FRAMES, FixedFrames, FrameError
from patchline_ros.geometry.mounted_camera import MountedCamera, Pose
from patchline_ros.geometry.occupancy import FREE, OCCUPIED, UNKNOWN, DrivableGrid, GridShape
from patchline_ros.geometry.surface import Surface
from patchline_ros.sim import LANE_CLASSES, RoadSimulator, simulator
from patchline_ros.sim.camera import EYE_HEIGHT, Road
from patchline_ros.sim.world import ROAD_HALF
from patchline_ros.tasks import Task

SURFACE = Surface.of_names(
    LANE_CLASSES,
    drivable=["road", "lane_marking"],
    line=["lane_marking"],
    standing=["sky", "building", "vehicle", "person"],
)
ROAD, PAVEMENT, VEHICLE = map(LANE_CLASSES.index, ("road", "pavement", "vehicle"))


def camera_info(**changes: object) -> SimpleNamespace:
    """Of a camera of 640 x 480 with some distortion."""
    fields = {
        "width": 640,
        "height": 480,
        "distortion_model": "plumb_bob",
        "k": [525.0, 0.0, 319.5, 0.0, 520.0, 239.5, 0.0, 0.0, 1.0],
        "d": [0.1, -0.2, 0.001, -0.002, 0.05],
    }
    return SimpleNamespace(**{**fields, **changes})


@given(
    height=st.floats(0.1, 3.0),
    pitch=st.floats(0.0, 45.0),
    model=st.sampled_from(["plumb_bob", "equidistant"]),
    column=st.floats(5.0, 634.0),
    row=st.floats(300.0, 474.0),
)
def test_a_pixel_and_its_place_on_the_ground_find_each_other(height, pitch, model, column, row):
    changes = {"d": [0.02, -0.01, 0.001, 0.0]} if model == "equidistant" else {}
    info = camera_info(distortion_model=model, **changes)
    camera = MountedCamera(CameraModel.of_message(info), Pose.of_camera(height, pitch))
    (place,) = camera.to_ground(np.array([[column, row]]))
    assert place[0] > 0 and (place[1] < 0) == (column > 319.5)
    assert camera.to_pixels(place[None]) == pytest.approx(np.array([[column, row]]), abs=0.05)


def test_the_middle_of_the_picture_is_where_trigonometry_says():
    model = CameraModel.of_field_of_view(641, 481, 90.0)
    camera = MountedCamera(model, Pose.of_camera(1.0, 30.0))
    assert camera.to_ground(np.array([[320.0, 240.0]])) == pytest.approx(
        np.array([[np.sqrt(3), 0.0]])
    )
    # 45 degrees to the right, on a level with the middle: as far again as the ray is long.
    assert camera.to_ground(np.array([[640.5, 240.0]])) == pytest.approx(
        np.array([[np.sqrt(3), -2.0]])
    )
    assert np.isnan(camera.to_ground(np.array([[320.0, 0.0]]))).all()
    assert np.isnan(camera.to_pixels(np.array([[-1.0, 0.0], [0.1, 0.0]]))).all()


class LevelRoad(Road):
    """With bends and without rises."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._rises = (np.zeros(2), *self._rises[1:])
        self._terms[1] = []


def test_edges_of_the_level_road_are_right_to_half_a_pixel(monkeypatch):
    monkeypatch.setattr(simulator, "Road", LevelRoad)
    road, seen, errors = RoadSimulator(3), dict.fromkeys(Kind, 0), []
    for index in range(0, 200, 20):
        view = road.view(index)
        pinhole = view.camera
        matrix = np.diag([pinhole.focal, pinhole.focal, 1.0])
        matrix[:2, 2] = pinhole.centre_u - 0.5, pinhole.centre_v - 0.5
        camera = MountedCamera(
            CameraModel(pinhole.width, pinhole.height, matrix, np.zeros(0)),
            Pose.of_camera(EYE_HEIGHT, 0.0),
        )
        mask = road.frame(index).samples[Task.SEGMENTATION].label
        for boundary in find_boundaries(mask, SURFACE, camera, reach=40.0):
            seen[boundary.kind] += len(boundary.points)
            ahead, left = boundary.points.T
            side = {Kind.LEFT_EDGE: -ROAD_HALF, Kind.RIGHT_EDGE: ROAD_HALF}.get(boundary.kind)
            if side is not None:
                right = view.points(view.s + ahead, np.full(len(ahead), side))[:, 0]
                errors += (np.abs(left + right) * pinhole.focal / ahead).tolist()
    assert min(seen.values()) > 100
    # In pixels. A crossing is painted to the next pixel, over the edge.
    assert np.quantile(errors, 0.99) <= 0.51 and max(errors) <= 1.01


def level_scene() -> tuple[np.ndarray, MountedCamera]:
    """A road 4 m wide on pavement, and a vehicle 2 m wide that stands on it 5 m ahead."""
    model = CameraModel.of_field_of_view(640, 480, 80.0)
    camera = MountedCamera(model, Pose.of_camera(1.0, 10.0))
    rows, columns = np.mgrid[0:480, 0:640]
    places = camera.to_ground(np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(float))
    ahead, left = places.T.reshape(2, 480, 640)
    mask = np.zeros((480, 640), np.uint8)
    mask[np.isfinite(ahead)] = PAVEMENT
    mask[np.abs(left) < 2] = ROAD
    foot, side = camera.to_pixels(np.array([[5.0, 0.0], [5.0, -1.0]]))
    half = side[0] - foot[0]
    mask[(rows < foot[1]) & (rows > 100) & (np.abs(columns - foot[0]) < half)] = VEHICLE
    return mask, camera


def test_a_grid_is_free_up_to_what_stands_there_and_unknown_behind():
    mask, camera = level_scene()
    shape = GridShape(reach=10.0, width=8.0, resolution=0.1)
    grid = DrivableGrid(camera, shape, SURFACE).of(mask)
    assert grid.shape == (80, 100)

    def at(ahead: float, left: float) -> int:
        return int(grid[int((left + 4) / 0.1), int(ahead / 0.1)])

    assert at(4.55, 0.05) == FREE and at(8.05, 1.85) == FREE
    assert at(4.95, 0.05) == OCCUPIED or at(5.05, 0.05) == OCCUPIED
    assert at(6.05, 0.05) == UNKNOWN and at(9.55, -1.05) == UNKNOWN
    assert at(5.05, 2.15) == OCCUPIED and at(5.05, -2.15) == OCCUPIED
    assert at(0.25, 0.05) == UNKNOWN  # below the picture
    assert np.count_nonzero(grid[40, :] == OCCUPIED) <= 2  # the foot alone


def test_edges_end_where_something_stands_before_them():
    mask, camera = level_scene()
    found = find_boundaries(mask, SURFACE, camera, reach=9.0)
    assert {boundary.kind for boundary in found} == {Kind.LEFT_EDGE, Kind.RIGHT_EDGE}
    for boundary in found:
        side = 2.0 if boundary.kind is Kind.LEFT_EDGE else -2.0
        assert np.abs(boundary.points[:, 1] - side).max() < 0.02
        distance = np.linalg.norm(boundary.points, axis=1)
        assert np.all(np.diff(distance) >= 0) and distance[-1] <= 9.0
    hidden = mask.copy()
    hidden[mask == PAVEMENT] = VEHICLE
    assert find_boundaries(hidden, SURFACE, camera, reach=9.0) == []


def test_a_broken_line_is_several():
    mask, camera = level_scene()
    mask[mask == VEHICLE] = ROAD
    for first, last in ((2.0, 3.5), (6.0, 8.0)):
        ends = camera.to_pixels(np.array([[first, 0.0], [last, 0.0]]))
        mask[int(ends[1, 1]) : int(ends[0, 1]), 318:322] = LANE_CLASSES.index("lane_marking")
    lines = [b for b in find_boundaries(mask, SURFACE, camera, 20.0) if b.kind is Kind.LINE]
    spans = sorted((b.points[0, 0], b.points[-1, 0]) for b in lines)
    assert np.array(spans) == pytest.approx(np.array([[2.0, 3.5], [6.0, 8.0]]), abs=0.2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"k": [0.0] * 9}, "no focal length: calibrate the camera, or state field_of_view"),
        ({"k": [float("nan")] * 9}, "not finite"),
        ({"distortion_model": "omni"}, "'omni'; known are plumb_bob, rational_polynomial"),
        ({"d": [0.1, 0.2]}, "2 coefficients for the distortion model 'plumb_bob'"),
        ({"width": 0}, "pictures of 0 x 480"),
    ],
)
def test_a_camera_that_says_nothing_usable_is_refused(changes, says):
    with pytest.raises(CameraModelError, match=says):
        CameraModel.of_message(camera_info(**changes))


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"drivable": ["rode"]}, "'rode' is not in the bundle; did you mean road?"),
        ({"drivable": []}, "no class is drivable; the classes are sky, building"),
        ({"standing": ["road"]}, "road can't be both drivable and standing"),
    ],
)
def test_classes_that_are_none_are_named(names, says):
    given_names = {"drivable": ["road"], "line": [], "standing": ["sky"], **names}
    with pytest.raises(ValueError, match=says.replace("?", r"\?")):
        Surface.of_names(LANE_CLASSES, **given_names)


def test_frames_are_found_through_a_common_one():
    frames = FixedFrames()
    up = Pose(np.eye(3), np.array([0.0, 0.0, 0.3]))
    frames.tell("base_link", "base_footprint", up)
    frames.tell("camera_link", "base_link", Pose.of_camera(0.2, 0.0))
    found = frames.pose("camera_link", "base_footprint")
    assert found.translation == pytest.approx([0.0, 0.0, 0.5])
    assert found.rotation == pytest.approx(Pose.of_camera(1.0, 0.0).rotation)
    back = frames.pose("base_footprint", "camera_link")
    assert back.translation == pytest.approx([0.0, 0.5, 0.0])
    with pytest.raises(FrameError, match="does not say where lidar is in base_link"):
        frames.pose("lidar", "base_link")
    frames.tell("base_footprint", "camera_link", up)
    with pytest.raises(FrameError, match="above itself"):
        frames.pose("camera_link", "base_link")


def test_frames_that_a_stranger_tells_of_take_a_bounded_memory() -> None:
    frames, pose = FixedFrames(), Pose(np.eye(3), np.zeros(3))
    for number in range(MOST_FRAMES):
        frames.tell(f"frame {number}", "base_link", pose)
    with pytest.raises(FrameError, match="more than 10000 frames; 'one more' and later ones"):
        frames.tell("one more", "base_link", pose)
    # What is known may still move.
    frames.tell("frame 0", "base_link", Pose.of_camera(1.0, 0.0))
    assert frames.pose("frame 0", "base_link").translation[2] == 1.0
