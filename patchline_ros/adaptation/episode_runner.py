"""Runs episodes in a worker process and keeps what they accepted."""

from __future__ import annotations

import queue
import signal
import subprocess
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from patchline_ros.adaptation.bank import KnownDrift
from patchline_ros.adaptation.episode import LATEST_NS, EpisodeJob, Event, Failed, Finished
from patchline_ros.adaptation.events import from_line
from patchline_ros.adaptation.patch_set_files import (
    Seal,
    patch_set_file,
    remove_patch_set,
    stored_patch_sets,
    write_patch_set,
)
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.adaptation.unlabelled_frames import UnlabelledFrames
from patchline_ros.adaptation.worker_process import LOG, begin, end, start_worker
from patchline_ros.files import adopt_earlier_names, remove_leftovers, write_file
from patchline_ros.patching.patch_set import renumbered
from patchline_ros.tasks import Task
from patchline_ros.vision.device import Device

KEPT_VERSIONS: Final = 8
"""Patch sets of each task that are kept. A node holds the running one and two to roll back to; the
others are for rollbacks and new versions that take turns, and for a look at what was before."""
_JOB: Final = "job.json"


class EpisodeRunner:
    """Starts a worker for an episode and hands on its events.

    The work folder keeps the last accepted patch sets (`<task>.v<version>.safetensors`), the last
    job.json and episode.json, and the worker's log. An empty patch set stands for the source model.
    The newest version of a task always stays, so that no number is given twice; nor is one that a
    node runs, though its file may be gone.
    """

    def __init__(
        self,
        bundle: Path,
        store: Path,
        work: Path,
        training: TrainingSettings,
        seed: int,
        threads: int,
        device: Device = Device.CPU,
        seal: Seal | None = None,
        bundle_key: Path | None = None,
    ) -> None:
        self.seal = seal or Seal()
        self._bundle_key = bundle_key
        self._bundle = bundle
        self._store = store
        self._work = work
        self._training = training
        self._seed = seed
        self._threads = threads
        self._device = device
        self._heard: dict[Task, int] = {}
        self._worker: subprocess.Popen[str] | None = None
        self._spare: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        work.mkdir(parents=True, exist_ok=True)
        remove_leftovers(work)
        adopt_earlier_names(work)

    @property
    def running(self) -> bool:
        """Whether an episode is under way, or has events that nobody took yet."""
        return self._reader is not None and (self._reader.is_alive() or not self._events.empty())

    def latest(self) -> dict[Task, tuple[int, Path]]:
        """Version and file of the newest stored patch set of each task."""
        return {task: max(stored.items()) for task, stored in stored_patch_sets(self._work).items()}

    def drop_old(self, active: Mapping[Task, int]) -> None:
        """Removes old versions: the last `KEPT_VERSIONS` of each task and the active one stay.

        Those that stand for the source model do not count, and go but for the newest of a task. The
        bank of earlier patch sets has copies of its own.

        Args:
            active: version of each task's active patch set.

        Raises:
            OSError: the disk refuses it.
        """
        for task, stored in stored_patch_sets(self._work).items():
            patch_sets = [version for version in sorted(stored) if stored[version].stat().st_size]
            stay = {max(stored), active.get(task, 0), *patch_sets[-KEPT_VERSIONS:]}
            for version in stored.keys() - stay:
                remove_patch_set(stored[version])

    def return_to_source(self, task: Task, base_fingerprint: str) -> tuple[int, Path]:
        """Keeps, as a version of its own, that the source model is to run from now on.

        Returns:
            The version and its file.

        Raises:
            OSError: the disk refuses the file.
            SigningError: the key can't be used any more.
        """
        version = self._next_version(task)
        return version, self._write(task, version, base_fingerprint, b"")

    def _write(self, task: Task, version: int, base_fingerprint: str, data: bytes) -> Path:
        return write_patch_set(self._work, task, version, base_fingerprint, data, self.seal)

    def keep_undone(
        self, task: Task, removed: Collection[int], running: int, base_fingerprint: str
    ) -> tuple[int, Path] | None:
        """Keeps, as a version of its own, that an earlier model is to run from now on.

        Args:
            task: whose patch set was undone.
            removed: its version; where several were undone, theirs.
            running: the version that runs since then, 0 for the source model.
            base_fingerprint: of the source model.

        Returns:
            The new version and its file; None where the newest one was not among the removed.

        Raises:
            OSError: the earlier patch set is gone, or the disk refuses the file.
            PatchSetError: the earlier patch set is damaged.
            SigningError: it is not this adapter's, or the key can't be used any more.
        """
        version = self._next_version(task)
        if version - 1 not in removed:
            return None
        if not running:
            return self.return_to_source(task, base_fingerprint)
        path = patch_set_file(self._work, task, running)
        data = path.read_bytes()
        self.seal.check_stored(path, task, running, base_fingerprint, data)
        return version, self._write(task, version, base_fingerprint, renumbered(data, version))

    def heard(self, task: Task, version: int) -> None:
        """Takes in that a node has run this version; 0 is the source model."""
        self._heard[task] = max(version, self._heard.get(task, 0))

    def missing(self, active: Mapping[Task, int]) -> dict[Task, Path]:
        """Files of active patch sets that are gone: the gate compares with the source model there.

        Args:
            active: version of each task's active patch set, 0 for the source model.
        """
        files = {
            task: patch_set_file(self._work, task, version)
            for task, version in active.items()
            if version
        }
        return {task: path for task, path in files.items() if not path.is_file()}

    def _next_version(self, task: Task) -> int:
        stored, _ = self.latest().get(task, (0, None))
        return max(stored, self._heard.get(task, 0)) + 1

    def start(
        self,
        since_ns: int,
        mmd2: float,
        active: Mapping[Task, int],
        known: KnownDrift | None = None,
        until_ns: int = LATEST_NS,
        unlabelled: UnlabelledFrames | None = None,
        unlabelled_ns: int | None = None,
    ) -> None:
        """Removes old versions and starts an episode on stored frames.

        Args:
            since_ns: stamp from which frames belong to the drift.
            mmd2: the drift's MMD^2.
            active: version of each task's active patch set, 0 for the source model; the gate
                compares with these.
            known: an earlier drift whose patch sets are verified instead of training new ones.
            until_ns: stamp of the last frame that is used.
            unlabelled: pictures that the prepared patches answer by, instead of training new ones.
            unlabelled_ns: stamp of the first of these; None: `since_ns`.

        Raises:
            RuntimeError: an episode is already under way.
            OSError: the disk refuses the job, or the system the process.
        """
        if self.running:
            raise RuntimeError("an episode is already under way")
        self.stop()
        self._work.mkdir(parents=True, exist_ok=True)
        self.drop_old(active)
        job = EpisodeJob(
            bundle=self._bundle,
            store=self._store,
            output=self._work,
            since_ns=since_ns,
            until_ns=until_ns,
            mmd2=mmd2,
            running={
                task: path
                for task, version in active.items()
                if version and (path := patch_set_file(self._work, task, version)).is_file()
            },
            known=known.patch_sets if known else {},
            bank_entry=known.name if known else "",
            unlabelled=unlabelled.write(self._work, unlabelled_ns or since_ns, until_ns)
            if unlabelled
            else {},
            next_version={task: self._next_version(task) for task in Task},
            training=self._training,
            seed=self._seed,
            threads=self._threads,
            device=self._device,
            seal=self.seal,
            bundle_key=self._bundle_key,
        )
        self._launch(job)

    def keep_ready(self, ready: bool) -> None:
        """A worker loads its libraries before there is a job, or one that got none ends.

        Loading takes seconds, for which the first answer would wait.

        Raises:
            OSError: the system refuses the process.
        """
        if ready and self._spare is None and not self.running:
            self._spare = start_worker(self._work / _JOB)
        elif not ready and self._spare is not None:
            with self._spare as spare:
                end(spare)
            self._spare = None

    def _launch(self, job: EpisodeJob) -> None:
        """Gives a worker the job, and starts the thread that hears it."""
        job_file = self._work / _JOB
        write_file(job_file, job.model_dump_json(indent=1).encode())
        if self._spare is not None and self._spare.poll() is not None:
            self.keep_ready(False)
        self._worker, self._spare = self._spare or start_worker(job_file), None
        begin(self._worker, job_file)
        self._reader = threading.Thread(target=self._read, args=(self._worker,), daemon=True)
        self._reader.start()

    def _read(self, worker: subprocess.Popen[str]) -> None:
        assert worker.stdout is not None
        ended, log = False, self._work / LOG
        with worker.stdout:
            for line in worker.stdout:
                try:
                    event = from_line(line)
                except ValueError:
                    # A kill cut it, or something prints where only events belong.
                    said = f"the training process said {line[:100]!r}, which is no event"
                    event = Failed(f"{said}; see {log}")
                    worker.kill()
                ended = isinstance(event, Finished | Failed)
                self._events.put(event)
                if ended:
                    break
        code = worker.wait()
        if not ended:
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            self._events.put(Failed(f"the training process ended with {how}; see {log}"))

    def poll(self) -> list[Event]:
        """Events since the last call; never waits."""
        events = []
        while not self._events.empty():
            events.append(self._events.get())
        return events

    def stop(self) -> None:
        """Ends the worker if there is one and joins its reader; its stored patch sets stay."""
        if self._worker is not None:
            end(self._worker)
        if self._reader is not None:
            self._reader.join()
        self._worker = None
        self._reader = None
