"""Processes that are killed, asked to end, or stand still."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.trials.case import Case
from patchline_ros.trials.probe import Manner
from patchline_ros.trials.trial_graph import ADAPTER, MONITOR, TrialGraph

STANDING_SECONDS: Final = 5.0
_SILENT_SECONDS: Final = 7.0
_WHOLE_START_SECONDS: Final = 20.0
"""Five processes that start together share the cores: loading PyTorch alone is 3 s of each."""
NODES: Final = (*NODE_OF_TASK.values(), MONITOR, ADAPTER)


def process_cases() -> list[Case]:
    """Each process in turn, all at once, and the camera."""
    cases = []
    for name in NODES:
        word = name.replace("_", "-")
        for number in (signal.SIGKILL, signal.SIGTERM):
            what = f"{name} gets {number.name} and is started again"
            fault = partial(ended, [name], number)
            kind = number.name.lower()
            cases.append(Case(f"{word}-{kind}", "process", what, fault, frozenset([name])))
        what = f"{name} stands still for {STANDING_SECONDS:.0f} s (SIGSTOP)"
        cases.append(Case(f"{word}-sigstop", "process", what, partial(_stood_still, name)))
    everything = partial(ended, NODES, signal.SIGKILL)
    what = "all five get SIGKILL at once"
    limit = _WHOLE_START_SECONDS
    cases.append(Case("all-sigkill", "process", what, everything, frozenset(NODES), limit))
    what = f"the camera is silent for {_SILENT_SECONDS:.0f} s"
    cases.append(Case("camera-silent", "process", what, _silence))
    return cases


@contextmanager
def ended(names: Sequence[str], number: int, trial: TrialGraph) -> Iterator[None]:
    """Ends processes, and goes on once each was started again."""
    before = {name: trial.supervisor.pid(name) for name in names}
    for name in names:
        trial.supervisor.signal(name, number)
    trial.over()
    again = partial(_all_new, trial, before)
    trial.until(again, f"{', '.join(names)} started again", 20)
    for name in names:
        trial.forget(name)
    yield


def _all_new(trial: TrialGraph, before: dict[str, int]) -> bool:
    return all(trial.supervisor.pid(name) != pid for name, pid in before.items())


@contextmanager
def _stood_still(name: str, trial: TrialGraph) -> Iterator[None]:
    trial.supervisor.signal(name, signal.SIGSTOP)
    trial.wait(STANDING_SECONDS)
    trial.supervisor.signal(name, signal.SIGCONT)
    trial.over()
    yield


@contextmanager
def _silence(trial: TrialGraph) -> Iterator[None]:
    trial.probe.manner = Manner.SILENT
    try:
        for name in NODE_OF_TASK.values():
            trial.until(
                partial(_says_no_picture, trial, name), f"{name} says that no picture comes", 15
            )
    finally:
        trial.probe.manner = Manner.STEADY
    trial.over()
    yield


def _says_no_picture(trial: TrialGraph, name: str) -> bool:
    return trial.diagnosis(name).message.startswith("no picture")
