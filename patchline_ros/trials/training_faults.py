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

import psutil

from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.msg import AdaptationStatus, DriftStatus
from patchline_ros.nodes.conversions import stamp_to_ns
from patchline_ros.tasks import Task
from patchline_ros.trials.case import Case
from patchline_ros.trials.process_faults import STANDING_SECONDS, ended
from patchline_ros.trials.random_patches import made_patch_set
from patchline_ros.trials.trial_graph import ADAPTER, NotSeenError, TrialGraph

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


def have_labels(trial: TrialGraph) -> None:
    """Sends labelled frames of the drift until there are enough for a training."""
    trial.until(lambda: bool(_since(trial)), "the monitor reports the drift", 30)
    keys = [
        trial.new_lesson(task)
        for task in trial.tasks
        for _ in range(_LABELS - _labelled_since(trial, task))
    ]
    trial.teach_all(keys)


def start_training(trial: TrialGraph, least_progress: float = 0.0) -> None:
    """Asks for a training on enough labelled frames, and waits until it runs, or has ended."""
    have_labels(trial)

    def starts() -> bool:
        # What an episode before it says of its end is none of this one.
        trial.probe.adaptation.clear()
        return bool(trial.probe.call("adapt_now").success)

    # An answer without labels may be under way, which takes long where the cores are busy.
    trial.until(starts, "the adapter starts a training", TRAINING_SECONDS)

    def under_way() -> bool:
        heard = list(trial.probe.adaptation)
        return any(status.state in _OVER for status in heard) or any(
            status.state in _UNDER_WAY and status.progress >= least_progress for status in heard
        )

    trial.until(under_way, "the training runs", 60)


def _since(trial: TrialGraph) -> int:
    drift: DriftStatus | None = trial.probe.drift
    return stamp_to_ns(drift.since) if drift is not None and drift.drifting else 0


def _labelled_since(trial: TrialGraph, task: Task) -> int:
    since = _since(trial)
    return sum(frame.stamp_ns >= since for frame in trial.select(task))


def ended_with(trial: TrialGraph, seconds: float) -> AdaptationStatus:
    """The status with which an episode ends; raises NotSeenError."""
    found: list[AdaptationStatus] = []

    def over() -> bool:
        heard = list(trial.probe.adaptation)
        found[:] = [status for status in heard if status.state in _OVER]
        return bool(found)

    trial.until(over, "the episode ends", seconds)
    return found[-1]


def _worker(trial: TrialGraph) -> int:
    """Process id of the training."""
    adapter = trial.supervisor.pid(ADAPTER)
    for process in psutil.process_iter(["ppid", "status"]):
        if process.info["ppid"] == adapter and process.info["status"] != psutil.STATUS_ZOMBIE:
            return process.pid
    raise NotSeenError("the training has no process")


@contextmanager
def _limited(trial: TrialGraph, size: int) -> Iterator[None]:
    """Lets no file of the adapter, or of its training, grow beyond `size` bytes."""
    pid = trial.supervisor.pid(ADAPTER)
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        if trial.supervisor.pid(ADAPTER) == pid:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def _full_for_frames(trial: TrialGraph) -> Iterator[None]:
    """A refusal is said, what came before stays, and with room again all is kept."""

    def refused() -> int:
        return trial.counted(ADAPTER, "refused") + trial.counted(ADAPTER, "not_stored")

    before = refused()
    with _limited(trial, 1024):
        for _ in range(6):
            trial.teach()
        trial.until(lambda: refused() >= before + 6, "the adapter says that the disk refuses them")
        if not trial.diagnosis(ADAPTER).message.strip() or (
            trial.diagnosis(ADAPTER).message == "running"
        ):
            trial.trouble("the adapter's diagnostics do not say that the disk is full")
    trial.over()
    yield


@contextmanager
def _full_for_job(trial: TrialGraph) -> Iterator[None]:
    """The adapter must answer that it can't start, or report that the training failed."""
    have_labels(trial)
    trial.probe.adaptation.clear()
    with _limited(trial, 256):
        response = trial.probe.call("adapt_now", seconds=5)
        if response.success and ended_with(trial, 30).state != AdaptationStatus.FAILED:
            trial.trouble("nobody said that the training can't start")
    trial.over()
    yield


@contextmanager
def _full_for_result(trial: TrialGraph) -> Iterator[None]:
    have_labels(trial)
    with _limited(trial, 16_384):
        start_training(trial)
        status = ended_with(trial, TRAINING_SECONDS)
        if status.state != AdaptationStatus.FAILED:
            trial.trouble("the training did not fail, though its patch sets had no room")
    trial.over()
    yield


@contextmanager
def _worker_signalled(number: int, trial: TrialGraph) -> Iterator[None]:
    start_training(trial, 1e-6)
    os.kill(_worker(trial), number)
    trial.over()
    if ended_with(trial, 10).state != AdaptationStatus.FAILED:
        trial.trouble("the adapter did not say that the training failed")
    yield


_worker_killed = partial(_worker_signalled, signal.SIGKILL)
_worker_ended = partial(_worker_signalled, signal.SIGTERM)


@contextmanager
def _worker_stood_still(trial: TrialGraph) -> Iterator[None]:
    start_training(trial, 1e-6)
    worker = _worker(trial)
    os.kill(worker, signal.SIGSTOP)
    trial.wait(STANDING_SECONDS)
    os.kill(worker, signal.SIGCONT)
    trial.over()
    yield
    if ended_with(trial, TRAINING_SECONDS).state != AdaptationStatus.FINISHED:
        trial.trouble("the training did not finish")


@contextmanager
def _adapter_killed(trial: TrialGraph) -> Iterator[None]:
    start_training(trial, 1e-6)
    worker = _worker(trial)
    with ended([ADAPTER], signal.SIGKILL, trial):
        trial.until(lambda: not psutil.pid_exists(worker), "the training is gone, too", 5)
        yield


@contextmanager
def _killed_before_publishing(trial: TrialGraph) -> Iterator[None]:
    """The adapter stands still while the training goes on, and never hears of the result."""
    start_training(trial)
    before = {task: trial.newest_file(task) for task in trial.tasks}
    trial.supervisor.signal(ADAPTER, signal.SIGSTOP)
    try:
        trial.until(
            lambda: any(trial.newest_file(task) > before[task] for task in trial.tasks),
            "the training stores a patch set",
            TRAINING_SECONDS,
        )
    except NotSeenError:
        trial.supervisor.signal(ADAPTER, signal.SIGCONT)
        raise
    with ended([ADAPTER], signal.SIGKILL, trial):
        yield


@contextmanager
def _killed_at_swap(trial: TrialGraph) -> Iterator[None]:
    task, name = next(iter(NODE_OF_TASK.items()))
    version = trial.newest_file(task) + 1
    trial.store_patch_set(task, version, made_patch_set(trial.bundle, task, version, seed=77))
    trial.probe.call("republish")
    time.sleep(0.05)
    with ended([name], signal.SIGKILL, trial):
        yield
