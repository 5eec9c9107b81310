"""What a bundle's drift monitor reads on CamVid's held-out day and on its dusk.

    python -m tools.drift_on_camvid --data DATA --bundle BUNDLE

For each rate of false alarms: the threshold that the source gives, the highest reading of the day
that no model was trained on, and the share of the dusk's readings that are a drift.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from patchline_ros.bundle import Bundle
from patchline_ros.datasets.camvid import CamVid
from patchline_ros.drift.kernels import Features
from patchline_ros.drift.monitor import DriftMonitor, DriftReference
from patchline_ros.offline.drifted import backbone_features
from patchline_ros.offline.source_config import held_out_indices
from patchline_ros.vision.inputs import resized
from tools.count_false_alarms import alarms

RATES: Final = (1000, 3600)
SHRINKAGES: Final = (0.3, 1.0)


def features(bundle: Bundle, frames: CamVid) -> Features:
    """(frames, d) features of a part of the drive, as the nodes publish them."""
    drift = bundle.manifest.drift
    size = bundle.spec(drift.task).input_size
    samples = [resized(frames[i].samples[drift.task], size) for i in range(len(frames))]
    return backbone_features(bundle.model(drift.task), drift.tap, samples)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data sets.")],
    bundle: Annotated[Path, typer.Option(help="Bundle that was made of CamVid.")],
) -> None:
    """Prints a line for each rate and each way to whiten."""
    torch.set_num_threads(1)
    loaded = Bundle.load(bundle)
    window = loaded.manifest.drift.window
    day, dusk = (features(loaded, CamVid(data / "camvid" / part)) for part in ("day", "dusk"))
    held_out = held_out_indices(len(day))
    train = np.delete(day, held_out, axis=0)
    table = Table("one alarm in", "shrinkage", "threshold", "day, held out", "alarms", "dusk seen")
    for rate in RATES:
        for shrinkage in SHRINKAGES:
            reference = DriftReference.from_source(train, window, rate, shrinkage)
            raised, calm = alarms(DriftMonitor(reference), day[held_out])
            _, readings = alarms(DriftMonitor(reference), dusk)
            table.add_row(
                f"{rate} frames",
                f"{shrinkage}",
                f"{reference.threshold:.3f}",
                f"up to {max(calm):.3f} ({len(calm)})",
                f"{raised}",
                f"{np.mean(np.array(readings) > reference.threshold):.0%} of {len(readings)}",
            )
    Console(highlight=False, width=110).print(table)


if __name__ == "__main__":
    typer.run(main)
