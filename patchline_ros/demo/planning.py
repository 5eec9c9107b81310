"""From what the user asked for to a drive, on frames that the models were not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from patchline_ros.bundle import Bundle
from patchline_ros.datasets.camvid import LANE_CLASSES, OBJECT_CLASSES, CamVid
from patchline_ros.datasets.gtsrb import SIGN_CLASSES, Gtsrb
from patchline_ros.datasets.recordings import open_frames
from patchline_ros.demo.drive import (
    ADAPT_BLOCK,
    TEST_BLOCK,
    Drive,
    DriveError,
    FilmedRoad,
    Recording,
    Signs,
    SimRoad,
)
from patchline_ros.demo.options import DemoOptions, OptionError
from patchline_ros.sim import Condition
from patchline_ros.sim import labels as sim_labels
from patchline_ros.sim.defaults import PICTURE_SIZE, SEVERITIES
from patchline_ros.tasks import IGNORE, ClassMap, Task

SIM_SOURCE_FRAMES, SIM_DRIFT_FRAMES = 48, 96
RECORDED_SEVERITY = 0.8
"""Severity of the condition in a recording's second half, which is corrupted in a simpler way."""
LEAST_FRAMES = ADAPT_BLOCK + TEST_BLOCK
MOST_SOURCE_FRAMES, MOST_DRIFT_FRAMES = 100, 240
SIGN_SHOTS = 300
"""Shots after the change that a filmed drive has at least, so that enough different signs come."""
SIGN_CORRUPTION, SIGN_SEVERITY = "dusk", 0.5
SIGNS_FOLDER = "gtsrb"


def plan_drive(options: DemoOptions, bundle: Bundle) -> Drive:
    """The drive that was asked for, on frames that the bundle's models were not trained on.

    Raises OptionError, DriveError, or the ValueError of a recording that cannot be read.
    """
    if options.frames is None:
        return _plan_sim(options, bundle)
    return _plan_filmed(options, options.frames, bundle)


def _plan_sim(options: DemoOptions, bundle: Bundle) -> Drive:
    _require_classes(
        bundle,
        {
            Task.CLASSIFICATION: sim_labels.SIGN_CLASSES,
            Task.DETECTION: sim_labels.OBJECT_CLASSES,
            Task.SEGMENTATION: sim_labels.LANE_CLASSES,
        },
        "the simulated road",
    )
    road = SimRoad(
        seed=_unseen_road(bundle, options.seed),
        size=PICTURE_SIZE,
        condition=Condition(options.condition),
        severity=SEVERITIES[Condition(options.condition)],
        source_frames=SIM_SOURCE_FRAMES,
        drift_frames=SIM_DRIFT_FRAMES,
    )
    return Drive(seed=options.seed, road=road)


def _unseen_road(bundle: Bundle, seed: int) -> int:
    """The first road from this seed on of which no model of the bundle has seen a frame."""
    seen = {name.rsplit("-", 2)[0] for names in bundle.trained_on.values() for name in names}
    road = seed
    while f"sim-{road}" in seen:
        road += 1
    return road


def _plan_filmed(options: DemoOptions, frames: Path, bundle: Bundle) -> Drive:
    signs_folder = find_signs(options)
    _require_classes(bundle, _classes_of(options, frames, signs_folder), str(frames))
    source, drift = _recordings(options, frames, bundle)
    signs = None if signs_folder is None else _plan_signs(signs_folder, bundle, options.seed)
    road = FilmedRoad(
        source=source,
        drift=drift,
        condition=options.then.stem if options.then is not None else options.condition,
        corruption=None if options.then is not None else options.condition,
        severity=RECORDED_SEVERITY,
        signs=signs,
        repeats=1 if signs is None else -(-SIGN_SHOTS // len(drift.names)),
    )
    return Drive(seed=options.seed, road=road)


def _classes_of(
    options: DemoOptions, frames: Path, signs: Path | None
) -> dict[Task, tuple[str, ...]]:
    """The classes that the labels bring along; a folder of class maps is in the bundle's own."""
    classes: dict[Task, tuple[str, ...]] = {}
    if isinstance(open_frames(options.then or frames, topic=options.topic), CamVid):
        classes = {Task.DETECTION: OBJECT_CLASSES, Task.SEGMENTATION: LANE_CLASSES}
    if signs is not None:
        classes[Task.CLASSIFICATION] = SIGN_CLASSES
    return classes


def _recordings(options: DemoOptions, frames: Path, bundle: Bundle) -> tuple[Recording, Recording]:
    """What is played before and after the change.

    One recording alone is played in two halves, of which the second will be corrupted. Labels
    belong to the recording after the change, which is where they are needed.
    """
    trained = bundle.trained_on
    seen = set(trained.get(Task.SEGMENTATION, [])) | set(trained.get(Task.DETECTION, []))
    classes = len(bundle.spec(Task.SEGMENTATION).classes)
    if options.then is not None:
        names = _labelled_names(
            options, options.then, seen, classes, LEAST_FRAMES, MOST_DRIFT_FRAMES
        )
        return (
            _recording(frames, None, options.topic, _names(frames, options.topic, seen)),
            _recording(options.then, options.labels, options.topic, names),
        )
    names = _labelled_names(
        options, frames, seen, classes, 2 * LEAST_FRAMES, 2 * MOST_SOURCE_FRAMES
    )
    half = len(names) // 2
    return (
        _recording(frames, options.labels, options.topic, names[:half]),
        _recording(frames, options.labels, options.topic, names[half:]),
    )


def _recording(
    path: Path, labels: Path | None, topic: str | None, names: tuple[str, ...]
) -> Recording:
    """The options with absolute paths, so that the drive can be opened from any folder."""
    return Recording(
        path=path.resolve(),
        labels=None if labels is None else labels.resolve(),
        topic=topic,
        names=names,
    )


def _names(path: Path, topic: str | None, seen: set[str]) -> tuple[str, ...]:
    names = []
    for frame in open_frames(path, topic=topic):
        if frame.name not in seen:
            names.append(frame.name)
        if len(names) == MOST_SOURCE_FRAMES:
            break
    if not names:
        raise DriveError(
            f"the bundle's models were trained on every frame of {path}, so nothing is left to "
            "measure on; train with fewer, or give another recording"
        )
    return tuple(names)


def _labelled_names(
    options: DemoOptions,
    path: Path,
    seen: set[str],
    classes: int,
    least: int,
    most: int,
) -> tuple[str, ...]:
    """The labelled frames of a recording, in order, up to `most`; each one is read and checked.

    Raises DriveError when there are fewer than `least`.
    """
    names = []
    for frame in open_frames(path, options.labels, options.topic):
        if frame.name in seen or not frame.samples:
            continue
        lanes = frame.samples.get(Task.SEGMENTATION)
        if lanes is not None:
            _check_classes(frame.name, np.asarray(lanes.label), classes)
        names.append(frame.name)
        if len(names) == most:
            break
    if len(names) < least:
        raise DriveError(
            f"{path} has {len(names)} labelled frames that the bundle's models were not trained "
            f"on; the demo learns from some and measures on others, and needs at least {least}. "
            "Give --labels, or a longer recording"
        )
    return tuple(names)


def _check_classes(name: str, label: ClassMap, classes: int) -> None:
    known = label[label != IGNORE]
    if known.size and known.max() >= classes:
        raise DriveError(
            f"the label map of {name} holds the class id {known.max()}; the bundle's lane "
            f"segmenter knows the ids 0 to {classes - 1}, and {IGNORE} is ignored"
        )


def find_signs(options: DemoOptions) -> Path | None:
    """The folder of sign pictures: --signs, else one named gtsrb beside the folder of --frames."""
    if options.signs is not None or options.frames is None:
        return options.signs
    beside = options.frames.resolve().parent.parent / SIGNS_FOLDER
    return beside if beside.is_dir() else None


def _plan_signs(folder: Path, bundle: Bundle, seed: int) -> Signs:
    """Which sign pictures are for what.

    Of each class one track that the classifier was not trained on is for the test, and its clear
    pictures for the time before the change: what the change takes is seen on the same pictures. All
    other tracks are for the adapter; where a class has no unseen track left, that is one which the
    classifier knows in its clear form. So no sign of the test is ever labelled for the adapter.
    """
    gtsrb = Gtsrb(folder)
    trained = set(bundle.trained_on.get(Task.CLASSIFICATION, []))
    unseen = np.array([name not in trained for name in gtsrb.names])
    rng = np.random.default_rng(seed)
    test_tracks: list[int] = []
    adapt_tracks: list[int] = []
    for label in np.unique(gtsrb.labels):
        tracks = rng.permutation(np.unique(gtsrb.tracks[(gtsrb.labels == label) & unseen]))
        known = np.unique(gtsrb.tracks[(gtsrb.labels == label) & ~unseen])
        test_tracks.extend(tracks[:1])
        adapt_tracks.extend(tracks[1:] if len(tracks) > 1 else known)
    if not test_tracks:
        raise DriveError(
            f"the bundle's sign classifier was trained on every track of {folder}, so nothing is "
            "left to measure on; train with fewer"
        )
    test = rng.permutation(np.flatnonzero(np.isin(gtsrb.tracks, test_tracks) & unseen))
    adapt = rng.permutation(np.flatnonzero(np.isin(gtsrb.tracks, adapt_tracks)))
    return Signs(
        path=folder.resolve(),
        source=tuple(test.tolist()),
        adapt=tuple(adapt.tolist()),
        test=tuple(test.tolist()),
        corruption=SIGN_CORRUPTION,
        severity=SIGN_SEVERITY,
    )


def _require_classes(bundle: Bundle, wanted: dict[Task, tuple[str, ...]], road: str) -> None:
    for task, classes in wanted.items():
        known = bundle.spec(task).classes
        if known == classes:
            continue
        unknown = [name for name in classes if name not in known]
        raise OptionError(
            f"the bundle {bundle.path} does not fit {road}: its {task} model knows other classes, "
            + (f"{unknown[0]} is not among them" if unknown else "or has them in another order")
            + "; name one that was made for it with --bundle"
        )
