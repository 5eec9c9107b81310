"""The graph under trial with all that watches it: what must hold, whatever is done to it."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from patchline_ros.adaptation.epoch import read_epoch
from patchline_ros.adaptation.patch_set_files import (
    Seal,
    patch_set_file,
    stored_patch_sets,
    write_patch_set,
)
from patchline_ros.adaptation.storage import EPOCH
from patchline_ros.adaptation.store import StoredFrame, StoredFrames
from patchline_ros.bundle import Bundle
from patchline_ros.graph.description import NODE_OF_TASK, Parameters
from patchline_ros.graph.processes import Processes
from patchline_ros.msg import PatchSet
from patchline_ros.nodes.conversions import bytes_field
from patchline_ros.signing import Signer, make_keys, statement
from patchline_ros.tasks import Sample, Task
from patchline_ros.trials.expected_answers import ExpectedAnswers
from patchline_ros.trials.own_node import Diagnosis
from patchline_ros.trials.probe import NOT_SENT, Probe
from patchline_ros.trials.random_patches import made_patch_set
from patchline_ros.trials.respawn import Supervisor
from patchline_ros.trials.trial_logs import TrialLogs
from patchline_ros.trials.trial_pictures import render_pictures, same_label
from patchline_ros.trials.trial_setup import TrialSetup

ADAPTER: Final = "adapter"
MONITOR: Final = "drift_monitor"
CAR: Final = "/"  # The graph's namespace, which signatures are for.
START_SECONDS: Final = 120.0
NEVER: Final = 100_000
"""Labelled frames that a training waits for: it starts only where a case asks for it."""
_POLL_SECONDS: Final = 0.05
_TEACH_AGAIN_SECONDS: Final = 0.5
_CAPACITY: Final = 2000


class NotSeenError(RuntimeError):
    """The graph did not do in time what it should; the message says what."""


class TrialGraph:
    """The graph with one accepted patch set for each task, in which cases are tried."""

    def __init__(self, setup: TrialSetup) -> None:
        """Prepares all that the graph needs: a bundle of its own, a store, keys, references."""
        torch.set_num_threads(1)
        self.bundle_folder = setup.out / "bundle"
        shutil.copytree(setup.bundle, self.bundle_folder)
        self.setup = replace(setup, bundle=self.bundle_folder)
        self.bundle = Bundle.load(self.bundle_folder)
        self.tasks = sorted(self.bundle.manifest.models)
        self.episodes = setup.store / "episodes"
        self.episodes.mkdir(parents=True)
        private, self._public = make_keys(setup.out / "adapter")
        self._seal = Seal(key=private)
        self.signer, self.epoch = Signer(private), 0
        self._nodes_key, self._nodes_public = make_keys(setup.out / "nodes")
        self.nodes_signer = Signer(self._nodes_key)
        for task in self.tasks:
            self.store_patch_set(task, 1, made_patch_set(self.bundle, task, 1))
        self.frames = setup.store / "frames"
        self.pictures = render_pictures()
        self.answers = ExpectedAnswers(self.bundle, self.pictures.fixed, self.episodes)
        self.answers.learn()
        self._check_that_patches_show()
        self.logs = TrialLogs(setup.out / "logs")
        self._taught: dict[tuple[Task, str], tuple[int, Sample]] = {}
        self._acknowledged: set[tuple[Task, str]] = set()
        self._damaged: set[tuple[Task, str]] = set()
        self._compared: set[tuple[Task, str]] = set()
        self._lesson = 0
        self._last: dict[Task, tuple[int, set[int]]] = {}
        self.expected: dict[Task, int] = {}
        """Where a case makes another version than the newest run."""
        self.troubles: list[str] = []
        self.answers_compared = 0
        """Answers that were compared with those of the models that may run."""
        self.over_ns = 0
        self.probe: Probe
        self.supervisor: Supervisor

    def _check_that_patches_show(self) -> None:
        for task in self.tasks:
            source, patched = self.answers.of(task, 0), self.answers.of(task, 1)
            if any(one == other for one, other in zip(source, patched, strict=True)):
                raise ValueError(
                    f"the {task} model gives the same answer with a patch set as without; this "
                    "bundle can't show which one runs"
                )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Starts the graph, and ends it. Raises TimeoutError where it does not come up."""
        own: Parameters = {"signing_key": str(self._nodes_key)}
        kept: Parameters = {"memory": str(self.setup.out / "memory")}
        perception: Parameters = {**own, **kept, "trusted_key": str(self._public)}
        changes: dict[str, Parameters] = {
            **{name: perception for name in NODE_OF_TASK.values()},
            MONITOR: own,
            ADAPTER: {
                "signing_key": str(self._seal.key),
                "trusted_key": str(self._nodes_public),
                "min_frames": NEVER,
                "capacity": _CAPACITY,
            },
        }
        self.probe = Probe(self.setup.domain, self.pictures)
        self.probe.start()
        try:
            processes = Processes(self.logs.folder, self.setup.environment)
            self.supervisor = Supervisor(processes, self.setup.nodes(changes))
            with self.supervisor:
                self.begin()
                if self.recovery(START_SECONDS) is None:
                    raise TimeoutError(
                        f"the graph did not come up within {START_SECONDS:.0f} s: "
                        f"{self.missing()}; logs are in {self.logs.folder}"
                    )
                yield
        finally:
            self.probe.close()

    # What happens in a case.

    def begin(self) -> None:
        """Begins a new case, to which earlier logs and troubles do not belong."""
        self.troubles = []
        self.expected = {}
        self.logs.begin()
        self.over_ns = time.time_ns()

    def over(self) -> None:
        """Ends the fault: the recovery is measured from here, by what is sent from now on."""
        self.over_ns = time.time_ns()

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
        """Waits until it holds, looking at all that comes. Raises NotSeenError with `what`."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise NotSeenError(f"{what}: not within {seconds:.0f} s")
            self.look()
            time.sleep(_POLL_SECONDS)

    def wait(self, seconds: float) -> None:
        """Lets time pass, looking at all that comes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.look()
            time.sleep(_POLL_SECONDS)

    def look(self) -> None:
        """Compares the answers that came. Raises RuntimeError when the probe itself has failed."""
        self.probe.check()
        for answer in self.probe.take_answers():
            if answer.place == NOT_SENT:
                self.trouble(
                    f"{answer.task}: a result with the stamp {answer.stamp_ns}, that of no picture"
                )
            elif answer.place is not None:
                versions = self.answers.versions(answer.task, answer.place, answer.data)
                self.answers_compared += 1
                if not versions:
                    self.trouble(f"{answer.task}: an answer that no accepted model gives")
                self._last[answer.task] = (answer.stamp_ns, versions)

    def until_said(self, name: str, text: str, seconds: float = 10.0) -> None:
        """Waits until a node's log has this text. Raises NotSeenError."""
        self.until(lambda: self.logs.said(name, text), f"{name} names {text}", seconds)

    def take_down(self, names: Sequence[str]) -> None:
        """Kills processes, which stay down until `bring_up`."""
        self.supervisor.hold(names, signal.SIGKILL)
        for name in names:
            self.forget(name)

    def bring_up(self, names: Sequence[str]) -> None:
        """Ends the fault and starts processes again that were taken down."""
        self.over()
        self.supervisor.release(names)

    def trouble(self, what: str) -> None:
        """Notes something that must not be, once."""
        if what not in self.troubles:
            self.troubles.append(what)

    def recovery(self, seconds: float) -> float | None:
        """Waits until everything works for what was sent since the fault was over.

        Every task answers with the version that is to run, every node reports, and a labelled frame
        is stored. Returns the seconds since the fault was over, None after `seconds`.
        """
        key = self.teach()
        taught = time.monotonic()
        deadline = taught + seconds
        while not (self._answering() and self._reporting() and self.stored(*key)):
            if time.monotonic() > deadline:
                return None
            if time.monotonic() - taught > _TEACH_AGAIN_SECONDS and not self.stored(*key):
                self.teach_again(*key)
                taught = time.monotonic()
            self.look()
            time.sleep(_POLL_SECONDS)
        return (time.time_ns() - self.over_ns) / 1e9

    def missing(self) -> str:
        """What of a recovery is not there."""
        self.answers.learn()
        versions = {str(task): self.to_run(task) for task in self.tasks}
        late = [str(task) for task in self.tasks if not self.answers_well(task)]
        silent = [name for name in self.supervisor.names if not self._reports(name)]
        return (
            f"no right answers of {late or 'none'} (to run are {versions}), no report of "
            f"{silent or 'none'}"
        )

    def to_run(self, task: Task) -> int:
        """The version that every answer must come from in the end."""
        return self.expected.get(task, self.answers.newest(task))

    def answers_well(self, task: Task) -> bool:
        """Whether its last answer is to a picture of now, and from the version that is to run."""
        stamp_ns, versions = self._last.get(task, (0, set[int]()))
        return stamp_ns > self.over_ns and self.to_run(task) in versions

    def _answering(self) -> bool:
        self.answers.learn()
        return all(self.answers_well(task) for task in self.tasks)

    def _reports(self, name: str) -> bool:
        return self.diagnosis(name).stamp_ns > self.over_ns

    def _reporting(self) -> bool:
        return all(self._reports(name) for name in self.supervisor.names)

    def forget(self, name: str) -> None:
        """Forgets what a node said before it was started again."""
        self.look()
        self.probe.diagnoses.pop(name, None)
        for task, node in NODE_OF_TASK.items():
            if node == name:
                self._last.pop(task, None)

    def diagnosis(self, name: str) -> Diagnosis:
        """What a node said of itself last."""
        return self.probe.diagnoses.get(name, Diagnosis(0, "", {}))

    def counted(self, name: str, key: str) -> int:
        """A number in a node's diagnostics; 0 where it is not known."""
        return int(self.diagnosis(name).values.get(key, 0))

    def growth(self, name: str, key: str) -> Callable[[], bool]:
        """Tells whether a number in a node's diagnostics has grown since this call."""
        before = self.counted(name, key)
        return lambda: self.counted(name, key) > before

    # Labelled frames.

    def teach(self) -> tuple[Task, str]:
        """Sends a labelled frame, of the tasks in turn; returns what it can be found by."""
        key = self.new_lesson(self.tasks[self._lesson % len(self.tasks)])
        self.teach_again(*key)
        return key

    def new_lesson(self, task: Task) -> tuple[Task, str]:
        """A labelled frame of now that is not sent yet."""
        self._lesson += 1
        samples = self.pictures.labelled[task]
        key = (task, f"trial{self._lesson:05d}")
        self._taught[key] = (time.time_ns(), samples[self._lesson % len(samples)])
        return key

    def stamp_of(self, key: tuple[Task, str]) -> int:
        """Of a labelled frame, in nanoseconds."""
        return self._taught[key][0]

    def teach_again(self, task: Task, frame_id: str) -> None:
        """Sends the same labelled frame as before."""
        stamp_ns, sample = self._taught[task, frame_id]
        self.probe.teach(frame_id, task, sample, stamp_ns)

    def teach_all(self, keys: list[tuple[Task, str]]) -> None:
        """Sends labelled frames until they are stored. Raises NotSeenError."""

        def stored() -> bool:
            missing = [key for key in keys if not self.stored(*key)]
            for key in missing[:8]:
                self.teach_again(*key)
            self.wait(0.2)
            return not missing

        self.until(stored, f"{len(keys)} labelled frames are stored", 30)

    def stored(self, task: Task, frame_id: str) -> bool:
        """Whether a labelled frame lies in the store; from then on it must stay."""
        there = any(found.frame_id == frame_id for found in self.select(task))
        if there:
            self._acknowledged.add((task, frame_id))
        return there

    def select(self, task: Task) -> list[StoredFrame]:
        """The frames of a task in the store; none while there is no store."""
        if not (self.frames / str(task)).is_dir():
            return []
        return StoredFrames(self.frames).select(task, 0)

    def given_up(self, key: tuple[Task, str]) -> None:
        """Expects this frame no longer, since a case damages it."""
        self._damaged.add(key)

    def whole_again(self, key: tuple[Task, str]) -> None:
        """Expects this frame again, since the case has put it back."""
        self._damaged.discard(key)

    @property
    def acknowledged(self) -> int:
        """Labelled frames that were in the store once."""
        return len(self._acknowledged)

    def check_store(self) -> None:
        """Notes acknowledged frames that are gone, and new ones that are not as they were sent."""
        for task, frame_id in self._lost(self._compared):
            self.trouble(f"labelled frame {frame_id} for {task} is lost or not what was sent")

    def check_whole_store(self) -> list[str]:
        """Acknowledged frames that are gone, or not as they were sent."""
        return [f"{task} {frame_id}" for task, frame_id in self._lost(set())]

    def _lost(self, compared: set[tuple[Task, str]]) -> list[tuple[Task, str]]:
        """Acknowledged frames that are gone or changed; those `compared` are not read again."""
        lost = []
        for task in self.tasks:
            found: dict[str, list[StoredFrame]] = {}
            for frame in self.select(task):
                found.setdefault(frame.frame_id, []).append(frame)
                if (task, frame.frame_id) in self._taught:
                    self._acknowledged.add((task, frame.frame_id))
            for key in sorted(self._acknowledged - self._damaged):
                if key[0] is not task:
                    continue
                frames = found.get(key[1], [])
                if len(frames) != 1 or not (key in compared or self._as_sent(key, frames[0])):
                    lost.append(key)
                compared.add(key)
        return lost

    def _as_sent(self, key: tuple[Task, str], frame: StoredFrame) -> bool:
        sent = self._taught[key][1]
        (kept,) = StoredFrames(self.frames).read([frame])
        return bool(np.array_equal(kept.image, sent.image)) and same_label(kept.label, sent.label)

    # Patch sets.

    def patch_file(self, task: Task, version: int) -> Path:
        """The file in which the adapter keeps a patch set."""
        return patch_set_file(self.episodes, task, version)

    def store_patch_set(self, task: Task, version: int, data: bytes) -> None:
        """Keeps a patch set as the adapter's gate would."""
        base = self.bundle.fingerprint(task)
        write_patch_set(self.episodes, task, version, base, data, self._seal)

    def newest_file(self, task: Task) -> int:
        """The highest version that lies in the store."""
        return max(stored_patch_sets(self.episodes)[task])

    def signed(
        self, task: Task, version: int, fingerprint: str, digest: str, data: bytes
    ) -> PatchSet:
        """A patch set's message with the signature of the adapter's key."""
        text = statement(self._seal.car, task, version, fingerprint, digest)
        # A case may have wiped the store, and the nodes remember what they have heard.
        self.epoch = max(self.epoch, read_epoch(self.setup.store / EPOCH))
        return PatchSet(
            task=str(task),
            version=version,
            base_fingerprint=fingerprint,
            sha256=digest,
            data=bytes_field(data),
            signature=bytes_field(self.signer.issue(text, self.epoch)),
        )
