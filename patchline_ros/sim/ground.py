"""Sky, terrain, road surface and markings: everything that is not a thing standing on them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from patchline_ros.sim import labels
from patchline_ros.sim.camera import Ground, View
from patchline_ros.sim.light import Light, mix
from patchline_ros.sim.noise import stream, tiling
from patchline_ros.sim.painter import SHIFT, Canvas, fixed
from patchline_ros.sim.world import CHUNK, LANE, ROAD_HALF, World

_ACROSS, _ALONG = 12, 8
"""Texture pixels a metre."""

_WIDE, _LONG = 768, 512
_SPECK = 256
_SPECK_SCALE = 64
_MARKS: tuple[tuple[float, float, float], ...] = (
    (-LANE, 9.0, 3.5), (LANE, 9.0, 3.5), (-0.14, 0.0, 0.0), (0.14, 0.0, 0.0),
    (-6.72, 0.0, 0.0), (6.72, 0.0, 0.0),
)  # fmt: skip
"""Markings: metres right of the centre, period and dash length (0: solid)."""

_KERB = (
    (ROAD_HALF, ROAD_HALF + 0.08, (92, 90, 88)),
    (ROAD_HALF + 0.06, ROAD_HALF + 0.26, (188, 184, 176)),
)
"""Bands of a kerb: from and to metres from the centre line, colour."""

Plane = NDArray[np.float32]


class Surface:
    """The ground's texture for one drive, and the panorama of clouds and hills around it."""

    def __init__(self, seed: int, world: World) -> None:
        self._world = world
        rng = stream(seed, 50)
        self._levels = self._texture(rng)
        self._speck = tiling(rng, _SPECK, _SPECK, 4, 2)
        self._clouds = tiling(rng, 256, 1024, 256, 5)
        self._hills = tiling(rng, 1, 2048, 256, 6)[0]
        self.patches = tiling(rng, 512, 512, 64, 4)

    def _texture(self, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
        across = (np.arange(_WIDE) + 0.5) / _ACROSS - _WIDE / _ACROSS / 2
        fine, coarse = tiling(rng, _LONG, _WIDE, 4, 2), tiling(rng, _LONG, _WIDE, 128, 5)
        tone = float(rng.random())
        tracks = sum(np.exp(-(((np.abs(across) - x) / 0.35) ** 2)) for x in (0.9, 2.5, 4.3, 5.9))
        asphalt = np.array(mix((104, 104, 108), (134, 130, 124), tone), np.float32)
        gain = 0.9 + 0.12 * fine + 0.09 * coarse - 0.07 * np.asarray(tracks)
        road = gain[..., None] * asphalt
        stone = np.array(mix((168, 160, 150), (150, 152, 156), tone), np.float32)
        joints = np.minimum(np.abs(across) % 0.75 > 0.09, (np.arange(_LONG)[:, None] % _ALONG) > 0)
        pavement = ((0.84 + 0.1 * fine + 0.12 * coarse) * (0.84 + 0.16 * joints))[..., None] * stone
        dry = np.array((142, 132, 82), np.float32)
        lush = np.array((84, 116, 54), np.float32)
        grass = lush + (dry - lush) * (coarse[..., None] ** 2) * 1.3
        grass *= (0.72 + 0.5 * fine)[..., None]
        kerb = np.where(across < 0, self._world.pavement[-1], self._world.pavement[1]) + ROAD_HALF
        picture = np.where((np.abs(across) < kerb)[:, None], pavement, grass)
        picture = np.where((np.abs(across) < ROAD_HALF)[:, None], road, picture)
        picture = np.clip(picture, 0, 255).astype(np.uint8)
        wrapped = cv2.copyMakeBorder(picture, 64, 64, 0, 0, cv2.BORDER_WRAP)
        # Coarser levels are averaged mostly along the road: perspective shrinks that way first.
        middle = cv2.blur(wrapped, (1, 9))[64:-64]
        far = cv2.blur(wrapped, (3, 45))[64:-64]
        return [picture, np.ascontiguousarray(middle), np.ascontiguousarray(far)]

    def paint(self, canvas: Canvas, view: View, ground: Ground, light: Light) -> Plane:
        """Paints sky and ground; returns metres right of the centre line, a ground pixel each."""
        self._sky(canvas, view, light)
        self._far_hills(canvas, view, ground, light)
        camera = view.camera
        columns = np.arange(camera.width, dtype=np.float32) + 0.5
        offset = (columns - ground.centre[:, None]) / ground.scale[:, None]
        lateral: Plane = offset.astype(np.float32)
        if len(lateral) == 0:
            return lateral
        self._terrain(canvas, view, ground, lateral)
        rows = slice(ground.top, camera.height)
        canvas.ids[rows] = (np.arange(ground.top, camera.height) + 1)[:, None]
        canvas.depths[ground.top + 1 : camera.height + 1] = ground.depth.tolist()
        self._classes(canvas.ground_classes[rows], lateral)
        self._markings(canvas, view, ground)
        return lateral

    def _sky(self, canvas: Canvas, view: View, light: Light) -> None:
        camera = view.camera
        height = int(np.clip(camera.centre_v + 0.05 * camera.height, 2, camera.height))
        # The sky is smooth: half the resolution does.
        rows = (camera.centre_v - np.arange(0, height, 2) - 1.0) / camera.focal
        share = np.clip(rows / 0.42, 0, 1)[:, None] ** 0.75
        base = np.array(light.horizon) + (np.array(light.zenith) - np.array(light.horizon)) * share
        # Clouds lie on a plane overhead, so they shrink and flatten towards the horizon.
        columns = np.arange(0, camera.width, 2)
        angle = (columns + 1.0 - camera.centre_u) / camera.focal + view.heading
        lift = np.maximum(rows, 0.0) + 0.12
        map_x = (angle / lift[:, None] * 110 + view.s * 0.2) % 1024
        map_y = np.broadcast_to((60 / lift[:, None]) % 256, map_x.shape)
        cloud = cv2.remap(
            self._clouds, map_x.astype(np.float32), map_y.astype(np.float32),
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP,
        )  # fmt: skip
        veil = 1 - 0.75 * max(light.fog, light.snow, 0.4 * light.wet)
        fade = (veil * np.clip(rows * 8 + 0.25, 0, 1)).astype(np.float32)
        cover = np.clip((cloud - 0.46) * 3.2, 0, 0.9) * fade[:, None]
        white = mix((250, 250, 250), mix(light.horizon, light.zenith, 0.35), 1 - light.sunny)
        white = mix(white, (34, 34, 48), light.night)
        # The lower edge of a cloud is in its own shade.
        edge = np.clip((cv2.GaussianBlur(cloud, (0, 0), 2) - cloud) * 60, -20, 20)
        edge *= 1 - light.night
        sky = np.empty((*cloud.shape, 4), np.float32)
        for channel in range(3):
            level = base[:, channel : channel + 1].astype(np.float32)
            sky[:, :, channel] = level + cover * (white[channel] - level) + edge
        sky[:, :, 3] = 255
        small = cv2.add(sky, 0.0, dtype=cv2.CV_8U)
        canvas.colour[:height] = cv2.resize(small, (camera.width, height))

    def _far_hills(self, canvas: Canvas, view: View, ground: Ground, light: Light) -> None:
        """Wooded hills at the horizon that hide where the painted world ends."""
        camera = view.camera
        for layer, (lift, depth) in enumerate(((0.05, 420.0), (0.035, 230.0))):
            columns = np.linspace(-2, camera.width + 2, 64)
            angle = (columns - camera.centre_u) / camera.focal + view.heading
            place = (angle * 500 + 700 * layer) % 2048
            skyline = np.interp(place, np.arange(2048), self._hills, period=2048)
            top = camera.centre_v - camera.focal * (0.012 + lift * skyline)
            base = max(ground.top + 2.0, camera.centre_v + 4)
            points = np.concatenate(
                [np.stack([columns, top], 1), [[camera.width + 2, base], [-2, base]]]
            )
            green = mix((94, 112, 84), light.horizon, 0.45 - 0.25 * layer)
            green = mix(green, (196, 202, 210), 0.55 * light.snow)
            identity = canvas.new_thing(labels.VEGETATION, depth)
            canvas.polygon(points, green, identity, shine=0.0)

    def _terrain(self, canvas: Canvas, view: View, ground: Ground, lateral: Plane) -> None:
        along = ((view.s + ground.depth) * _ALONG).astype(np.float32)[:, None]
        map_y = np.broadcast_to(along % _LONG, lateral.shape)
        map_x = lateral * _ACROSS + (_WIDE / 2 - 0.5)
        depth = ground.depth
        pixel = view.camera.focal / 400
        bounds = (0.0, 18.0 * pixel, 45.0 * pixel, 1e9)
        for level, texture in enumerate(self._levels):
            rows = np.flatnonzero((depth >= bounds[level]) & (depth < bounds[level + 1]))
            if len(rows) == 0:
                continue
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            picture = cv2.remap(
                texture, map_x[part], np.ascontiguousarray(map_y[part]),
                cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP,
            )  # fmt: skip
            if level == 0:
                picture = self._grit(picture, view, ground, lateral, part)
            top = ground.top + part.start
            canvas.colour[top : top + len(picture), :, :3] = picture
        canvas.colour[ground.top :, :, 3] = 0

    def _grit(
        self,
        picture: NDArray[np.uint8],
        view: View,
        ground: Ground,
        lateral: Plane,
        part: slice,
    ) -> NDArray[np.uint8]:
        """Fine grain near the camera, where the texture alone would look blurred."""
        depth = ground.depth[part]
        along = ((view.s + depth) * _SPECK_SCALE * 0.5) % _SPECK
        map_y = np.repeat(along.astype(np.float32)[:, None], lateral.shape[1], axis=1)
        speck = cv2.remap(
            self._speck, lateral[part] * _SPECK_SCALE, map_y, cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )  # fmt: skip
        fade = (0.5 * np.clip(1 - depth * 400 / view.camera.focal / 18, 0, 1)).astype(np.float32)
        gain = cv2.add(128 * (speck - 0.5) * fade[:, None], 128.0, dtype=cv2.CV_8U)
        return cv2.multiply(picture, cv2.merge([gain] * 3), scale=1 / 128)

    def _classes(self, classes: NDArray[np.uint8], lateral: Plane) -> None:
        classes[:] = labels.VEGETATION
        left, right = (ROAD_HALF + self._world.pavement[side] for side in (-1, 1))
        classes[(lateral > -left) & (lateral < right)] = labels.PAVEMENT
        classes[np.abs(lateral) < ROAD_HALF] = labels.ROAD

    def _markings(self, canvas: Canvas, view: View, ground: Ground) -> None:
        _kerbs(canvas, view, ground.reach)
        shapes: list[NDArray[np.float64]] = []
        solid: list[tuple[float, float]] = []
        for lateral, period, dash in _MARKS:
            if period:
                shapes += list(_dashes(view, lateral, period, dash, ground.reach))
            else:
                solid.append((lateral - 0.06, lateral + 0.06))
        shapes += _strips(view, solid, ground.reach)
        for number in range(int(view.s // CHUNK), int((view.s + ground.reach) // CHUNK) + 1):
            start = self._world.zebra(number)
            if start is not None and start > view.s + 1.2:
                shapes += list(_zebra(view, start))
        paint = np.zeros(canvas.ids.shape, np.uint8)
        for shape in shapes:
            cv2.fillPoly(paint, [fixed(shape)], 255, cv2.LINE_AA, SHIFT)
        paint = paint[ground.top :]
        canvas.ground_classes[ground.top :][paint > 127] = labels.LANE_MARKING
        worn = cv2.multiply(paint, 215 / 255)
        under = canvas.colour[ground.top :]
        under[:] = cv2.add(
            cv2.multiply(under, cv2.merge([255 - worn] * 4), scale=1 / 255),
            cv2.merge([cv2.multiply(worn, level / 255) for level in (232, 230, 222, 0)]),
        )


def _kerbs(canvas: Canvas, view: View, reach: float) -> None:
    edges = [(side * inner, side * outer) for side in (-1, 1) for inner, outer, _ in _KERB]
    colours = [colour for _ in (-1, 1) for _, _, colour in _KERB]
    for strip, colour in zip(_strips(view, edges, reach), colours, strict=True):
        canvas.polygon(strip, colour)


def _strips(
    view: View, edges: list[tuple[float, float]], reach: float
) -> list[NDArray[np.float64]]:
    """The bands between pairs of lateral positions, in pixels (n, 2) each."""
    s = view.s + np.geomspace(1.2, min(reach, 110.0), 32)
    lateral = np.array(edges).reshape(-1, 1)
    lines = view.project(np.broadcast_to(s, (len(lateral), len(s))), lateral)
    return [
        np.concatenate([one, two[::-1]]) for one, two in zip(lines[0::2], lines[1::2], strict=True)
    ]


def _quads(
    view: View, start: NDArray[np.float64], end: NDArray[np.float64], low: NDArray[np.float64],
    width: float,
) -> NDArray[np.float64]:  # fmt: skip
    """Rectangles on the road to pixels (n, 4, 2)."""
    s = np.stack([start, end, end, start], axis=1)
    return view.project(s, np.stack([low, low, low + width, low + width], axis=1))


def _dashes(
    view: View, lateral: float, period: float, dash: float, reach: float
) -> NDArray[np.float64]:
    count = int(min(reach, 110.0) / period) + 1
    start = (int(view.s // period) + np.arange(count)) * period
    end = np.minimum(start + dash, view.s + reach)
    start = np.maximum(start, view.s + 1.2)
    keep = end > start + 0.1
    start, end = start[keep], end[keep]
    return _quads(view, start, end, np.full_like(start, lateral - 0.075), 0.15)


def _zebra(view: View, start: float) -> NDArray[np.float64]:
    low = np.arange(-ROAD_HALF + 0.6, ROAD_HALF - 0.8, 1.0)
    near = np.full_like(low, start)
    return _quads(view, near, near + 3.2, low, 0.5)
