"""Buildings, plants, lamps, signs and people: the things beside the road."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from patchline_ros.sim import labels
from patchline_ros.sim.camera import View
from patchline_ros.sim.light import Light, gained, mix
from patchline_ros.sim.painter import SHIFT, Canvas, Corners, Glow, Picture, fixed
from patchline_ros.sim.signs import sign_faces
from patchline_ros.sim.textures import (
    BAY,
    BUSHES,
    FLOOR,
    PEOPLE,
    STRIDES,
    TREES,
    WALLS,
    bush,
    person,
    tree,
    wall,
)
from patchline_ros.sim.vehicles import shadow_under
from patchline_ros.sim.world import Kind, Thing
from patchline_ros.tasks import IGNORE

_ROOFS = ((146, 74, 56), (92, 88, 92), (120, 84, 66), (70, 74, 84))
_SNOW = (232, 237, 244)
_ROUND = [(math.cos(k * math.pi / 5), math.sin(k * math.pi / 5)) for k in range(10)]
_SLICES = 6
"""A wall that runs along the road is cut into so many pieces of equal depth."""

Points = NDArray[np.float64]


def paint_scenery(canvas: Canvas, view: View, thing: Thing, light: Light, index: int) -> None:
    """Paints any thing that is not a vehicle."""
    if thing.kind is Kind.BUILDING:
        _building(canvas, view, thing, light)
    elif thing.kind is Kind.PERSON:
        _person(canvas, view, thing, light, index)
    elif thing.kind is Kind.LAMP:
        _lamp(canvas, view, thing, light)
    elif thing.kind is Kind.SIGN:
        _sign(canvas, view, thing, light)
    else:
        _plant(canvas, view, thing, light)


def _foot(view: View, thing: Thing) -> tuple[float, float, float, float]:
    """Pixel u, v of a thing's foot, its depth and pixels a metre."""
    spot = view.spot(thing.s, thing.lateral)
    depth = max(spot.ahead, 0.6)
    u, v = view.camera.pixel(spot.right, spot.down, depth)
    return u, v, depth, view.camera.focal / depth


def _box(view: View, thing: Thing) -> tuple[tuple[float, float, float, float], float]:
    u, v, depth, scale = _foot(view, thing)
    half = thing.width * scale / 2
    return (u - half, v - thing.height * scale, u + half, v), depth


def _plant(canvas: Canvas, view: View, thing: Thing, light: Light) -> None:
    box, depth = _box(view, thing)
    if thing.kind is Kind.TREE:
        levels = tree(thing.variant % TREES, light.snow > 0.35)
    else:
        levels = bush(thing.variant % BUSHES, light.snow > 0.35)
    identity = canvas.new_thing(labels.VEGETATION, depth)
    canvas.sprite(levels, box, identity, thing.shade * light.face(0, 0.6, 0.8))


def _person(canvas: Canvas, view: View, thing: Thing, light: Light, index: int) -> None:
    box, depth = _box(view, thing)
    identity = canvas.new_thing(labels.PERSON, depth)
    stride = (index + thing.variant // 64) % STRIDES if any(thing.pace) else 1
    levels = person(thing.variant % PEOPLE, stride)
    canvas.sprite(levels, box, identity, light.face(0, 0.3, 1))
    canvas.add_target(identity, labels.OBJECT_CLASSES.index("person"), box)


def _lamp(canvas: Canvas, view: View, thing: Thing, light: Light) -> None:
    u, v, depth, scale = _foot(view, thing)
    identity = canvas.new_thing(IGNORE, depth)
    top, half = v - thing.height * scale, max(0.06 * scale, 0.4)
    arm = -np.sign(thing.lateral) * thing.width * scale
    steel = gained((92, 98, 100), light.face(0, 0, 1))
    canvas.polygon(_bar((u, v), (u, top), half), steel, identity)
    canvas.polygon(_bar((u, top), (u + arm, top - 0.2 * scale), half * 0.7), steel, identity)
    head = (u + arm * 1.15, top - 0.15 * scale)
    bulb = mix((226, 226, 216), (255, 226, 160), light.night)
    canvas.polygon(_bar((u + arm * 0.8, head[1]), head, max(0.09 * scale, 0.5)), bulb, identity,
                   255.0 * (light.night > 0))  # fmt: skip
    if light.night > 0:
        canvas.glows.append(Glow(u + arm, head[1], 0.9 * scale, (255, 214, 140), depth, True))


def _bar(
    start: tuple[float, float], end: tuple[float, float], half: float
) -> list[tuple[float, float]]:
    along = (end[0] - start[0], end[1] - start[1])
    share = half / max(math.hypot(*along), 1e-6)
    du, dv = -along[1] * share, along[0] * share
    return [
        (start[0] + du, start[1] + dv),
        (end[0] + du, end[1] + dv),
        (end[0] - du, end[1] - dv),
        (start[0] - du, start[1] - dv),
    ]


def _sign(canvas: Canvas, view: View, thing: Thing, light: Light) -> None:
    u, v, depth, scale = _foot(view, thing)
    paint_post(canvas, view, thing, light)
    half = thing.width * scale / 2
    middle = v - thing.height * scale
    identity = canvas.new_thing(IGNORE, depth)
    box = (u - half, middle - half, u + half, middle + half)
    canvas.sprite(sign_faces()[thing.variant], box, identity, light.face(0, 0.1, 1))


def paint_post(canvas: Canvas, view: View, thing: Thing, light: Light) -> None:
    """Paints the post of a sign, from the ground to the sign's upper edge."""
    u, v, depth, scale = _foot(view, thing)
    identity = canvas.new_thing(IGNORE, depth)
    half = max(0.035 * scale, 0.35)
    top = v - (thing.height + 0.35 * thing.width) * scale
    canvas.polygon(_bar((u, v), (u, top), half), gained((142, 146, 148), light.face(0, 0, 1)),
                   identity)  # fmt: skip


def _building(canvas: Canvas, view: View, thing: Thing, light: Light) -> None:
    side = float(np.sign(thing.lateral))
    start = max(thing.s, view.s + 0.8)
    # Walls are straight: only their ends follow the road.
    spots = [view.spot(s, thing.lateral) for s in (start, thing.s + thing.length)]
    ends = np.array([spot[:3] for spot in spots])
    pieces = _SLICES if ends[0, 2] < 40 else _SLICES // 3
    foot = ends[0] + np.linspace(0, 1, pieces + 1)[:, None] * (ends[1] - ends[0])
    outer = foot[0] + np.array([side * thing.width, 0.0, 0.0])
    line = np.concatenate([[outer], foot])
    # Pixels of the wall's lower and upper edge: the outer corner, then along the road.
    low, high = view.camera.pixels(np.stack([line, line - np.array([0.0, thing.height, 0.0])]))
    floors = round(thing.height / FLOOR)
    night = light.night > 0

    if thing.s > view.s + 0.8:
        first, second = (1, 0) if side > 0 else (0, 1)
        quad = np.array([high[first], high[second], low[second], low[first]])
        levels = wall(thing.variant % WALLS, max(2, round(thing.width / BAY)), floors, night)
        canvas.facade(levels, quad, thing.shade * light.face(0, 0, 1))
        canvas.mark(quad, canvas.new_thing(labels.BUILDING, float(foot[0, 2])))
    first, second = (-1, 1) if side > 0 else (1, -1)
    quad = np.array([high[first], high[second], low[second], low[first]])
    if quad[1, 0] - quad[0, 0] > 0.3:
        levels = wall(thing.variant % WALLS, max(2, round(thing.length / BAY)), floors, night)
        hidden = (start - thing.s) / thing.length
        canvas.facade(_cut(levels, hidden, side), quad, thing.shade * light.face(-side, 0, 0.0))
        for k in range(pieces, 0, -1):
            identity = canvas.new_thing(labels.BUILDING, float(foot[k - 1, 2]))
            canvas.mark(np.array([high[k], high[k + 1], low[k + 1], low[k]]), identity)
    _roof(canvas, view, thing, light, foot, outer)


def _cut(levels: list[Picture], hidden: float, side: float) -> list[Picture]:
    """A wall's pictures without the share of its length that lies behind the camera."""
    if hidden < 0.02:
        return levels
    out = []
    for level in levels:
        edge = min(round(level.shape[1] * hidden), level.shape[1] - 2)
        out.append(level[:, : level.shape[1] - edge] if side > 0 else level[:, edge:])
    return out


def _roof(
    canvas: Canvas, view: View, thing: Thing, light: Light, foot: Points, outer: Points
) -> None:
    """A pitched roof on houses, a cornice on everything else."""
    camera = view.camera
    up = np.array([0.0, -thing.height, 0.0])
    side = float(np.sign(thing.lateral))
    identity = canvas.new_thing(labels.BUILDING, float(foot[0, 2]))
    tile = mix(_ROOFS[thing.variant % len(_ROOFS)], _SNOW, light.snow)
    eave_near, eave_far = foot[0] + up, foot[-1] + up
    if not thing.toward:
        trim = mix((206, 200, 190), _SNOW, light.snow)
        step = np.array([0.0, -0.35, 0.0])
        for one, two, gain in (
            (eave_near, eave_far, light.face(-side, 0, 0)),
            (eave_near, outer + up, light.face(0, 0, 1)),
        ):
            quad = camera.pixels(np.array([one, two, two + step, one + step]))
            canvas.polygon(quad, gained(trim, gain), identity)
        return
    ridge = np.array([side * thing.width / 2, -0.32 * thing.width, 0.0])
    hang = np.array([-side * 0.4, 0.2, 0.0])
    gable = camera.pixels(np.array([eave_near, eave_near + ridge, outer + up]))
    canvas.polygon(gable, gained((196, 184, 164), thing.shade * light.face(0, 0, 1)), identity)
    slope = camera.pixels(
        np.array([eave_near + hang, eave_far + hang, eave_far + ridge, eave_near + ridge])
    )
    canvas.polygon(slope, gained(tile, light.face(-0.5 * side, 0.8, 0)), identity)
    edge = camera.pixels(np.array([eave_near + ridge, outer + up]))
    thick = max(0.14 * camera.focal / max(float(foot[0, 2]), 1.0), 0.5)
    canvas.polygon(
        _bar((edge[0, 0], edge[0, 1]), (edge[1, 0], edge[1, 1]), thick), gained(tile, 0.8), identity
    )


def shadow_on_ground(view: View, thing: Thing, light: Light) -> Corners | None:
    """Where the sun's shadow of a tall thing falls on the ground, in pixels, or None."""
    reach = thing.height / (light.height + 0.35)
    across, along = -light.side * reach * 0.8, -light.ahead * reach * 0.8
    if thing.kind in (Kind.TREE, Kind.BUSH):
        radius = thing.width * 0.42
        centre = 0.62 if thing.kind is Kind.TREE else 0.2
        stretch = 1 + 0.5 * abs(along) / reach
        corners = [
            (
                across * centre + radius * x * (1 + 0.18 * math.sin(2 * k + thing.variant)),
                along * centre + radius * y * stretch,
            )
            for k, (x, y) in enumerate(_ROUND)
        ]
    elif thing.kind is Kind.BUILDING:
        if across * thing.lateral > 0:
            return None
        end = thing.length
        corners = [(0.0, 0.0), (across, along), (across, end + along), (0.0, end)]
    else:
        half = 0.25 if thing.kind is Kind.PERSON else 0.05
        corners = [(-half, 0.0), (across - half, along), (across + half, along), (half, 0.0)]
    spot = view.spot(thing.s, thing.lateral)
    low = 0.8 - spot.ahead
    return [
        view.camera.pixel(
            spot.right + x + z * spot.turn, spot.down + z * spot.drop, spot.ahead + max(z, low)
        )
        for x, z in corners
    ]


def paint_shadows(canvas: Canvas, view: View, things: list[Thing], light: Light, top: int) -> None:
    """Darkens the painted ground by sun shadows and by the dark patches under vehicles."""
    mask = np.zeros(canvas.ids.shape, np.uint8)
    for thing in things:
        if thing.kind in (Kind.CAR, Kind.TRUCK):
            _fill(mask, shadow_under(view, thing), 150.0)
        elif light.sunny > 0.08 and thing.s < view.s + 60:
            points = shadow_on_ground(view, thing, light)
            if points is not None:
                _fill(mask, points, 105.0 * light.sunny)
    mask = mask[top:]
    mask = cv2.GaussianBlur(mask, (0, 0), 1.2 * view.camera.width / 480)
    kept = cv2.merge([255 - mask] * 3 + [np.full_like(mask, 255)])
    below = canvas.colour[top:]
    cv2.multiply(below, kept, dst=below, scale=1 / 255)


def _fill(mask: NDArray[np.uint8], points: Corners, value: float) -> None:
    cv2.fillPoly(mask, [fixed(points)], value, cv2.LINE_AA, shift=SHIFT)
