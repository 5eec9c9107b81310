"""Statuses that say who sent them: the adapter signs what they ask for, so they are no stranger's.

What is signed of a status is what the adapter acts upon.
"""

from __future__ import annotations

from patchline_ros.msg import DriftStatus, PatchStatus
from patchline_ros.nodes.conversions import bytes_field, stamp_to_ns
from patchline_ros.signing import Signer, StatusVerifier, status_statement
from patchline_ros.tasks import Task


def _of_drift(msg: DriftStatus, car: str) -> bytes:
    stamps = stamp_to_ns(msg.header.stamp), stamp_to_ns(msg.since)
    return status_statement(car, "drift", *stamps, float(msg.mmd2).hex(), bool(msg.drifting))


def _of_patch(msg: PatchStatus, car: str) -> bytes:
    return status_statement(car, "patch", msg.task, msg.version, int(msg.state), msg.removed)


def sign_drift_status(msg: DriftStatus, signer: Signer | None, car: str) -> None:
    """Signs a reading of the drift monitor as sent now; without a signer it stays unsigned."""
    if signer is not None:
        msg.signature = bytes_field(signer.sign_now(_of_drift(msg, car)))


def sign_patch_status(msg: PatchStatus, signer: Signer | None, car: str) -> None:
    """Signs what a perception node says of its model, in the same way."""
    if signer is not None:
        msg.signature = bytes_field(signer.sign_now(_of_patch(msg, car)))


class StatusCheck:
    """Whether the statuses that come are those of this car's nodes."""

    def __init__(
        self, drift: StatusVerifier | None, patches: dict[Task, StatusVerifier], car: str
    ) -> None:
        """Without verifiers all statuses are believed."""
        self._drift, self._patches, self._car = drift, patches, car

    def drift(self, msg: DriftStatus) -> None:
        """Raises SigningError for a reading that is none of this car's drift monitor."""
        if self._drift is not None:
            self._drift.check(_of_drift(msg, self._car), bytes(msg.signature))

    def patch(self, task: Task, msg: PatchStatus) -> None:
        """Raises SigningError for a status that is none of this car's node for the task."""
        if task in self._patches:
            self._patches[task].check(_of_patch(msg, self._car), bytes(msg.signature))
