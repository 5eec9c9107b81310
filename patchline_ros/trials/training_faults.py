"""Faults of the training process, of what it hands over, and of the disk that it writes to."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from patchline_ros.files import write_file
from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.msg import AdaptationStatus, DriftStatus
from patchline_ros.nodes.conversions import stamp_to_ns
from patchline_ros.trials.case import Case
from patchline_ros.trials.process_faults import STANDING_SECONDS, ended
from patchline_ros.trials.respawn import children_of
from patchline_ros.trials.trial_graph import ADAPTER, NotSeenError, World, made_patch_set

_LABELS: Final = 12
"""Labels of each task that a training has at least."""
TRAINING_SECONDS: Final = 240.0
_UNDER_WAY: Final = (AdaptationStatus.TRAINING, AdaptationStatus.VERIFYING)
_OVER: Final = (AdaptationStatus.FINISHED, AdaptationStatus.FAILED)


def training_cases() -> list[Case]:
    """The worker, the adapter beside it, the moment between storing and publishing, the disk."""
    adapter = frozenset([ADAPTER])
    signs = frozenset([next(iter(NODE_OF_TASK.values()))])
    return [
        Case("disk-full-frames", "disk", "no file may grow while labels come", _full_for_frames),
        Case("disk-full-job", "disk", "no file may grow when a training starts", _full_for_job),
        Case("disk-full-result", "disk", "a trained patch set finds no room", _full_for_result),
        Case("worker-sigkill", "training", "the training gets SIGKILL", _worker_killed),
        Case("worker-sigterm", "training", "the training gets SIGTERM", _worker_ended),
        Case(
            "adapter-sigkill-training",
            "training",
            "adapter gets SIGKILL in mid-training",
            _adapter_killed,
            adapter,
        ),
        Case(
            "adapter-between-store-and-publish",
            "training",
            "adapter gets SIGKILL when a patch set is stored, but not published",
            _killed_before_publishing,
            adapter,
        ),
        Case(
            "worker-sigstop",
            "training",
            f"the training stands still for {STANDING_SECONDS:.0f} s (SIGSTOP)",
            _worker_stood_still,
        ),
        Case(
            "node-killed-at-swap",
            "training",
            "a node gets SIGKILL when a new patch set comes",
            _killed_at_swap,
            signs,
        ),
    ]


def have_labels(world: World) -> None:
    """Has enough labelled frames of the drift for a training."""
    world.until(lambda: bool(_since(world)), "the monitor reports the drift", 30)
    keys = [
        world.new_lesson(task)
        for task in world.tasks
        for _ in range(_LABELS - _labelled_since(world, task))
    ]
    world.teach_all(keys)


def start_training(world: World, least_progress: float = 0.0) -> None:
    """Asks for a training on enough labelled frames, and waits until it runs, or has ended."""
    have_labels(world)
    world.probe.adaptation.clear()
    # The one before may have reported its end and still be ending.
    world.until(lambda: world.probe.call("adapt_now").success, "the adapter starts a training", 10)

    def under_way() -> bool:
        heard = list(world.probe.adaptation)
        return any(status.state in _OVER for status in heard) or any(
            status.state in _UNDER_WAY and status.progress >= least_progress for status in heard
        )

    world.until(under_way, "the training runs", 60)


def _since(world: World) -> int:
    drift: DriftStatus | None = world.probe.drift
    return stamp_to_ns(drift.since) if drift is not None and drift.drifting else 0


def _labelled_since(world: World, task: object) -> int:
    since = _since(world)
    return sum(
        frame.stamp_ns >= since
        for kind in world.tasks
        if kind is task
        for frame in world.select(kind)
    )


def ended_with(world: World, seconds: float) -> AdaptationStatus:
    """The status with which an episode ends; raises NotSeenError."""
    found: list[AdaptationStatus] = []

    def over() -> bool:
        heard = list(world.probe.adaptation)
        found[:] = [status for status in heard if status.state in _OVER]
        return bool(found)

    world.until(over, "the episode ends", seconds)
    return found[-1]


def _worker(world: World) -> int:
    """Process id of the training."""
    found = children_of(world.graph.pid(ADAPTER))
    if not found:
        raise NotSeenError("the training has no process")
    return found[0]


@contextmanager
def _limited(world: World, size: int) -> Iterator[None]:
    """No file of the adapter, or of a training that it starts, may grow beyond `size` bytes."""
    pid = world.graph.pid(ADAPTER)
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        if world.graph.pid(ADAPTER) == pid:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def _full_for_frames(world: World) -> Iterator[None]:
    """What is refused is said; what came before stays; when there is room again, all is kept."""

    def refused() -> int:
        return world.counted(ADAPTER, "refused") + world.counted(ADAPTER, "not_stored")

    before = refused()
    with _limited(world, 1024):
        for _ in range(6):
            world.teach()
        world.until(lambda: refused() >= before + 6, "the adapter says that the disk refuses them")
        if not world.diagnosis(ADAPTER).message.strip() or (
            world.diagnosis(ADAPTER).message == "running"
        ):
            world.trouble("the adapter's diagnostics do not say that the disk is full")
    world.over()
    yield


@contextmanager
def _full_for_job(world: World) -> Iterator[None]:
    """The adapter must answer that it can't, or report that it failed."""
    have_labels(world)
    world.probe.adaptation.clear()
    with _limited(world, 256):
        response = world.probe.call("adapt_now", 5)
        if response.success and ended_with(world, 30).state != AdaptationStatus.FAILED:
            world.trouble("nobody said that the training can't start")
    world.over()
    yield


@contextmanager
def _full_for_result(world: World) -> Iterator[None]:
    have_labels(world)
    with _limited(world, 16_384):
        start_training(world)
        status = ended_with(world, TRAINING_SECONDS)
        if status.state != AdaptationStatus.FAILED:
            world.trouble("the training did not fail, though its patch sets had no room")
    world.over()
    yield


@contextmanager
def _worker_signalled(number: int, world: World) -> Iterator[None]:
    start_training(world, 1e-6)
    os.kill(_worker(world), number)
    world.over()
    if ended_with(world, 10).state != AdaptationStatus.FAILED:
        world.trouble("the adapter did not say that the training failed")
    yield


_worker_killed = partial(_worker_signalled, signal.SIGKILL)
_worker_ended = partial(_worker_signalled, signal.SIGTERM)


@contextmanager
def _worker_stood_still(world: World) -> Iterator[None]:
    start_training(world, 1e-6)
    worker = _worker(world)
    os.kill(worker, signal.SIGSTOP)
    world.wait(STANDING_SECONDS)
    os.kill(worker, signal.SIGCONT)
    world.over()
    yield
    if ended_with(world, TRAINING_SECONDS).state != AdaptationStatus.FINISHED:
        world.trouble("the training did not finish")


@contextmanager
def _adapter_killed(world: World) -> Iterator[None]:
    start_training(world, 1e-6)
    worker = _worker(world)
    with ended([ADAPTER], signal.SIGKILL, world):
        world.until(partial(_is_gone, worker), "the training is gone, too", 5)
        yield


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@contextmanager
def _killed_before_publishing(world: World) -> Iterator[None]:
    """The adapter stands still while the training goes on, and never hears of the result."""
    start_training(world)
    before = {task: world.newest_file(task) for task in world.tasks}
    world.graph.signal(ADAPTER, signal.SIGSTOP)
    try:
        world.until(
            lambda: any(world.newest_file(task) > before[task] for task in world.tasks),
            "the training stores a patch set",
            TRAINING_SECONDS,
        )
    except NotSeenError:
        world.graph.signal(ADAPTER, signal.SIGCONT)
        raise
    with ended([ADAPTER], signal.SIGKILL, world):
        yield


@contextmanager
def _killed_at_swap(world: World) -> Iterator[None]:
    task, name = next(iter(NODE_OF_TASK.items()))
    version = world.newest_file(task) + 1
    write_file(
        world.patch_file(task, version), made_patch_set(world.bundle, task, version, seed=77)
    )
    world.probe.call("republish")
    time.sleep(0.05)
    with ended([name], signal.SIGKILL, world):
        yield
