"""From a painted canvas to a camera picture: weather, darkness, exposure and sensor noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from patchline_ros.sim import labels
from patchline_ros.sim.camera import Camera, Ground
from patchline_ros.sim.light import Condition, Light
from patchline_ros.sim.noise import grain
from patchline_ros.sim.painter import Canvas, Picture

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """A painted canvas and what the weather needs to know about it.

    lateral: metres right of the centre line for each ground pixel; texture: tiling noise in [0, 1]
    that lies on the ground; s: metres driven; zoom: focal length over that of the road camera.
    """

    canvas: Canvas
    camera: Camera
    ground: Ground
    lateral: Plane
    texture: Plane
    s: float
    zoom: float


def develop(
    scene: Scene, light: Light, condition: Condition, severity: float, rng: np.random.Generator
) -> Picture:
    """The picture that the camera takes, uint8 RGB; `rng` decides drops, flakes and noise."""
    image = scene.canvas.colour[:, :, :3].astype(np.float32)
    amount = 0.0 if condition is Condition.CLEAR else severity
    noise = 2.2
    if amount > 0:
        if condition is Condition.RAIN:
            _wet_road(image, scene, amount)
            _haze(image, scene, light, 0.011 * amount, 0.12 * amount)
            _streaks(image, scene, amount, rng)
        elif condition is Condition.SNOW:
            _snow_cover(image, scene, amount)
            _haze(image, scene, light, 0.014 * amount, 0.10 * amount)
            _flakes(image, scene, amount, rng)
        elif condition is Condition.FOG:
            _haze(image, scene, light, 0.046 * amount, 0.22 * amount)
            _halos(image, scene, 0.7 * amount, 1.6)
        else:
            image = _darkness(image, scene, amount)
            _halos(image, scene, amount, 1.0)
        noise += {Condition.NIGHT: 13.0, Condition.RAIN: 4.0}.get(condition, 2.0) * amount
    gain = [light.exposure * channel for channel in light.tint]
    image = cv2.multiply(image, (*gain, 0.0))
    height, width = image.shape[:2]
    image += noise * grain(rng, height, width)
    return np.asarray(cv2.convertScaleAbs(cv2.max(image, 0.0)), np.uint8)


def _table(scene: Scene, values: NDArray[np.float64]) -> Plane:
    """A value for every canvas id, spread over the picture."""
    return np.take(values.astype(np.float32), scene.canvas.ids)


def _haze(image: Plane, scene: Scene, light: Light, density: float, veil: float) -> None:
    """Scattering: contrast falls with depth and everything turns to the colour of the air."""
    depth = np.array(scene.canvas.depths)
    kept = np.exp(-density * np.minimum(depth, 1500.0)) * (1 - veil)
    kept = np.round(kept, 4)
    # The sky is seen through all the haze there is, but is itself that bright.
    kept[0] = max(1 - density * 20, 0.05)
    share = _table(scene, kept)[..., None]
    air = np.array(light.horizon, np.float32)
    image -= air
    image *= share
    image += air


def _ground_noise(scene: Scene, scale: float) -> Plane:
    """Noise that lies still on the ground, for each ground pixel."""
    rows, columns = scene.lateral.shape
    if rows == 0:
        return np.zeros((0, columns), np.float32)
    size = scene.texture.shape[0]
    along = (((scene.s + scene.ground.depth) * scale) % size).astype(np.float32)
    map_y = np.repeat(along[:, None], columns, axis=1)
    return np.asarray(
        cv2.remap(
            scene.texture, scene.lateral * scale + size / 2, map_y, cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
    )  # fmt: skip


def _ground_mask(scene: Scene) -> NDArray[np.bool_]:
    ids = scene.canvas.ids[scene.ground.top :]
    return (ids < scene.canvas.first_object) & (ids > 0)


def _wet_road(image: Plane, scene: Scene, amount: float) -> None:
    """Darkens the ground and lets road and pavement mirror what stands above them."""
    top = scene.ground.top
    rows = image.shape[0] - top
    if rows == 0:
        return
    wet = _ground_mask(scene)
    mirror = np.zeros((rows, image.shape[1], 3), np.float32)
    part = image[max(top - rows, 0) : top][::-1]
    mirror[: len(part)] = part
    if 0 < len(part) < rows:
        mirror[len(part) :] = part[-1]
    size = max(3, image.shape[0] // 9) | 1
    mirror = cv2.blur(mirror, (3, size))
    classes = scene.canvas.ground_classes[top:]
    sealed = (classes != labels.VEGETATION) & wet
    puddles = np.clip((_ground_noise(scene, 26.0) - 0.42) * 3.5, 0, 1)
    grazing = np.clip(scene.ground.depth / 22.0, 0, 1).astype(np.float32)[:, None]
    share = amount * (0.14 + 0.3 * grazing + 0.42 * puddles)
    share = np.where(sealed, share, 0.0).astype(np.float32)[..., None]
    below = image[top:]
    below *= np.where(wet, 1 - 0.38 * amount, 1.0).astype(np.float32)[..., None]
    below += share * (mirror - below)


def _snow_cover(image: Plane, scene: Scene, amount: float) -> None:
    """Whitens the ground; wheels keep two dark tracks a lane half free."""
    top = scene.ground.top
    ground = _ground_mask(scene)
    noise = _ground_noise(scene, 20.0)
    place = np.abs(scene.lateral) % 3.4
    track = np.exp(-(((np.abs(place - 1.7) - 0.8) / 0.42) ** 2))
    road = np.abs(scene.lateral) < 7.0
    cover = np.where(road, 0.82 - 0.62 * track, 0.96) + 0.7 * (noise - 0.5)
    cover = np.where(ground, np.clip(cover, 0, 0.95) * amount, 0.0).astype(np.float32)[..., None]
    white = np.array((224, 229, 238), np.float32) * (0.9 + 0.16 * noise[..., None])
    below = image[top:]
    below += cover * (white - below)


def _darkness(image: Plane, scene: Scene, amount: float) -> Plane:
    """Night: moonlight, the cone of the own headlamps, street lamps and what shines by itself."""
    camera, zoom = scene.camera, scene.zoom
    height, width = image.shape[:2]
    depth = np.array(scene.canvas.depths)
    reach = _table(scene, np.round(1.0 / (1.0 + (depth / 21.0) ** 2), 4))
    # Angles from the driving direction, in units of the road camera's picture.
    u = (np.arange(width) - camera.centre_u) / camera.focal
    v = (np.arange(height) - camera.centre_v) / camera.focal
    beam_u = np.exp(-((u / 0.36) ** 2))
    beam_v = 1 / (1 + np.exp(-(v + 0.035) * 55.0))
    beam = (beam_v[:, None] * beam_u).astype(np.float32) * reach
    lamps = np.zeros((height, width), np.float32)
    for glow in scene.canvas.glows:
        if glow.colour[2] == 140 and 0 < glow.depth < 80:
            _pool(lamps, scene, glow.u, glow.depth)
    shine = scene.canvas.colour[:, :, 3].astype(np.float32) / 255
    dark = np.float32(1 - 0.93 * amount)
    lit = image * (np.array((0.75, 0.85, 1.3), np.float32) * dark * (1 - amount) ** 0
                   + amount * beam[..., None] * np.array((0.86, 0.8, 0.66), np.float32)
                   + amount * lamps[..., None] * np.array((0.62, 0.46, 0.24), np.float32))  # fmt: skip
    tinted = 1 - amount + amount * np.array((0.75, 0.85, 1.3), np.float32)
    lit += image * (dark * (tinted - np.array((0.75, 0.85, 1.3), np.float32)))
    shine = shine[..., None]
    del zoom
    return np.asarray(lit + shine * (image - lit), np.float32)


def _pool(lamps: Plane, scene: Scene, u: float, depth: float) -> None:
    """A street lamp's pool of light: an ellipse on the ground, fading upwards."""
    camera, ground = scene.camera, scene.ground
    scale = camera.focal / depth
    row = float(np.interp(depth, ground.crest_depth, ground.crest_row))
    half_u, half_v = 6.0 * scale, max(1.35 * 5.0 * scale / depth, 2.0)
    left, right = max(int(u - 2 * half_u), 0), min(int(u + 2 * half_u) + 1, camera.width)
    top, bottom = max(int(row - 3.5 * scale), 0), min(int(row + 3 * half_v) + 1, camera.height)
    if right <= left or bottom <= top:
        return
    across = np.exp(-(((np.arange(left, right) - u) / half_u) ** 2))
    rows = np.arange(top, bottom) - row
    down = np.where(rows > 0, np.exp(-((rows / half_v) ** 2)), np.exp(rows / (2.2 * scale)))
    lamps[top:bottom, left:right] += (down[:, None] * across).astype(np.float32)


def _halos(image: Plane, scene: Scene, amount: float, size: float) -> None:
    """Light that lamps scatter around themselves."""
    for glow in scene.canvas.glows:
        radius = min(max(glow.radius * 2.2 * size, 2.0), image.shape[0] * 0.35)
        left, top = max(int(glow.u - radius), 0), max(int(glow.v - radius), 0)
        right = min(int(glow.u + radius) + 1, image.shape[1])
        bottom = min(int(glow.v + radius) + 1, image.shape[0])
        row = int(np.clip(round(glow.v), 0, image.shape[0] - 1))
        column = int(np.clip(round(glow.u), 0, image.shape[1] - 1))
        if right <= left or bottom <= top:
            continue
        # A lamp behind something nearer does not shine.
        if scene.canvas.depths[scene.canvas.ids[row, column]] < glow.depth - 2.5:
            continue
        x = (np.arange(left, right) - glow.u) / radius
        y = (np.arange(top, bottom) - glow.v) / radius
        fall = np.clip(1 - np.sqrt(x[None, :] ** 2 + y[:, None] ** 2), 0, 1) ** 2.6
        fade = amount * math.exp(-glow.depth / 70.0)
        colour = np.array(glow.colour, np.float32) * np.float32(fade)
        image[top:bottom, left:right] += fall.astype(np.float32)[..., None] * colour


def _streaks(image: Plane, scene: Scene, amount: float, rng: np.random.Generator) -> None:
    """Falling rain, drawn into one plane and blended in; near drops are long and blurred."""
    height, width = image.shape[:2]
    unit = scene.camera.height / 360 if scene.zoom <= 1 else height / 150
    layer = np.zeros((height, width), np.uint8)
    slant = 0.22 * (float(rng.random()) - 0.35)
    count = int((110 + 330 * amount) * min(1.0, width * height / 90000 + 0.12))
    drops = rng.random((count, 4))
    for x, y, size, tone in drops.tolist():
        long = (7 + 30 * size**3) * unit
        start = (int(x * width * 16), int((y * 1.1 - 0.1) * height * 16))
        end = (int(start[0] + slant * long * 16), int(start[1] + long * 16))
        thick = 2 if size > 0.94 else 1
        cv2.line(layer, start, end, 50 + 90 * tone, thick, cv2.LINE_AA, 4)
    share = (layer.astype(np.float32) * np.float32(amount / 255))[..., None]
    image += share * (np.array((206, 212, 220), np.float32) - image)


def _flakes(image: Plane, scene: Scene, amount: float, rng: np.random.Generator) -> None:
    """Falling snow: many small far flakes and a few large blurred ones."""
    height, width = image.shape[:2]
    unit = height / 360 if scene.zoom <= 1 else height / 190
    layer = np.zeros((height, width), np.uint8)
    count = int((160 + 520 * amount) * min(1.0, width * height / 120000 + 0.1))
    flakes = rng.random((count, 4))
    for x, y, size, tone in flakes.tolist():
        radius = (0.7 + 3.4 * size**9 + 0.9 * size) * unit
        centre = (int(x * width * 16), int(y * height * 16))
        value = (235 - 90 * size) * (0.55 + 0.45 * tone)
        cv2.circle(layer, centre, int(radius * 16), value, -1, cv2.LINE_AA, 4)
    layer = cv2.GaussianBlur(layer, (3, 3), 0.7)
    share = (layer.astype(np.float32) * np.float32(min(1.0, 0.5 + 0.5 * amount) / 255))[..., None]
    image += share * (np.array((240, 243, 248), np.float32) - image)
