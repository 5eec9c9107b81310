"""Cars and trucks on the road: their pictures, and the shadows under them."""

from __future__ import annotations

from patchline_ros.sim import labels
from patchline_ros.sim.camera import View
from patchline_ros.sim.car import paint_car
from patchline_ros.sim.light import Light
from patchline_ros.sim.painter import Canvas
from patchline_ros.sim.truck import paint_truck
from patchline_ros.sim.vehicle_body import VehicleBody
from patchline_ros.sim.world import Kind, Thing


def paint_vehicle(canvas: Canvas, view: View, thing: Thing, light: Light) -> None:
    """Paints a car or truck and registers it."""
    body = VehicleBody(canvas, view, thing, light)
    if thing.kind is Kind.TRUCK:
        paint_truck(body, thing)
        body.finish(labels.OBJECT_CLASSES.index("truck"))
    else:
        paint_car(body, thing)
        body.finish(labels.OBJECT_CLASSES.index("car"))


def shadow_under(view: View, thing: Thing) -> list[tuple[float, float]]:
    """The dark patch under a vehicle, in pixels."""
    half, points = thing.width * 0.54, []
    for along, across in ((-0.05, -half), (-0.05, half), (1.0, half), (1.0, -half)):
        s = max(thing.s + along * thing.length, view.s + 0.5)
        spot = view.spot(s, thing.lateral + across)
        points.append(view.camera.pixel(spot.right, spot.down, spot.ahead))
    return points
