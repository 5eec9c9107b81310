"""The adapter over real topics: what it keeps, what it refuses, and a whole episode."""

import json
from pathlib import Path

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

from patchline_ros.adaptation.epoch import read_epoch
from patchline_ros.adaptation.patch_set_files import Seal, write_patch_set
from patchline_ros.adaptation.store import StoredFrames
from patchline_ros.nodes import qos, refusal_burst
from patchline_ros.nodes.adapter import AdapterNode
from patchline_ros.nodes.conversions import labelled_frame_to_msg, ns_to_stamp
from patchline_ros.nodes.signed_labels import sign_labelled_frame
from patchline_ros.nodes.signed_statuses import sign_drift_status, sign_patch_status
from patchline_ros.nodes.trouble import Trouble
from patchline_ros.signing import Signer, Verifier, make_keys, statement
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


def test_a_flood_of_refused_labels_does_not_fill_the_log(adapter, monkeypatch):
    monkeypatch.setattr(refusal_burst, "WINDOW_SECONDS", 4.0)
    count = 300
    for number in range(count):
        adapter.labels.publish(LabelledFrame(id=f"flood{number}"))
        adapter.bench.spin(0.001)
    adapter.bench.until(lambda: adapter.node.report()[1]["refused"] == count)
    # Another fault is named while the flood goes on, which is counted when it is over.
    adapter.labels.publish(frame(Task.CLASSIFICATION, 1, 3, name="honest"))
    adapter.bench.until(lambda: adapter.bench.said("labelled frame 'honest' refused"))
    adapter.bench.until(lambda: adapter.bench.said("more were refused within 4 s, the last: "))
    assert adapter.bench.log.count("labelled frame 'flood") < count / 2


def test_only_labels_of_the_named_key_are_taken(bench, bundle, tmp_path):
    key, public = make_keys(tmp_path / "labels")
    other, _ = make_keys(tmp_path / "other")
    store = str(tmp_path / "store")
    adapter = Adapter(bench(bundle=str(bundle.path), store=store, labels_key=str(public)))
    probe, topic = adapter.bench, "/labelled_frames"

    def signed(with_key: Path, for_topic: str, msg: LabelledFrame) -> LabelledFrame:
        sign_labelled_frame(msg, Signer(with_key), for_topic)
        return msg

    def signs() -> LabelledFrame:
        return frame(Task.CLASSIFICATION, 1, 1)

    changed, moved = signed(key, topic, signs()), signed(key, topic, signs())
    changed.sign.results[0].class_id = "2"
    moved.header.stamp = ns_to_stamp(DRIFT_BEGAN + 2 * SECOND)
    darker = signed(key, topic, signs())
    darker.image.data[0] -= 1
    adapter.labels.publish(signs())
    probe.until(lambda: probe.said("it is not signed, and those of labels_key alone are taken"))
    wrong = [changed, moved, darker, signed(other, topic, signs()), signed(key, "/car2", signs())]
    for msg in wrong:
        adapter.labels.publish(msg)
    probe.until(lambda: adapter.node.report()[1]["refused"] == 1 + len(wrong))
    assert probe.said("its signature is not by the key that is trusted here")
    mask = np.zeros((32, 32), np.uint8)
    boxes = Boxes.truth([[1.3, 1, 9.7, 9]], [1])
    good = [signs(), frame(Task.DETECTION, 1, boxes), frame(Task.SEGMENTATION, 1, mask)]
    for msg in [*good, *good]:
        adapter.labels.publish(signed(key, topic, msg))
    probe.until(lambda: adapter.node.report()[1]["stored"] == 2 * len(good))
    kept = StoredFrames(tmp_path / "store" / "frames")
    assert [kept.count(task, 0) for task in Task] == [1, 1, 1]
    probe.close()
    wrong_key = bench(bundle=str(bundle.path), store=store, labels_key=str(key))
    assert not wrong_key.start(AdapterNode).started
    wrong_key.until(lambda: wrong_key.said("parameter labels_key: "))


def test_a_label_of_the_far_future_drives_out_none(adapter, tmp_path):
    """520 of them left one of ten honest frames in the store."""
    seen = adapter.bench.publisher(FrameFeatures, "sign_classifier/features", qos.RESULTS)
    for number in range(3):
        seen.publish(FrameFeatures(header=frame(Task.CLASSIFICATION, number, 0).header))
    adapter.bench.spin(0.3)
    adapter.labels.publish(frame(Task.CLASSIFICATION, 40, 0))
    adapter.bench.until(lambda: adapter.bench.said("after that of the newest picture"))
    adapter.labels.publish(frame(Task.CLASSIFICATION, 9, 0))
    kept = StoredFrames(tmp_path / "store" / "frames")
    adapter.bench.until(lambda: kept.count(Task.CLASSIFICATION, 0) == 1)


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

    adapter.bench.close()
    again = Adapter(bench(bundle=str(bundle.path), store=str(tmp_path / "store"), min_frames=20))
    again.bench.until(lambda: len(again.patch_sets) == 1 and bool(again.statuses))
    assert again.patch_sets[0].data == adapter.patch_sets[0].data
    assert json.loads(again.statuses[0].episode_json)["accepted"] == {"classification": True}
    status = again.bench.publisher(PatchStatus, "sign_classifier/patch_status", qos.LATCHED)
    status.publish(
        PatchStatus(task="classification", version=0, state=PatchStatus.REMOVED, removed=1)
    )
    again.bench.until(lambda: [(m.version, len(m.data)) for m in again.patch_sets][1:] == [(2, 0)])


def test_its_services_and_that_it_signs(bench, bundle, tmp_path):
    store = str(tmp_path / "store")
    private, public = make_keys(tmp_path / "car")
    _, nodes = make_keys(tmp_path / "nodes")
    keys = {"signing_key": str(private), "trusted_key": str(nodes)}
    adapter = Adapter(bench(bundle=str(bundle.path), store=store, epochs=20, **keys))
    probe = adapter.bench
    assert probe.said(f"signs patch sets with {private}")
    assert probe.said(f"takes only statuses signed with the key of {nodes}")

    def call(name: str) -> tuple[bool, str]:
        answer = probe.call(Trigger, f"adapter/{name}")
        return answer.success, answer.message

    assert call("adapt_now") == (False, "there are no labelled frames to train on")
    assert call("republish") == (False, "no patch set is stored")
    adapter.send_signs(range(9))
    refused, reason = call("adapt_now")
    assert not refused and reason.startswith("a training takes 10 labelled frames of a task; ")
    assert "classification 9" in reason
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
    assert call("republish") == (True, "sent: classification 1")
    probe.until(lambda: len(adapter.patch_sets) == 2)
    assert call("reset")[0]
    probe.until(lambda: len(adapter.patch_sets) == 3)
    assert (adapter.patch_sets[-1].version, len(adapter.patch_sets[-1].data)) == (2, 0)
    assert adapter.statuses[-1].episode_json == ""
    epochs = set()
    for msg in adapter.patch_sets:
        text = statement("/", Task.CLASSIFICATION, msg.version, msg.base_fingerprint, msg.sha256)
        epochs.add(Verifier(public).check_issued(text, bytes(msg.signature)))
    assert epochs == {read_epoch(tmp_path / "store" / "epoch")}
    assert StoredFrames(tmp_path / "store" / "frames").count(Task.CLASSIFICATION, 0) == 15
    assert AdaptationStatus.FAILED not in {status.state for status in adapter.statuses}


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


def test_what_is_the_matter_is_in_the_diagnostics_as_long_as_it_is(adapter, monkeypatch):
    monkeypatch.setattr("patchline_ros.adaptation.label_intake.RECENT_SECONDS", 1.0)
    monkeypatch.setattr("patchline_ros.nodes.adapter._SILENCE_SECONDS", 2.0)
    node, probe = adapter.node, adapter.bench

    def message() -> str:
        adapter.drift.publish(drift(since_ns=0, drifting=False))
        probe.spin(0.1)
        return node.report()[0].sentence

    assert message() == ""
    adapter.labels.publish(frame(Task.CLASSIFICATION, 1, 3))
    probe.until(lambda: node.report()[0].sentence == "1 labelled frames refused")
    probe.until(lambda: message() == "")
    assert node.report()[1]["refused"] == 1
    probe.call(SetBool, "adapter/pause", data=True)
    assert message().startswith("paused: ") and node.report()[1]["paused"] is True
    probe.call(SetBool, "adapter/pause", data=False)
    assert message() == "" and node.report()[1]["paused"] is False
    silence = Trouble("no drift reading for 2 s on /drift_status", stops=True)
    probe.until(lambda: node.report()[0] == silence)
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
    assert not {"_bundle", "_storage", "_loop", "_versions", "_labels"} & vars(node).keys()
    assert node.trigger_configure() == node.trigger_activate() == done
    probe.until(lambda: adapter.drift.get_subscription_count() > 0)
    adapter.drift.publish(drift())
    probe.until(lambda: adapter.state == AdaptationStatus.TRAINING)
    answer = probe.call(Trigger, "adapter/reset")
    assert answer.success
    assert answer.message.endswith("; a drift goes on, which is adapted to again")
    assert AdaptationStatus.FAILED not in {status.state for status in adapter.statuses}


def test_what_a_stranger_says_causes_no_signature(bench, bundle, tmp_path):
    """Forged statuses made the adapter sign an old model, and the source model, as new versions."""
    key, _ = make_keys(tmp_path / "car")
    node_key, nodes = make_keys(tmp_path / "nodes")
    keys = {"signing_key": str(key), "trusted_key": str(nodes)}
    store = tmp_path / "store"
    (store / "episodes").mkdir(parents=True)
    data = make_patch_set(bundle, Task.CLASSIFICATION, 1)
    base = bundle.fingerprint(Task.CLASSIFICATION)
    write_patch_set(store / "episodes", Task.CLASSIFICATION, 1, base, data, Seal(key=key))
    planted = make_patch_set(bundle, Task.SEGMENTATION, 5)
    (store / "episodes" / "segmentation.v5.safetensors").write_bytes(planted)
    (store / "episodes" / f"segmentation.v{'9' * 60}.safetensors").write_bytes(planted)
    adapter = Adapter(bench(bundle=str(bundle.path), store=str(store), **keys))
    probe = adapter.bench
    probe.until(lambda: probe.said("segmentation.v5.safetensors is not sent: it has no signature"))
    probe.until(lambda: [msg.version for msg in adapter.patch_sets] == [1])
    status = probe.publisher(PatchStatus, "sign_classifier/patch_status", qos.LATCHED)
    removed = PatchStatus(task="classification", state=PatchStatus.REMOVED, removed=1)
    calm = drift(since_ns=0, drifting=False)
    signer = Signer(node_key)
    old = drift(since_ns=0, drifting=False)
    sign_drift_status(old, signer, "/another_car")
    for msg in [removed, PatchStatus(task="classification", version=2**63 - 2)]:
        status.publish(msg)
    for msg in [calm, old] * 12:
        adapter.drift.publish(msg)
        probe.spin(0.02)
    probe.until(lambda: adapter.node.report()[1]["ignored"] >= 20)
    probe.spin(1.0)
    assert [msg.version for msg in adapter.patch_sets] == [1]
    # The node itself is heard.
    sign_patch_status(removed, signer, "/")
    status.publish(removed)
    probe.until(lambda: [(m.version, len(m.data)) for m in adapter.patch_sets][1:] == [(2, 0)])


def test_who_signs_says_whom_it_believes(bench, bundle, tmp_path):
    key, _ = make_keys(tmp_path / "car")
    at = bench(bundle=str(bundle.path), store=str(tmp_path / "store"), signing_key=str(key))
    assert not at.start(AdapterNode).started
    at.until(lambda: at.said("signing_key names a key, but trusted_key names none"))
