"""Features, drift statuses and patch statuses that are not what they should be."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.msg import DriftStatus, FrameFeatures, PatchStatus
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import ns_to_stamp
from patchline_ros.nodes.signed_statuses import sign_drift_status, sign_patch_status
from patchline_ros.tasks import Task
from patchline_ros.trials.case import Case
from patchline_ros.trials.message_changes import SECOND, TIMES, sending, stamp
from patchline_ros.trials.trial_graph import ADAPTER, CAR, MONITOR, TrialGraph


def _features(trial: TrialGraph, **changes: Any) -> FrameFeatures:
    size = trial.bundle.drift_reference.width
    fields: dict[str, Any] = {"features": array("f", np.ones(size, np.float32).tobytes())}
    fields["task"] = str(trial.bundle.manifest.drift.task)
    msg = FrameFeatures(**{**fields, **changes})
    msg.header.stamp = ns_to_stamp(time.time_ns())
    return msg


def _nan_features(trial: TrialGraph) -> FrameFeatures:
    size = trial.bundle.drift_reference.width
    nans = np.full(size, np.nan, np.float32)
    return _features(trial, features=array("f", nans.tobytes()), entropy=math.nan)


def _infinite_features(trial: TrialGraph) -> FrameFeatures:
    size = trial.bundle.drift_reference.width
    return _features(trial, features=array("f", [math.inf] * size), entropy=math.inf)


def _enormous_features(trial: TrialGraph) -> FrameFeatures:
    size = trial.bundle.drift_reference.width
    return _features(trial, features=array("f", [3e38] * size), entropy=-3e38)


def _short_features(trial: TrialGraph) -> FrameFeatures:
    return _features(trial, features=array("f", [1.0, 2.0]))


def _no_features(trial: TrialGraph) -> FrameFeatures:
    return _features(trial, features=array("f"))


def reading_cases() -> list[Case]:
    """Features, drift statuses and patch statuses that no node should send."""
    return [*_feature_cases(), *_drift_cases(), *_patch_status_cases()]


def _feature_cases() -> list[Case]:
    spoiled: list[tuple[str, str, Callable[[TrialGraph], FrameFeatures]]] = [
        ("nan", "all are NaN", _nan_features),
        ("infinite", "all are infinite", _infinite_features),
        ("enormous", "all are 3e38, which overflows when it is squared", _enormous_features),
        ("short", "two instead of all", _short_features),
        ("none", "none at all", _no_features),
    ]
    cases = [
        Case(f"features-{name}", "message", f"features: {what}", partial(_bad_features, make))
        for name, what, make in spoiled
    ]
    what = "features: stamps 0, -1 s and of 2038"
    return [*cases, Case("features-stamps", "message", what, _odd_features)]


def _drift_cases() -> list[Case]:
    now = {"drifting": True, "mmd2": 1.0, "threshold": 0.1, "window": 8}
    future, past = ns_to_stamp((2**31 - 1) * SECOND), ns_to_stamp(-SECOND)
    readings: list[tuple[str, str, Mapping[str, Any]]] = [
        ("nan", "MMD^2 is NaN", {**now, "mmd2": math.nan, "since": ns_to_stamp(SECOND)}),
        ("infinite", "MMD^2 is infinite", {**now, "mmd2": math.inf, "since": ns_to_stamp(SECOND)}),
        ("negative", "the drift began before 1970", {**now, "since": past}),
        ("no-since", "a drift that never began", {**now, "since": ns_to_stamp(0)}),
    ]
    cases = [
        Case(f"drift-{name}", "message", f"drift status: {what}", partial(_bad_drift, fields))
        for name, what, fields in readings
    ]
    what = "drift status: the drift begins in 2038"
    return [*cases, Case("drift-future", "message", what, partial(_odd_drift, future))]


def _patch_status_cases() -> list[Case]:
    statuses: list[tuple[str, str, Mapping[str, Any]]] = [
        ("task", "the task is unknown", {"task": "trees"}),
        ("other-task", "it is of another task", {"task": "segmentation"}),
    ]
    return [
        Case(f"status-{name}", "message", f"patch status: {what}", partial(_bad_status, fields))
        for name, what, fields in statuses
    ]


@contextmanager
def _bad_features(make: Callable[[TrialGraph], FrameFeatures], trial: TrialGraph) -> Iterator[None]:
    refused = trial.growth(MONITOR, "refused")
    with sending(trial, FrameFeatures, _watched(trial), [make(trial)] * TIMES):
        trial.over()
        trial.until(refused, "the monitor counts it as refused")
        yield


@contextmanager
def _odd_features(trial: TrialGraph) -> Iterator[None]:
    messages = [_features(trial) for _ in range(3)]
    for msg, stamp_ns in zip(messages, (0, -SECOND, (2**31 - 1) * SECOND), strict=True):
        stamp(msg, stamp_ns)
    with sending(trial, FrameFeatures, _watched(trial), messages):
        trial.over()
        yield


def _watched(trial: TrialGraph) -> str:
    return f"{NODE_OF_TASK[trial.bundle.manifest.drift.task]}/features"


def _signed_drift(trial: TrialGraph, msg: DriftStatus) -> DriftStatus:
    """As the drift monitor would sign it: it is refused for what it says."""
    sign_drift_status(msg, trial.nodes_signer, CAR)
    return msg


@contextmanager
def _bad_drift(fields: Mapping[str, Any], trial: TrialGraph) -> Iterator[None]:
    ignored = trial.growth(ADAPTER, "ignored")
    messages = [_signed_drift(trial, DriftStatus(**fields)) for _ in range(TIMES)]
    with sending(trial, DriftStatus, "drift_status", messages):
        trial.over()
        trial.until(ignored, "the adapter ignores it")
        yield


@contextmanager
def _odd_drift(since: Any, trial: TrialGraph) -> Iterator[None]:
    msg = _signed_drift(trial, DriftStatus(drifting=True, mmd2=1.0, threshold=0.1, since=since))
    with sending(trial, DriftStatus, "drift_status", [msg]):
        trial.over()
        yield


@contextmanager
def _bad_status(fields: Mapping[str, Any], trial: TrialGraph) -> Iterator[None]:
    msg = PatchStatus(version=7, state=PatchStatus.ACTIVE, **fields)
    sign_patch_status(msg, trial.nodes_signer, CAR)
    ignored = trial.growth(ADAPTER, "ignored")
    topic = f"{NODE_OF_TASK[Task.CLASSIFICATION]}/patch_status"
    with sending(trial, PatchStatus, topic, [msg], qos.LATCHED, listeners=2):
        trial.over()
        trial.until(ignored, "the adapter ignores it")
        yield
