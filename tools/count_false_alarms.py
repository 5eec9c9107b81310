"""Counts the false alarms of a bundle's drift monitor on clear roads, and how soon it sees weather.

    python -m tools.count_false_alarms --hours 1

The road is simulated: worlds that no source model has seen, in pictures as far apart as those of
the source, a second each. In every world the weather changes once to each condition, and the frames
until the monitor says so are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from patchline_ros.bundle import Bundle
from patchline_ros.drift.kernels import Features
from patchline_ros.drift.monitor import DriftMonitor
from patchline_ros.offline.drifted import backbone_features
from patchline_ros.package_share import SIM_BUNDLE, share_folder
from patchline_ros.sim import Condition, RoadSimulator
from patchline_ros.sim.defaults import PICTURE_STEP, SEVERITIES
from patchline_ros.vision.inputs import resized

FIRST_WORLD: Final = 5000
FRAMES: Final = 400
"""Of a world: 4 km of road."""
UNTIL_SEEN: Final = 24
"""Frames in which a change of the weather has to be seen."""


def features(
    bundle: Bundle,
    world: int,
    weather: Condition,
    start: int,
    frames: int,
    step: int = PICTURE_STEP,
) -> Features:
    """(frames, d) features of a drive, as the nodes publish them, `step` simulated frames apart."""
    drift = bundle.manifest.drift
    road, size = RoadSimulator(world), bundle.spec(drift.task).input_size
    severity = SEVERITIES.get(weather, 0.0)
    numbers = range(start * step, (start + frames) * step, step)
    samples = [
        resized(road.frame(number, weather, severity).samples[drift.task], size)
        for number in numbers
    ]
    return backbone_features(bundle.model(drift.task), drift.tap, samples)


def alarms(monitor: DriftMonitor, drive: Features) -> tuple[int, list[float]]:
    """How many drifts the monitor names on a drive, and all its readings."""
    names, readings = set(), []
    for stamp, frame in enumerate(drive, start=1):
        reading = monitor.update(frame, stamp)
        if reading is not None:
            names.add(reading.since_ns)
            readings.append(reading.mmd2)
    return len(names - {0}), readings


def frames_until_seen(monitor: DriftMonitor, before: Features, after: Features) -> int | None:
    """Frames of a new weather until the monitor says that it drifts; None if it does not."""
    for stamp, frame in enumerate(before, start=1):
        monitor.update(frame, stamp)
    for number, frame in enumerate(after, start=1):
        reading = monitor.update(frame, len(before) + number)
        if reading is not None and reading.drifting:
            return number
    return None


def drives(bundle: Bundle, frames: int, step: int) -> Iterator[tuple[int, Features]]:
    """Clear worlds with their features, until there are so many frames."""
    for world in islice(count(FIRST_WORLD), -(-frames // FRAMES)):
        yield world, features(bundle, world, Condition.CLEAR, 0, FRAMES, step)


def main(
    bundle: Annotated[Path | None, typer.Option(help="Bundle of the simulated road.")] = None,
    hours: Annotated[float, typer.Option(min=0.1, help="Of clear road, a second a frame.")] = 1.0,
    step: Annotated[
        int, typer.Option(min=1, help="Simulated frames, of 1.5 m each, from picture to picture.")
    ] = PICTURE_STEP,
) -> None:
    """Prints the alarms of clear roads and the frames until each weather is seen."""
    torch.set_num_threads(1)
    console = Console(highlight=False)
    loaded = Bundle.load(bundle or share_folder() / SIM_BUNDLE)
    reference = loaded.drift_reference
    raised, readings = 0, list[float]()
    seen: dict[Condition, list[int | None]] = {weather: [] for weather in SEVERITIES}
    for world, clear in drives(loaded, round(3600 * hours), step):
        more, values = alarms(DriftMonitor(reference), clear)
        raised += more
        readings += values
        for weather, found in seen.items():
            after = features(loaded, world, weather, FRAMES, UNTIL_SEEN, step)
            found.append(frames_until_seen(DriftMonitor(reference), clear, after))
        console.print(f"world {world}: {more} alarms, {[found[-1] for found in seen.values()]}")
    largest = max(readings)
    console.print(
        f"{raised} false alarms in {len(readings)} readings; MMD^2 up to {largest:.3f} "
        f"(99%: {np.quantile(readings, 0.99):.3f}), threshold {reference.threshold:.3f}"
    )
    table = Table("weather", "changes", "not seen", "frames until seen", "at most")
    for weather, found in seen.items():
        told = [frames for frames in found if frames is not None]
        table.add_row(
            str(weather),
            str(len(found)),
            str(len(found) - len(told)),
            f"{np.mean(told):.1f}" if told else "-",
            str(max(told)) if told else "-",
        )
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
