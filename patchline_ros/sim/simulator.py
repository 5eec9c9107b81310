"""The simulated road: a drive as a function of seed and frame index."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from patchline_ros.sim import labels
from patchline_ros.sim.camera import Camera, Road, View, ground_rows
from patchline_ros.sim.ground import Surface
from patchline_ros.sim.light import Condition, Light, light_of
from patchline_ros.sim.noise import stream
from patchline_ros.sim.painter import Canvas, Picture
from patchline_ros.sim.scenery import paint_post, paint_scenery, paint_shadows
from patchline_ros.sim.signs import sign_faces
from patchline_ros.sim.vehicles import paint_vehicle
from patchline_ros.sim.weather import Scene, develop
from patchline_ros.sim.world import EGO_LANE, STEP, Kind, Thing, World
from patchline_ros.tasks import IGNORE, Frame, Sample, Task

SIGN_SIZE = 96
"""Edge of the sign camera's square picture in pixels."""

MIN_SIZE = 48
_VEHICLES = (Kind.CAR, Kind.TRUCK)


class RoadSimulator:
    """An endless drive on a road that exists only in the seed.

    size: (height, width) of the road picture in pixels. Frames are 1.5 m apart. Raises ValueError
    for a negative seed or a size that is not two integers of at least 48.
    """

    def __init__(self, seed: int, size: tuple[int, int] = (360, 480)) -> None:
        if seed < 0:
            raise ValueError(f"the seed is {seed}; give one that is 0 or greater")
        if len(size) != 2 or any(int(edge) != edge or edge < MIN_SIZE for edge in size):
            raise ValueError(
                f"the size is {size}; give (height, width) as integers of at least {MIN_SIZE}"
            )
        self.seed = seed
        self.size = (int(size[0]), int(size[1]))
        self._road = Road(seed)
        self._world = World(seed, self._road)
        self._surface = Surface(seed, self._world)

    def frame(
        self, index: int, condition: Condition = Condition.CLEAR, severity: float = 1.0
    ) -> Frame:
        """The index-th frame of the drive, the same whatever was asked for before.

        severity in [0, 1] is how strong the condition is; 0 is clear weather. Raises ValueError
        for a negative index or a severity outside [0, 1].
        """
        if index < 0:
            raise ValueError(f"the frame index is {index}; give one that is 0 or greater")
        if not 0.0 <= severity <= 1.0:
            raise ValueError(f"the severity is {severity}; give one from 0 to 1")
        condition = Condition(condition)
        light = light_of(self.seed, index, condition, severity)
        things = self._world.things(index)
        view = self.view(index)
        scene = self._paint(view, things, light, index, zoom=1.0)
        rng = stream(self.seed, 60, index)
        image = develop(scene, light, condition, severity, rng)
        sign = self._sign_sample(view, things, light, index, condition, severity)
        samples = {
            Task.CLASSIFICATION: sign,
            Task.DETECTION: Sample(image, labels.visible_boxes(scene.canvas)),
            Task.SEGMENTATION: Sample(image, labels.class_map(scene.canvas)),
        }
        return Frame(self.name(index, condition), image, samples)

    def name(self, index: int, condition: Condition = Condition.CLEAR) -> str:
        """Name of the frame that `frame` paints."""
        return f"sim-{self.seed}-{condition}-{index:05d}"

    @property
    def camera(self) -> Camera:
        """The camera as one would calibrate it: where the car stands still and does not bounce."""
        height, width = self.size
        return Camera(
            height, width, focal=width * 400 / 480, centre_u=width / 2, centre_v=height * 0.455
        )

    def view(self, index: int) -> View:
        """Where the camera is at the index-th frame, and how it has bounced."""
        bounce = float(stream(self.seed, 61, index).random()) - 0.5
        camera = self.camera
        camera = replace(camera, centre_v=camera.height * (0.455 + 0.006 * bounce))
        sway = 0.25 * math.sin(index / 23.0 + self.seed)
        return View(camera, self._road, index * STEP, EGO_LANE + sway)

    def _paint(
        self, view: View, things: list[Thing], light: Light, index: int, zoom: float
    ) -> Scene:
        canvas = Canvas(view.camera.height, view.camera.width)
        near = [thing for thing in things if thing.s < view.s + 80]
        things = [thing for thing in things if view.sees(thing.s, thing.lateral, thing.block)]
        ground = ground_rows(view)
        lateral = self._surface.paint(canvas, view, ground, light)
        if len(lateral):
            paint_shadows(canvas, view, near, light, ground.top)
        for thing in things:
            canvas.limit(ground.hidden_below(thing.s - view.s))
            if thing.kind in _VEHICLES:
                paint_vehicle(canvas, view, thing, light)
            else:
                paint_scenery(canvas, view, thing, light, index)
        canvas.limit(view.camera.height)
        texture = self._surface.patches
        return Scene(canvas, view.camera, ground, lateral, texture, view.s, zoom)

    def _sign_sample(
        self,
        view: View,
        things: list[Thing],
        light: Light,
        index: int,
        condition: Condition,
        severity: float,
    ) -> Sample:
        """What the sign camera sees: a long lens that turns to the sign ahead."""
        sign = self._world.sign_ahead(index)
        rng = stream(self.seed, 62, index)
        fill, shift_u, shift_v, yaw, pitch, roll, fade, gloss = rng.random(8).tolist()
        edge = SIGN_SIZE * (0.37 + 0.46 * fill)
        middle = view.points(np.array(sign.s), np.array(sign.lateral), sign.height)
        depth = float(middle[2])
        focal = edge * depth / sign.width
        room = 0.45 * (SIGN_SIZE - edge)
        target = SIGN_SIZE / 2 + room * (2 * np.array([shift_u, shift_v]) - 1)
        camera = Camera(
            SIGN_SIZE,
            SIGN_SIZE,
            focal,
            centre_u=float(target[0] - focal * middle[0] / depth),
            centre_v=float(target[1] - focal * middle[1] / depth),
        )
        tele = View(camera, self._road, view.s, view.lateral)
        behind = [thing for thing in things if thing.s > sign.s + 0.5 and thing.kind != Kind.SIGN]
        scene = self._paint(tele, behind, light, index, zoom=focal / view.camera.focal)
        canvas = scene.canvas
        paint_post(canvas, tele, sign, light)
        quad = _turned(edge, (yaw - 0.5) * 1.1, (pitch - 0.5) * 0.4, (roll - 0.5) * 0.3) + target
        identity = canvas.new_thing(IGNORE, depth)
        gain = (0.78 + 0.3 * fade) * light.face(0, 0.1, 1)
        # Signs reflect the headlamps back, some more and some less.
        shine = light.night * (45 + 75 * gloss)
        canvas.warped(_level(sign.variant, edge), quad, identity, gain, shine)
        rng = stream(self.seed, 63, index)
        image = develop(scene, light, condition, severity, rng)
        return Sample(image, sign.variant)


def _level(variant: int, edge: float) -> Picture:
    levels = sign_faces()[variant]
    return next(level for level in reversed(levels) if level.shape[0] >= edge or level is levels[0])


def _turned(edge: float, yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Corners (4, 2) of a square of this edge, turned in space and seen from nearby."""
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    x, y = corners[:, 0] * math.cos(yaw), corners[:, 1] * math.cos(pitch)
    depth = 1 + 0.35 * (corners[:, 0] * math.sin(yaw) + corners[:, 1] * math.sin(pitch))
    x, y = x / depth, y / depth
    turned = np.stack(
        [x * math.cos(roll) - y * math.sin(roll), x * math.sin(roll) + y * math.cos(roll)], axis=1
    )
    return turned * edge
