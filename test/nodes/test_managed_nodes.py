"""What the nodes say of themselves in /diagnostics, and how a manager brings them up."""

from __future__ import annotations

import socket

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lanes import picture_msg
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from patchline_ros.msg import AdaptationStatus, FrameFeatures, PatchSet
from std_srvs.srv import SetBool

from patchline_ros.config_files import read_mapping
from patchline_ros.graph.description import patch_set_topic
from patchline_ros.nodes import input_watchdog, managed, qos, refusals
from patchline_ros.nodes.adapter import AdapterNode
from patchline_ros.nodes.drift_monitor import DriftMonitorNode
from patchline_ros.nodes.lane_segmenter import LaneSegmenter
from patchline_ros.nodes.object_detector import ObjectDetector
from patchline_ros.nodes.sign_classifier import SignClassifier
from patchline_ros.package_share import share_folder

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Told:
    """The last status that came."""

    def __init__(self, at) -> None:
        self.messages = at.collect(DiagnosticArray, "/diagnostics")

    def is_(self, level: bytes, words: str) -> bool:
        last = self.messages[-1].status[0] if self.messages else DiagnosticStatus()
        return last.level == level and words in last.message and bool(last.hardware_id)


def test_a_camera_that_is_silent_is_an_error_and_a_broken_picture_a_warning(lanes, monkeypatch):
    monkeypatch.setattr(refusals, "ALL_REFUSED_SECONDS", 1.0)
    told, broken = Told(lanes.bench), picture_msg(1)
    broken.step = 1

    def drive(*pictures) -> None:
        for picture in pictures:
            lanes.camera.publish(picture)
        lanes.bench.spin(0.2)

    lanes.bench.until(lambda: drive(picture_msg(2)) or told.is_(OK, "running"))
    lanes.bench.until(lambda: drive(broken, picture_msg(3)) or told.is_(WARN, "unreadable"))
    lanes.bench.until(lambda: drive(broken) or told.is_(ERROR, "unreadable"))
    monkeypatch.setattr(input_watchdog, "SILENCE_SECONDS", 1.0)
    lanes.bench.until(lambda: told.is_(ERROR, "no picture for"))
    assert lanes.bench.said("check that whoever sends them goes on")


def test_a_node_that_is_deactivated_says_so_until_it_is_activated(bench, bundle):
    at = bench(bundle=str(bundle.path))
    told, node = Told(at), at.start(DriftMonitorNode)
    at.until(lambda: told.is_(OK, "running"))
    node.trigger_deactivate()
    at.until(lambda: told.is_(ERROR, "deactivated"))
    node.trigger_cleanup()
    at.until(lambda: told.is_(ERROR, "cleaned up"))
    node.trigger_configure()
    at.spin(0.5)
    told.messages.clear()
    at.spin(1.5)
    assert not told.messages
    node.trigger_activate()
    at.until(lambda: told.is_(OK, "running"))


def test_two_nodes_of_one_name_and_two_adapters_are_a_warning(bench, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(managed, "_LASTING_SECONDS", 1.0)
    at = bench(bundle=str(bundle.path), store=str(tmp_path / "store"))
    told = Told(at)
    first = at.start(DriftMonitorNode)
    at.until(lambda: told.is_(OK, "running"))
    at.start(DriftMonitorNode)
    at.until(lambda: told.is_(WARN, "2 nodes are called /drift_monitor"))
    first.trigger_deactivate()
    at.start(AdapterNode)
    at.probe.create_publisher(AdaptationStatus, "adaptation_status", qos.LATCHED)
    at.until(lambda: told.is_(WARN, "2 adapters publish /adaptation_status"))
    for sentence in ("2 nodes are called /drift_monitor", "2 adapters publish /adaptation_status"):
        at.until(lambda sentence=sentence: at.said(sentence))


def test_a_stranger_who_sends_patch_sets_is_said_beside_another_trouble(bench, bundle, tmp_path):
    at = bench(bundle=str(bundle.path), store=str(tmp_path / "store"))
    told, adapter = Told(at), at.start(AdapterNode)
    at.call(SetBool, "/adapter/pause", data=True)
    at.until(lambda: told.is_(WARN, "paused"))
    task = next(iter(adapter._patch_sets))
    at.probe.create_publisher(PatchSet, patch_set_topic(task), qos.LATCHED)
    at.until(lambda: told.is_(WARN, f"2 adapters publish /{patch_set_topic(task)}"))


class Clumsy(DriftMonitorNode):
    """Has a fault that a message brings out."""

    def activate(self) -> None:
        super().activate()
        self.subscribe(FrameFeatures, "clumsy", self._on_clumsy, qos.RESULTS)

    def _on_clumsy(self, msg: FrameFeatures) -> None:
        _ = 1 // len(msg.features)


def test_a_message_that_nobody_has_foreseen_ends_no_node(bench, bundle):
    at = bench(bundle=str(bundle.path))
    told, node = Told(at), at.start(Clumsy)
    strange = at.publisher(FrameFeatures, "clumsy", qos.RESULTS)
    at.until(lambda: strange.publish(FrameFeatures()) or told.is_(WARN, "not taken by a fault"))
    assert node.failure is None and at.said("a message was not taken: Traceback")
    assert any(pair.key == "not_taken" for pair in told.messages[-1].status[0].values)


def test_a_node_that_can_not_load_says_so_at_once(bench, tmp_path):
    at = bench(bundle=str(tmp_path / "nowhere"))
    messages = at.collect(DiagnosticArray, "/diagnostics")
    node = DriftMonitorNode()
    at.executor.add_node(node)
    at.nodes.append(node)
    at.until(lambda: node.count_subscribers("/diagnostics") > 0)
    assert not node.start()
    node.close()
    at.until(lambda: bool(messages))
    (status,) = messages[0].status
    assert (status.level, status.name) == (ERROR, "/drift_monitor")
    assert status.hardware_id == socket.gethostname()
    assert f"bundle {tmp_path / 'nowhere'} does not exist" in status.message


def test_only_features_of_another_model_are_an_error(bench, bundle, monkeypatch):
    monkeypatch.setattr(refusals, "ALL_REFUSED_SECONDS", 1.0)
    at = bench(bundle=str(bundle.path))
    told, _ = Told(at), at.start(DriftMonitorNode)
    features = at.publisher(FrameFeatures, "lane_segmenter/features", qos.RESULTS)
    wrong = FrameFeatures(features=np.zeros(3, np.float32).tobytes())

    def send() -> None:
        features.publish(wrong)
        at.spin(0.2)

    at.until(lambda: send() or told.is_(ERROR, "features refused"))


def test_a_manager_as_that_of_nav2_brings_all_nodes_up(bench, bundle, tmp_path):
    """The calls that nav2_lifecycle_manager makes, in its order, with the file that is for it."""
    file = read_mapping(share_folder() / "config" / "nav2_lifecycle_manager.yaml")
    (parameters,) = file.values()
    names = parameters["ros__parameters"]["node_names"]
    at = bench(bundle=str(bundle.path), store=str(tmp_path / "store"), autostart=False)
    for kind in (SignClassifier, ObjectDetector, LaneSegmenter, DriftMonitorNode, AdapterNode):
        at.start(kind)
    steps = [
        (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE, names),
        (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE, names),
        (Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE, names[::-1]),
        (Transition.TRANSITION_CLEANUP, State.PRIMARY_STATE_UNCONFIGURED, names[::-1]),
    ]
    for transition, state, order in steps:
        for name in order:
            asked = Transition(id=transition)
            assert at.call(ChangeState, f"{name}/change_state", transition=asked).success
            assert at.call(GetState, f"{name}/get_state").current_state.id == state
