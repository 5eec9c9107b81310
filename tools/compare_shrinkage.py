"""Compares how strongly the drift monitor's whitening is shrunk, on roads of no other figure.

    python -m tools.compare_shrinkage --worlds 16

For each share of the identity: false alarms on clear roads, how far the highest reading of a clear
road stays below the threshold, and the frames until each weather is seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from patchline_ros.bundle import Bundle
from patchline_ros.drift.kernels import Features
from patchline_ros.drift.monitor import DriftMonitor, DriftReference
from patchline_ros.offline.bundle_making import WINDOW_FRAMES
from patchline_ros.offline.config import OfflineConfig
from patchline_ros.offline.drifted import backbone_features, stretches
from patchline_ros.offline.sources import load_source
from patchline_ros.package_share import SIM_BUNDLE, share_folder
from patchline_ros.sim import Condition
from patchline_ros.sim.defaults import SEVERITIES
from tools.count_false_alarms import FRAMES, UNTIL_SEEN, alarms, features, frames_until_seen

FIRST_WORLD: Final = 7000
SHARES: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def source_features(bundle: Bundle) -> Features:
    """(n, d) features that the bundle's reference was measured on."""
    drift, config = bundle.manifest.drift, OfflineConfig.model_validate(bundle.manifest.config)
    source = load_source(config.sources, None, config.input_sizes, config.workers)
    train = source.tasks[drift.task].train
    return backbone_features(bundle.model(drift.task), drift.tap, stretches(train, WINDOW_FRAMES))


def main(
    worlds: Annotated[int, typer.Option(min=1, help="Simulated roads to try.")] = 16,
    false_alarm: Annotated[int, typer.Option(help="Frames of one expected false alarm.")] = 1000,
    bundle: Annotated[Path | None, typer.Option(help="Bundle of the simulated road.")] = None,
) -> None:
    """Prints a line for each share."""
    torch.set_num_threads(1)
    loaded = Bundle.load(bundle or share_folder() / SIM_BUNDLE)
    source = source_features(loaded)
    clear, weathers = list[Features](), list[list[Features]]()
    for world in track(range(FIRST_WORLD, FIRST_WORLD + worlds), "driving"):
        clear.append(features(loaded, world, Condition.CLEAR, 0, FRAMES))
        weathers.append([features(loaded, world, w, FRAMES, UNTIL_SEEN) for w in SEVERITIES])
    table = Table("share", "alarms", "readings", "highest / threshold", "frames, at most")
    for share in SHARES:
        window = loaded.manifest.drift.window
        reference = DriftReference.from_source(source, window, false_alarm, share)
        raised, readings, seen = 0, list[float](), list[list[int | None]]()
        for calm, changes in zip(clear, weathers, strict=True):
            more, values = alarms(DriftMonitor(reference), calm)
            raised, readings = raised + more, readings + values
            seen.append([frames_until_seen(DriftMonitor(reference), calm, to) for to in changes])
        told = np.array([[frames or np.inf for frames in of_world] for of_world in seen])
        table.add_row(
            f"{share}",
            str(raised),
            str(len(readings)),
            f"{max(readings) / reference.threshold:.2f}",
            ", ".join(
                f"{name} {mean:.1f}, {most:.0f}"
                for name, mean, most in zip(
                    SEVERITIES, told.mean(axis=0), told.max(axis=0), strict=True
                )
            ),
        )
    Console(highlight=False).print(table)


if __name__ == "__main__":
    typer.run(main)
