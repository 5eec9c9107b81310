"""Labelled frames in the store that are damaged, and foreign files among them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from patchline_ros.msg import AdaptationStatus
from patchline_ros.trials.case import Case
from patchline_ros.trials.file_damage import (
    Spoil,
    garbage,
    half,
    nothing,
    pickled_objects,
    spoiled,
)
from patchline_ros.trials.process_faults import ended
from patchline_ros.trials.training_faults import TRAINING_SECONDS, ended_with, start_training
from patchline_ros.trials.trial_graph import ADAPTER, TrialGraph


def frame_cases() -> list[Case]:
    """Damaged frames that a training meets, and files that are no frames."""
    how: list[tuple[str, str, Spoil]] = [
        ("truncated", "half of it is missing", half),
        ("garbage", "it holds bytes drawn by chance", garbage),
        ("empty", "it is empty", nothing),
        ("pickle", "it holds pickled objects", pickled_objects),
    ]
    cases = [
        Case(f"frame-{name}", "file", f"stored frame: {what}", partial(_bad_frame, spoil))
        for name, what, spoil in how
    ]
    what = "half-written and foreign files among the stored frames, adapter killed"
    return [
        *cases,
        Case("frame-leftovers", "file", what, _leftovers, frozenset([ADAPTER])),
    ]


@contextmanager
def _bad_frame(spoil: Spoil, trial: TrialGraph) -> Iterator[None]:
    """A training that meets it must name it and go on; the frame is whole again afterwards."""
    task, frame_id = key = trial.teach()
    trial.teach_all([key])
    path = next(found.path for found in trial.select(task) if found.frame_id == frame_id)
    trial.given_up(key)
    with spoiled(path, spoil):
        start_training(trial)
        status = ended_with(trial, TRAINING_SECONDS)
        if status.state != AdaptationStatus.FINISHED:
            trial.trouble(f"the training ended with {status.reason!r}")
        trial.until_said(ADAPTER, path.name)
        trial.over()
        yield
    trial.whole_again(key)


@contextmanager
def _leftovers(trial: TrialGraph) -> Iterator[None]:
    task = trial.tasks[0]
    folder = trial.frames / str(task)
    kept = len(trial.select(task))
    with ExitStack() as left:
        for name in (
            ".00000000000000000001_half.npz.part",
            "notes.txt",
            "1_short.npz",
            "lost+found",
        ):
            left.enter_context(spoiled(folder / name, garbage))
        left.enter_context(ended([ADAPTER], signal.SIGKILL, trial))
        if len(trial.select(task)) < kept:
            trial.trouble("frames are gone")
        yield
