"""The loop of the adapter without ROS: what it keeps, refuses, trains, sends and brings back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from raw_features import raw_features
from small_disk import SmallDisk
from tiny_bundle import make_bundle, make_patch_set

from patchline_ros.adaptation.adaptation_loop import AdaptationLoop
from patchline_ros.adaptation.label_intake import LabelIntake
from patchline_ros.adaptation.label_policy import LabelPolicy
from patchline_ros.adaptation.loop_status import LoopStatus
from patchline_ros.adaptation.patch_versions import PatchVersions, SentPatchSet
from patchline_ros.adaptation.planner import Drift
from patchline_ros.adaptation.storage import Storage, StorageSettings, bank_folder
from patchline_ros.adaptation.store import StoredFrames
from patchline_ros.bundle import Bundle
from patchline_ros.messages.loop_state import LoopState
from patchline_ros.patching.patch_set import read_metadata
from patchline_ros.tasks import Sample, Task

SECOND = 1_000_000_000
DRIFT_BEGAN = 100 * SECOND
CALM = Drift(drifting=False, mmd2=0.01, since_ns=0, stamp_ns=60 * SECOND)


def drift(since_ns: int = DRIFT_BEGAN, seconds: int = 60) -> Drift:
    """A reading of a drift, that many seconds after it began."""
    return Drift(True, 0.4, since_ns, since_ns + seconds * SECOND)


class Sentences:
    """A log that only remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, message: str) -> None:
        self.said.append(message)

    warning = refusal = info

    def error(self, message: str, *, throttle_duration_sec: float = 0.0) -> None:
        self.said.append(message)

    def has(self, text: str) -> bool:
        return any(text in message for message in self.said)


class Adapter:
    """A loop with all that it hears and says."""

    def __init__(
        self,
        bundle: Bundle,
        store: Path,
        least: int = 24,
        epochs: int = 20,
        capacity: int = 400,
        labels: LabelPolicy = LabelPolicy.WELCOME,
    ) -> None:
        self.bundle = bundle
        self.log = Sentences()
        self.statuses: list[LoopStatus] = []
        self.sent: list[SentPatchSet] = []
        settings = StorageSettings(capacity, 256, epochs, seed=0, threads=1)
        self.storage = Storage.open(store, bundle, settings)
        self.versions = PatchVersions(
            bundle, self.storage.runner, self.storage.epoch, self.sent.append, self.log
        )
        self.labels = LabelIntake(bundle, self.storage.frames, self.log)
        self.loop = AdaptationLoop(
            bundle,
            self.storage,
            self.versions,
            lambda: least,
            labels,
            self.statuses.append,
            self.log,
        )
        self.loop.start()

    @property
    def state(self) -> LoopState:
        return self.statuses[-1].state

    @property
    def sent_versions(self) -> list[int]:
        return [patch_set.version for patch_set in self.sent]

    def label(self, numbers: range, task: Task = Task.CLASSIFICATION) -> None:
        """Labelled pictures whose colour tells the class, each one second later."""
        for number in numbers:
            image = np.full((32, 32, 3), 40 + 80 * (number % 3), dtype=np.uint8)
            label = number % 3 if task is Task.CLASSIFICATION else np.zeros((32, 32), np.uint8)
            stamp_ns = DRIFT_BEGAN + number * SECOND
            self.labels.take(f"f{number}", task, stamp_ns, Sample(image, label))

    def removed(self, version: int, running: int) -> None:
        """The sign classifier says that it has removed a version."""
        self.loop.heard_version(Task.CLASSIFICATION, "classification", running, version, True)

    def runs(self, version: int) -> None:
        """The sign classifier says what it runs."""
        self.loop.heard_version(Task.CLASSIFICATION, "classification", version, 0, False)

    def calm(self) -> None:
        """So many readings without a drift that it has passed."""
        for _ in range(self.bundle.drift_reference.window + 1):
            self.loop.heard_drift(CALM)

    def until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.log.said
            self.loop.tick()
            time.sleep(0.02)

    def until_finished(self) -> None:
        """Its process has ended, too."""
        self.until(lambda: self.state is LoopState.FINISHED)
        self.until(lambda: not self.storage.runner.running)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("loop") / "bundle")


@pytest.fixture
def adapters() -> Iterator[list[Adapter]]:
    made: list[Adapter] = []
    yield made
    for adapter in made:
        adapter.loop.stop()


@pytest.fixture
def adapter(bundle: Bundle, tmp_path: Path, adapters: list[Adapter]) -> Adapter:
    adapters.append(Adapter(bundle, tmp_path / "store"))
    return adapters[-1]


def stored(store: Path, bundle: Bundle, *versions: int) -> None:
    """Patch sets that an earlier adapter has left."""
    (store / "episodes").mkdir(parents=True)
    for version in versions:
        path = store / "episodes" / f"classification.v{version}.safetensors"
        path.write_bytes(make_patch_set(bundle, Task.CLASSIFICATION, version))


def test_readings_and_statuses_that_make_no_sense_are_refused(adapter: Adapter) -> None:
    adapter.label(range(24))
    adapter.loop.heard_drift(Drift(True, float("nan"), SECOND, 0))
    assert adapter.log.has("drift status refused: its MMD^2 is nan")
    for began_ns in (-5 * SECOND, 0):
        adapter.loop.heard_drift(drift(began_ns))
    adapter.loop.heard_version(Task.CLASSIFICATION, "trees", 3, 0, False)
    assert adapter.log.has("patch status refused: it is of 'trees', on the topic of classif")
    adapter.runs(2**64 - 1)
    assert adapter.log.has("no patch set for classification is version 18446744073709551615")
    assert adapter.loop.ignored == 5
    adapter.loop.tick()
    assert adapter.state is LoopState.IDLE
    adapter.loop.heard_drift(drift())
    assert adapter.state is LoopState.TRAINING


@pytest.mark.parametrize(
    "damage", [b"\xff\xfe garbage", b'{"since_ns": 12', b"[1]", b"{}", b'{"since_ns": "x"}']
)
def test_a_damaged_report_of_an_episode_is_named_and_forgotten(
    bundle: Bundle, tmp_path: Path, damage: bytes
) -> None:
    (tmp_path / "episodes").mkdir()
    (tmp_path / "episodes" / "episode.json").write_bytes(damage)
    adapter = Adapter(bundle, tmp_path)
    assert adapter.log.has("episode.json can't be read")
    assert adapter.statuses == [LoopStatus()]


def test_a_damaged_patch_set_is_named_and_not_sent(bundle: Bundle, tmp_path: Path) -> None:
    stored(tmp_path, bundle, 1)
    path = tmp_path / "episodes" / "classification.v1.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    adapter = Adapter(bundle, tmp_path)
    assert adapter.log.has(f"stored patch set {path} is not sent: the patch set is damaged")
    assert not adapter.sent


def test_a_drift_is_trained_once_and_passes_and_when_it_returns_the_bank_is_asked(
    bundle: Bundle, tmp_path: Path, adapter: Adapter, adapters: list[Adapter]
) -> None:
    reference = bundle.drift_reference
    raw = raw_features(reference)
    rng = np.random.default_rng(0)

    def see_the_drift(since_ns: int) -> None:
        adapter.loop.heard_drift(drift(since_ns))
        for _ in range(2 * reference.window):
            noise = rng.normal(5, 0.1, reference.width)
            features = (raw.mean(axis=0) + noise * raw.std(axis=0)).astype(np.float32)
            adapter.loop.saw(Task.SEGMENTATION, since_ns + 61 * SECOND, 0.5, features)

    see_the_drift(DRIFT_BEGAN)
    assert adapter.state is LoopState.COLLECTING
    adapter.label(range(24))
    adapter.until_finished()
    training = [status for status in adapter.statuses if status.state is LoopState.TRAINING]
    assert training[-1].order == ("classification",)
    assert (training[-1].collected, training[-1].kept) == (24, 20)
    first = json.loads(adapter.statuses[-1].episode_json)
    assert first["since_ns"] == DRIFT_BEGAN and first["accepted"] == {"classification": True}
    assert adapter.sent_versions == [1] and adapter.sent[0].data
    adapter.runs(1)
    adapter.loop.heard_drift(drift())
    adapter.loop.tick()
    assert adapter.state is LoopState.FINISHED, "one drift gets one training"

    adapter.calm()
    assert adapter.sent_versions == [1, 2] and not adapter.sent[-1].data
    assert adapter.log.has("the drift has passed: the source model for classification returns")
    adapter.runs(0)

    see_the_drift(DRIFT_BEGAN + 10 * SECOND)
    adapter.until(lambda: adapter.sent_versions == [1, 2, 3])
    adapter.until_finished()
    states = [status.state for status in adapter.statuses]
    assert states[-2:] == [LoopState.VERIFYING, LoopState.FINISHED]
    assert json.loads(adapter.statuses[-1].episode_json)["bank_entry"] == "000001"
    # Another bundle's features say nothing of these: it gets a bank of its own.
    assert (bank_folder(tmp_path / "store", bundle) / "000001").is_dir()
    assert read_metadata(adapter.sent[-1].data).version == 3

    again = Adapter(bundle, tmp_path / "store")
    adapters.append(again)
    assert again.sent_versions == [3]
    assert json.loads(again.statuses[0].episode_json)["bank_entry"] == "000001"
    again.loop.heard_drift(drift(DRIFT_BEGAN + 10 * SECOND))
    assert again.state is LoopState.IDLE, "what was finished is not repeated"
    again.loop.heard_drift(drift(DRIFT_BEGAN + 20 * SECOND))
    assert (again.state, again.statuses[-1].collected) == (LoopState.COLLECTING, 4)
    again.loop.heard_drift(CALM)
    assert again.state is LoopState.IDLE


def test_what_was_undone_stays_so_after_a_restart(bundle: Bundle, tmp_path: Path) -> None:
    stored(tmp_path, bundle, 1, 2)
    adapter = Adapter(bundle, tmp_path)
    adapter.removed(2, running=1)
    adapter.loop.tick()
    assert adapter.sent_versions == [2, 3]
    first = make_patch_set(bundle, Task.CLASSIFICATION, 1)
    renumbered = read_metadata(first).model_copy(update={"version": 3})
    assert read_metadata(adapter.sent[-1].data) == renumbered
    # An old status says nothing of the newest version.
    adapter.removed(2, running=1)
    adapter.loop.tick()
    adapter.removed(3, running=0)
    adapter.loop.tick()
    assert adapter.sent_versions == [2, 3, 4] and not adapter.sent[-1].data
    restarted = Adapter(bundle, tmp_path)
    assert restarted.sent_versions == [4] and not restarted.sent[0].data


def test_what_was_asked_for_without_a_drift_stays_while_there_is_none(
    bundle: Bundle, tmp_path: Path, adapter: Adapter, adapters: list[Adapter]
) -> None:
    adapter.calm()
    adapter.label(range(15))
    assert adapter.loop.adapt_now() == (True, "training starts on 15 labelled frames")
    adapter.until_finished()
    adapter.calm()
    adapter.loop.tick()
    assert [bool(patch_set.data) for patch_set in adapter.sent] == [True]
    again = Adapter(bundle, tmp_path / "store")
    adapters.append(again)
    again.calm()
    assert again.sent_versions == [1]
    # A drift that comes and passes brings the source model back.
    again.loop.heard_drift(drift())
    again.calm()
    assert again.sent_versions == [1, 2] and not again.sent[-1].data


def test_a_training_that_failed_is_tried_again(adapter: Adapter) -> None:
    adapter.label(range(24))
    adapter.loop.heard_drift(drift())
    assert adapter.state is LoopState.TRAINING
    adapter.storage.runner._worker.kill()
    adapter.until(lambda: adapter.state is LoopState.FAILED)
    reason = adapter.statuses[-1].reason
    assert "SIGKILL" in reason and reason.endswith("; it is tried again after 60 s of readings")
    adapter.loop.heard_drift(drift(seconds=119))
    assert adapter.state is LoopState.FAILED
    adapter.loop.heard_drift(drift(seconds=120))
    assert adapter.state is LoopState.TRAINING


def test_every_labelled_task_must_have_enough_frames(adapter: Adapter) -> None:
    adapter.label(range(1), Task.SEGMENTATION)
    adapter.label(range(24))
    adapter.loop.heard_drift(drift())
    assert (adapter.state, adapter.statuses[-1].collected) == (LoopState.COLLECTING, 25)


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_disk_that_refuses_is_reported_and_goes_on(
    bundle: Bundle, small_disk: SmallDisk, how: str, adapters: list[Adapter]
) -> None:
    adapter = Adapter(bundle, small_disk.path / "store")
    adapters.append(adapter)
    adapter.label(range(11))
    small_disk.fill() if how == "full" else small_disk.remount("ro")
    says = "No space left on device" if how == "full" else "Read-only file system"
    adapter.label(range(11, 12))
    trouble = adapter.labels.trouble()
    assert trouble.startswith("frame f11 could not be stored: ") and says in trouble
    assert trouble.endswith("what was stored before is still there")
    assert adapter.labels.counts() == {"stored": 11, "refused": 0, "not_stored": 1}
    starts, reason = adapter.loop.adapt_now()
    assert not starts and says in reason and reason == adapter.statuses[-1].reason
    small_disk.empty() if how == "full" else small_disk.remount("rw")
    adapter.label(range(11, 12))
    assert adapter.labels.trouble() == ""
    frames = StoredFrames(small_disk.path / "store" / "frames")
    assert len(frames.read(frames.select(Task.CLASSIFICATION, 0))) == 12
    assert adapter.loop.adapt_now()[0]


def test_a_disk_that_refuses_forgets_nothing_that_was_undone_or_has_passed(
    bundle: Bundle, small_disk: SmallDisk
) -> None:
    store = small_disk.path / "store"
    stored(store, bundle, 1, 2)
    adapter = Adapter(bundle, store)
    small_disk.remount("ro")
    adapter.removed(2, running=1)
    adapter.loop.tick()
    assert adapter.log.has("that version 2 for classification was undone can't be stored")
    small_disk.remount("rw")
    adapter.loop.tick()
    assert adapter.sent_versions == [2, 3] and adapter.sent[-1].data

    small_disk.remount("ro")
    adapter.calm()
    assert adapter.log.has("the drift has passed, but that can't be stored")
    done, reason = adapter.loop.reset()
    assert not done and "reset, but that can't be stored: " in reason
    assert "Read-only file system" in reason and "goes on with version 3" in reason
    small_disk.remount("rw")
    adapter.loop.tick()
    assert adapter.sent_versions == [2, 3, 4] and not adapter.sent[-1].data


def test_a_store_that_was_wiped_gives_no_version_that_a_node_runs(adapter: Adapter) -> None:
    adapter.runs(7)
    assert adapter.loop.reset()[0]
    assert [(sent.version, sent.data) for sent in adapter.sent] == [(8, b"")]
    adapter.runs(17)
    adapter.label(range(24))
    assert adapter.loop.adapt_now()[0]
    assert adapter.log.has("version 17 for classification runs, but")
    job = json.loads((adapter.storage.episode_file.parent / "job.json").read_bytes())
    assert job["next_version"]["classification"] == 18


def test_a_pause_ends_a_training_which_is_no_failure(adapter: Adapter) -> None:
    assert adapter.loop.adapt_now() == (False, "there are no labelled frames to train on")
    adapter.label(range(9))
    starts, reason = adapter.loop.adapt_now()
    assert not starts and reason.endswith(
        "10 labelled frames of a task; there are: classification 9, detection 0, segmentation 0"
    )
    adapter.label(range(9, 24))
    adapter.loop.heard_drift(drift())
    assert adapter.loop.adapt_now() == (False, "an episode is already under way")
    adapter.loop.pause(True)
    assert adapter.state is LoopState.IDLE
    adapter.loop.heard_drift(drift())
    assert adapter.state is LoopState.IDLE
    assert adapter.loop.adapt_now()[1].startswith("the adapter is paused")
    adapter.loop.pause(False)
    adapter.loop.tick()
    assert adapter.state is LoopState.TRAINING
    done, reason = adapter.loop.reset()
    assert done and reason.endswith("; a drift goes on, which is adapted to again")
    assert LoopState.FAILED not in {status.state for status in adapter.statuses}
