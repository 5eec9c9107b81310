"""Statuses that none of this car's nodes has sent: nothing may be signed or counted by them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from patchline_ros.adaptation.patch_set_files import stored_patch_sets
from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.msg import DriftStatus, PatchStatus
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import bytes_field, ns_to_stamp
from patchline_ros.nodes.signed_statuses import sign_drift_status, sign_patch_status
from patchline_ros.patching.patch_set import tensors_sha256
from patchline_ros.trials.case import Case
from patchline_ros.trials.message_changes import SECOND, sending
from patchline_ros.trials.trial_graph import ADAPTER, CAR, TrialGraph

_CALM = 12
"""Readings without a drift: more than a window, after which the source model would return."""
_AFTERWARDS_SECONDS = 2.0
_Sign: TypeAlias = Callable[[TrialGraph, Any], None]


def _unsigned(_trial: TrialGraph, _msg: Any) -> None:
    """Nobody signs it."""


def _by_the_adapter(trial: TrialGraph, msg: Any) -> None:
    """The key that signs patch sets is none for statuses."""
    _signed(msg, trial.signer, CAR)


def _of_another_car(trial: TrialGraph, msg: Any) -> None:
    _signed(msg, trial.nodes_signer, "/another")


def _changed_afterwards(trial: TrialGraph, msg: Any) -> None:
    _signed(msg, trial.nodes_signer, CAR)
    if isinstance(msg, DriftStatus):
        msg.mmd2 += 1.0
    else:
        msg.version += 1


def _cut(trial: TrialGraph, msg: Any) -> None:
    _signed(msg, trial.nodes_signer, CAR)
    msg.signature = msg.signature[:40]


def _garbage(_trial: TrialGraph, msg: Any) -> None:
    msg.signature = bytes_field(bytes(72))


def _long_ago(trial: TrialGraph, msg: Any) -> None:
    """Recorded: what it says of its time is of before, and so it is not signed for now."""
    _signed(msg, trial.nodes_signer, CAR)
    past = (time.time_ns() - 3600 * SECOND).to_bytes(8, "big")
    msg.signature = bytes_field(past + bytes(msg.signature)[8:])


def _signed(msg: Any, signer: Any, car: str) -> None:
    sign = sign_drift_status if isinstance(msg, DriftStatus) else sign_patch_status
    sign(msg, signer, car)


_SIGNED: dict[str, tuple[str, _Sign]] = {
    "unsigned": ("not signed", _unsigned),
    "adapter": ("signed by the adapter's key", _by_the_adapter),
    "car": ("signed for another car", _of_another_car),
    "changed": ("changed after it was signed", _changed_afterwards),
    "cut": ("with half a signature", _cut),
    "garbage": ("with a signature of zeros", _garbage),
    "old": ("with another time than was signed", _long_ago),
}


def forged_cases() -> list[Case]:
    """Drift and patch statuses of strangers."""
    cases = []
    for name, (what, sign) in _SIGNED.items():
        kinds = {
            "drift": (f"{_CALM} readings without a drift", partial(_forged_drift, sign)),
            "removed": ("a removed version", partial(_forged_patch, sign, _removed)),
        }
        cases += [
            Case(f"forged-{kind}-{name}", "message", f"{said}, {what}", fault)
            for kind, (said, fault) in kinds.items()
        ]
    huge: dict[str, tuple[str, Callable[[TrialGraph], PatchStatus]]] = {
        "version": ("version 2^63 - 2 runs", lambda _: PatchStatus(version=2**63 - 2)),
        "last": ("version 2^64 - 1 runs", lambda _: PatchStatus(version=2**64 - 1)),
        "removed": (
            "version 2^63 - 2 was removed",
            lambda _: PatchStatus(state=PatchStatus.REMOVED, removed=2**63 - 2),
        ),
    }
    cases += [
        Case(
            f"forged-huge-{name}",
            "message",
            f"patch status, not signed: {what}",
            partial(_forged_patch, _unsigned, make),
        )
        for name, (what, make) in huge.items()
    ]
    return cases


def _removed(trial: TrialGraph) -> PatchStatus:
    newest = trial.newest_file(trial.tasks[0])
    return PatchStatus(state=PatchStatus.REMOVED, removed=newest)


@contextmanager
def _forged_drift(sign: _Sign, trial: TrialGraph) -> Iterator[None]:
    messages = []
    for _ in range(_CALM):
        msg = DriftStatus(mmd2=0.0, threshold=0.1, window=8)
        msg.header.stamp = ns_to_stamp(time.time_ns())
        sign(trial, msg)
        messages.append(msg)
    with _nothing_signed(trial), sending(trial, DriftStatus, "drift_status", messages):
        yield


@contextmanager
def _forged_patch(
    sign: _Sign, make: Callable[[TrialGraph], PatchStatus], trial: TrialGraph
) -> Iterator[None]:
    task = trial.tasks[0]
    msg = make(trial)
    msg.task = str(task)
    sign(trial, msg)
    topic = f"{NODE_OF_TASK[task]}/patch_status"
    with (
        _nothing_signed(trial),
        sending(trial, PatchStatus, topic, [msg], qos.LATCHED, listeners=2),
    ):
        yield


@contextmanager
def _nothing_signed(trial: TrialGraph) -> Iterator[None]:
    """The adapter must refuse what comes in the block, and number no model anew by it.

    What an episode of now accepts is another model, and none of a stranger's doing.
    """
    ignored = trial.growth(ADAPTER, "ignored")
    before = _models(trial)
    # The body sends before it yields to the case, which measures the recovery meanwhile.
    trial.over()
    yield
    trial.until(ignored, "the adapter refuses it")
    trial.wait(_AFTERWARDS_SECONDS)
    again = [
        path.name
        for path, model in _models(trial).items()
        if path not in before and (model in before.values() or not model)
    ]
    if again:
        trial.trouble(f"a stranger's status made {', '.join(again)}")


def _models(trial: TrialGraph) -> dict[Path, str]:
    """The stored patch sets with the sha256 of their tensors; empty for the source model."""
    return {
        path: tensors_sha256(path.read_bytes()) if path.stat().st_size else ""
        for stored in stored_patch_sets(trial.episodes).values()
        for path in stored.values()
    }
