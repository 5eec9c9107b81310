"""Buildings, plants, lamps, signs and people: the things beside the road."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from patchline_ros.sim import labels
from patchline_ros.sim.camera import View
from patchline_ros.sim.light import Light, gained, mix
from patchline_ros.sim.painter import SHIFT, Canvas, Glow
from patchline_ros.sim.signs import sign_faces
from patchline_ros.sim.textures import (
    BAY,
    BUSHES,
    FLOOR,
    PEOPLE,
    STRIDES,
    TREES,
    bush,
    person,
    tree,
    wall,
)
from patchline_ros.sim.world import Kind, Thing
from patchline_ros.tasks import IGNORE

_ROOFS = ((146, 74, 56), (92, 88, 92), (120, 84, 66), (70, 74, 84))
_SNOW = (232, 237, 244)
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
    point = view.points(np.array(thing.s), np.array(thing.lateral))
    u, v = view.camera.pixels(point)
    depth = max(float(point[2]), 0.6)
    return float(u), float(v), depth, view.camera.focal / depth


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
        canvas.glows.append(Glow(u + arm, head[1], 0.9 * scale, (255, 214, 140), depth))


def _bar(start: tuple[float, float], end: tuple[float, float], half: float) -> Points:
    first, second = np.array(start), np.array(end)
    along = second - first
    normal = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6) * half
    return np.array([first + normal, second + normal, second - normal, first - normal])


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
    ends = np.linspace(start, thing.s + thing.length, _SLICES + 1)
    # Walls are straight: only their ends follow the road.
    corners = np.array([start, thing.s + thing.length])
    inner = view.points(corners, np.full(2, thing.lateral))
    share = (ends - start) / max(ends[-1] - start, 1e-6)
    foot = inner[0] + share[:, None] * (inner[1] - inner[0])
    outer = foot[0] + np.array([side * thing.width, 0.0, 0.0])
    rise = np.array([0.0, -thing.height, 0.0])
    floors = round(thing.height / FLOOR)
    night = light.night > 0
    camera = view.camera

    flank_gain = thing.shade * light.face(-side, 0, 0.0)
    front_gain = thing.shade * light.face(0, 0, 1)
    if thing.s > view.s + 0.8:
        bays = max(2, round(thing.width / BAY))
        left, right = (foot[0], outer) if side > 0 else (outer, foot[0])
        quad = camera.pixels(np.array([left + rise, right + rise, right, left]))
        identity = canvas.new_thing(labels.BUILDING, float(foot[0, 2]))
        _wall(canvas, wall(thing.variant % 40, bays, floors, night), quad, identity, front_gain)
    bays = max(2, round(thing.length / BAY))
    levels = wall(thing.variant % 40, bays, floors, night)
    cut = (start - thing.s) / thing.length
    if cut > 0.02:
        # The part behind the camera is cut off the picture too.
        keep = [level[:, : max(2, round(level.shape[1] * (1 - cut)))] for level in levels]
        skip = [level[:, min(round(level.shape[1] * cut), level.shape[1] - 2) :] for level in levels]
        levels = keep if side > 0 else skip
    near, far = foot[0], foot[-1]
    left, right = (far, near) if side > 0 else (near, far)
    quad = camera.pixels(np.array([left + rise, right + rise, right, left]))
    if abs(quad[1, 0] - quad[0, 0]) > 0.3 and (quad[1, 0] - quad[0, 0]) > 0:
        _wall(canvas, levels, quad, 0, flank_gain)
        for one, two in zip(foot[:-1][::-1], foot[1:][::-1], strict=True):
            identity = canvas.new_thing(labels.BUILDING, float(one[2]))
            piece = camera.pixels(np.array([one + rise, two + rise, two, one]))
            _mark(canvas, piece, identity)
    _roof(canvas, view, thing, light, foot, outer)


def _wall(
    canvas: Canvas, levels: list[NDArray[np.uint8]], quad: Points, identity: int, gain: float
) -> None:
    canvas.facade(levels, quad, gain)
    if identity:
        _mark(canvas, quad, identity)


def _mark(canvas: Canvas, quad: Points, identity: int) -> None:
    canvas.mark(np.rint(np.clip(quad, -30000, 30000) * (1 << SHIFT)).astype(np.int32), identity)


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


def shadow_on_ground(view: View, thing: Thing, light: Light) -> Points | None:
    """Where the sun's shadow of a tall thing falls on the ground, in pixels, or None."""
    reach = thing.height / (light.height + 0.35)
    across, along = -light.side * reach * 0.8, -light.ahead * reach * 0.8
    if thing.kind in (Kind.TREE, Kind.BUSH):
        angle = np.arange(12) * (2 * np.pi / 12)
        radius = thing.width * 0.42
        wobble = 1 + 0.18 * np.sin(angle * 3 + thing.variant)
        centre = 0.62 if thing.kind is Kind.TREE else 0.2
        lateral = thing.lateral + across * centre + radius * np.cos(angle) * wobble
        s = thing.s + along * centre + radius * (1 + 0.5 * abs(along) / reach) * np.sin(angle)
    elif thing.kind is Kind.BUILDING:
        if across * thing.lateral > 0:
            return None
        end = thing.s + thing.length
        lateral = thing.lateral + np.array([0.0, across, across, 0.0])
        s = np.array([thing.s, thing.s + along, end + along, end])
    else:
        half = 0.25 if thing.kind is Kind.PERSON else 0.05
        lateral = thing.lateral + np.array([-half, across - half, across + half, half])
        s = thing.s + np.array([0.0, along, along, 0.0])
    return view.project(np.maximum(s, view.s + 0.8), lateral)


def paint_shadows(
    canvas: Canvas, view: View, things: list[Thing], light: Light, under: list[Points]
) -> None:
    """Darkens the painted ground by sun shadows and by the dark patches under vehicles."""
    mask = np.zeros(canvas.ids.shape, np.uint8)
    if light.sunny > 0.08:
        for thing in things:
            if thing.kind in (Kind.CAR, Kind.TRUCK) or thing.s > view.s + 90:
                continue
            points = shadow_on_ground(view, thing, light)
            if points is not None:
                _fill(mask, points, 105.0 * light.sunny)
    for points in under:
        _fill(mask, points, 150.0)
    blur = 1.2 * view.camera.width / 480
    mask = cv2.GaussianBlur(mask, (0, 0), blur)
    mask[(canvas.ids == 0) | (canvas.ids >= canvas.first_object)] = 0
    cv2.multiply(
        canvas.colour, cv2.merge([255 - mask] * 3 + [np.full_like(mask, 255)]),
        dst=canvas.colour, scale=1 / 255,
    )  # fmt: skip


def _fill(mask: NDArray[np.uint8], points: Points, value: float) -> None:
    corners = np.rint(np.clip(points, -30000, 30000) * (1 << SHIFT)).astype(np.int32)
    cv2.fillPoly(mask, [corners], value, cv2.LINE_AA, shift=SHIFT)
