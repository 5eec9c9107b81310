"""Runs episodes in a worker process and keeps what they accepted."""

from __future__ import annotations

import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from patchline_ros.adaptation.bank import KnownDrift
from patchline_ros.adaptation.episode import LATEST_NS, EpisodeJob, Event, Failed, Finished
from patchline_ros.adaptation.events import from_line
from patchline_ros.adaptation.trainer import TrainingSettings
from patchline_ros.files import write_file
from patchline_ros.tasks import Task

_PATCH_SET = re.compile(r"(\w+)\.v(\d+)\.safetensors")


class EpisodeRunner:
    """Starts a worker for an episode and hands on its events.

    The work folder keeps the accepted patch sets (`<task>.v<version>.safetensors`), the last
    job.json and episode.json, and the worker's log. An empty patch set stands for the source model.
    """

    def __init__(
        self,
        bundle: Path,
        store: Path,
        store_capacity: int,
        work: Path,
        training: TrainingSettings,
        seed: int,
        threads: int,
    ) -> None:
        self._bundle = bundle
        self._store = store
        self._store_capacity = store_capacity
        self._work = work
        self._training = training
        self._seed = seed
        self._threads = threads
        self._worker: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        work.mkdir(parents=True, exist_ok=True)

    @property
    def running(self) -> bool:
        """Whether an episode is under way, or has events that nobody took yet."""
        return self._reader is not None and (self._reader.is_alive() or not self._events.empty())

    def latest(self) -> dict[Task, tuple[int, Path]]:
        """Version and file of the newest stored patch set of each task."""
        newest: dict[Task, tuple[int, Path]] = {}
        for path in self._work.iterdir():
            match = _PATCH_SET.fullmatch(path.name)
            if match and match[1] in {str(task) for task in Task}:
                task, version = Task(match[1]), int(match[2])
                if version > newest.get(task, (0, path))[0]:
                    newest[task] = (version, path)
        return newest

    def return_to_source(self, task: Task) -> Path:
        """Keeps, as a version of its own, that the source model is to run from now on.

        Raises:
            OSError: the disk refuses the file.
        """
        path = self._work / f"{task}.v{self._next_version(task)}.safetensors"
        write_file(path, b"")
        return path

    def _next_version(self, task: Task) -> int:
        newest = self.latest().get(task)
        return newest[0] + 1 if newest else 1

    def start(
        self,
        since_ns: int,
        mmd2: float,
        active: Mapping[Task, int],
        known: KnownDrift | None = None,
        until_ns: int = LATEST_NS,
    ) -> None:
        """Starts an episode on stored frames.

        Args:
            since_ns: stamp from which frames belong to the drift.
            mmd2: the drift's MMD^2.
            active: version of each task's active patch set, 0 for the source model; the gate
                compares with these.
            known: an earlier drift whose patch sets are verified instead of training new ones.
            until_ns: stamp of the last frame that is used.

        Raises:
            RuntimeError: an episode is already under way.
        """
        if self.running:
            raise RuntimeError("an episode is already under way")
        self.stop()
        job = EpisodeJob(
            bundle=self._bundle,
            store=self._store,
            store_capacity=self._store_capacity,
            output=self._work,
            since_ns=since_ns,
            until_ns=until_ns,
            mmd2=mmd2,
            running={
                task: path
                for task, version in active.items()
                if version and (path := self._work / f"{task}.v{version}.safetensors").is_file()
            },
            known=known.patch_sets if known else {},
            bank_entry=known.name if known else "",
            next_version={task: self._next_version(task) for task in Task},
            training=self._training,
            seed=self._seed,
            threads=self._threads,
        )
        job_file = self._work / "job.json"
        write_file(job_file, job.model_dump_json(indent=1).encode())
        command = [sys.executable, "-m", "patchline_ros.adaptation.worker", str(job_file)]
        with (self._work / "worker.log").open("w", encoding="utf-8") as log:
            self._worker = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        self._reader = threading.Thread(target=self._read, args=(self._worker,), daemon=True)
        self._reader.start()

    def _read(self, worker: subprocess.Popen[str]) -> None:
        assert worker.stdout is not None
        ended = False
        for line in worker.stdout:
            event = from_line(line)
            ended = isinstance(event, Finished | Failed)
            self._events.put(event)
        code = worker.wait()
        if not ended:
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            self._events.put(
                Failed(f"the training process ended with {how}; see {self._work / 'worker.log'}")
            )

    def poll(self) -> list[Event]:
        """Events since the last call; never waits."""
        events = []
        while not self._events.empty():
            events.append(self._events.get())
        return events

    def stop(self) -> None:
        """Ends the worker if there is one and joins its reader; its stored patch sets stay."""
        if self._worker is not None and self._worker.poll() is None:
            self._worker.terminate()
            try:
                self._worker.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._worker.kill()
                self._worker.wait()
        if self._reader is not None:
            self._reader.join()
        self._worker = None
        self._reader = None
