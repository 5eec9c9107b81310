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
from patchline_ros.sim.world import LANE

Plane = NDArray[np.float32]

# Colours of the night's lights, as gains of red, green and blue.
_MOON = (0.75, 0.85, 1.3)
_HEADLAMP = (1.12, 1.04, 0.86)
_STREET = (0.62, 0.46, 0.24)


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
    image = cv2.cvtColor(scene.canvas.colour, cv2.COLOR_RGBA2RGB)
    amount = 0.0 if condition is Condition.CLEAR else severity
    noise = 2.2
    if amount > 0:
        if condition is Condition.RAIN:
            _wet_road(image, scene, amount)
            image = _haze(image, scene, light, 0.011 * amount, 0.12 * amount)
            image = _streaks(image, scene, amount, rng)
        elif condition is Condition.SNOW:
            _snow_cover(image, scene, amount)
            image = _haze(image, scene, light, 0.014 * amount, 0.10 * amount)
            image = _flakes(image, scene, amount, rng)
        elif condition is Condition.FOG:
            image = _haze(image, scene, light, 0.04 * amount, 0.16 * amount)
            _halos(image, scene, 0.7 * amount, 1.6)
        else:
            image = _darkness(image, scene, amount)
            _halos(image, scene, amount, 1.0)
        noise += {Condition.NIGHT: 13.0, Condition.RAIN: 4.0}.get(condition, 2.0) * amount
    gain = [light.exposure * channel for channel in light.tint]
    image = cv2.multiply(image, (*gain, 0.0), dtype=cv2.CV_32F)
    height, width = image.shape[:2]
    taken = cv2.addWeighted(image, 1.0, grain(rng, height, width), noise, 0.0, dtype=cv2.CV_8U)
    return np.asarray(taken, np.uint8)


def _over(image: Picture, layer: Picture, colour: tuple[int, int, int]) -> Picture:
    """Lays a colour over the picture, as opaque as `layer` (uint8, 255: covered) says."""
    kept = cv2.multiply(image, cv2.merge([255 - layer] * 3), scale=1 / 255)
    laid = cv2.merge([cv2.multiply(layer, level / 255) for level in colour])
    return np.asarray(cv2.add(kept, laid), np.uint8)


def _haze(image: Picture, scene: Scene, light: Light, density: float, veil: float) -> Picture:
    """Scattering: contrast falls with depth and everything turns to the colour of the air."""
    depth = np.array(scene.canvas.depths)
    kept = np.exp(-density * np.minimum(depth, 1500.0)) * (1 - veil)
    # The sky is seen through all the haze there is, but is itself that bright.
    kept[0] = max(1 - density * 20, 0.05)
    veiled = np.rint(255 * (1 - kept)).astype(np.uint8)
    red, green, blue = (round(level) for level in light.horizon)
    return _over(image, np.take(veiled, scene.canvas.ids), (red, green, blue))


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


def _wet_road(image: Picture, scene: Scene, amount: float) -> None:
    """Darkens the ground and lets road and pavement mirror what stands above them."""
    top = scene.ground.top
    rows = image.shape[0] - top
    above = image[max(top - rows, 0) : top]
    if rows == 0 or len(above) == 0:
        return
    mirror = cv2.copyMakeBorder(
        cv2.flip(above, 0), 0, rows - len(above), 0, 0, cv2.BORDER_REPLICATE
    )
    mirror = cv2.blur(mirror, (3, max(3, image.shape[0] // 9) | 1))
    wet = _ground_mask(scene)
    sealed = (scene.canvas.ground_classes[top:] != labels.VEGETATION) & wet
    puddles = np.clip((_ground_noise(scene, 26.0) - 0.42) * 3.5, 0, 1)
    grazing = np.clip(scene.ground.depth / 22.0, 0, 1).astype(np.float32)[:, None]
    share = amount * (0.14 + 0.3 * grazing + 0.42 * puddles) * sealed
    dark = np.where(wet, np.uint8(round(255 * (1 - 0.38 * amount))), np.uint8(255))
    below = cv2.multiply(image[top:], cv2.merge([dark] * 3), scale=1 / 255)
    image[top:] = cv2.blendLinear(mirror, below, share, 1 - share)


def _snow_cover(image: Picture, scene: Scene, amount: float) -> None:
    """Whitens the ground; wheels keep two dark tracks a lane half free."""
    top = scene.ground.top
    if top == image.shape[0]:
        return
    # How much snow lies, by centimetres from the centre line in steps of five.
    across = np.arange(0.0, 7.0, 0.05)
    track = np.exp(-(((np.abs(across % LANE - LANE / 2) - 0.8) / 0.42) ** 2))
    profile = np.append(0.82 - 0.62 * track, 0.96).astype(np.float32)
    place = np.minimum(np.abs(scene.lateral) * 20, len(profile) - 1).astype(np.uint8)
    noise = _ground_noise(scene, 20.0)
    cover = np.clip(np.take(profile, place) + 0.7 * (noise - 0.5), 0, 0.95)
    cover *= np.float32(amount) * _ground_mask(scene)
    bright = cv2.add(cv2.multiply(noise, 36.0), 203.0, dtype=cv2.CV_8U)
    white = cv2.merge([cv2.multiply(bright, tint) for tint in (0.975, 0.995, 1.03)])
    image[top:] = cv2.blendLinear(white, image[top:], cover, 1 - cover)


def _darkness(image: Picture, scene: Scene, amount: float) -> Picture:
    """Night: moonlight, the cone of the own headlamps, street lamps and what shines by itself."""
    camera = scene.camera
    height, width = image.shape[:2]
    depth = np.array(scene.canvas.depths)
    reach = np.take((1.0 / (1.0 + (depth / 21.0) ** 2)).astype(np.float32), scene.canvas.ids)
    # Angles from the driving direction, in units of the focal length.
    u = (np.arange(width) - camera.centre_u) / camera.focal
    v = (np.arange(height) - camera.centre_v) / camera.focal
    beam_u = np.exp(-((u / 0.36) ** 2)).astype(np.float32)
    beam_v = (1 / (1 + np.exp(-(v + 0.035) * 55.0))).astype(np.float32)
    beam = beam_v[:, None] * (beam_u * reach)
    lamps = np.zeros((height, width), np.float32)
    for glow in scene.canvas.glows:
        if glow.street and glow.depth < 80:
            _pool(lamps, scene, glow.u, glow.depth)
    shine = cv2.extractChannel(scene.canvas.colour, 3)
    matt, own = 255 - shine, cv2.multiply(shine, 0.5)
    gains = []
    # Gains are kept in 1/128 and as bytes: fine enough under the noise of a dark picture.
    for moon, head, street in zip(_MOON, _HEADLAMP, _STREET, strict=True):
        dark = 128 * (1 - 0.93 * amount) * (1 + amount * (moon - 1))
        head, street = 128 * amount * head, 128 * amount * street
        gain = cv2.addWeighted(beam, head, lamps, street, dark, dtype=cv2.CV_8U)
        gains.append(cv2.add(cv2.multiply(gain, matt, scale=1 / 255), own))
    return np.asarray(cv2.multiply(image, cv2.merge(gains), scale=1 / 128), np.uint8)


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


def _halos(image: Picture, scene: Scene, amount: float, size: float) -> None:
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
        x = ((np.arange(left, right) - glow.u) / radius).astype(np.float32)
        y = ((np.arange(top, bottom) - glow.v) / radius).astype(np.float32)
        fall = np.maximum(1 - np.sqrt(x * x + (y * y)[:, None]), 0)
        fall *= fall * np.sqrt(fall)
        fade = amount * math.exp(-glow.depth / 70.0)
        light = cv2.merge([fall * np.float32(fade * level) for level in glow.colour])
        under = image[top:bottom, left:right]
        under[:] = cv2.add(under, light, dtype=cv2.CV_8U)


def _streaks(image: Picture, scene: Scene, amount: float, rng: np.random.Generator) -> Picture:
    """Falling rain: near drops are long."""
    height, width = image.shape[:2]
    unit = scene.camera.height / 360 if scene.zoom <= 1 else height / 150
    layer = np.zeros((height, width), np.uint8)
    slant = 0.22 * (float(rng.random()) - 0.35)
    count = int((110 + 330 * amount) * min(1.0, width * height / 90000 + 0.12))
    for x, y, size, tone in rng.random((count, 4)).tolist():
        long = (7 + 30 * size**3) * unit
        start = (int(x * width * 16), int((y * 1.1 - 0.1) * height * 16))
        end = (int(start[0] + slant * long * 16), int(start[1] + long * 16))
        bright = (50 + 90 * tone) * amount
        cv2.line(layer, start, end, bright, 2 if size > 0.94 else 1, cv2.LINE_AA, 4)
    return _over(image, layer, (206, 212, 220))


def _flakes(image: Picture, scene: Scene, amount: float, rng: np.random.Generator) -> Picture:
    """Falling snow: many small far flakes and a few large near ones."""
    height, width = image.shape[:2]
    unit = height / 360 if scene.zoom <= 1 else height / 190
    layer = np.zeros((height, width), np.uint8)
    count = int((140 + 400 * amount) * min(1.0, width * height / 120000 + 0.12))
    for x, y, size, tone in rng.random((count, 4)).tolist():
        radius = (0.75 + 3.4 * size**9 + 0.95 * size) * unit
        centre = (int(x * width * 16), int(y * height * 16))
        value = (235 - 90 * size) * (0.55 + 0.45 * tone) * min(1.0, 0.5 + 0.5 * amount)
        cv2.circle(layer, centre, int(radius * 16), value, -1, cv2.LINE_AA, 4)
    return _over(image, cv2.GaussianBlur(layer, (3, 3), 0.7), (240, 243, 248))
