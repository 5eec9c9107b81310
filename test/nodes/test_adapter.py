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
from ros_bench import Bench
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from patchline_ros.adaptation.store import FrameStore
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
        for number in numbers:
            self.labels.publish(frame(Task.SIGNS, number, number % 3))
        self.bench.until(lambda: self.node.report()[1]["stored"] == len(numbers))


@pytest.fixture
def adapter(bench, bundle, tmp_path) -> Adapter:
    store = str(tmp_path / "store")
    return Adapter(bench(bundle=str(bundle.path), store=store, min_frames=20, epochs=20))


BAD_LABELS = {
    "class id 3 is not one of the model's 3 classes": frame(Task.SIGNS, 1, 3),
    "class id -1 is not one": frame(Task.SIGNS, 1, -1),
    "class id 2 is not one of the model's 2 classes (0 car to 1 person)": frame(
        Task.OBJECTS, 1, Boxes.truth([[1, 1, 9, 9]], [2])
    ),
    "class id 7 is not one": frame(Task.LANES, 1, np.full((32, 32), 7, np.uint8)),
    "class map is 30 x 32 pixels": frame(Task.LANES, 1, np.zeros((32, 30), np.uint8)),
    "frame id 'a/b' can't be part": frame(Task.SIGNS, 1, 0, name="a/b"),
    "no stamp": frame(Task.SIGNS, -100, 0),
    "task is ''": LabelledFrame(id="x"),
}


def test_bad_labels_are_refused_and_good_ones_kept(adapter, tmp_path):
    good = np.full((32, 32), IGNORE, np.uint8)
    good[:8] = 2
    adapter.labels.publish(frame(Task.LANES, 1, good))
    for says, msg in BAD_LABELS.items():
        adapter.labels.publish(msg)
        adapter.bench.until(lambda says=says: adapter.bench.said(says))
    adapter.labels.publish(frame(Task.OBJECTS, 1, Boxes.truth([], [])))
    diagnostics = adapter.bench.collect(DiagnosticArray, "/diagnostics")
    adapter.bench.until(lambda: bool(diagnostics))
    assert diagnostics[-1].status[0].message == f"{len(BAD_LABELS)} labelled frames refused"
    store = FrameStore(tmp_path / "store" / "frames", 10)
    assert [store.count(task, 0) for task in Task] == [0, 1, 1]
    np.testing.assert_array_equal(store.read(store.select(Task.LANES, 0))[0].label, good)


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
    assert training[-1].order == ["signs"]
    assert (training[-1].collected, training[-1].kept) == (20, 16), "the first that are enough"
    episode = json.loads(adapter.statuses[-1].episode_json)
    assert episode["since_ns"] == DRIFT_BEGAN
    assert episode["accepted"] == {"signs": True}, episode["gate"]
    adapter.bench.until(lambda: len(adapter.patch_sets) == 1)
    assert (adapter.patch_sets[0].task, adapter.patch_sets[0].version) == ("signs", 1)

    adapter.drift.publish(drift())
    adapter.bench.spin(0.6)
    assert adapter.state == AdaptationStatus.FINISHED

    adapter.bench.close()
    again = Adapter(bench(bundle=str(bundle.path), store=str(tmp_path / "store"), min_frames=20))
    again.bench.until(lambda: len(again.patch_sets) == 1 and bool(again.statuses))
    assert again.patch_sets[0].data == adapter.patch_sets[0].data
    assert json.loads(again.statuses[0].episode_json)["accepted"] == {"signs": True}
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
    status.publish(PatchStatus(task="signs", version=1, state=PatchStatus.ACTIVE))

    for _ in range(reference.window):
        adapter.drift.publish(drift(since_ns=0, drifting=False))
        probe.spin(0.02)
    probe.until(lambda: versions() == [1, 2])
    assert not adapter.patch_sets[-1].data
    assert probe.said("the drift has passed: the source model for signs returns")
    status.publish(PatchStatus(task="signs", version=0, state=PatchStatus.SOURCE))

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
    adapter.send_signs(range(15))
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
        text = statement(Task.SIGNS, msg.version, msg.base_fingerprint, msg.sha256)
        Verifier(public).check(text, bytes(msg.signature))
    assert FrameStore(tmp_path / "store" / "frames", 512).count(Task.SIGNS, 0) == 15
    assert AdaptationStatus.FAILED not in {status.state for status in adapter.statuses}


def test_every_labelled_task_must_have_enough_frames(adapter):
    adapter.labels.publish(frame(Task.LANES, 1, np.zeros((32, 32), np.uint8)))
    for number in range(20):
        adapter.labels.publish(frame(Task.SIGNS, number, number % 3))
    adapter.drift.publish(drift())
    adapter.bench.until(lambda: bool(adapter.statuses) and adapter.statuses[-1].collected == 21)
    assert adapter.state == AdaptationStatus.COLLECTING


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
