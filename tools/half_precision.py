"""Measures how far answers move where they are computed in half precision, 16 bits for 32.

    python -m tools.half_precision

The models are those of the shipped bundle, on a simulated road that none of them was trained on: in
clear weather, in fog, and in fog with the prepared patches. They run on the CPU by autocast, where
each layer's results are rounded to 16 bits as on a GPU. Which layers keep 32 bits differs a little,
and the time that it takes says nothing of a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from patchline_ros.adaptation.source_model import SourceModel
from patchline_ros.bundle import Bundle
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.drift.monitor import DriftMonitor
from patchline_ros.package_share import bundle_folder, share_folder
from patchline_ros.patching.expected import expectation
from patchline_ros.runtime.model_pass import ModelPass
from patchline_ros.runtime.swap_monitor import COMPARED
from patchline_ros.sim import Condition, RoadSimulator
from patchline_ros.sim.defaults import PICTURE_STEP, SEVERITIES
from patchline_ros.tasks import Label, Sample, Task
from patchline_ros.vision.agreement import agreement
from patchline_ros.vision.backbone import pooled
from patchline_ros.vision.inputs import image_tensor, resized
from patchline_ros.vision.metrics import score

WORLD: Final = 4000
"""A road that no model was trained on."""

Run = Callable[[Tensor], tuple[Any, Tensor]]


class Case(NamedTuple):
    """A model and the weather that it sees."""

    name: str
    weather: Condition
    patched: bool


CASES: Final = (
    Case("clear", Condition.CLEAR, patched=False),
    Case("fog", Condition.FOG, patched=False),
    Case("fog, patched", Condition.FOG, patched=True),
)


@dataclass(frozen=True)
class Answers:
    """What a model says about some pictures, each with its confidence and its entropy in nats."""

    labels: list[Label]
    scores: NDArray[np.float64]
    entropies: NDArray[np.float64]


def road(task: Task, weather: Condition, frames: int) -> list[Sample]:
    """Pictures of the road as that task's model sees them, a second apart."""
    simulator = RoadSimulator(WORLD)
    severity = SEVERITIES.get(weather, 0.0)
    numbers = range(0, frames * PICTURE_STEP, PICTURE_STEP)
    return [simulator.frame(number, weather, severity).samples[task] for number in numbers]


def said(run: Run, source: SourceModel, samples: Sequence[Sample]) -> Answers:
    """The answers of a pass to pictures at its model's input size."""
    found = Answers([], np.zeros(len(samples)), np.zeros(len(samples)))
    with torch.inference_mode():
        for row, sample in enumerate(samples):
            read = source.model.head.read(run(image_tensor(sample.image)[None])[0])
            found.labels.append(read.labels[0])
            found.scores[row] = float(read.confidences[0])
            found.entropies[row] = float(read.entropies[0])
    return found


def compared(source: SourceModel, tap: int, case: Case, frames: int) -> list[str]:
    """The cells of a row of the table."""
    spec = source.model.spec
    assert source.prepared is not None, "the shipped bundle has prepared patches"
    adapted = source.prepared.model if case.patched else None
    run = ModelPass(source.model, adapted, tap).eval()
    samples = [resized(s, spec.input_size) for s in road(spec.task, case.weather, frames)]
    single, half = said(run, source, samples), said(run.in_half_precision, source, samples)
    alike = [agreement(*pair) for pair in zip(single.labels, half.labels, strict=True)]
    truth = [sample.label for sample in samples]
    metrics = [score(spec.task, len(spec.classes), one.labels, truth) for one in (single, half)]
    scores, entropies = (abs(half.scores - single.scores), half.entropies - single.entropies)
    watched = expectation(alike[:COMPARED], single.entropies[:COMPARED].tolist())
    return [
        f"{np.mean(alike):.2%}",
        f"{min(alike):.2%}",
        f"{metrics[0]:.4f}, {metrics[1]:.4f}",
        f"{np.median(scores):.1e}, {scores.max():.1e}",
        f"{single.entropies.mean():.4f}",
        f"{entropies.mean():+.1e}, {abs(entropies).max():.1e}",
        f"{watched.entropy_error:.1e}",
    ]


def readings(bundle: Bundle, frames: int, weather: Condition) -> NDArray[np.float64]:
    """(2, n) MMD^2 of each window, from features in 32 and in 16 bits."""
    drift = bundle.manifest.drift
    backbone, size = bundle.model(drift.task).backbone, bundle.spec(drift.task).input_size
    monitors = [DriftMonitor(bundle.drift_reference) for _ in range(2)]
    found: list[list[float]] = []
    for stamp, sample in enumerate(road(drift.task, weather, frames), start=1):
        picture = image_tensor(resized(sample, size).image)[None]
        features = []
        for half in (False, True):
            with torch.inference_mode(), torch.autocast("cpu", torch.float16, enabled=half):
                features.append(pooled(backbone.tap(picture, drift.tap))[0].float().numpy())
        pair = [m.update(f, stamp) for m, f in zip(monitors, features, strict=True)]
        found.append([reading.mmd2 for reading in pair if reading is not None])
    return np.array([pair for pair in found if pair]).T


def share_of_tap(source: SourceModel, tap: int) -> float:
    """Operations up to the tap of the drift features, as a share of the whole pass."""
    picture = torch.zeros((1, 3, *source.model.spec.input_size))
    counts = []
    for compute in (lambda: source.model.backbone.tap(picture, tap), lambda: source.model(picture)):
        with torch.inference_mode(), FlopCounter() as counter:
            compute()
        counts.append(counter.total)
    return counts[0] / counts[1]


def main(
    frames: Annotated[int, typer.Option(min=COMPARED, help="Pictures of each weather.")] = COMPARED,
) -> None:
    """Print how far labels, scores, entropies and drift readings move."""
    torch.set_num_threads(1)
    bundle = Bundle.load(bundle_folder(share_folder(), recorded=False))
    tap = bundle.manifest.drift.tap
    table = Table(
        *("task", "weather", "answers alike", "least", "metric in 32, 16 bits"),
        *("score moves: median, most", "entropy", "moves: mean, most", f"error of {COMPARED}"),
    )
    console = Console(width=170, highlight=False)
    for task in bundle.manifest.models:
        source = SourceModel.of_bundle(bundle, task)
        for case in CASES:
            table.add_row(str(task), case.name, *compared(source, tap, case, frames))
        share = share_of_tap(source, tap)
        console.print(f"{task}: {share:.0%} of the operations are up to the tap of the features")
    console.print(table)
    for weather in (Condition.CLEAR, Condition.FOG):
        single, half = readings(bundle, frames, weather)
        console.print(
            f"{weather}: MMD^2 {single.min():.4f} to {single.max():.4f} from features in 32 bits; "
            f"from features in 16 bits it moves by at most {abs(half - single).max():.1e}; the "
            f"threshold is {bundle.drift_reference.threshold:.4f}"
        )


if __name__ == "__main__":
    typer.run(main)
