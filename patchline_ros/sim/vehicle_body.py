"""What cars and trucks are painted with: a shaded body of polygons, given in metres."""

from __future__ import annotations

import math
from typing import TypeAlias

from patchline_ros.sim import labels
from patchline_ros.sim.camera import View
from patchline_ros.sim.light import Light, gained
from patchline_ros.sim.painter import Canvas, Colour, Glow
from patchline_ros.sim.world import Thing

PAINTS: tuple[Colour, ...] = (
    (196, 30, 38), (34, 74, 150), (226, 228, 230), (38, 40, 46), (150, 156, 162), (60, 104, 76),
    (222, 170, 52), (96, 26, 40), (76, 122, 166), (206, 198, 180), (104, 108, 112), (214, 98, 40),
)  # fmt: skip
GLASS: Colour = (40, 52, 62)
DARK: Colour = (26, 26, 28)
TYRE: Colour = (24, 24, 26)
PLATE: Colour = (222, 222, 214)
_WHEEL = [(math.sin(k * math.pi / 6), math.cos(k * math.pi / 6)) for k in range(12)]

Corner: TypeAlias = tuple[float, float, float]
"""Metres to the right of the vehicle's middle, up, and away from its near end."""


class VehicleBody:
    """Paints faces given in metres: right of the vehicle's middle, up, away from its near end."""

    def __init__(self, canvas: Canvas, view: View, thing: Thing, light: Light) -> None:
        spot = view.spot(thing.s, thing.lateral)
        self._spot = spot
        self._camera = view.camera
        self.canvas, self.light = canvas, light
        # The sight line decides which flank shows.
        self.flank = -1.0 if spot.right + spot.turn * thing.length / 2 > 0 else 1.0
        self.over_roof = spot.down > thing.height * 1.3
        self.depth = max(spot.ahead, 0.6)
        self.scale = view.camera.focal / self.depth
        self.fine = self.scale > 8
        self.identity = canvas.new_thing(labels.VEHICLE, self.depth + 0.2 * thing.length)
        self._corners: list[tuple[float, float]] = []

    def pixel(self, x: float, y: float, z: float) -> tuple[float, float]:
        """A point in metres of the vehicle to pixels u, v."""
        spot = self._spot
        return self._camera.pixel(
            spot.right + x + z * spot.turn, spot.down - y + z * spot.drop, spot.ahead + z
        )

    def face(
        self, points: list[Corner], colour: Colour, gain: float = 1.0, outline: bool = True
    ) -> None:
        """Paints one polygon; only those that can stick out of the others are the outline."""
        pixels = [self.pixel(x, y, z) for x, y, z in points]
        if outline:
            self._corners += pixels
        self.canvas.polygon(pixels, gained(colour, gain), self.identity if outline else 0)

    def front(
        self, x: tuple[float, float], y: tuple[float, float], z: float, colour: Colour,
        gain: float = 1.0,
    ) -> None:  # fmt: skip
        """Paints an upright rectangle facing the camera, a part of the outline."""
        self.face(upright(x, y, z), colour, gain)

    def detail(
        self, x: tuple[float, float], y: tuple[float, float], colour: Colour,
        gain: float = 1.0, shine: float = 0.0,
    ) -> None:  # fmt: skip
        """Paints an upright rectangle on the near end."""
        pixels = [self.pixel(*corner) for corner in upright(x, y, 0.0)]
        self.canvas.polygon(pixels, gained(colour, gain), 0, shine)

    def wheel(self, x: float, z: float, radius: float) -> None:
        """Paints a wheel seen from the side."""
        rings = ((1.0, TYRE), (0.62, (120, 122, 126)), (0.2, (60, 60, 62)))
        for share, colour in rings if self.scale > 12 else rings[:1]:
            rim = radius * share
            self.face([(x, radius + rim * up, z + rim * out) for up, out in _WHEEL], colour, 0.9,
                      share == 1.0)  # fmt: skip

    def lamp(self, x: float, y: float, z: float, colour: Colour, size: float) -> None:
        """Notes a lamp for the halo that night and fog give it."""
        u, v = self.pixel(x, y, z)
        self.canvas.glows.append(Glow(u, v, self.scale * size, colour, self.depth))

    def finish(self, label: int) -> None:
        """Registers what was painted as an object to be labelled."""
        u, v = zip(*self._corners, strict=True)
        self.canvas.add_target(self.identity, label, (min(u), min(v), max(u), max(v)))


def paint_lamps(body: VehicleBody, thing: Thing, half: float, low: float, high: float) -> None:
    """Head or tail lamps at both corners of the near end."""
    night = body.light.night
    # By day a quarter of the drivers brake or drive with lamps on.
    on = thing.variant % 4 == 0 or night > 0 or body.light.fog > 0 or body.light.wet > 0
    span = 0.17 * thing.width
    for side in (-1.0, 1.0):
        inner, outer = side * (half - span), side * half
        x = (min(inner, outer), max(inner, outer))
        if thing.toward:
            colour = (255, 250, 226) if on else (206, 212, 214)
            body.detail(x, (low, high), colour, 1.0, 255.0 if on else 40.0)
        else:
            colour = (236, 34, 30) if on else (142, 22, 26)
            body.detail(x, (low, high), colour, 1.0, 190.0 if on else 30.0)
        if on:
            glow = (255, 240, 200) if thing.toward else (255, 40, 30)
            size = 0.55 if thing.toward else 0.32
            body.lamp((x[0] + x[1]) / 2, (low + high) / 2, 0.0, glow, size)


def upright(x: tuple[float, float], y: tuple[float, float], z: float) -> list[Corner]:
    """Corners of an upright rectangle that faces the camera."""
    return [(x[0], y[1], z), (x[1], y[1], z), (x[1], y[0], z), (x[0], y[0], z)]


def between(first: Corner, second: Corner, share: float) -> Corner:
    """The point that lies this share of the way from the first to the second."""
    return (
        first[0] + (second[0] - first[0]) * share,
        first[1] + (second[1] - first[1]) * share,
        first[2] + (second[2] - first[2]) * share,
    )


def shrunk(corners: list[Corner], share: float) -> list[Corner]:
    """The polygon drawn in towards its middle."""
    x, y, z = (sum(values) / len(corners) for values in zip(*corners, strict=True))
    return [between((x, y, z), corner, share) for corner in corners]
