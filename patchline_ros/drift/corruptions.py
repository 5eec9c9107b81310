"""Weather, light and sensor corruptions of a clean picture, to make drift from any labelled set.

They stand for the corruptions of the paper's SBD+ set, with a severity without steps. Kept
libraries were tried first: imagecorruptions 1.1.2 fails on NumPy 2 and on pictures under 32 pixels,
and albumentations 2.0.8 (its last release under MIT) has neither a night nor one severity a
corruption, and draws from a random state of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Literal, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from patchline_ros.tasks import Image

_Pixels: TypeAlias = NDArray[np.float32]
"""(H, W, 3), or (H, W) for a layer, of light from 0 to 1."""


_HORIZON: Final = 0.45
"""Where the road ends, as a share of the picture's height."""
_FARTHEST: Final = 12.0
"""How far haze reaches, in units of the distance at which the picture's lower edge shows the road:
what is above the horizon is that far away."""


def corrupt(image: Image, name: str, severity: float, rng: np.random.Generator) -> Image:
    """A corrupted copy of a uint8 RGB picture (H, W, 3) of any size.

    `name` is one of CORRUPTIONS, `severity` is from 0 (the picture unchanged) to 1, and the same
    state of `rng` gives the same result. Sizes of flakes, streaks and blur follow the picture's.
    Raises ValueError where the picture, the name or the severity is none of these.
    """
    if name not in _RECIPES:
        raise ValueError(f"there is no corruption {name!r}; there are {', '.join(CORRUPTIONS)}")
    if not 0.0 <= severity <= 1.0:
        raise ValueError(f"severity is {severity}; it must be from 0 to 1")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            f"the picture is {image.dtype} of shape {image.shape}; it must be uint8 (H, W, 3)"
        )
    if severity == 0.0:
        return image.copy()
    pixels = _RECIPES[name](image.astype(np.float32) / 255.0, severity, rng)
    return np.asarray(np.rint(np.clip(pixels, 0.0, 1.0) * 255.0), dtype=np.uint8)


def _low_light(
    pixels: _Pixels,
    severity: float,
    rng: np.random.Generator,
    *,
    gain: float,
    gamma: float,
    cast: tuple[float, float, float],
) -> _Pixels:
    """Less light (gain, gamma and colour cast at full severity), open aperture, noisy sensor."""
    tint = 1.0 + severity * (gain * np.array(cast, dtype=np.float32) - 1.0)
    dark = _blurred(pixels, severity * _spread(pixels, 0.7, 0.003))
    dark = tint * dark ** np.float32(1.0 + severity * (gamma - 1.0))
    # Shot noise grows with the light, read noise does not: the sensor's gain is turned up.
    deviation = severity * np.sqrt(0.006 * np.maximum(dark, 0.0) + 0.025**2)
    return np.asarray(dark + deviation * _normal(rng, dark.shape), dtype=np.float32)


def _twilight(pixels: _Pixels, severity: float, rng: np.random.Generator) -> _Pixels:
    """The sun is gone and the sky is not: what it does not light sinks, and a camera's denoising
    takes fine texture with the noise.
    """
    tint = 1.0 + severity * (np.array([0.8, 0.87, 0.9], dtype=np.float32) - 1.0)
    soft = _blurred(pixels, severity * _spread(pixels, 0.75, 0.003))
    dark = tint * soft ** np.float32(1.0 + severity)
    grain = severity * 0.008 * _blurred(_normal(rng, dark.shape), 1.0)
    return np.asarray(dark + grain, dtype=np.float32)


def _overcast(pixels: _Pixels, severity: float, rng: np.random.Generator) -> _Pixels:
    """An evening under clouds: the sky is grey and has clouds, and below it nothing is lit more
    than the rest, and hardly anything has a colour.
    """
    height = pixels.shape[0]
    above = np.clip(1.3 - 2 * np.linspace(0, 1, height, dtype=np.float32), 0, 1)[:, None]
    bright = np.clip((pixels.min(axis=2) - 0.75) / 0.15, 0, 1)
    sky = _blurred(bright * above, _spread(pixels, 0.75, 0.008))[..., None]
    heaven = (0.74 + _clouds(pixels, rng))[..., None]
    grey = pixels.mean(axis=2, keepdims=True)
    flat = _blurred(grey + 0.25 * (pixels - grey), _spread(pixels, 0.75, 0.003))
    evening = sky * heaven + (1 - sky) * 0.42 * flat ** np.float32(1.3)
    dark = pixels + np.float32(severity) * (evening - pixels)
    grain = severity * 0.008 * _blurred(_normal(rng, dark.shape), 1.0)
    return np.asarray(dark + grain, dtype=np.float32)


def _clouds(pixels: _Pixels, rng: np.random.Generator) -> _Pixels:
    """A layer (H, W) of clouds of three sizes, about -0.3 to 0.3."""
    height, width = pixels.shape[:2]
    layer = np.zeros((height, width), dtype=np.float32)
    for size, weight in ((0.3, 0.12), (0.1, 0.08), (0.04, 0.04)):
        soft = _blurred(_normal(rng, (height, width)), size * height)
        layer += weight * soft / (soft.std() + np.float32(1e-6))
    return layer


def _fog(pixels: _Pixels, severity: float, rng: np.random.Generator) -> _Pixels:
    """Light scattered into the view, in drifting banks, denser towards the horizon and the sky."""
    far = np.linspace(1.0, 0.6, pixels.shape[0], dtype=np.float32)[:, None]
    density = 0.95 * severity * far * np.clip(0.75 + 0.25 * _banks(pixels, rng), 0.0, 1.0)
    return _mixed(pixels, 0.82, density)


def _haze(pixels: _Pixels, severity: float, rng: np.random.Generator) -> _Pixels:
    """Light scattered into the view of a flat road: what is seen sinks with the distance, to
    nothing at the horizon, in a grey that is not far from the picture's own.
    """
    height = pixels.shape[0]
    below = (np.arange(height, dtype=np.float32) + 0.5) / height - _HORIZON
    # In units of the distance at which the lower edge of the picture shows the road.
    distance = np.minimum((1 - _HORIZON) / np.maximum(below, 1e-6), _FARTHEST)[:, None]
    thickness = 0.4 * severity * distance * (0.5 + _banks(pixels, rng))
    return _mixed(pixels, 0.48 + 0.4 * float(pixels.mean()), 1 - np.exp(-thickness))


def _rain(pixels: _Pixels, severity: float, rng: np.random.Generator) -> _Pixels:
    """Long thin streaks of one slant over a darker, flatter picture."""
    streaks = _falling(pixels.shape, severity, rng, share=0.012, length=0.1, thickness=0.002)
    return _mixed(_mixed(pixels, 0.3, 0.55 * severity), 0.85, 0.7 * streaks)


def _snow(pixels: _Pixels, severity: float, rng: np.random.Generator) -> _Pixels:
    """Flakes over a picture that snow in the air and on the ground makes whiter."""
    flakes = _falling(pixels.shape, severity, rng, share=0.012, length=0.012, thickness=0.004)
    return _mixed(_mixed(pixels, 0.9, 0.45 * severity), 1.0, flakes)


def _blur(pixels: _Pixels, severity: float, _rng: np.random.Generator) -> _Pixels:
    return _blurred(pixels, np.sqrt(severity) * _spread(pixels, 1.5, 0.012))


def _noise(pixels: _Pixels, severity: float, rng: np.random.Generator) -> _Pixels:
    return np.asarray(pixels + 0.25 * severity * _normal(rng, pixels.shape), dtype=np.float32)


def _contrast(pixels: _Pixels, severity: float, _rng: np.random.Generator) -> _Pixels:
    return _mixed(pixels, float(pixels.mean()), 0.85 * severity)


def _banks(pixels: _Pixels, rng: np.random.Generator) -> _Pixels:
    """A layer (H, W) of soft clouds, about 0 to 1."""
    height, width = pixels.shape[:2]
    coarse = rng.random((4, 5), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def _mixed(pixels: _Pixels, light: float, amount: float | _Pixels) -> _Pixels:
    """The picture with `amount` of it, a number or a layer (H, W), replaced by grey `light`."""
    layer = amount[..., None] if isinstance(amount, np.ndarray) else np.float32(amount)
    return np.asarray(pixels + layer * (np.float32(light) - pixels), dtype=np.float32)


def _falling(
    shape: tuple[int, ...],
    severity: float,
    rng: np.random.Generator,
    *,
    share: float,
    length: float,
    thickness: float,
) -> _Pixels:
    """Cover (H, W), 0 to 1, of drops that fall with one slant; sizes are shares of the height."""
    height, width = shape[:2]
    slant = rng.uniform(-0.35, 0.35)
    brightness = rng.random((height, width), dtype=np.float32)
    # One draw decides for every severity: the drops of a light shower are among a heavy one's.
    drops = (rng.random((height, width)) < share * severity).astype(np.float32) * brightness
    sigma = max(0.5, thickness * height)
    reach = round(length * height / 2)
    middle = reach + round(3 * sigma)
    shift = round(slant * reach)
    kernel = np.zeros((2 * middle + 1, 2 * middle + 1), dtype=np.float32)
    cv2.line(kernel, (middle - shift, middle - reach), (middle + shift, middle + reach), 1.0)
    path = _blurred(kernel, sigma)
    # Divided by its peak, not its sum: a drop is as bright along its whole path.
    layer = cv2.filter2D(drops, -1, path / path.max(), borderType=cv2.BORDER_CONSTANT)
    return np.clip(layer, 0.0, 1.0).astype(np.float32)


def _spread(pixels: _Pixels, least: float, share: float) -> float:
    """A blur's standard deviation in pixels: a share of the shorter side, but visible if small."""
    height, width = pixels.shape[:2]
    return float(max(least, share * min(height, width)))


def _blurred(pixels: _Pixels, sigma: float) -> _Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), dtype=np.float32)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> _Pixels:
    return rng.standard_normal(shape, dtype=np.float32)


_RECIPES: dict[str, Callable[[_Pixels, float, np.random.Generator], _Pixels]] = {
    "night": partial(_low_light, gain=0.25, gamma=1.7, cast=(0.8, 0.9, 1.0)),
    "dusk": partial(_low_light, gain=0.45, gamma=1.4, cast=(1.0, 0.92, 0.9)),
    "fog": _fog,
    "rain": _rain,
    "snow": _snow,
    "blur": _blur,
    "noise": _noise,
    "contrast": _contrast,
    "twilight": _twilight,
    "haze": _haze,
    "overcast": _overcast,
}

CORRUPTIONS: tuple[str, ...] = tuple(_RECIPES)
"""The names that corrupt() knows."""

Family = Literal["dark", "fog", "rain", "snow", "blur", "noise", "contrast"]
"""Corruptions that stand for the same cause."""

FAMILIES: tuple[Family, ...] = get_args(Family)

_OF_SEVERAL: Final[dict[Family, tuple[str, ...]]] = {
    "dark": ("night", "dusk", "twilight", "overcast"),
    "fog": ("fog", "haze"),
}


def corruptions_of(family: Family) -> tuple[str, ...]:
    """The names in CORRUPTIONS that belong to a family; each name belongs to one."""
    return _OF_SEVERAL.get(family, (family,))


GRADED_SETS: tuple[tuple[str, float], ...] = (
    ("snow", 0.1),
    ("fog", 0.25),
    ("rain", 0.2),
    ("contrast", 0.35),
    ("dusk", 0.25),
    ("fog", 0.5),
    ("snow", 0.5),
    ("night", 0.35),
    ("blur", 0.2),
    ("rain", 0.7),
    ("dusk", 0.5),
    ("noise", 0.2),
    ("snow", 1.0),
    ("fog", 1.0),
    ("blur", 0.9),
    ("contrast", 0.95),
    ("noise", 0.45),
    ("night", 1.0),
)
"""(name, severity) of 18 sets to be made of source pictures, from mild to strong; two or three of
each corruption.

The severities were chosen so that MMD^2 from the source rises from set to set on CamVid's day and
MobileNetV2 with ImageNet weights (a test holds that), over about the range of the paper's sets,
0.0579 to 1.5670. Other pictures, layers and kernels give other values, in about the same order.
"""

MADE_DRIFTS: Final = (
    *GRADED_SETS,
    ("dusk", 0.75),
    ("dusk", 1.0),
    ("night", 0.6),
    ("twilight", 0.4),
    ("twilight", 0.7),
    ("twilight", 1.0),
    ("overcast", 0.5),
    ("overcast", 0.75),
    ("overcast", 1.0),
    ("haze", 0.4),
    ("haze", 0.7),
    ("haze", 1.0),
)
"""(name, severity) of what models are prepared for before a car leaves: the graded sets, which are
few where it is dark, with what cars meet each day and what is nearer to real fog."""
