"""Cars and trucks as shaded polygon bodies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from patchline_ros.sim import labels
from patchline_ros.sim.camera import View
from patchline_ros.sim.light import Light, gained, mix
from patchline_ros.sim.painter import Canvas, Colour, Glow
from patchline_ros.sim.world import Kind, Thing

_PAINTS: tuple[Colour, ...] = (
    (196, 30, 38), (34, 74, 150), (226, 228, 230), (38, 40, 46), (150, 156, 162), (60, 104, 76),
    (222, 170, 52), (96, 26, 40), (76, 122, 166), (206, 198, 180), (104, 108, 112), (214, 98, 40),
)  # fmt: skip
_GLASS: Colour = (40, 52, 62)
_DARK: Colour = (26, 26, 28)
_TYRE: Colour = (24, 24, 26)
_WHEEL = [(math.sin(k * math.pi / 6), math.cos(k * math.pi / 6)) for k in range(12)]

_Corner: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True)
class _Profile:
    """A car's side view as shares of its length (from the rear) and of its height."""

    belt: float
    tail: float
    roof_rear: float
    roof_front: float
    bonnet: float
    nose: float


_PROFILES = (
    _Profile(0.64, 0.16, 0.30, 0.60, 0.76, 0.56),  # saloon
    _Profile(0.62, 0.02, 0.10, 0.58, 0.76, 0.56),  # hatchback
    _Profile(0.58, 0.015, 0.06, 0.62, 0.76, 0.56),  # estate
    _Profile(0.56, 0.01, 0.04, 0.72, 0.88, 0.50),  # van
)
_LIFT = (1.0, 1.02, 1.1, 1.3)


class _Body:
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
        self, points: list[_Corner], colour: Colour, gain: float = 1.0, outline: bool = True
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
        self.face(_upright(x, y, z), colour, gain)

    def detail(
        self, x: tuple[float, float], y: tuple[float, float], colour: Colour,
        gain: float = 1.0, shine: float = 0.0,
    ) -> None:  # fmt: skip
        """Paints an upright rectangle on the near end."""
        pixels = [self.pixel(*corner) for corner in _upright(x, y, 0.0)]
        self.canvas.polygon(pixels, gained(colour, gain), 0, shine)

    def wheel(self, x: float, z: float, radius: float) -> None:
        """Paints a wheel seen from the side."""
        rings = ((1.0, _TYRE), (0.62, (120, 122, 126)), (0.2, (60, 60, 62)))
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


def paint_vehicle(canvas: Canvas, view: View, thing: Thing, light: Light) -> None:
    """Paints a car or truck and registers it."""
    body = _Body(canvas, view, thing, light)
    if thing.kind is Kind.TRUCK:
        _truck(body, thing)
        body.finish(labels.OBJECT_CLASSES.index("truck"))
    else:
        _car(body, thing)
        body.finish(labels.OBJECT_CLASSES.index("car"))


def shadow_under(view: View, thing: Thing) -> list[tuple[float, float]]:
    """The dark patch under a vehicle, in pixels."""
    half, points = thing.width * 0.54, []
    for along, across in ((-0.05, -half), (-0.05, half), (1.0, half), (1.0, -half)):
        s = max(thing.s + along * thing.length, view.s + 0.5)
        spot = view.spot(s, thing.lateral + across)
        points.append(view.camera.pixel(spot.right, spot.down, spot.ahead))
    return points


def _lights(body: _Body, thing: Thing, half: float, low: float, high: float) -> None:
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


def _car(body: _Body, thing: Thing) -> None:
    shape = thing.variant % len(_PROFILES)
    paint = _PAINTS[thing.variant // 7 % len(_PAINTS)]
    profile, light = _PROFILES[shape], body.light
    long, roof = thing.length, thing.height * _LIFT[shape]
    half, sill, belt, nose = thing.width / 2, 0.22, profile.belt * roof, profile.nose * roof
    places = [profile.tail, profile.roof_rear, profile.roof_front, profile.bonnet]
    heights = (belt * 0.97, nose)
    if thing.toward:
        places, heights = [1 - place for place in reversed(places)], (nose, belt * 0.97)
    base, top, top_end, base_end = (place * long for place in places)
    near, far = heights
    x = body.flank * half
    inset = 0.80 * half
    flank, end = light.face(body.flank, 0, 0), light.face(0, 0, 1)
    up = light.face(0, 1, 0) * 1.08
    cover = mix(paint, (236, 240, 246), 0.85 * light.snow)

    for side in (-1, 1):
        centre = side * (half - 0.16)
        body.front((centre - 0.11, centre + 0.11), (0.0, 0.4), 0.3, _TYRE)
    body.front((-half * 0.94, half * 0.94), (0.16, 0.4), 0.08, _DARK)
    side_line = [(x, sill, 0.05), (x, near, 0.0), (x, belt, base), (x, belt, base_end),
                 (x, far, long), (x, sill, long - 0.05)]  # fmt: skip
    body.face(side_line, paint, flank)
    if body.fine:
        body.face([(x, sill, 0.05), (x, 0.42 * belt, 0.0), (x, 0.42 * belt, long),
                   (x, sill, long)], paint, flank * 0.78, False)  # fmt: skip
    for place in (0.18, 0.81):
        body.wheel(x, long * place, 0.31)
    body.face([(-half, near, 0), (half, near, 0), (half, belt, base), (-half, belt, base)],
              cover, up)  # fmt: skip
    body.front((-half, half), (sill, near), 0.0, paint, end)
    body.detail((-half, half), (sill, 0.44 * belt), paint, end * 0.72)
    if body.fine:
        body.detail((-half, half), (near * 0.8, near), paint, min(end * 1.16, 1.3))
    if thing.toward:
        body.detail((-half * 0.5, half * 0.5), (0.5 * near, 0.78 * near), _DARK, 1.2)
    if body.fine:
        plate = (0.46 * near, 0.46 * near + 0.12)
        body.detail((-0.26, 0.26), plate, (222, 222, 214), end, 30)
    _lights(body, thing, half * 0.98, 0.62 * near, 0.88 * near)

    pane = body.flank * inset
    cabin = [(x * 0.98, belt, base), (pane, roof, top), (pane, roof, top_end),
             (x * 0.98, belt, base_end)]  # fmt: skip
    body.face(cabin, paint, flank)
    glass = _shrunk(cabin, 0.84)
    body.face(glass, mix(_GLASS, light.horizon, 0.25), flank, False)
    if body.fine:
        post = (base + base_end) / 2
        body.face([(x * 0.98, belt, post - 0.05), (pane, roof, post - 0.05),
                   (pane, roof, post + 0.05), (x * 0.98, belt, post + 0.05)],
                  paint, flank * 0.9, False)  # fmt: skip
    if body.over_roof:
        body.face([(-inset, roof, top), (inset, roof, top), (inset, roof, top_end),
                   (-inset, roof, top_end)], cover, up)  # fmt: skip
    window = [(-inset, roof, top), (inset, roof, top), (half * 0.96, belt, base),
              (-half * 0.96, belt, base)]  # fmt: skip
    body.face(window, mix(paint, cover, 0.5), end)
    pane_near = _shrunk(window, 0.86)
    body.face(pane_near, mix(_GLASS, light.zenith, 0.12), end, False)
    if body.fine:
        sheen = [pane_near[0], pane_near[1], _between(pane_near[1], pane_near[2], 0.45),
                 _between(pane_near[0], pane_near[3], 0.2)]  # fmt: skip
        body.face(sheen, mix(_GLASS, light.horizon, 0.5), end, False)
    body.front((-inset, inset), (roof - 0.07, roof), top, cover, up)


def _upright(x: tuple[float, float], y: tuple[float, float], z: float) -> list[_Corner]:
    return [(x[0], y[1], z), (x[1], y[1], z), (x[1], y[0], z), (x[0], y[0], z)]


def _between(first: _Corner, second: _Corner, share: float) -> _Corner:
    return (
        first[0] + (second[0] - first[0]) * share,
        first[1] + (second[1] - first[1]) * share,
        first[2] + (second[2] - first[2]) * share,
    )


def _shrunk(corners: list[_Corner], share: float) -> list[_Corner]:
    """The polygon drawn in towards its middle."""
    x, y, z = (sum(values) / len(corners) for values in zip(*corners, strict=True))
    return [_between((x, y, z), corner, share) for corner in corners]


def _truck(body: _Body, thing: Thing) -> None:
    light = body.light
    cab_paint = _PAINTS[thing.variant // 5 % len(_PAINTS)]
    box_paint = mix((232, 232, 228), _PAINTS[thing.variant // 11 % len(_PAINTS)],
                    0.75 if thing.variant % 3 == 0 else 0.06)  # fmt: skip
    half, long, high = thing.width / 2, thing.length, thing.height
    cab = 2.0
    x = body.flank * half
    flank, end = light.face(body.flank, 0, 0), light.face(0, 0, 1)
    box_near, box_far = (cab + 0.3, long) if thing.toward else (0.0, long - cab - 0.3)
    cab_near, cab_far = (0.0, cab) if thing.toward else (long - cab, long)

    def chassis() -> None:
        body.face([(x, 0.5, 0.1), (x, 0.95, 0.1), (x, 0.95, long), (x, 0.5, long)], _DARK)
        for place in (0.14, 0.3, 0.86) if not thing.toward else (0.13, 0.72, 0.88):
            body.wheel(x, long * place, 0.48)

    def box() -> None:
        body.face([(x, 0.95, box_near), (x, high, box_near), (x, high, box_far),
                   (x, 0.95, box_far)], box_paint, flank)  # fmt: skip
        stripe = mix(box_paint, cab_paint, 0.8)
        body.face([(x, 1.5, box_near), (x, 1.8, box_near), (x, 1.8, box_far), (x, 1.5, box_far)],
                  stripe, flank, False)  # fmt: skip
        body.front((-half, half), (0.95, high), box_near, box_paint, end)
        snow = mix(box_paint, (238, 242, 248), 0.9 * light.snow)
        body.front((-half, half), (high - 0.12, high), box_near, snow, end * 0.9)

    def cabin() -> None:
        top = min(2.55, high)
        body.face([(x, 0.55, cab_near), (x, top, cab_near), (x, top, cab_far), (x, 0.55, cab_far)],
                  cab_paint, flank)  # fmt: skip
        low, inner = cab_near + 0.35, cab_far - 0.5
        body.face([(x, 1.5, low), (x, 2.25, low), (x, 2.25, inner), (x, 1.5, inner)],
                  mix(_GLASS, light.horizon, 0.3), flank, False)  # fmt: skip

    for side in (-1, 1):
        centre = side * (half - 0.3)
        body.front((centre - 0.26, centre + 0.26), (0.0, 0.8), 0.3, _TYRE)
    if thing.toward:
        box()
        chassis()
        cabin()
        top = min(2.55, high)
        body.front((-half, half), (0.4, top), 0.0, cab_paint, end)
        body.detail((-half * 0.9, half * 0.9), (1.45, 2.3), mix(_GLASS, light.zenith, 0.2))
        sheen = [(-half * 0.9, 2.3, 0.0), (half * 0.5, 2.3, 0.0), (-half * 0.9, 1.7, 0.0)]
        body.face(sheen, mix(_GLASS, light.horizon, 0.45), 1.0, False)
        body.detail((-half * 0.6, half * 0.6), (0.75, 1.25), _DARK, 1.3)
        body.detail((-half, half), (0.4, 0.62), (70, 70, 74), end)
        _lights(body, thing, half * 0.95, 0.68, 0.92)
        return
    cabin()
    chassis()
    box()
    body.front((-half, half), (0.55, 0.95), 0.0, _DARK, 1.3)
    if body.fine:
        for place, gain in ((-0.45, 0.78), (0.0, 0.6), (0.45, 0.78)):
            edges = (place * half - 0.03, place * half + 0.03)
            body.detail(edges, (1.0, high - 0.2), box_paint, end * gain)
        body.detail((-0.26, 0.26), (0.66, 0.8), (222, 222, 214), end, 30)
    _lights(body, thing, half * 0.96, 0.64, 0.84)
