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
from patchline_ros.trials.trial_graph import ADAPTER, MONITOR, World

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
def ended(names: Sequence[str], number: int, world: World) -> Iterator[None]:
    """Ends processes; goes on once each was started again."""
    before = {name: world.graph.pid(name) for name in names}
    for name in names:
        world.graph.signal(name, number)
    world.over()
    again = partial(_all_new, world, before)
    world.until(again, f"{', '.join(names)} started again", 20)
    for name in names:
        world.forget(name)
    yield


def _all_new(world: World, before: dict[str, int]) -> bool:
    return all(world.graph.pid(name) != pid for name, pid in before.items())


@contextmanager
def _stood_still(name: str, world: World) -> Iterator[None]:
    world.graph.signal(name, signal.SIGSTOP)
    world.wait(STANDING_SECONDS)
    world.graph.signal(name, signal.SIGCONT)
    world.over()
    yield


@contextmanager
def _silence(world: World) -> Iterator[None]:
    world.probe.manner = Manner.SILENT
    try:
        for name in NODE_OF_TASK.values():
            world.until(
                partial(_says_no_picture, world, name), f"{name} says that no picture comes", 15
            )
    finally:
        world.probe.manner = Manner.STEADY
    world.over()
    yield


def _says_no_picture(world: World, name: str) -> bool:
    return world.diagnosis(name).message.startswith("no picture")
