"""Measures how far lanes on the ground are from where they are on the simulated road.

    python -m tools.ground_errors

The road's course is known. A point of an edge or a line is compared with where that edge, or the
nearest line, runs at the same distance ahead: what a planner would steer by. The true mask shows
what the geometry costs, since it takes the ground for level and the car for still: the road bends
up and down, and the car bounces. The models are those of the shipped bundle, in clear weather, in
fog, and in fog with the answer that a car gives without labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Final, NamedTuple

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from patchline_ros.adaptation.gate import MARGIN
from patchline_ros.adaptation.label_free_answer import label_free_answer
from patchline_ros.adaptation.source_model import SourceModel
from patchline_ros.bundle import Bundle
from patchline_ros.geometry.boundaries import Boundary, Kind, find_boundaries
from patchline_ros.geometry.camera_model import CameraModel, Floats
from patchline_ros.geometry.mounted_camera import MountedCamera, Pose
from patchline_ros.geometry.occupancy import FREE, DrivableGrid, GridShape
from patchline_ros.geometry.surface import Surface
from patchline_ros.package_share import bundle_folder, share_folder
from patchline_ros.sim import LANE_CLASSES, Condition, RoadSimulator
from patchline_ros.sim.camera import EYE_HEIGHT, View
from patchline_ros.sim.defaults import PICTURE_SIZE, PICTURE_STEP, SEVERITIES
from patchline_ros.sim.world import LANE, ROAD_HALF
from patchline_ros.tasks import ClassMap, Image, Task
from patchline_ros.vision.evaluation import Model, answers

WORLDS: Final = (4000, 4001, 4002)
"""Roads that no model was trained on."""
ROAD_OF_ANSWER: Final = 4100
"""Whose pictures in fog the answer without labels is given on."""
PICTURES_OF_ANSWER: Final = 12
"""As many as a car takes."""
DISTANCES: Final = (4.0, 8.0, 12.0, 16.0, 20.0, 30.0)
SHAPE: Final = GridShape(reach=20.0, width=20.0, resolution=0.1)
LINES: Final = (-6.72, -LANE, 0.0, LANE, 6.72)
"""Metres right of the centre line. The double line in the middle is seen as one."""


class Place(NamedTuple):
    """A picture of the road, what is in it, and where it was taken."""

    view: View
    truth: ClassMap
    image: Image


class Found(NamedTuple):
    """What was found in all pictures: errors in metres by Kind, with their distances; cells."""

    errors: dict[bool, list[float]]
    ahead: dict[bool, list[float]]
    wrongly_free: int
    free: int
    road_found: int
    road: int


def places(condition: Condition, frames: int) -> list[Place]:
    """Pictures of the test roads in that weather."""
    severity = SEVERITIES.get(condition, 1.0)
    found = []
    for world in WORLDS:
        simulator = RoadSimulator(world, PICTURE_SIZE)
        for number in range(frames):
            index = 2 * PICTURE_STEP * number
            sample = simulator.frame(index, condition, severity).samples[Task.SEGMENTATION]
            assert isinstance(sample.label, np.ndarray)
            found.append(Place(simulator.view(index), sample.label, sample.image))
    return found


def camera_of_road() -> MountedCamera:
    """As camera_info and /tf_static of the simulated camera say."""
    pinhole = RoadSimulator(0, PICTURE_SIZE).camera
    matrix = np.diag([pinhole.focal, pinhole.focal, 1.0])
    matrix[:2, 2] = pinhole.centre_u - 0.5, pinhole.centre_v - 0.5
    model = CameraModel(pinhole.width, pinhole.height, matrix, np.zeros(0))
    return MountedCamera(model, Pose.of_camera(EYE_HEIGHT, 0.0))


def right_of_centre(view: View, ahead: Floats, left: Floats) -> Floats:
    """Where places before the car are on the road: metres right of its centre line."""
    centre = view.points(view.s + ahead, np.zeros(len(ahead)))[:, 0]
    return -left - centre


def error_of(boundary: Boundary, view: View) -> Floats:
    """Sideways, in metres, for each of its points."""
    right = right_of_centre(view, *boundary.points.T)
    if boundary.kind is Kind.LINE:
        return np.abs(right[:, None] - np.array(LINES)).min(axis=1)
    side = -ROAD_HALF if boundary.kind is Kind.LEFT_EDGE else ROAD_HALF
    return np.abs(right - side)


def measure(seen: Sequence[Place], masks: Sequence[ClassMap]) -> Found:
    """Puts masks on the ground and compares."""
    camera = camera_of_road()
    surface = Surface.of_names(
        LANE_CLASSES,
        ["road", "lane_marking"],
        ["lane_marking"],
        ["sky", "building", "vehicle", "person"],
    )
    maker = DrivableGrid(camera, SHAPE, surface)
    ahead, left = SHAPE.centres().T
    errors: dict[bool, list[float]] = {True: [], False: []}
    distances: dict[bool, list[float]] = {True: [], False: []}
    counts = np.zeros(4, dtype=np.int64)
    for place, mask in zip(seen, masks, strict=True):
        for boundary in find_boundaries(mask, surface, camera, DISTANCES[-1]):
            is_line = boundary.kind is Kind.LINE
            errors[is_line] += error_of(boundary, place.view).tolist()
            distances[is_line] += boundary.points[:, 0].tolist()
        on_road = np.abs(right_of_centre(place.view, ahead, left)) < ROAD_HALF
        free = maker.of(mask).reshape(-1) == FREE
        road = on_road & (maker.of(place.truth).reshape(-1) == FREE)
        counts += [int(part.sum()) for part in (free & ~on_road, free, free & road, road)]
    return Found(errors, distances, *counts.tolist())


def table_of(found: dict[str, Found], is_line: bool) -> Table:
    """Median and 90th percentile of the error by distance, with how many points there are."""
    table = Table(title=f"{'lines' if is_line else 'edges of the road'}: error sideways in cm")
    table.add_column("mask")
    for near, far in pairwise(DISTANCES):
        table.add_column(f"{near:.0f} to {far:.0f} m", justify="right")
    for name, one in found.items():
        ahead, errors = np.array(one.ahead[is_line]), np.array(one.errors[is_line])
        cells = [
            _cell(errors[(ahead >= near) & (ahead < far)]) for near, far in pairwise(DISTANCES)
        ]
        table.add_row(name, *cells)
    return table


def _cell(errors: NDArray[np.float64]) -> str:
    if len(errors) == 0:
        return "none"
    median, high = 100 * np.quantile(errors, [0.5, 0.9])
    return f"{median:.0f}, {high:.0f} ({len(errors)})"


def grid_table(found: dict[str, Found]) -> Table:
    """Of the cells that are said to be free, and of the road that can be seen."""
    table = Table("mask", "free cells off the road", "road cells found free", title="grid")
    for name, one in found.items():
        table.add_row(
            name,
            f"{100 * one.wrongly_free / max(one.free, 1):.1f}%",
            f"{100 * one.road_found / one.road:.1f}%",
        )
    return table


def segment_with(model: Model, seen: Sequence[Place]) -> list[ClassMap]:
    """The model's masks, as large as the pictures."""
    labels = answers(model, [place.image for place in seen]).labels
    return [label for label in labels if isinstance(label, np.ndarray)]


def answer_in_fog(source: SourceModel) -> tuple[str, Model]:
    """What a car answers fog with: the name of the candidate, and the model."""
    road = RoadSimulator(ROAD_OF_ANSWER, PICTURE_SIZE)
    images = [
        road.frame(PICTURE_STEP * number, Condition.FOG, SEVERITIES[Condition.FOG]).image
        for number in range(PICTURES_OF_ANSWER)
    ]
    best = label_free_answer(source.model, source, images, MARGIN)
    return f"{best.candidate.name}{'' if best.accepted else ', refused'}", best.candidate.model


def main(
    frames: Annotated[int, typer.Option(min=1, help="Of each of the three roads.")] = 30,
) -> None:
    """Print errors in cm over distance for the true mask, and for the models' masks."""
    torch.set_num_threads(1)
    bundle = Bundle.load(bundle_folder(share_folder(), recorded=False))
    source = SourceModel.of_bundle(bundle, Task.SEGMENTATION)
    clear, fog = places(Condition.CLEAR, frames), places(Condition.FOG, frames)
    name, answer = answer_in_fog(source)
    found = {
        "true mask": measure(clear, [place.truth for place in clear]),
        "model, clear": measure(clear, segment_with(source.model, clear)),
        "model, fog": measure(fog, segment_with(source.model, fog)),
        "answer in fog": measure(fog, segment_with(answer, fog)),
    }
    console = Console(width=110)
    for is_line in (False, True):
        console.print(table_of(found, is_line))
    console.print(grid_table(found))
    console.print(f"median, 90th percentile (points); the answer in fog: {name}")


if __name__ == "__main__":
    typer.run(main)
