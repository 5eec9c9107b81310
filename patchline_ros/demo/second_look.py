"""What models say of the drive's test frames when they are asked again after the drive.

An answer without labels comes in seconds, so the graph sees few test frames with the models that
ran before it, and few with its own before a training takes their place. The drive gives the very
same pictures again, so these models are asked about all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from patchline_ros.adaptation.patch_set_files import patch_set_file
from patchline_ros.bundle import Bundle
from patchline_ros.demo.drive import Shot, Shots
from patchline_ros.demo.episodes import Stage
from patchline_ros.demo.records import Split
from patchline_ros.patching.patch_set import apply
from patchline_ros.tasks import Image, Label, Task
from patchline_ros.vision.evaluation import Model, answers

Models = Mapping[Stage, Mapping[Task, Model]]
Said = dict[Stage, dict[Task, dict[str, Label]]]
"""What was said in each stage and task of each picture, by its name."""


@dataclass(frozen=True)
class SecondLook:
    """What the shots of a drive show.

    Attributes:
        truth: labels of all measured shots, by place in the drive.
        said: what the models say of the test frames.
        clear: the middle shot before the change.
        tests: the test frames in the order of the drive.
    """

    truth: dict[int, dict[Task, Label]]
    said: Said
    clear: Shot
    tests: list[Shot]


def models_to_ask(bundle: Bundle, episodes: Path, versions: Mapping[Task, int]) -> Models:
    """The source models, and those that answered without labels.

    Args:
        bundle: of the source models.
        episodes: the folder in which the adapter keeps its patch sets.
        versions: of the patch sets of the answer.

    Raises:
        OSError: a patch set is gone.
        ValueError: one is damaged, or the bundle is.
    """
    sources = {task: bundle.model(task) for task in bundle.manifest.models}
    answered = {
        task: apply(
            sources[task],
            bundle.fingerprint(task),
            patch_set_file(episodes, task, version).read_bytes(),
        )
        for task, version in versions.items()
    }
    return {"before": sources, "answered": answered}


def look_again(shots: Shots, models: Models) -> SecondLook:
    """Goes through the measured shots once more and asks the models about the test frames."""
    truth: dict[int, dict[Task, Label]] = {}
    pictures: dict[Task, dict[str, Image]] = {task: {} for task in Task}
    clear: list[Shot] = []
    tests: list[Shot] = []
    for shot in shots.measured():
        truth[shot.index] = {task: sample.label for task, sample in shot.frame.samples.items()}
        if shot.index == shots.source_frames // 2:
            clear.append(shot)
        if shot.split is Split.TEST:
            tests.append(shot)
            for task, name in shot.names.items():
                # A picture that comes again is not looked at again.
                pictures[task].setdefault(name, shot.frame.samples[task].image)
    return SecondLook(truth, _said(models, pictures), clear[0], tests)


def _said(models: Models, pictures: Mapping[Task, Mapping[str, Image]]) -> Said:
    return {
        stage: {
            task: dict(
                zip(
                    pictures[task],
                    answers(model, list(pictures[task].values())).labels,
                    strict=True,
                )
            )
            for task, model in of_stage.items()
        }
        for stage, of_stage in models.items()
    }
