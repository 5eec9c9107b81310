"""Measures whether the gate tells honest labels from labels that are wrong throughout.

    python -m tools.judge_wrong_labels [--tasks segmentation] [--weathers night,snow] [--frames 60]

The road is a world of the simulator that no model was trained on, in a weather. The car adapts to
it as it always does, once with the true labels, and once with each kind of wrong ones: each class
is called by the name of the next one, two classes are exchanged, all is one class, or nothing is
there. The frames that decide at the gate are labelled in the same wrong way. The table says what
the gate makes of the candidate on these, and on the bundle's own source frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from patchline_ros.adaptation.gate import MARGIN
from patchline_ros.adaptation.source_check import LARGEST_FALL, SourceCheck
from patchline_ros.adaptation.source_model import SourceModel
from patchline_ros.adaptation.task_adaptation import Adaptation, car_settings
from patchline_ros.adaptation.verdict import Running, judged
from patchline_ros.bundle import Bundle
from patchline_ros.package_share import bundle_folder, share_folder
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.sim import Condition, RoadSimulator
from patchline_ros.tasks import IGNORE, Boxes, Label, Sample, Task
from patchline_ros.vision.inputs import resized
from patchline_ros.word_lists import comma_separated

WORLD: Final = 3000
"""Neither one that the shipped models were trained on nor one that was held out."""
STEP: Final = 5
"""Frames of the drive between two that are labelled."""
PATCHES: Final = 4
"""Where nothing is prepared."""
EXCHANGED: Final = {Task.CLASSIFICATION: (0, 3), Task.DETECTION: (0, 1), Task.SEGMENTATION: (3, 5)}
"""Stop and 50, car and truck, road and pavement."""

Wrong = Callable[[NDArray[np.int64], int, Task], NDArray[np.int64]]


def _next(ids: NDArray[np.int64], classes: int, _task: Task) -> NDArray[np.int64]:
    return (ids + 1) % classes


def _exchanged(ids: NDArray[np.int64], classes: int, task: Task) -> NDArray[np.int64]:
    one, other = EXCHANGED[task]
    names = np.arange(classes)
    names[[one, other]] = other, one
    return names[ids]


def _one(ids: NDArray[np.int64], _classes: int, task: Task) -> NDArray[np.int64]:
    return np.full_like(ids, EXCHANGED[task][0])


LABELS: Final[dict[str, Wrong | None]] = {
    "true": None,
    "the next class": _next,
    "two exchanged": _exchanged,
    "one class": _one,
}


def relabelled(label: Label, wrong: Wrong | None, classes: int, task: Task) -> Label:
    """A label in which the ids of the classes are wrong; without `wrong` as it is."""
    if wrong is None:
        return label
    if isinstance(label, Boxes):
        return Boxes.truth(label.boxes, wrong(label.labels, classes, task))
    if isinstance(label, np.ndarray):
        ids = wrong(np.where(label == IGNORE, 0, label).astype(np.int64), classes, task)
        return np.where(label == IGNORE, IGNORE, ids).astype(np.uint8)
    return int(wrong(np.array([label]), classes, task)[0])


def road(task: Task, size: tuple[int, int], weather: Condition, count: int) -> list[Sample]:
    """Labelled frames of the unseen world in a weather, at the model's size."""
    drive = RoadSimulator(WORLD)
    frames = (drive.frame(number * STEP, weather) for number in range(count))
    return [resized(frame.samples[task], size) for frame in frames]


def row(
    bundle: Bundle, source: SourceModel, frames: Sequence[Sample], wrong: Wrong | None
) -> list[str]:
    """What becomes of one adaptation: four cells of the table."""
    spec = source.model.spec
    task, classes = spec.task, len(spec.classes)
    labelled = [Sample(s.image, relabelled(s.label, wrong, classes, task)) for s in frames]
    affinity = bundle.manifest.training_affinity
    settings = car_settings(PATCHES, seed=0)
    trained = Adaptation({task: source}, {task: labelled}, affinity, settings).adapt(task)
    if not isinstance(trained.model, AdaptedModel):
        return ["-", "-", "-", f"not trained: {trained.untrained}"]
    check = SourceCheck.of_bundle(bundle, source.model, task)
    assert check is not None
    verdict = judged(Running(source.model), trained.model, trained.deciding, MARGIN, "it")
    fall = check.fall(trained.model)
    found, held = verdict.comparison, fall.comparison
    assert found is not None
    lost = 1 - held.candidate / held.running
    said = "accepted" if verdict.accepted else "refused: not better"
    if verdict.accepted and fall.is_too_far:
        said = "refused: contradicts the source"
    return [
        f"{100 * found.running:.1f} -> {100 * found.candidate:.1f}",
        f"{100 * held.running:.1f} -> {100 * held.candidate:.1f} ± {100 * held.error:.1f}",
        f"{100 * lost:+.0f}%",
        said,
    ]


def main(
    bundle: Annotated[Path | None, typer.Option(help="Of the simulated road.")] = None,
    tasks: Annotated[str, typer.Option(help="With commas between.")] = ",".join(Task),
    weathers: Annotated[str, typer.Option(help="With commas between.")] = "night,fog,snow,rain",
    frames: Annotated[int, typer.Option(min=10, help="That are labelled.")] = 60,
) -> None:
    """Print, for each weather and kind of labels, what the gate makes of what they teach."""
    torch.set_num_threads(1)
    loaded = Bundle.load(bundle or bundle_folder(share_folder(), recorded=False))
    print("| task | weather | labels | labelled frames | source frames | lost | the gate |")
    print("|---|---|---|---|---|---|---|")
    for task in map(Task, comma_separated(tasks)):
        source = SourceModel.of_bundle(loaded, task)
        for weather in map(Condition, comma_separated(weathers)):
            seen = road(task, source.model.spec.input_size, weather, frames)
            for name, wrong in LABELS.items():
                cells = [str(task), str(weather), name, *row(loaded, source, seen, wrong)]
                print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\nrefused from {100 * LARGEST_FALL:.0f}% and one standard error on")


if __name__ == "__main__":
    typer.run(main)
