"""Scenes on the simulated road, which need no data: clear weather, then another condition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from patchline_ros.bench.scene import Scene, at_size, scenes_of_frames
from patchline_ros.offline.source_config import SIM_HELD_OUT_SEEDS, SIM_TRAINING_SEEDS
from patchline_ros.offline.sources import INPUT_SIZES
from patchline_ros.sim import LANE_CLASSES, OBJECT_CLASSES, SIGN_CLASSES, Condition, RoadSimulator
from patchline_ros.sim.defaults import SEVERITIES
from patchline_ros.tasks import Frame, Task

ADAPT_WORLD, TEST_WORLD = 3000, 4000
"""Worlds with these seeds and the ones after them are for the drift alone."""

_CLASSES = {
    Task.CLASSIFICATION: SIGN_CLASSES,
    Task.DETECTION: OBJECT_CLASSES,
    Task.SEGMENTATION: LANE_CLASSES,
}


@dataclass(frozen=True)
class _Drives:
    """Some drives of equal length: frames `stride` apart through each world."""

    worlds: Sequence[int]
    frames: int
    stride: int
    size: tuple[int, int] = (360, 480)

    def taken(
        self, condition: Condition = Condition.CLEAR, severity: float = 1.0
    ) -> Iterator[Frame]:
        for world in self.worlds:
            drive = RoadSimulator(world, self.size)
            for i in range(self.frames):
                yield drive.frame(i * self.stride, condition, severity)


@lru_cache(maxsize=1)
def _clear_frames() -> tuple[list[Frame], list[Frame]]:
    """The source of all weather scenes, painted once a process: it takes some 15 seconds."""
    train = _Drives(SIM_TRAINING_SEEDS, frames=20, stride=14)
    held_out = _Drives(SIM_HELD_OUT_SEEDS, frames=20, stride=14)
    # Small at once: the frames as painted would fill 300 MB for as long as the process lives.
    return (
        [at_size(frame, INPUT_SIZES) for frame in train.taken()],
        [at_size(frame, INPUT_SIZES) for frame in held_out.taken()],
    )


_SMALL_ROAD = (64, 96)
_SMALL_SIZES = {
    Task.CLASSIFICATION: (32, 32),
    Task.DETECTION: _SMALL_ROAD,
    Task.SEGMENTATION: _SMALL_ROAD,
}
_SMOKE_FOG = Condition.FOG, SEVERITIES[Condition.FOG]


@lru_cache(maxsize=1)
def _smoke_frames() -> tuple[list[Frame], list[Frame], list[Frame]]:
    """Of the smoke scene what is the same for every seed: to train on, held out, to test on."""
    train = _Drives(SIM_TRAINING_SEEDS[:4], frames=8, stride=14, size=_SMALL_ROAD)
    held_out = _Drives(SIM_HELD_OUT_SEEDS[:2], frames=4, stride=14, size=_SMALL_ROAD)
    test = _Drives([TEST_WORLD], frames=8, stride=14, size=_SMALL_ROAD)
    painted = train.taken(), held_out.taken(), test.taken(*_SMOKE_FOG)
    first, second, third = ([at_size(f, _SMALL_SIZES) for f in frames] for frames in painted)
    return first, second, third


def _scene(
    name: str,
    sizes: dict[Task, tuple[int, int]],
    source: tuple[Iterable[Frame], Iterable[Frame]],
    drift: tuple[Iterable[Frame], Iterable[Frame]],
) -> Scene:
    parts = dict(
        zip(("source_train", "source_held_out", "adapt", "test"), source + drift, strict=True)
    )
    return Scene(name, scenes_of_frames(_CLASSES, sizes, **parts))


def sim_weather(condition: Condition, data: Path | None, seed: int) -> Scene:
    """Clear weather -> one other condition; all three tasks.

    Source: 320 frames of 16 worlds, 80 held out of 4 others. Drift: 40 frames to adapt on, one
    drive through a world that `seed` chooses, and 60 to test on, 20 of each of 3 worlds that are
    the same for every seed.
    """
    severity = SEVERITIES[condition]
    adapt = _Drives([ADAPT_WORLD + seed], frames=40, stride=7)
    test = _Drives(range(TEST_WORLD, TEST_WORLD + 3), frames=20, stride=14)
    drift = adapt.taken(condition, severity), test.taken(condition, severity)
    return _scene(f"sim-{condition}", INPUT_SIZES, _clear_frames(), drift)


def smoke(data: Path | None, seed: int) -> Scene:
    """A miniature of sim-fog that shows that everything runs, and nothing about accuracy.

    32 source frames of 4 worlds, which is what a drift monitor needs, and 8 held out, 10 to adapt
    on, which is what a car needs, and 8 to test on; roads of 64x96 pixels, signs of 32x32.
    """
    adapt = _Drives([ADAPT_WORLD + seed], frames=10, stride=14, size=_SMALL_ROAD)
    train, held_out, test = _smoke_frames()
    return _scene("smoke", _SMALL_SIZES, (train, held_out), (adapt.taken(*_SMOKE_FOG), test))
