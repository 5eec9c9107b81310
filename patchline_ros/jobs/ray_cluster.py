"""Runs jobs on a Ray cluster."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Any

import ray

from patchline_ros.jobs.scheduler import Ended, Event, Job, attempt

CONNECT_SECONDS = 10.0
"""Seconds that a machine has to accept a connection."""


def _silent(_share: float) -> None:
    """Ray's workers do not tell how far they are."""


def _check_listens(address: str) -> None:
    """Raises OSError where nothing listens at HOST:PORT: Ray would try for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


class RayCluster:
    """Runs each job on one core of a Ray cluster.

    Jobs read data and write results in the same places as here: all machines must see them.
    """

    def __init__(self, address: str, gpus: int = 0) -> None:
        """Connects to the cluster.

        Args:
            address: address of the cluster; `auto` is the one of this machine.
            gpus: number of GPUs that each job takes.

        Raises:
            ValueError: there is no cluster at this address, or one of another version of Ray or
                Python.
        """
        try:
            _check_listens(address)
            ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"there is no Ray cluster at {address}: {error}") from error
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"the Ray cluster at {address} can't be used: {reason}") from error
        self._attempt = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(attempt)
        self._running: dict[Any, int] = {}

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """Runs the jobs; each ends once, in whatever order."""
        for number, job in enumerate(jobs):
            self._running[self._attempt.remote(job, _silent)] = number
        while self._running:
            (finished,), _ = ray.wait(list(self._running), num_returns=1)
            yield self._ended(finished)

    def _ended(self, finished: Any) -> Ended:
        number = self._running.pop(finished)
        try:
            return Ended(number, ray.get(finished))
        except ray.exceptions.RayError as failure:
            reason = str(failure).strip().splitlines()[-1]
            raised = isinstance(failure, ray.exceptions.RayTaskError)
            return Ended(number, reason, lost=not raised)

    def close(self) -> None:
        """Cancels the jobs that still run; the cluster stays up."""
        for left in self._running:
            ray.cancel(left, force=True)
        self._running.clear()
