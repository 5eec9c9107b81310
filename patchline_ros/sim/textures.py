"""Pictures made once and reused in every frame: plants, walls with windows, people."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from patchline_ros.sim.light import gained, mix
from patchline_ros.sim.noise import stream, tiling
from patchline_ros.sim.painter import Colour, Picture, pyramid

TREES = 9
BUSHES = 4
WALLS = 12
PEOPLE = 14
STRIDES = 6
BAY = 2.6
"""Width of a window bay in metres."""

FLOOR = 3.1
_WALL_SCALE = 22
_GREENS: tuple[Colour, ...] = (
    (84, 116, 52), (62, 100, 48), (104, 122, 50), (70, 96, 40), (134, 122, 48), (52, 84, 50),
)  # fmt: skip


def _leaves(
    picture: Picture, rng: np.random.Generator, count: int, green: Colour, conifer: bool
) -> None:
    """Blobs of leaves from the dark inside out to the sunlit top, within a crown."""
    height, width = picture.shape[:2]
    for layer in range(count):
        share = layer / count
        angle, radius = rng.random() * 6.283, np.sqrt(rng.random())
        if conifer:
            level = rng.random()
            x = 0.5 + (rng.random() - 0.5) * (0.12 + 0.78 * level)
            y = 0.03 + 0.82 * level
        else:
            x = 0.5 + 0.4 * radius * np.cos(angle) * (0.8 + 0.2 * np.sin(5 * angle))
            y = 0.39 + 0.34 * radius * np.sin(angle)
        sun = 0.45 + 0.75 * (1 - y) * (0.4 + 0.6 * share) + 0.25 * (rng.random() - 0.5)
        colour = gained(green, float(sun) * (1.15 if share > 0.8 else 1.0))
        size = (4 + 9 * rng.random()) * (1.25 - 0.5 * share)
        centre = (int(x * width * 16), int(y * height * 16))
        cv2.circle(picture, centre, int(size * 16), (*colour, 255), -1, cv2.LINE_AA, 4)


@lru_cache(maxsize=2 * TREES)
def tree(variant: int, snow: bool) -> list[Picture]:
    """A tree, premultiplied RGBA pyramid; the trunk's foot is at the bottom centre."""
    rng = stream(40, variant)
    picture = np.zeros((288, 216, 4), np.uint8)
    conifer = variant % 3 == 2
    bark: Colour = (88, 70, 54)
    trunk = np.array([[101, 120], [115, 120], [120, 288], [97, 288]], np.int32)
    cv2.fillPoly(picture, [trunk], (*bark, 255), cv2.LINE_AA)
    shade = np.array([[109, 120], [115, 120], [120, 288], [110, 288]], np.int32)
    cv2.fillPoly(picture, [shade], (*gained(bark, 0.7), 255), cv2.LINE_AA)
    green = _GREENS[variant % len(_GREENS)]
    _leaves(picture, rng, 620, gained(green, 0.8) if conifer else green, conifer)
    return pyramid(_snowed(picture) if snow else picture)


@lru_cache(maxsize=2 * BUSHES)
def bush(variant: int, snow: bool) -> list[Picture]:
    """A bush, premultiplied RGBA pyramid."""
    rng = stream(41, variant)
    picture = np.zeros((110, 170, 4), np.uint8)
    green = _GREENS[(variant * 2 + 1) % len(_GREENS)]
    for layer in range(260):
        share = layer / 260
        x, y = 0.5 + 0.86 * (rng.random() - 0.5), 0.98 - 0.8 * rng.random() ** 1.3
        if abs(x - 0.5) * 1.6 + (1 - y) > 1.0:
            continue
        sun = 0.45 + 0.6 * (1 - y) + 0.35 * (rng.random() - 0.5) * share
        centre = (int(x * 170 * 16), int(y * 110 * 16))
        size = int((4 + 7 * rng.random()) * 16)
        colour = (*gained(green, float(sun)), 255)
        cv2.circle(picture, centre, size, colour, -1, cv2.LINE_AA, 4)
    return pyramid(_snowed(picture) if snow else picture)


def _snowed(picture: Picture) -> Picture:
    """Snow on what the light falls on from above: bright leaves, more towards the top."""
    luma = picture[:, :, :3].astype(np.float32).max(axis=2) / 150.0
    top = np.linspace(1.15, 0.15, picture.shape[0], dtype=np.float32)[:, None]
    share = np.clip(luma * 1.3 * top - 0.1, 0, 0.92)[:, :, None]
    alpha = picture[:, :, 3:].astype(np.float32)
    white = np.array([0.91, 0.93, 0.97], np.float32) * alpha
    out = picture.copy()
    out[:, :, :3] = picture[:, :, :3] * (1 - share) + white * share
    return out


_PLASTER: tuple[Colour, ...] = (
    (196, 178, 150), (170, 102, 80), (188, 188, 184), (214, 204, 180), (140, 148, 158),
    (202, 170, 124), (152, 86, 70), (222, 216, 206), (126, 118, 108), (178, 152, 132),
    (186, 128, 96), (160, 170, 160),
)  # fmt: skip


@lru_cache(maxsize=256)
def wall(variant: int, bays: int, floors: int, night: bool) -> list[Picture]:
    """A house front with windows, RGB + shine pyramid; night lights some of the windows."""
    rng = stream(42, variant, bays, floors)
    scale = _WALL_SCALE
    height, width = int(floors * FLOOR * scale), int(bays * BAY * scale)
    base = _PLASTER[variant]
    noise = tiling(rng, height, width, 32)
    courses = (np.arange(height) // 5 % 2)[:, None] * 0.05 if variant in (1, 6, 10) else 0.0
    gain = (0.9 + 0.16 * noise - courses)[:, :, None]
    colour = np.clip(gain * np.array(base, np.float32), 0, 255).astype(np.uint8)
    picture = np.dstack([colour, np.zeros((height, width), np.uint8)])
    trim = mix(base, (240, 238, 230), 0.65)
    shop = floors > 2 and variant % 2 == 0
    for floor in range(floors):
        bottom = height - int(floor * FLOOR * scale)
        for bay in range(bays):
            left = int(bay * BAY * scale)
            lit = bool(rng.random() < 0.42)
            tone = float(rng.random())
            if floor == 0 and shop:
                box = (left + 5, bottom - 52, left + 52, bottom - 8)
            elif floor == 0 and bay == bays // 2:
                box = (left + 18, bottom - 48, left + 40, bottom)
            else:
                box = (left + 14, bottom - 52, left + 43, bottom - 18)
            _window(picture, box, trim, tone, lit and night, night, floor == 0 and shop)
        line = gained(base, 0.82)
        cv2.rectangle(picture, (0, bottom - 66), (width, bottom - 64), (*line, 0), -1)
    if shop:
        sign = gained(_PLASTER[(variant + 3) % WALLS], 0.75)
        cv2.rectangle(picture, (0, height - 64), (width, height - 55), (*sign, 0), -1)
    return pyramid(picture, levels=5)


def _window(
    picture: Picture,
    box: tuple[int, int, int, int],
    trim: Colour,
    tone: float,
    lit: bool,
    night: bool,
    shop: bool,
) -> None:
    left, top, right, bottom = box
    cv2.rectangle(picture, (left - 3, top - 3), (right + 3, bottom + 3), (*trim, 0), -1)
    if lit or (shop and night):
        glass, shine = mix((255, 206, 120), (236, 226, 190), tone), 150 + 90 * tone
    else:
        glass, shine = mix((44, 56, 70), (98, 120, 140), tone), 0.0
    cv2.rectangle(picture, (left, top), (right, bottom), (*glass, shine), -1)
    if not lit:
        # The upper part reflects the sky, which is what makes a flat rectangle look like glass.
        bright = mix(glass, (186, 206, 222), 0.45)
        corner = np.array([[left, top], [right, top], [left, (top + 2 * bottom) // 3]], np.int32)
        cv2.fillPoly(picture, [corner], (*bright, shine), cv2.LINE_AA)
    middle = (left + right) // 2
    cv2.line(picture, (middle, top), (middle, bottom), (*trim, 0), 2)
    if not shop:
        cv2.line(picture, (left, top + 12), (right, top + 12), (*trim, 0), 2)
        sill = gained(trim, 0.8)
        cv2.rectangle(picture, (left - 4, bottom + 2), (right + 4, bottom + 5), (*sill, 0), -1)


_CLOTHES: tuple[Colour, ...] = (
    (178, 44, 48), (38, 70, 128), (58, 62, 66), (206, 200, 190), (62, 104, 70), (214, 156, 50),
    (108, 70, 112), (36, 38, 44), (128, 150, 168), (156, 104, 70), (220, 222, 226),
)  # fmt: skip
_SKIN: tuple[Colour, ...] = ((232, 190, 160), (198, 148, 112), (142, 96, 68), (96, 64, 46))


@lru_cache(maxsize=PEOPLE * STRIDES)
def person(variant: int, stride: int) -> list[Picture]:
    """A walking person, premultiplied RGBA pyramid, twice as high as wide."""
    rng = stream(43, variant)
    coat = _CLOTHES[int(rng.integers(len(_CLOTHES)))]
    trousers = gained(_CLOTHES[int(rng.integers(len(_CLOTHES)))], 0.6)
    skin = _SKIN[int(rng.integers(len(_SKIN)))]
    hair = mix((30, 24, 20), (150, 110, 70), float(rng.random()) ** 2)
    skirt, bag = bool(rng.random() < 0.25), bool(rng.random() < 0.35)
    picture = np.zeros((240, 120, 4), np.uint8)
    swing = float(np.sin(2 * np.pi * stride / STRIDES))

    def limb(points: list[tuple[float, float]], width: int, colour: Colour) -> None:
        corners = np.rint(np.array(points) * 16).astype(np.int32)
        cv2.polylines(picture, [corners], False, (*colour, 255), width, cv2.LINE_AA, 4)

    def blob(points: list[tuple[float, float]], colour: Colour) -> None:
        corners = np.rint(np.array(points) * 16).astype(np.int32)
        cv2.fillPoly(picture, [corners], (*colour, 255), cv2.LINE_AA, 4)

    for side, dim in ((-1, 0.72), (1, 1.0)):
        reach = side * swing * 20
        knee = (60 + reach * 0.6 + 4 * side, 176.0)
        limb([(60 + 6 * side, 128), knee, (60 + reach + 5 * side, 226)], 18, gained(trousers, dim))
        limb([(58 + reach + 5 * side, 231), (68 + reach + 5 * side, 232)], 11, (26, 24, 24))
    limb([(48, 66), (42 - swing * 14, 98), (44 - swing * 22, 124)], 13, gained(coat, 0.72))
    blob([(42, 56), (78, 56), (82, 74), (79, 134), (41, 134), (38, 74)], coat)
    blob([(60, 56), (78, 56), (82, 74), (79, 134), (66, 134)], gained(coat, 0.84))
    if skirt:
        blob([(42, 112), (78, 112), (86, 166), (34, 166)], gained(coat, 0.9))
    if bag:
        blob([(74, 92), (94, 92), (96, 126), (73, 126)], (70, 48, 36))
    limb([(72, 66), (79 + swing * 14, 98), (77 + swing * 22, 124)], 13, gained(coat, 0.92))
    cv2.circle(picture, (int(77 + swing * 22), 128), 6, (*skin, 255), -1, cv2.LINE_AA)
    limb([(60, 46), (60, 56)], 14, gained(skin, 0.85))
    cv2.ellipse(picture, (60, 32), (15, 19), 0, 0, 360, (*hair, 255), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (61, 37), (12, 14), 0, 0, 360, (*skin, 255), -1, cv2.LINE_AA)
    return pyramid(picture)
