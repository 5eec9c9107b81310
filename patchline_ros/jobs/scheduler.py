"""Carries out jobs in worker processes, with a progress bar; one that fails stops no other."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Protocol

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from patchline_ros.host import die_with_parent

Report = Callable[[float], None]
CHANCES = 3
"""A job that has lost its process so often is given up."""


class Job(Protocol):
    """Something to do in another process: it can be pickled, and leaves its result on disk."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def __call__(self, report: Report) -> None:
        """Does it; `report` is told the share that is done."""


@dataclass(frozen=True)
class Advanced:
    """A job has come this far, 0..1."""

    job: int
    share: float


@dataclass(frozen=True)
class Ended:
    """A job is over.

    Attributes:
        job: its number.
        error: empty when it went well.
        lost: nothing is wrong with the job that is known: its process was killed, or its machine
            is gone.
    """

    job: int
    error: str = ""
    lost: bool = False


Event = Advanced | Ended


def attempt(job: Job, report: Report) -> str:
    """Does a job on one PyTorch thread; what went wrong in words, empty when nothing did.

    An error that nobody foresaw is not caught: it ends the process with its traceback.
    """
    torch.set_num_threads(1)
    try:
        job(report)
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        return str(error) or type(error).__name__
    return ""


def _serve(connection: Connection) -> None:
    """A worker: does each job that comes, until nobody is there to send one."""
    die_with_parent()
    # Ctrl-C in a terminal reaches all processes; the parent alone decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError):
        while True:
            number, job = connection.recv()

            def report(share: float, number: int = number) -> None:
                connection.send(Advanced(number, share))

            connection.send(Ended(number, attempt(job, report)))


class _Worker:
    """A process and the job that it is at."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.job: int | None = None
        """The number of the job that it is at; None: it waits for one."""

    def give(self, number: int, job: Job) -> None:
        self.job = number
        # Where it has died while it waited, `hear` finds that out.
        with suppress(BrokenPipeError):
            self.connection.send((number, job))

    def hear(self) -> Event:
        """What it says next; its end when it has died."""
        assert self.job is not None
        try:
            event: Event = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            event = Ended(self.job, f"its process ended with {how}", lost=code < 0)
        if isinstance(event, Ended):
            self.job = None
        return event

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def end(self) -> None:
        self.connection.close()
        self._process.terminate()
        self._process.join()


class Processes:
    """Does jobs in so many processes at a time, which stay for the next jobs until `close`.

    So a process keeps what it has read. It is replaced when it dies.
    """

    def __init__(self, workers: int) -> None:
        self._size = workers
        self._workers: list[_Worker] = []

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """Does the jobs and tells how far they are; one call at a time."""
        due = deque(enumerate(jobs))
        left = len(due)
        while left:
            self._give(due)
            busy = {worker.connection: worker for worker in self._workers if worker.job is not None}
            for ready in wait(list(busy)):
                worker = next(w for connection, w in busy.items() if connection is ready)
                event = worker.hear()
                left -= isinstance(event, Ended)
                yield event
            self._workers = [worker for worker in self._workers if worker.alive]

    def _give(self, due: deque[tuple[int, Job]]) -> None:
        """A job for each worker that has none, while there are jobs."""
        while len(self._workers) < min(self._size, len(due)):
            self._workers.append(_Worker())
        for worker in self._workers:
            if worker.job is None and due:
                worker.give(*due.popleft())

    def close(self) -> None:
        """Ends the processes, whatever they are doing."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()


class Carrier(Protocol):
    """Does jobs somewhere."""

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """Does them; each ends once."""

    def close(self) -> None:
        """Stops whatever is still being done."""


def insist(jobs: Sequence[Job], carrier: Carrier) -> Iterator[Event]:
    """Does the jobs, one whose process is lost up to CHANCES times; each ends once."""
    due = list(range(len(jobs)))
    for chance in range(1, CHANCES + 1):
        lost = []
        for event in carrier([jobs[number] for number in due]):
            event = replace(event, job=due[event.job])
            if not isinstance(event, Ended) or not event.lost:
                yield event
            elif chance == CHANCES:
                yield replace(event, error=f"{event.error}, {CHANCES} times")
            else:
                lost.append(event.job)
                yield Advanced(event.job, 0.0)
        due = lost


def carry_out(title: str, jobs: Sequence[Job], carrier: Carrier, console: Console) -> list[str]:
    """Does all jobs under a progress bar.

    Returns:
        A line for each job that failed: its name, and what went wrong.
    """
    if not jobs:
        return []
    failures: list[str] = []
    shares = [0.0] * len(jobs)
    with Progress(
        TextColumn("{task.description:16}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[done]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        bar = progress.add_task(title, total=len(jobs), done=f"0 of {len(jobs)}")
        ended = 0
        for event in carrier(jobs):
            shares[event.job] = event.share if isinstance(event, Advanced) else 1.0
            if isinstance(event, Ended):
                ended += 1
                if event.error:
                    failures.append(f"{jobs[event.job].name}: {event.error}")
                    console.print(f"failed: {failures[-1]}", markup=False)
            progress.update(bar, completed=sum(shares), done=f"{ended} of {len(jobs)}")
    return failures
