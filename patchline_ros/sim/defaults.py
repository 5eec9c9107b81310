"""What a drive on the simulated road is where nobody says otherwise: its pictures and weather."""

from __future__ import annotations

from typing import Final

from patchline_ros.sim.light import Condition

PICTURE_SIZE: Final = (360, 480)
"""Height and width of a picture in pixels."""

PICTURE_STEP: Final = 7
"""Simulated frames from one picture to the next, which is 10.5 m of road."""

SEVERITIES: Final = {
    Condition.FOG: 0.5,
    Condition.NIGHT: 1.0,
    Condition.RAIN: 0.8,
    Condition.SNOW: 0.6,
}
"""How strong each condition is: clearly felt, and not so much that there is nothing left to see."""
