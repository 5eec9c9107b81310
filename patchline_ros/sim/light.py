"""Weather conditions and the light they give: the part of a frame's look that painters need."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from patchline_ros.sim.noise import stream
from patchline_ros.sim.painter import Colour


class Condition(str, Enum):
    """Weather and light of a drive."""

    CLEAR = "clear"
    FOG = "fog"
    RAIN = "rain"
    SNOW = "snow"
    NIGHT = "night"

    def __str__(self) -> str:
        """The name as it stands in frame names."""
        return self.value


@dataclass(frozen=True)
class Light:
    """The light of one frame. Shares are in [0, 1].

    side: +1 when the sun stands on the right. height: sine-like height of the sun. sunny: how
    direct the light is. exposure: gain of the camera. tint: gain of each colour channel. zenith,
    horizon: colours of the sky. snow, wet, night: how much of each there is.
    """

    side: float
    ahead: float
    height: float
    sunny: float
    exposure: float
    tint: Colour
    zenith: Colour
    horizon: Colour
    snow: float
    wet: float
    night: float
    fog: float

    def face(self, right: float, up: float, near: float) -> float:
        """Gain of a face with this outward normal (near: towards the camera)."""
        direct = self.side * right + self.height * up - self.ahead * near
        return 0.72 + 0.1 * up + 0.36 * (self.sunny * max(direct, 0.0) + 0.3 * (1 - self.sunny))


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The colour that lies `share` of the way from the first to the second."""
    a, b = first, second
    return (
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
    )


def gained(colour: Colour, gain: float) -> Colour:
    """The colour made brighter or darker, clipped to 255."""
    red, green, blue = (min(channel * gain, 255.0) for channel in colour)
    return (red, green, blue)


_OVERCAST: dict[Condition, tuple[Colour, Colour]] = {
    Condition.FOG: ((188, 192, 196), (200, 203, 206)),
    Condition.RAIN: ((104, 112, 122), (152, 158, 164)),
    Condition.SNOW: ((178, 184, 194), (206, 210, 216)),
    Condition.NIGHT: ((22, 28, 52), (70, 66, 84)),
}


def light_of(seed: int, index: int, condition: Condition, severity: float) -> Light:
    """The light of a frame: it drifts slowly along a drive, exposure also flickers a little."""
    phase = stream(seed, 2).random(5) * 6.283
    slow = np.sin(index / np.array([63.0, 97.0, 151.0, 41.0, 211.0]) + phase)
    flicker = float(stream(seed, 3, index).random()) - 0.5
    warm = 0.5 + 0.5 * float(slow[1])
    share = 0.0 if condition is Condition.CLEAR else severity
    night = share if condition is Condition.NIGHT else 0.0
    grey = share - night
    zenith: Colour = mix((62, 118, 196), (104, 142, 190), warm)
    horizon: Colour = mix((188, 214, 236), (236, 222, 198), warm)
    if condition in _OVERCAST:
        target = _OVERCAST[condition]
        zenith, horizon = mix(zenith, target[0], share), mix(horizon, target[1], share)
    tint = mix((0.97, 1.0, 1.04), (1.06, 1.0, 0.9), warm)
    return Light(
        side=float(np.clip(1.6 * slow[0], -1, 1)) * 0.8,
        ahead=float(slow[4]) * 0.6,
        height=0.5 + 0.4 * (1 - warm),
        sunny=(0.55 + 0.45 * float(slow[3])) * (1 - share),
        exposure=(1.0 + 0.13 * float(slow[2]) + 0.1 * flicker) * (1 - 0.2 * grey) + 0.2 * grey,
        tint=mix(tint, (0.97, 1.0, 1.03), grey),
        zenith=zenith,
        horizon=horizon,
        snow=share if condition is Condition.SNOW else 0.0,
        wet=share if condition is Condition.RAIN else 0.0,
        night=night,
        fog=share if condition is Condition.FOG else 0.0,
    )
