"""A truck as a body of shaded polygons."""

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
    paint_lamps,
)
from patchline_ros.sim.world import Thing

_CAB_LENGTH = 2.0
_CAB_HEIGHT = 2.55


@dataclass(frozen=True)
class _Truck:
    """A truck's measures, in metres and as seen from the camera, and its paint.

    Attributes:
        half, long, high: half its width, its length, and its height.
        x: where the flank that shows lies.
        box, cab: distances from the near end between which the box and the cab lie.
        flank, end: how bright the flank and the near end are.
        box_paint, cab_paint: their colours.
    """

    half: float
    long: float
    high: float
    x: float
    box: tuple[float, float]
    cab: tuple[float, float]
    flank: float
    end: float
    box_paint: Colour
    cab_paint: Colour

    @property
    def cab_top(self) -> float:
        """Height of the cab's roof."""
        return min(_CAB_HEIGHT, self.high)


def _measured(body: VehicleBody, thing: Thing) -> _Truck:
    half, long = thing.width / 2, thing.length
    toward = thing.toward
    return _Truck(
        half=half,
        long=long,
        high=thing.height,
        x=body.flank * half,
        box=(_CAB_LENGTH + 0.3, long) if toward else (0.0, long - _CAB_LENGTH - 0.3),
        cab=(0.0, _CAB_LENGTH) if toward else (long - _CAB_LENGTH, long),
        flank=body.light.face(body.flank, 0, 0),
        end=body.light.face(0, 0, 1),
        box_paint=mix((232, 232, 228), PAINTS[thing.variant // 11 % len(PAINTS)],
                      0.75 if thing.variant % 3 == 0 else 0.06),
        cab_paint=PAINTS[thing.variant // 5 % len(PAINTS)],
    )  # fmt: skip


def paint_truck(body: VehicleBody, thing: Thing) -> None:
    """Paints a truck from its far and low parts to its near and high ones."""
    truck = _measured(body, thing)
    for side in (-1, 1):
        centre = side * (truck.half - 0.3)
        body.front((centre - 0.26, centre + 0.26), (0.0, 0.8), 0.3, TYRE)
    if thing.toward:
        _paint_box(body, truck)
        _paint_chassis(body, truck, (0.13, 0.72, 0.88))
        _paint_cab(body, truck)
        _paint_cab_front(body, truck, thing)
    else:
        _paint_cab(body, truck)
        _paint_chassis(body, truck, (0.14, 0.3, 0.86))
        _paint_box(body, truck)
        _paint_doors(body, truck, thing)


def _paint_chassis(body: VehicleBody, truck: _Truck, axles: tuple[float, ...]) -> None:
    """The frame with its wheels; `axles` are shares of the length from the near end."""
    x, long = truck.x, truck.long
    body.face([(x, 0.5, 0.1), (x, 0.95, 0.1), (x, 0.95, long), (x, 0.5, long)], DARK)
    for axle in axles:
        body.wheel(x, long * axle, 0.48)


def _paint_box(body: VehicleBody, truck: _Truck) -> None:
    """The side of the box with its stripe, its near end, and the snow on it."""
    x, half, high, (near, far) = truck.x, truck.half, truck.high, truck.box
    paint = truck.box_paint
    body.face([(x, 0.95, near), (x, high, near), (x, high, far), (x, 0.95, far)],
              paint, truck.flank)  # fmt: skip
    stripe = mix(paint, truck.cab_paint, 0.8)
    body.face([(x, 1.5, near), (x, 1.8, near), (x, 1.8, far), (x, 1.5, far)],
              stripe, truck.flank, False)  # fmt: skip
    body.front((-half, half), (0.95, high), near, paint, truck.end)
    snow = mix(paint, (238, 242, 248), 0.9 * body.light.snow)
    body.front((-half, half), (high - 0.12, high), near, snow, truck.end * 0.9)


def _paint_cab(body: VehicleBody, truck: _Truck) -> None:
    """The side of the cab with its window."""
    x, top, (near, far) = truck.x, truck.cab_top, truck.cab
    body.face([(x, 0.55, near), (x, top, near), (x, top, far), (x, 0.55, far)],
              truck.cab_paint, truck.flank)  # fmt: skip
    low, inner = near + 0.35, far - 0.5
    body.face([(x, 1.5, low), (x, 2.25, low), (x, 2.25, inner), (x, 1.5, inner)],
              mix(GLASS, body.light.horizon, 0.3), truck.flank, False)  # fmt: skip


def _paint_cab_front(body: VehicleBody, truck: _Truck, thing: Thing) -> None:
    """The front of a truck that comes towards the camera."""
    light, half = body.light, truck.half
    body.front((-half, half), (0.4, truck.cab_top), 0.0, truck.cab_paint, truck.end)
    body.detail((-half * 0.9, half * 0.9), (1.45, 2.3), mix(GLASS, light.zenith, 0.2))
    sheen = [(-half * 0.9, 2.3, 0.0), (half * 0.5, 2.3, 0.0), (-half * 0.9, 1.7, 0.0)]
    body.face(sheen, mix(GLASS, light.horizon, 0.45), 1.0, False)
    body.detail((-half * 0.6, half * 0.6), (0.75, 1.25), DARK, 1.3)
    body.detail((-half, half), (0.4, 0.62), (70, 70, 74), truck.end)
    paint_lamps(body, thing, half * 0.95, 0.68, 0.92)


def _paint_doors(body: VehicleBody, truck: _Truck, thing: Thing) -> None:
    """The rear of a truck that drives ahead: bumper, seams of the doors, plate and lamps."""
    half, end = truck.half, truck.end
    body.front((-half, half), (0.55, 0.95), 0.0, DARK, 1.3)
    if body.fine:
        for place, gain in ((-0.45, 0.78), (0.0, 0.6), (0.45, 0.78)):
            edges = (place * half - 0.03, place * half + 0.03)
            body.detail(edges, (1.0, truck.high - 0.2), truck.box_paint, end * gain)
        body.detail((-0.26, 0.26), (0.66, 0.8), PLATE, end, 30)
    paint_lamps(body, thing, half * 0.96, 0.64, 0.84)
