"""Patch sets in the store that are damaged, while the graph runs and while it does not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.trials.case import Case
from patchline_ros.trials.file_damage import Spoil, garbage, half, spoiled
from patchline_ros.trials.process_faults import ended
from patchline_ros.trials.trial_graph import ADAPTER, TrialGraph


def patch_file_cases() -> list[Case]:
    """Patch sets that are damaged when they are sent again, or when nobody has them any more."""
    how: list[tuple[str, str, Spoil]] = [
        ("truncated", "half of it is missing", half),
        ("garbage", "it holds bytes drawn by chance", garbage),
    ]
    cases = []
    for name, what, spoil in how:
        cases += [
            Case(
                f"patch-file-{name}",
                "file",
                f"stored patch set: {what}, sent again",
                partial(_bad_patch_file, spoil),
            ),
            Case(
                f"patch-file-{name}-down",
                "file",
                f"stored patch set: {what}, adapter and node killed",
                partial(_bad_patch_file_down, spoil),
                frozenset([ADAPTER, *NODE_OF_TASK.values()]),
            ),
        ]
    what = "a patch set is left half-written, adapter killed"
    return [
        *cases,
        Case("patch-file-leftover", "file", what, _patch_leftover, frozenset([ADAPTER])),
    ]


def _newest_file(trial: TrialGraph) -> Path:
    task = trial.tasks[0]
    return trial.patch_file(task, trial.newest_file(task))


@contextmanager
def _bad_patch_file(spoil: Spoil, trial: TrialGraph) -> Iterator[None]:
    path = _newest_file(trial)
    with spoiled(path, spoil):
        trial.probe.call("republish")
        trial.until_said(ADAPTER, path.name)
        trial.over()
        yield


@contextmanager
def _bad_patch_file_down(spoil: Spoil, trial: TrialGraph) -> Iterator[None]:
    """Nobody has it any more, so the source model runs until it is there again."""
    task = trial.tasks[0]
    names = [ADAPTER, NODE_OF_TASK[task]]
    path = _newest_file(trial)
    trial.take_down(names)
    with spoiled(path, spoil):
        trial.expected[task] = 0
        trial.bring_up(names)
        yield
        trial.until_said(ADAPTER, path.name)
    trial.expected.pop(task)
    trial.probe.call("republish")
    trial.over()
    trial.until(lambda: trial.answers_well(task), "the patch set runs again", 15)


@contextmanager
def _patch_leftover(trial: TrialGraph) -> Iterator[None]:
    left = trial.episodes / f".{trial.tasks[0]}.v999.safetensors.part"
    with spoiled(left, garbage), ended([ADAPTER], signal.SIGKILL, trial):
        yield
