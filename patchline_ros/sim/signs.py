"""The faces of the traffic signs, drawn once at a large size."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from patchline_ros.sim.labels import SIGN_CLASSES
from patchline_ros.sim.painter import Picture, pyramid

SIZE = 192
"""Edge of a sign face in pixels."""

_RED, _BLUE, _WHITE, _BLACK = (192, 24, 36), (24, 78, 170), (244, 244, 240), (22, 22, 24)
_SHIFT = 4

# Glyphs as strokes in a 1 x 1 box, so that every OpenCV version draws the same letters.
_GLYPHS: dict[str, list[list[tuple[float, float]]]] = {
    "S": [[(1, 0.12), (0.75, 0), (0.25, 0), (0, 0.14), (0, 0.34), (0.2, 0.47), (0.8, 0.53),
           (1, 0.66), (1, 0.86), (0.75, 1), (0.25, 1), (0, 0.88)]],
    "T": [[(0, 0), (1, 0)], [(0.5, 0), (0.5, 1)]],
    "O": [[(0.3, 0), (0.7, 0), (1, 0.2), (1, 0.8), (0.7, 1), (0.3, 1), (0, 0.8), (0, 0.2),
           (0.3, 0)]],
    "P": [[(0, 1), (0, 0), (0.7, 0), (1, 0.12), (1, 0.42), (0.7, 0.54), (0, 0.54)]],
    "3": [[(0, 0.1), (0.3, 0), (0.7, 0), (1, 0.14), (1, 0.36), (0.7, 0.48), (0.35, 0.48)],
          [(0.7, 0.48), (1, 0.62), (1, 0.86), (0.7, 1), (0.3, 1), (0, 0.9)]],
    "5": [[(0.95, 0), (0.08, 0), (0, 0.5), (0.35, 0.4), (0.7, 0.42), (1, 0.58), (1, 0.82),
           (0.7, 1), (0.3, 1), (0, 0.9)]],
}  # fmt: skip
_GLYPHS["0"] = _GLYPHS["O"]


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(points * SIZE * (1 << _SHIFT)).astype(np.int32)


def _fill(picture: Picture, points: list[tuple[float, float]], colour: tuple[int, ...]) -> None:
    cv2.fillPoly(picture, [_fixed(np.array(points))], (*colour, 255), cv2.LINE_AA, shift=_SHIFT)


def _disc(picture: Picture, radius: float, colour: tuple[int, ...]) -> None:
    angle = np.arange(72) * (2 * np.pi / 72)
    points = 0.5 + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    _fill(picture, [tuple(point) for point in points.tolist()], colour)


def _stroke(
    picture: Picture, points: list[tuple[float, float]], width: float, colour: tuple[int, ...]
) -> None:
    thickness = max(1, round(width * SIZE))
    cv2.polylines(
        picture, [_fixed(np.array(points))], False, (*colour, 255), thickness, cv2.LINE_AA, _SHIFT
    )


def _text(
    picture: Picture, text: str, box: tuple[float, float, float, float], width: float,
    colour: tuple[int, ...],
) -> None:  # fmt: skip
    left, top, right, bottom = box
    gap = 0.055
    each = (right - left - gap * (len(text) - 1) - width * len(text)) / len(text)
    for place, letter in enumerate(text):
        start = left + width / 2 + place * (each + gap + width)
        for line in _GLYPHS[letter]:
            points = [(start + x * each, top + y * (bottom - top)) for x, y in line]
            _stroke(picture, points, width, colour)


def _polygon(corners: int, radius: float, turn: float) -> list[tuple[float, float]]:
    angle = turn + np.arange(corners) * (2 * np.pi / corners)
    return [(0.5 + radius * float(np.cos(a)), 0.5 + radius * float(np.sin(a))) for a in angle]


def _stop(picture: Picture) -> None:
    _fill(picture, _polygon(8, 0.5, np.pi / 8), _WHITE)
    _fill(picture, _polygon(8, 0.465, np.pi / 8), _RED)
    _text(picture, "STOP", (0.14, 0.36, 0.86, 0.64), 0.055, _WHITE)


def _yield(picture: Picture) -> None:
    _fill(picture, [(0.01, 0.07), (0.99, 0.07), (0.5, 0.93)], _RED)
    _fill(picture, [(0.2, 0.18), (0.8, 0.18), (0.5, 0.71)], _WHITE)


def _speed(picture: Picture, text: str) -> None:
    _disc(picture, 0.49, _RED)
    _disc(picture, 0.385, _WHITE)
    _text(picture, text, (0.24, 0.34, 0.76, 0.66), 0.075, _BLACK)


def _no_entry(picture: Picture) -> None:
    _disc(picture, 0.49, _WHITE)
    _disc(picture, 0.47, _RED)
    _fill(picture, [(0.16, 0.41), (0.84, 0.41), (0.84, 0.59), (0.16, 0.59)], _WHITE)


def _crossing(picture: Picture) -> None:
    _fill(picture, [(0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98)], _WHITE)
    _fill(picture, [(0.05, 0.05), (0.95, 0.05), (0.95, 0.95), (0.05, 0.95)], _BLUE)
    _fill(picture, [(0.5, 0.12), (0.92, 0.86), (0.08, 0.86)], _WHITE)
    head = np.array(_polygon(20, 0.055, 0.0)) + np.array([0.02, -0.14])
    _fill(picture, [tuple(point) for point in head.tolist()], _BLACK)
    _stroke(picture, [(0.51, 0.45), (0.49, 0.6)], 0.085, _BLACK)
    _stroke(picture, [(0.49, 0.6), (0.4, 0.78)], 0.055, _BLACK)
    _stroke(picture, [(0.49, 0.6), (0.56, 0.68), (0.6, 0.79)], 0.055, _BLACK)
    _stroke(picture, [(0.4, 0.56), (0.5, 0.45), (0.62, 0.54)], 0.045, _BLACK)


def _turn(picture: Picture, side: int) -> None:
    _disc(picture, 0.49, _WHITE)
    _disc(picture, 0.465, _BLUE)
    path = [(-0.16, 0.8), (-0.16, 0.52), (-0.12, 0.45), (-0.04, 0.41), (0.12, 0.41)]
    _stroke(picture, [(0.5 + side * x, y) for x, y in path], 0.105, _WHITE)
    head = [(0.08, 0.22), (0.36, 0.41), (0.08, 0.6)]
    _fill(picture, [(0.5 + side * x, y) for x, y in head], _WHITE)


@lru_cache(maxsize=1)
def sign_faces() -> tuple[list[Picture], ...]:
    """One pyramid of premultiplied RGBA pictures a class, in the order of SIGN_CLASSES."""
    draw: dict[str, Callable[[Picture], None]] = {
        "stop": _stop,
        "yield": _yield,
        "speed_30": lambda picture: _speed(picture, "30"),
        "speed_50": lambda picture: _speed(picture, "50"),
        "no_entry": _no_entry,
        "crossing": _crossing,
        "turn_left": lambda picture: _turn(picture, -1),
        "turn_right": lambda picture: _turn(picture, 1),
    }
    faces = []
    for name in SIGN_CLASSES:
        picture = np.zeros((SIZE, SIZE, 4), np.uint8)
        draw[name](picture)
        faces.append(pyramid(picture, levels=5))
    return tuple(faces)
