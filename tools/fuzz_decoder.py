"""What reads bytes from outside, as `tools/fuzz.py` needs to know it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from patchline_ros.bundle import Bundle
from patchline_ros.package_share import SIM_BUNDLE, share_folder

SIDE: Final = 32
CLASSES: Final = ("road", "car")


@dataclass(frozen=True)
class Decoder:
    """Something that reads bytes from outside.

    Attributes:
        decode: reads them, as a node or command does.
        documented: errors that it may raise.
        whole: inputs that it reads without one.
    """

    decode: Callable[[bytes], object]
    documented: tuple[type[Exception], ...]
    whole: Sequence[bytes]


@dataclass(frozen=True)
class Target:
    """A decoder that is made when it is needed.

    Attributes:
        name: unique.
        open: makes it; the folder is empty and its own.
        mend: makes sums and lengths of spoiled bytes right; None: there are none.
    """

    name: str
    open: Callable[[Path], Decoder]
    mend: Callable[[bytes], bytes] | None = None


class Silence:
    """A log that nobody reads."""

    def info(self, message: str) -> None:
        """Says nothing."""

    def warning(self, message: str) -> None:
        """Says nothing."""

    def error(self, message: str, *, throttle_duration_sec: float = 0.0) -> None:
        """Says nothing."""

    def refusal(self, message: str) -> None:
        """Says nothing."""


def picture(height: int = SIDE, width: int = SIDE) -> NDArray[np.uint8]:
    """A uint8 RGB picture of noise."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@cache
def sim_bundle() -> Bundle:
    """The bundle of the simulated road, which comes with the package."""
    return Bundle.load(share_folder() / SIM_BUNDLE)
