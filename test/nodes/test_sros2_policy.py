"""The SROS2 policy allows each node what it does in the running graph, and nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from rclpy.node import Node
from tiny_bundle import make_bundle

from patchline_ros.nodes.adapter import AdapterNode
from patchline_ros.nodes.drift_monitor import DriftMonitorNode
from patchline_ros.nodes.ground_projector import GroundProjector
from patchline_ros.nodes.labeller import LabellerNode
from patchline_ros.nodes.lane_segmenter import LaneSegmenter
from patchline_ros.nodes.object_detector import ObjectDetector
from patchline_ros.nodes.object_locator import ObjectLocator
from patchline_ros.nodes.sign_classifier import SignClassifier
from patchline_ros.package_share import share_folder

KINDS = (
    SignClassifier,
    ObjectDetector,
    LaneSegmenter,
    DriftMonitorNode,
    AdapterNode,
    LabellerNode,
    GroundProjector,
    ObjectLocator,
)
SOME_GRAPHS = {
    # Of another transport, another watching model, another choice of tasks, or an older ROS.
    "subscribe": {"/clock", "/parameter_events", "/sign/detections"},
    "publish": {"/sign_classifier/signs"},
    "reply": {"get_type_description"},
}


def _profiles() -> dict[str, ElementTree.Element]:
    root = ElementTree.parse(share_folder() / "config" / "sros2_policy.xml").getroot()
    assert (root.tag, root.get("version")) == ("policy", "0.2.0")
    profiles = list(root.iter("profile"))
    assert all(profile.get("ns") == "/" for profile in profiles)
    return {profile.get("node", ""): profile for profile in profiles}


def _allowed(profile: ElementTree.Element, what: str) -> set[str]:
    node = profile.get("node")
    return {
        name if name.startswith("/") else f"/{name.replace('~', str(node))}"
        for group in profile
        if group.get(what) == "ALLOW"
        for name in ((entry.text or "").strip() for entry in group)
    }


def _in_some_graphs(name: str, what: str) -> bool:
    leaf = name.rpartition("/")[2]
    often = name in SOME_GRAPHS[what] or leaf in SOME_GRAPHS[what] or leaf == "compressed"
    inputs = what == "subscribe" and (leaf == "features" or name.startswith("/labeller/"))
    return often or inputs


def _uses(node: Node, what: str) -> Iterator[str]:
    ask = {
        "publish": node.get_publisher_names_and_types_by_node,
        "subscribe": node.get_subscriber_names_and_types_by_node,
        "reply": node.get_service_names_and_types_by_node,
    }[what]
    for name, _types in ask(node.get_name(), "/"):
        yield name


def test_the_policy_is_what_the_nodes_do(bench, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", promised_gain=0.2)
    ground = {"drivable_classes": "road", "line_classes": "", "standing_classes": ""}
    values = {"bundle": str(bundle.path), "store": str(tmp_path / "store"), "tasks": "detection"}
    at = bench(**values, **ground)
    profiles = _profiles()
    for kind in KINDS:
        assert at.start(kind).started

    def unused(node: Node, what: str) -> set[str]:
        left = _allowed(profiles[node.get_name()], what) - set(_uses(node, what))
        return {name for name in left if not _in_some_graphs(name, what)}

    # The graph is told of a node's topics one after the other, on a busy machine late.
    every = [(node, what) for node in at.nodes for what in ("publish", "subscribe", "reply")]
    with suppress(AssertionError):  # What is missing is named below.
        at.until(lambda: not any(unused(node, what) for node, what in every))
    for node, what in every:
        allowed = _allowed(profiles[node.get_name()], what)
        assert set(_uses(node, what)) - allowed == set(), (node.get_name(), what)
        assert unused(node, what) == set(), (node.get_name(), what)


def test_the_operator_may_ask_for_every_service_and_nobody_else_may() -> None:
    profiles = _profiles()
    nodes = {kind for kind in profiles if kind not in ("camera", "operator")}
    replied = set().union(*(_allowed(profiles[node], "reply") for node in nodes))
    assert _allowed(profiles["operator"], "request") == replied
    assert all(not _allowed(profiles[node], "request") for node in nodes)
    heard = {
        topic
        for name, profile in profiles.items()
        for topic in _allowed(profile, "publish")
        if topic.startswith("/patch_sets/") and name != "adapter"
    }
    assert heard == set(), "only the adapter sends patch sets"
