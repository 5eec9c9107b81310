"""The adapter over real topics: what it keeps, what it refuses, and a whole episode."""

import json
from array import array

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from diagnostic_msgs.msg import DiagnosticArray
from patchline_ros.msg import (
    AdaptationStatus,
    DriftStatus,
    FrameFeatures,
    LabelledFrame,
    PatchSet,
    PatchStatus,
)
from rclpy.lifecycle import TransitionCallbackReturn
from ros_bench import Bench
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger
from tiny_bundle import make_patch_set

from patchline_ros.adaptation.store import StoredFrames
from patchline_ros.nodes import qos
from patchline_ros.nodes.adapter import AdapterNode
from patchline_ros.nodes.conversions import labelled_frame_to_msg, ns_to_stamp
from patchline_ros.patching.patch_set import read_metadata
from patchline_ros.signing import Verifier, make_keys, statement
from patchline_ros.tasks import IGNORE, Boxes, Sample, Task

SECOND = 1_000_000_000
DRIFT_BEGAN = 100 * SECOND


def frame(task: Task, number: int, label: object, name: str = "") -> LabelledFrame:
    """A labelled picture whose colour tells its class, taken `number` seconds into the drift."""
    shade = 40 + 80 * (number % 3)
    image = np.full((32, 32, 3), shade, dtype=np.uint8)
    header = Header(stamp=ns_to_stamp(DRIFT_BEGAN + number * SECOND))
    return labelled_frame_to_msg(name or f"f{number}", task, Sample(image, label), header)


def drift(since_ns: int = DRIFT_BEGAN, drifting: bool = True) -> DriftStatus:
    return DriftStatus(
        header=Header(stamp=ns_to_stamp(since_ns + 60 * SECOND)),
        mmd2=0.4,
        threshold=0.1,
        drifting=drifting,
        window=8,
        since=ns_to_stamp(since_ns),
    )


class Adapter:
    """A running adapter with its topics."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.statuses = bench.collect(AdaptationStatus, "adaptation_status", qos.LATCHED)
        self.patch_sets = bench.collect(PatchSet, "patch_sets/signs", qos.LATCHED)
        self.node = bench.start(AdapterNode)
        assert self.node.started
        self.labels = bench.publisher(LabelledFrame, "labelled_frames", qos.LABELLED_FRAMES)
        self.drift = bench.publisher(DriftStatus, "drift_status", qos.RESULTS)

    @property
    def state(self) -> int:
        return self.statuses[-1].state if self.statuses else -1

    def send_signs(self, numbers: range) -> None:
        before = self.node.report()[1]["stored"]
        for number in numbers:
            self.labels.publish(frame(Task.CLASSIFICATION, number, number % 3))
        self.bench.until(lambda: self.node.report()[1]["stored"] == before + len(numbers))


@pytest.fixture
def adapter(bench, bundle, tmp_path) -> Adapter:
    store = str(tmp_path / "store")
    return Adapter(bench(bundle=str(bundle.path), store=store, min_frames=24, epochs=20))


BAD_LABELS = {
    "class id 3 is not one of the model's 3 classes": frame(Task.CLASSIFICATION, 1, 3),
    "class id -1 is not one": frame(Task.CLASSIFICATION, 1, -1),
    "class id 2 is not one of the model's 2 classes (0 car to 1 person)": frame(
        Task.DETECTION, 1, Boxes.truth([[1, 1, 9, 9]], [2])
    ),
    "class id 7 is not one": frame(Task.SEGMENTATION, 1, np.full((32, 32), 7, np.uint8)),
    "class map is 30 x 32 pixels": frame(Task.SEGMENTATION, 1, np.zeros((32, 30), np.uint8)),
    "frame id 'a/b' can't be part": frame(Task.CLASSIFICATION, 1, 0, name="a/b"),
    "no stamp": frame(Task.CLASSIFICATION, -100, 0),
    "its stamp is before 1970": frame(Task.CLASSIFICATION, -200, 0),
    "task is ''": LabelledFrame(id="x"),
}


def test_bad_labels_are_refused_and_good_ones_kept(adapter, tmp_path):
    good = np.full((32, 32), IGNORE, np.uint8)
    good[:8] = 2
    adapter.labels.publish(frame(Task.SEGMENTATION, 1, good))
    for says, msg in BAD_LABELS.items():
        adapter.labels.publish(msg)
        adapter.bench.until(lambda says=says: adapter.bench.said(says))
    adapter.labels.publish(frame(Task.DETECTION, 1, Boxes.truth([], [])))
    diagnostics = adapter.bench.collect(DiagnosticArray, "/diagnostics")
    adapter.bench.until(lambda: bool(diagnostics))
    assert diagnostics[-1].status[0].message == f"{len(BAD_LABELS)} labelled frames refused"
    store = StoredFrames(tmp_path / "store" / "frames")
    assert [store.count(task, 0) for task in Task] == [0, 1, 1]
    np.testing.assert_array_equal(store.read(store.select(Task.SEGMENTATION, 0))[0].label, good)


def test_readings_and_statuses_that_make_no_sense_are_refused(adapter):
    bench = adapter.bench
    adapter.send_signs(range(24))
    since = ns_to_stamp(SECOND)
    adapter.drift.publish(DriftStatus(drifting=True, mmd2=float("nan"), since=since))
    bench.until(lambda: bench.said("drift status refused: its MMD^2 is nan"))
    for began_ns in (-5 * SECOND, 0):
        adapter.drift.publish(drift(began_ns))
    status = bench.publisher(PatchStatus, "sign_classifier/patch_status", qos.LATCHED)
    status.publish(PatchStatus(task="trees", version=3, state=PatchStatus.ACTIVE))
    bench.until(lambda: bench.said("patch status refused: it is of 'trees'"))
    assert adapter.node.report()[1]["ignored"] == 4
    bench.spin(0.6)
    assert adapter.state == AdaptationStatus.IDLE
    adapter.drift.publish(drift())
    bench.until(lambda: adapter.state == AdaptationStatus.TRAINING)


@pytest.mark.parametrize(
    "damage", [b"\xff\xfe garbage", b'{"since_ns": 12', b"[1]", b"{}", b'{"since_ns": "x"}']
)
def test_a_damaged_report_of_an_episode_is_named_and_forgotten(bench, bundle, tmp_path, damage):
    episodes = tmp_path / "store" / "episodes"
    episodes.mkdir(parents=True)
    (episodes / "episode.json").write_bytes(damage)
    adapter = Adapter(bench(bundle=str(bundle.path), store=str(tmp_path / "store")))
    assert adapter.bench.said("episode.json can't be read")
    adapter.bench.until(lambda: bool(adapter.statuses))
    assert adapter.statuses[0].episode_json == ""


def test_a_damaged_patch_set_is_named_and_not_sent(bench, bundle, tmp_path):
    episodes = tmp_path / "store" / "episodes"
    episodes.mkdir(parents=True)
    path = episodes / "classification.v1.safetensors"
    path.write_bytes(make_patch_set(bundle, Task.CLASSIFICATION, 1)[:-100])
    adapter = Adapter(bench(bundle=str(bundle.path), store=str(tmp_path / "store")))
    assert adapter.bench.said(f"stored patch set {path} is not sent: the patch set is damaged")
    adapter.bench.spin(0.5)
    assert not adapter.patch_sets


def test_one_episode_for_a_drift_and_its_patch_set_again_after_a_restart(
    adapter, bench, bundle, tmp_path
):
    adapter.drift.publish(drift())
    adapter.bench.until(lambda: adapter.state == AdaptationStatus.COLLECTING)
    adapter.send_signs(range(24))
    adapter.bench.until(lambda: adapter.state == AdaptationStatus.FINISHED, seconds=120)
    states = [status.state for status in adapter.statuses]
    assert states == sorted(states), "collecting, then training, then finished"
    training = [s for s in adapter.statuses if s.state == AdaptationStatus.TRAINING]
    assert training[-1].order == ["classification"]
    assert (training[-1].collected, training[-1].kept) == (24, 20)
    episode = json.loads(adapter.statuses[-1].episode_json)
    assert episode["since_ns"] == DRIFT_BEGAN
    assert episode["accepted"] == {"classification": True}, episode["gate"]
    adapter.bench.until(lambda: len(adapter.patch_sets) == 1)
    assert (adapter.patch_sets[0].task, adapter.patch_sets[0].version) == ("classification", 1)

    adapter.drift.publish(drift())
    adapter.bench.spin(0.6)
    assert adapter.state == AdaptationStatus.FINISHED

    adapter.bench.close()
    again = Adapter(bench(bundle=str(bundle.path), store=str(tmp_path / "store"), min_frames=20))
    again.bench.until(lambda: len(again.patch_sets) == 1 and bool(again.statuses))
    assert again.patch_sets[0].data == adapter.patch_sets[0].data
    assert json.loads(again.statuses[0].episode_json)["accepted"] == {"classification": True}
    again.drift.publish(drift())
    again.bench.spin(0.6)
    assert again.state == AdaptationStatus.IDLE
    again.drift.publish(drift(since_ns=DRIFT_BEGAN + 10 * SECOND))
    again.bench.until(lambda: again.state == AdaptationStatus.COLLECTING)
    assert again.statuses[-1].collected == 14
    again.drift.publish(drift(drifting=False))
    again.bench.until(lambda: again.state == AdaptationStatus.IDLE)


def test_when_the_drift_passes_the_source_returns_and_when_it_returns_the_bank_is_asked(
    bench, bundle, tmp_path
):
    store = str(tmp_path / "store")
    adapter = Adapter(bench(bundle=str(bundle.path), store=store, min_frames=20, epochs=20))
    reference = bundle.drift_reference
    rng = np.random.default_rng(0)
    probe = adapter.bench
    frames = probe.publisher(FrameFeatures, "lane_segmenter/features", qos.RESULTS)
    status = probe.publisher(PatchStatus, "sign_classifier/patch_status", qos.LATCHED)

    def see_the_drift(since_ns: int) -> None:
        adapter.drift.publish(drift(since_ns))
        header = Header(stamp=ns_to_stamp(since_ns + 61 * SECOND))
        for _ in range(2 * reference.window):
            noise = rng.normal(5, 0.1, reference.mean.size)
            features = (reference.mean + noise * reference.scale).astype(np.float32)
            message = FrameFeatures(header=header, features=array("f", features.tobytes()))
            frames.publish(message)
            probe.spin(0.02)

    def versions() -> list[int]:
        return [msg.version for msg in adapter.patch_sets]

    see_the_drift(DRIFT_BEGAN)
    adapter.send_signs(range(24))
    probe.until(lambda: adapter.state == AdaptationStatus.FINISHED, seconds=120)
    probe.until(lambda: versions() == [1])
    status.publish(PatchStatus(task="classification", version=1, state=PatchStatus.ACTIVE))

    for _ in range(reference.window):
        adapter.drift.publish(drift(since_ns=0, drifting=False))
        probe.spin(0.02)
    probe.until(lambda: versions() == [1, 2])
    assert not adapter.patch_sets[-1].data
    assert probe.said("the drift has passed: the source model for signs returns")
    status.publish(PatchStatus(task="classification", version=0, state=PatchStatus.SOURCE))

    see_the_drift(DRIFT_BEGAN + 10 * SECOND)
    probe.until(lambda: versions() == [1, 2, 3])
    probe.until(lambda: adapter.state == AdaptationStatus.FINISHED)
    episode = json.loads(adapter.statuses[-1].episode_json)
    assert episode["bank_entry"] == "000001"
    # Another bundle's features say nothing of these: it gets a bank of its own.
    watching = bundle.fingerprint(bundle.manifest.drift.task)
    assert (tmp_path / "store" / "bank" / watching[:16] / "000001").is_dir()
    assert read_metadata(adapter.patch_sets[-1].data.tobytes()).version == 3
    states = {status.state for status in adapter.statuses[-4:]}
    assert AdaptationStatus.VERIFYING in states

    adapter.bench.close()
    again = Adapter(bench(bundle=str(bundle.path), store=store, min_frames=20))
    again.bench.until(lambda: [msg.version for msg in again.patch_sets] == [3])


def test_what_was_undone_stays_so_after_a_restart(bench, bundle, tmp_path):
    store = str(tmp_path / "store")
    (tmp_path / "store" / "episodes").mkdir(parents=True)
    for version in (1, 2):
        path = tmp_path / "store" / "episodes" / f"classification.v{version}.safetensors"
        path.write_bytes(make_patch_set(bundle, Task.CLASSIFICATION, version))
    adapter = Adapter(bench(bundle=str(bundle.path), store=store))
    probe = adapter.bench
    status = probe.publisher(PatchStatus, "sign_classifier/patch_status", qos.LATCHED)

    def undone(removed: int, running: int) -> int:
        """Tells the adapter so; how many bytes the patch set has that it sends then."""
        before = len(adapter.patch_sets)
        msg = PatchStatus(
            task="classification", state=PatchStatus.REMOVED, version=running, removed=removed
        )
        status.publish(msg)
        probe.until(lambda: len(adapter.patch_sets) > before)
        return len(adapter.patch_sets[-1].data)

    probe.until(lambda: [msg.version for msg in adapter.patch_sets] == [2])
    assert undone(removed=2, running=1)
    again = adapter.patch_sets[-1].data.tobytes()
    first = make_patch_set(bundle, Task.CLASSIFICATION, 1)
    assert read_metadata(again) == read_metadata(first).model_copy(update={"version": 3})
    # An old status says nothing of the newest version.
    status.publish(
        PatchStatus(task="classification", state=PatchStatus.REMOVED, version=1, removed=2)
    )
    probe.spin(0.6)
    assert not undone(removed=3, running=0)
    adapter.bench.close()
    restarted = Adapter(bench(bundle=str(bundle.path), store=store))
    restarted.bench.until(lambda: [msg.version for msg in restarted.patch_sets] == [4])
    assert not restarted.patch_sets[0].data


def test_its_services_and_that_it_signs(bench, bundle, tmp_path):
    store = str(tmp_path / "store")
    private, public = make_keys(tmp_path / "car")
    adapter = Adapter(
        bench(bundle=str(bundle.path), store=store, epochs=20, signing_key=str(private))
    )
    probe = adapter.bench

    def call(name: str) -> tuple[bool, str]:
        answer = probe.call(Trigger, f"adapter/{name}")
        return answer.success, answer.message

    assert call("adapt_now") == (False, "there are no labelled frames to train on")
    assert call("republish") == (False, "no patch set is stored")
    adapter.send_signs(range(9))
    refused, reason = call("adapt_now")
    assert not refused and reason.startswith("a training takes 10 labelled frames of a task; ")
    assert "signs 9" in reason
    adapter.send_signs(range(9, 15))
    assert probe.call(SetBool, "adapter/pause", data=True).message == "paused"
    assert "is paused" in call("adapt_now")[1]
    assert probe.call(SetBool, "adapter/pause", data=False).message == "goes on"
    assert call("adapt_now") == (True, "training starts on 15 labelled frames")
    assert call("adapt_now") == (False, "an episode is already under way")
    # A training that a pause breaks off is no failure, and it can be started again.
    assert probe.call(SetBool, "adapter/pause", data=True).success
    assert adapter.state == AdaptationStatus.IDLE
    probe.call(SetBool, "adapter/pause", data=False)
    assert call("adapt_now")[0]
    probe.until(lambda: adapter.state == AdaptationStatus.FINISHED, seconds=120)
    probe.until(lambda: len(adapter.patch_sets) == 1)
    assert call("republish") == (True, "sent: signs 1")
    probe.until(lambda: len(adapter.patch_sets) == 2)
    assert call("reset")[0]
    probe.until(lambda: len(adapter.patch_sets) == 3)
    assert (adapter.patch_sets[-1].version, len(adapter.patch_sets[-1].data)) == (2, 0)
    assert adapter.statuses[-1].episode_json == ""
    for msg in adapter.patch_sets:
        text = statement(Task.CLASSIFICATION, msg.version, msg.base_fingerprint, msg.sha256)
        Verifier(public).check(text, bytes(msg.signature))
    assert StoredFrames(tmp_path / "store" / "frames").count(Task.CLASSIFICATION, 0) == 15
    assert AdaptationStatus.FAILED not in {status.state for status in adapter.statuses}


def test_what_was_asked_for_without_a_drift_stays_while_there_is_none(bench, bundle, tmp_path):
    store = str(tmp_path / "store")
    adapter = Adapter(bench(bundle=str(bundle.path), store=store, epochs=20))
    probe, window = adapter.bench, bundle.drift_reference.window

    def calm(at: Adapter) -> None:
        for _ in range(window + 1):
            at.drift.publish(drift(since_ns=0, drifting=False))
            at.bench.spin(0.02)

    calm(adapter)
    adapter.send_signs(range(15))
    assert probe.call(Trigger, "adapter/adapt_now").success
    probe.until(lambda: adapter.state == AdaptationStatus.FINISHED, seconds=120)
    calm(adapter)
    probe.spin(0.6)
    assert [len(msg.data) > 0 for msg in adapter.patch_sets] == [True]
    adapter.bench.close()
    again = Adapter(bench(bundle=str(bundle.path), store=store))
    calm(again)
    again.bench.spin(0.6)
    assert [msg.version for msg in again.patch_sets] == [1]
    # A drift that comes and passes brings the source model back.
    again.drift.publish(drift())
    calm(again)
    again.bench.until(lambda: [msg.version for msg in again.patch_sets] == [1, 2])
    assert not again.patch_sets[-1].data


def test_a_training_that_failed_is_tried_again(adapter):
    adapter.send_signs(range(24))
    adapter.drift.publish(drift())
    adapter.bench.until(lambda: adapter.state == AdaptationStatus.TRAINING)
    adapter.node._runner._worker.kill()
    adapter.bench.until(lambda: adapter.state == AdaptationStatus.FAILED)
    reason = adapter.statuses[-1].reason
    assert "SIGKILL" in reason and reason.endswith("; it is tried again after 60 s of readings")
    later = drift()
    later.header.stamp.sec += 59
    adapter.drift.publish(later)
    adapter.bench.spin(0.6)
    assert adapter.state == AdaptationStatus.FAILED
    later.header.stamp.sec += 1
    adapter.drift.publish(later)
    adapter.bench.until(lambda: adapter.state == AdaptationStatus.TRAINING)


def test_every_labelled_task_must_have_enough_frames(adapter):
    adapter.labels.publish(frame(Task.SEGMENTATION, 1, np.zeros((32, 32), np.uint8)))
    for number in range(20):
        adapter.labels.publish(frame(Task.CLASSIFICATION, number, number % 3))
    adapter.drift.publish(drift())
    adapter.bench.until(lambda: bool(adapter.statuses) and adapter.statuses[-1].collected == 21)
    assert adapter.state == AdaptationStatus.COLLECTING


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_disk_that_refuses_is_reported_and_goes_on(bench, bundle, small_disk, how):
    store = small_disk.path / "store"
    adapter = Adapter(bench(bundle=str(bundle.path), store=str(store)))
    probe = adapter.bench
    adapter.send_signs(range(11))
    diagnostics = probe.collect(DiagnosticArray, "/diagnostics")

    def message() -> str:
        return diagnostics[-1].status[0].message if diagnostics else ""

    small_disk.fill() if how == "full" else small_disk.remount("ro")
    says = "No space left on device" if how == "full" else "Read-only file system"
    adapter.labels.publish(frame(Task.CLASSIFICATION, 11, 0))
    probe.until(lambda: says in message())
    assert message().startswith("frame f11 could not be stored: ")
    assert message().endswith("what was stored before is still there")
    values = {pair.key: pair.value for pair in diagnostics[-1].status[0].values}
    assert (values["stored"], values["not_stored"], values["kept_signs"]) == ("11", "1", "11")
    answer = probe.call(Trigger, "adapter/adapt_now")
    assert not answer.success and says in answer.message
    assert says in adapter.statuses[-1].reason
    small_disk.empty() if how == "full" else small_disk.remount("rw")
    adapter.labels.publish(frame(Task.CLASSIFICATION, 11, 0))
    probe.until(lambda: message() == "running")
    frames = StoredFrames(store / "frames")
    assert len(frames.read(frames.select(Task.CLASSIFICATION, 0))) == 12
    assert probe.call(Trigger, "adapter/adapt_now").success


def test_what_the_model_was_unsure_of_stays_longer(bench, bundle, tmp_path):
    adapter = Adapter(bench(bundle=str(bundle.path), store=str(tmp_path / "store"), capacity=8))
    probe = adapter.bench
    seen = probe.publisher(FrameFeatures, "sign_classifier/features", qos.RESULTS)
    for number in range(12):
        # Of each other picture the features come before the label, and after it else.
        label = frame(Task.CLASSIFICATION, number, 0)
        features = FrameFeatures(header=label.header, entropy=0.9 if number < 4 else 0.01)
        first, second = (seen, features), (adapter.labels, label)
        for publisher, msg in (first, second) if number % 2 else (second, first):
            publisher.publish(msg)
            probe.spin(0.05)
    kept = StoredFrames(tmp_path / "store" / "frames").select(Task.CLASSIFICATION, 0)
    assert {"f0", "f1", "f2", "f3", "f11"} <= {stored.frame_id for stored in kept}
    assert len(kept) == 8


def test_a_store_that_cannot_be_made_is_named_at_configure(bench, bundle, tmp_path):
    (tmp_path / "store").write_text("a file")
    at = bench(bundle=str(bundle.path), store=str(tmp_path / "store"))
    assert not at.start(AdapterNode).started
    at.until(lambda: at.said("parameter store: the store"))


def test_a_store_is_for_one_adapter(adapter, bundle, tmp_path):
    """Two cars with the same store would take each other's labels and patch sets."""
    second = adapter.bench.start(AdapterNode)
    assert not second.started
    adapter.bench.until(lambda: adapter.bench.said("is in use by another adapter; give each car"))


def test_a_disk_that_refuses_forgets_nothing_that_was_undone_or_has_passed(
    bench, bundle, small_disk
):
    store = small_disk.path / "store"
    (store / "episodes").mkdir(parents=True)
    for version in (1, 2):
        path = store / "episodes" / f"classification.v{version}.safetensors"
        path.write_bytes(make_patch_set(bundle, Task.CLASSIFICATION, version))
    adapter = Adapter(bench(bundle=str(bundle.path), store=str(store)))
    probe = adapter.bench
    status = probe.publisher(PatchStatus, "sign_classifier/patch_status", qos.LATCHED)
    small_disk.remount("ro")
    status.publish(
        PatchStatus(task="classification", state=PatchStatus.REMOVED, version=1, removed=2)
    )
    probe.until(lambda: probe.said("that version 2 for classification was undone can't be stored"))
    probe.spin(0.6)
    small_disk.remount("rw")
    probe.until(lambda: [msg.version for msg in adapter.patch_sets] == [2, 3])
    assert adapter.patch_sets[-1].data

    small_disk.remount("ro")
    for _ in range(3 * bundle.drift_reference.window):
        adapter.drift.publish(drift(since_ns=0, drifting=False))
        probe.spin(0.05)
    says = "the drift has passed, but that can't be stored"
    assert probe.said(says) and probe.log.count(says) == 1, "said once in some seconds"
    answer = probe.call(Trigger, "adapter/reset")
    assert not answer.success
    assert "reset, but that can't be stored: " in answer.message
    assert "Read-only file system" in answer.message and "goes on with version 3" in answer.message
    small_disk.remount("rw")
    probe.until(lambda: [msg.version for msg in adapter.patch_sets] == [2, 3, 4])
    assert not adapter.patch_sets[-1].data


def test_a_store_that_was_wiped_gives_no_version_that_a_node_runs(adapter):
    probe = adapter.bench
    status = probe.publisher(PatchStatus, "sign_classifier/patch_status", qos.LATCHED)
    nonsense = PatchStatus(task="classification", version=2**64 - 1, state=PatchStatus.ACTIVE)
    status.publish(nonsense)
    probe.until(lambda: probe.said("no patch set for signs is version 18446744073709551615"))
    status.publish(PatchStatus(task="classification", version=7, state=PatchStatus.ACTIVE))
    probe.until(lambda: adapter.node._active_versions.get(Task.CLASSIFICATION) == 7)
    assert probe.call(Trigger, "adapter/reset").success
    probe.until(lambda: [(m.version, len(m.data)) for m in adapter.patch_sets] == [(8, 0)])
    status.publish(PatchStatus(task="classification", version=17, state=PatchStatus.ACTIVE))
    adapter.send_signs(range(24))
    assert probe.call(Trigger, "adapter/adapt_now").success
    probe.until(lambda: probe.said("version 17 for signs runs, but"))
    probe.until(lambda: len(adapter.patch_sets) == 2, seconds=120)
    assert adapter.patch_sets[1].version == 18


def test_what_is_the_matter_is_in_the_diagnostics_as_long_as_it_is(adapter, monkeypatch):
    monkeypatch.setattr("patchline_ros.nodes.adapter._RECENT_SECONDS", 1.0)
    monkeypatch.setattr("patchline_ros.nodes.adapter._SILENCE_SECONDS", 2.0)
    node, probe = adapter.node, adapter.bench

    def message() -> str:
        adapter.drift.publish(drift(since_ns=0, drifting=False))
        probe.spin(0.1)
        return node.report()[0]

    assert message() == ""
    adapter.labels.publish(frame(Task.CLASSIFICATION, 1, 3))
    probe.until(lambda: node.report()[0] == "1 labelled frames refused")
    probe.until(lambda: message() == "")
    assert node.report()[1]["refused"] == 1
    probe.call(SetBool, "adapter/pause", data=True)
    assert message().startswith("paused: ") and node.report()[1]["paused"] is True
    probe.call(SetBool, "adapter/pause", data=False)
    assert message() == "" and node.report()[1]["paused"] is False
    probe.until(lambda: node.report()[0] == "no drift reading for 2 s on /drift_status")
    assert message() == ""


def test_it_can_be_stopped_in_mid_training_and_brought_up_again(adapter):
    node, probe = adapter.node, adapter.bench
    done = TransitionCallbackReturn.SUCCESS
    adapter.send_signs(range(24))
    for _ in range(2):
        adapter.drift.publish(drift())
        probe.until(lambda: adapter.state == AdaptationStatus.TRAINING)
        assert node.trigger_deactivate() == done
        probe.until(lambda: adapter.state == AdaptationStatus.IDLE)
        assert node.trigger_activate() == done
        probe.until(lambda: adapter.drift.get_subscription_count() > 0)
        probe.spin(0.6)
        assert adapter.state == AdaptationStatus.IDLE
    assert node.trigger_deactivate() == node.trigger_cleanup() == done
    assert not {"_bundle", "_store", "_bank", "_planner"} & vars(node).keys()
    assert node.trigger_configure() == node.trigger_activate() == done
    probe.until(lambda: adapter.drift.get_subscription_count() > 0)
    adapter.drift.publish(drift())
    probe.until(lambda: adapter.state == AdaptationStatus.TRAINING)
    answer = probe.call(Trigger, "adapter/reset")
    assert answer.success
    assert answer.message.endswith("; a drift goes on, which is adapted to again")
    assert AdaptationStatus.FAILED not in {status.state for status in adapter.statuses}
