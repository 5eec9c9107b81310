"""Runs jobs in worker processes, with a progress bar; one that fails stops no other."""

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
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from patchline_ros.host import die_with_parent

ReportProgress = Callable[[float], None]
_CONTEXT = multiprocessing.get_context("forkserver")
"""Workers are forks of one process that has imported what they need, and import nothing again."""
_WITH_THE_FIRST_OPTIMISER = "torch._dynamo"
"""A module that PyTorch imports only then. Without it here each worker would import it."""
MAX_ATTEMPTS = 3
"""A job whose process was lost this many times is given up."""


class Job(Protocol):
    """Something to do in another process: it can be pickled, and leaves its result on disk."""

    @property
    def name(self) -> str:
        """The name of the job in messages."""

    def __call__(self, report: ReportProgress) -> None:
        """Does the work; `report` is called with the share that is done, 0..1."""


@dataclass(frozen=True)
class Advanced:
    """The share of a job that is done, 0..1."""

    job: int
    share: float


@dataclass(frozen=True)
class Ended:
    """A job is over.

    Attributes:
        job: number of the job.
        error: what went wrong; empty when nothing did.
        lost: whether its process was killed or its machine is gone. Then nothing is known to be
            wrong with the job itself.
    """

    job: int
    error: str = ""
    lost: bool = False


Event = Advanced | Ended


def attempt(job: Job, report: ReportProgress) -> str:
    """Runs a job on one PyTorch thread; returns what went wrong, empty when nothing did.

    An error that nobody foresaw is not caught: it ends the process with its traceback.
    """
    torch.set_num_threads(1)
    try:
        job(report)
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        return str(error) or type(error).__name__
    return ""


def _serve(connection: Connection) -> None:
    """Runs in a worker: does each job that is sent, until the sender is gone."""
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
    """A process and the job that it runs."""

    def __init__(self) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.job: int | None = None
        """Number of the job that it runs; None: it waits for one."""

    def send(self, number: int, job: Job) -> None:
        self.job = number
        # Where it has died while it waited, `receive` finds that out.
        with suppress(BrokenPipeError):
            self.connection.send((number, job))

    def receive(self) -> Event:
        """The next event of its job; the end of the job when the process has died."""
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

    def terminate(self) -> None:
        self.connection.close()
        self._process.terminate()
        self._process.join()


class ProcessPool:
    """Runs jobs in a fixed number of processes, which stay for the next jobs until `close`.

    So a process keeps what it has read. A process that dies is replaced.
    """

    def __init__(self, workers: int) -> None:
        self._size = workers
        self._workers: list[_Worker] = []

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """Runs the jobs and yields their events; only one call may run at a time."""
        due = deque(enumerate(jobs))
        left = len(due)
        # Heard by the server's first start only; a later kind of job imports the rest by itself.
        kinds = sorted({type(job).__module__ for job in jobs})
        _CONTEXT.set_forkserver_preload([__name__, _WITH_THE_FIRST_OPTIMISER, *kinds])
        while left:
            self._assign(due)
            busy = {worker.connection: worker for worker in self._workers if worker.job is not None}
            for ready in wait(list(busy)):
                worker = next(w for connection, w in busy.items() if connection is ready)
                event = worker.receive()
                left -= isinstance(event, Ended)
                yield event
            # Where one has died in the middle of a job, `receive` is still to say so.
            self._workers = [w for w in self._workers if w.job is not None or w.alive]

    def _assign(self, due: deque[tuple[int, Job]]) -> None:
        """Gives a job to each worker that has none, while there are jobs."""
        while len(self._workers) < min(self._size, len(due)):
            self._workers.append(_Worker())
        for worker in self._workers:
            if worker.job is None and due:
                worker.send(*due.popleft())

    def close(self) -> None:
        """Ends the processes, even in the middle of a job."""
        for worker in self._workers:
            worker.terminate()
        self._workers.clear()


class Executor(Protocol):
    """Runs jobs: in a pool of processes, or on a cluster."""

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """Runs the jobs and yields their events; each job ends once."""

    def close(self) -> None:
        """Stops the jobs that still run."""


def run_with_retries(jobs: Sequence[Job], executor: Executor) -> Iterator[Event]:
    """Runs the jobs, each up to MAX_ATTEMPTS times where its process is lost; each ends once."""
    due = list(range(len(jobs)))
    for attempt_number in range(1, MAX_ATTEMPTS + 1):
        lost = []
        for event in executor([jobs[number] for number in due]):
            event = replace(event, job=due[event.job])
            if not isinstance(event, Ended) or not event.lost:
                yield event
            elif attempt_number == MAX_ATTEMPTS:
                yield replace(event, error=f"{event.error}, {MAX_ATTEMPTS} times")
            else:
                lost.append(event.job)
                yield Advanced(event.job, 0.0)
        due = lost


def run_to_end(
    jobs: Sequence[Job], executor: Executor, advanced: Callable[[int, float], None]
) -> dict[int, str]:
    """Runs all jobs, with retries.

    Args:
        jobs: what to do.
        executor: does it.
        advanced: told the number of a job and the share of it that is done, 0..1; 1 where it is
            over, whether it failed or not.

    Returns:
        What went wrong with each job that failed, by its number.
    """
    failures: dict[int, str] = {}
    for event in run_with_retries(jobs, executor):
        if isinstance(event, Ended) and event.error:
            failures[event.job] = event.error
        advanced(event.job, event.share if isinstance(event, Advanced) else 1.0)
    return failures


def run_jobs(title: str, jobs: Sequence[Job], executor: Executor, console: Console) -> list[str]:
    """Runs all jobs under a progress bar.

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
        for event in executor(jobs):
            shares[event.job] = event.share if isinstance(event, Advanced) else 1.0
            if isinstance(event, Ended):
                ended += 1
                if event.error:
                    failures.append(f"{jobs[event.job].name}: {event.error}")
                    console.print(f"failed: {failures[-1]}", markup=False)
            progress.update(bar, completed=sum(shares), done=f"{ended} of {len(jobs)}")
    return failures
