"""A car as a body of shaded polygons."""

from __future__ import annotations

from dataclasses import dataclass

from patchline_ros.sim.light import mix
from patchline_ros.sim.painter import Colour
from patchline_ros.sim.vehicle_body import (
    DARK,
    GLASS,
    PAINTS,
    PLATE,
    TYRE,
    VehicleBody,
    between,
    paint_lamps,
    shrunk,
)
from patchline_ros.sim.world import Thing


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


@dataclass(frozen=True)
class _Car:
    """A car's measures, in metres and as seen from the camera, and its paint.

    Attributes:
        half, long, roof: half its width, its length, and its height.
        sill, belt, near, far: heights of the sill, below the windows, and of both ends.
        base, top, top_end, base_end: distances from the near end at which the cabin begins below
            the windows and at the roof, and at which it ends there.
        x, inset: where the flank that shows lies, and half the width of the roof.
        flank, end, up: how bright the flank, the near end and what faces the sky are.
        paint, cover: colour of the car, and of what snow lies on.
    """

    half: float
    long: float
    roof: float
    sill: float
    belt: float
    near: float
    far: float
    base: float
    top: float
    top_end: float
    base_end: float
    x: float
    inset: float
    flank: float
    end: float
    up: float
    paint: Colour
    cover: Colour


def _measured(body: VehicleBody, thing: Thing) -> _Car:
    shape = thing.variant % len(_PROFILES)
    paint = PAINTS[thing.variant // 7 % len(PAINTS)]
    profile, light = _PROFILES[shape], body.light
    long, roof = thing.length, thing.height * _LIFT[shape]
    half, belt, nose = thing.width / 2, profile.belt * roof, profile.nose * roof
    places = [profile.tail, profile.roof_rear, profile.roof_front, profile.bonnet]
    heights = (belt * 0.97, nose)
    if thing.toward:
        places, heights = [1 - place for place in reversed(places)], (nose, belt * 0.97)
    base, top, top_end, base_end = (place * long for place in places)
    return _Car(
        half=half,
        long=long,
        roof=roof,
        sill=0.22,
        belt=belt,
        near=heights[0],
        far=heights[1],
        base=base,
        top=top,
        top_end=top_end,
        base_end=base_end,
        x=body.flank * half,
        inset=0.80 * half,
        flank=light.face(body.flank, 0, 0),
        end=light.face(0, 0, 1),
        up=light.face(0, 1, 0) * 1.08,
        paint=paint,
        cover=mix(paint, (236, 240, 246), 0.85 * light.snow),
    )


def paint_car(body: VehicleBody, thing: Thing) -> None:
    """Paints a car from its far and low parts to its near and high ones."""
    car = _measured(body, thing)
    _paint_flank(body, car)
    _paint_near_end(body, car, thing)
    _paint_cabin(body, car)
    _paint_roof_and_window(body, car)


def _paint_flank(body: VehicleBody, car: _Car) -> None:
    """The flank that shows, with its wheels, and what is dark beneath the car."""
    half, x, sill, belt, long = car.half, car.x, car.sill, car.belt, car.long
    for side in (-1, 1):
        centre = side * (half - 0.16)
        body.front((centre - 0.11, centre + 0.11), (0.0, 0.4), 0.3, TYRE)
    body.front((-half * 0.94, half * 0.94), (0.16, 0.4), 0.08, DARK)
    side_line = [(x, sill, 0.05), (x, car.near, 0.0), (x, belt, car.base), (x, belt, car.base_end),
                 (x, car.far, long), (x, sill, long - 0.05)]  # fmt: skip
    body.face(side_line, car.paint, car.flank)
    if body.fine:
        body.face([(x, sill, 0.05), (x, 0.42 * belt, 0.0), (x, 0.42 * belt, long),
                   (x, sill, long)], car.paint, car.flank * 0.78, False)  # fmt: skip
    for place in (0.18, 0.81):
        body.wheel(x, long * place, 0.31)


def _paint_near_end(body: VehicleBody, car: _Car, thing: Thing) -> None:
    """Bonnet or boot, and the end below it with grille, number plate and lamps."""
    half, near, belt, base = car.half, car.near, car.belt, car.base
    body.face([(-half, near, 0), (half, near, 0), (half, belt, base), (-half, belt, base)],
              car.cover, car.up)  # fmt: skip
    body.front((-half, half), (car.sill, near), 0.0, car.paint, car.end)
    body.detail((-half, half), (car.sill, 0.44 * belt), car.paint, car.end * 0.72)
    if body.fine:
        body.detail((-half, half), (near * 0.8, near), car.paint, min(car.end * 1.16, 1.3))
    if thing.toward:
        body.detail((-half * 0.5, half * 0.5), (0.5 * near, 0.78 * near), DARK, 1.2)
    if body.fine:
        plate = (0.46 * near, 0.46 * near + 0.12)
        body.detail((-0.26, 0.26), plate, PLATE, car.end, 30)
    paint_lamps(body, thing, half * 0.98, 0.62 * near, 0.88 * near)


def _paint_cabin(body: VehicleBody, car: _Car) -> None:
    """The side of the cabin with its glass and the post between the doors."""
    x, belt, roof = car.x, car.belt, car.roof
    pane = body.flank * car.inset
    cabin = [(x * 0.98, belt, car.base), (pane, roof, car.top), (pane, roof, car.top_end),
             (x * 0.98, belt, car.base_end)]  # fmt: skip
    body.face(cabin, car.paint, car.flank)
    body.face(shrunk(cabin, 0.84), mix(GLASS, body.light.horizon, 0.25), car.flank, False)
    if body.fine:
        post = (car.base + car.base_end) / 2
        body.face([(x * 0.98, belt, post - 0.05), (pane, roof, post - 0.05),
                   (pane, roof, post + 0.05), (x * 0.98, belt, post + 0.05)],
                  car.paint, car.flank * 0.9, False)  # fmt: skip


def _paint_roof_and_window(body: VehicleBody, car: _Car) -> None:
    """The roof where the camera looks down on it, and the window of the near end."""
    light, half, inset, roof = body.light, car.half, car.inset, car.roof
    if body.over_roof:
        body.face([(-inset, roof, car.top), (inset, roof, car.top), (inset, roof, car.top_end),
                   (-inset, roof, car.top_end)], car.cover, car.up)  # fmt: skip
    window = [(-inset, roof, car.top), (inset, roof, car.top), (half * 0.96, car.belt, car.base),
              (-half * 0.96, car.belt, car.base)]  # fmt: skip
    body.face(window, mix(car.paint, car.cover, 0.5), car.end)
    pane = shrunk(window, 0.86)
    body.face(pane, mix(GLASS, light.zenith, 0.12), car.end, False)
    if body.fine:
        sheen = [pane[0], pane[1], between(pane[1], pane[2], 0.45),
                 between(pane[0], pane[3], 0.2)]  # fmt: skip
        body.face(sheen, mix(GLASS, light.horizon, 0.5), car.end, False)
    body.front((-inset, inset), (roof - 0.07, roof), car.top, car.cover, car.up)
