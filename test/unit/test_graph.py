"""The one description of the ROS graph."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from patchline_ros.graph import description
from patchline_ros.tasks import Task

SETTINGS = description.GraphSettings(bundle="/b", store="/s")


def nodes(settings: description.GraphSettings) -> dict[str, description.NodeDescription]:
    return {node.name: node for node in description.describe(settings)}


def test_five_processes_share_bundle_and_clock():
    found = nodes(replace(SETTINGS, use_sim_time=True))
    assert list(found) == [
        "sign_classifier",
        "object_detector",
        "lane_segmenter",
        "drift_monitor",
        "adapter",
    ]
    for node in found.values():
        assert node.parameters["bundle"] == "/b"
        assert node.parameters["use_sim_time"] is True
        assert node.parameters["autostart"] is True
    assert found["adapter"].parameters["store"] == "/s"


@pytest.mark.parametrize(
    ("sign_topic", "expected"), [("", "camera/color/image_raw"), ("/signs", "/signs")]
)
def test_pictures_are_remapped(sign_topic, expected):
    found = nodes(replace(SETTINGS, sign_image_topic=sign_topic))
    assert found["lane_segmenter"].remappings == {"image_raw": "camera/color/image_raw"}
    assert found["object_detector"].remappings == {"image_raw": "camera/color/image_raw"}
    assert found["sign_classifier"].remappings == {"sign/image_raw": expected}
    assert not found["drift_monitor"].remappings


def test_a_labeller_is_there_for_its_tasks_alone_and_sees_the_cameras_of_the_car():
    settings = replace(SETTINGS, sign_image_topic="/signs", labeller_tasks="detection")
    labeller = nodes(settings)["labeller"]
    assert labeller.parameters["tasks"] == "detection"
    assert labeller.parameters["image_transport"] == settings.image_transport
    assert labeller.remappings == {
        "labeller/image_raw": settings.image_topic,
        "labeller/sign/image_raw": "/signs",
    }


def test_the_ground_is_there_where_it_is_asked_for_and_knows_the_camera():
    ground = nodes(replace(SETTINGS, ground=True))["ground_projector"]
    assert ground.parameters["bundle"] == "/b"
    assert ground.remappings == {"image_raw": SETTINGS.image_topic}
    assert description.is_output("/car/ground_projector/drivable")
    assert description.camera_info_topic("/camera/color/image_raw") == "/camera/color/camera_info"


TEACHER = description.Teacher(
    "/t", {Task.DETECTION: ("car",), Task.SEGMENTATION: ("sky", "road")}, is_prepared=False, rate=2
)


def teacher_nodes(settings: description.GraphSettings) -> dict[str, description.NodeDescription]:
    car = len(description.describe(replace(settings, teacher=None)))
    return {node.name: node for node in description.describe(settings)[car:]}


def test_a_teacher_sees_the_cameras_of_the_car_and_only_its_labeller_sends_to_it():
    settings = replace(SETTINGS, namespace="car1", teacher=TEACHER, image_topic="front")
    found = teacher_nodes(settings)
    assert list(found) == ["object_detector", "lane_segmenter", "labeller"]
    for node in found.values():
        assert (node.namespace, node.niceness) == ("teacher", 10)
        assert node.parameters["max_rate"] == 2
    assert found["object_detector"].parameters["bundle"] == "/t"
    assert found["object_detector"].remappings == {"image_raw": "/car1/front"}
    # The class names of the labels are the car's.
    assert found["labeller"].parameters["bundle"] == "/b"
    assert found["labeller"].parameters["tasks"] == "detection,segmentation"
    assert found["labeller"].remappings == {
        "labeller/detections": "object_detector/detections",
        "labeller/mask": "lane_segmenter/mask",
        "labeller/image_raw": "/car1/front",
        "labelled_frames": "/car1/labelled_frames",
    }
    command = description.command(found["labeller"], settings, Path("/opt/car"))
    assert command[:3] == ["nice", "-n", "10"] and "__ns:=/car1/teacher" in command


def test_a_teacher_with_prepared_patches_follows_a_drift_in_a_store_of_its_own():
    found = teacher_nodes(replace(SETTINGS, teacher=replace(TEACHER, is_prepared=True)))
    assert list(found)[2:] == ["drift_monitor", "adapter", "labeller"]
    adapter = found["adapter"].parameters
    assert (adapter["bundle"], adapter["store"], adapter["labels"]) == ("/t", "/s/teacher", "none")


def test_of_free_remapping_a_teacher_takes_what_it_shares_with_the_car():
    """Its answers on a topic of the car's would be taken for the car's."""
    remap = {
        "image_raw": "cam",
        "labelled_frames": "~/labels",
        "object_detector/detections": "/found",
        "labeller/detections": "/yolo",
    }
    found = teacher_nodes(replace(SETTINGS, teacher=TEACHER, remap=remap))
    assert found["object_detector"].remappings == {"image_raw": "/cam"}
    assert found["labeller"].remappings["labeller/detections"] == "object_detector/detections"
    assert found["labeller"].remappings["labelled_frames"] == "/adapter/labels"


def test_free_remapping_wins_and_a_wrong_rule_is_named():
    remap = description.parse_remap(["image_raw:=/cam", "labelled_frames:=~/labels"])
    found = nodes(replace(SETTINGS, remap=remap))
    assert found["lane_segmenter"].remappings == remap
    assert found["adapter"].remappings == remap
    assert list(found["sign_classifier"].remappings)[-1] == "sign/image_raw"
    for rule in ("cam", ":=cam", "a b:=c"):
        with pytest.raises(ValueError, match="is no remapping of topics; write FROM:=TO"):
            description.parse_remap([rule])


def test_what_the_graph_publishes_is_told_from_what_it_hears():
    outputs = ["/car1/lane_segmenter/mask", "/patch_sets/signs", "/drift_status", "/rosout"]
    inputs = ["/camera/color/image_raw", "/sign/image_raw", "/car1/labelled_frames", "/tf", "/imu"]
    outputs += ["/teacher/object_detector/detections", "/car1/teacher/drift_status"]
    inputs += [f"/car1/{topic}" for topic in description.LABEL_TOPIC_OF_TASK.values()]
    assert all(map(description.is_output, outputs))
    assert not any(map(description.is_output, inputs))


def test_command_line():
    settings = replace(SETTINGS, namespace="car1/", params_file="/p.yaml", log_level="debug")
    command = description.command(nodes(settings)["adapter"], settings, Path("/opt/car"))
    assert command[0] == "/opt/car/lib/patchline_ros/adapter"
    text = " ".join(command[1:])
    assert text.startswith("--ros-args --log-level debug -r __node:=adapter -r __ns:=/car1")
    assert text.index("--params-file /p.yaml") < text.index("-p bundle:=")


def test_parameters_on_the_command_line_keep_their_types():
    values = {"text": 'a "b" \\ c', "number": "17", "flag": True, "whole": 3, "real": 0.5}
    node = description.NodeDescription("camera", "camera", values)
    arguments = description.ros_arguments(node, SETTINGS)
    given = [text for flag, text in itertools.pairwise(arguments) if flag == "-p"]
    read = {name: json.loads(text) for name, text in (a.split(":=", 1) for a in given)}
    assert read == values


@pytest.mark.parametrize(
    ("package", "variable"),
    [
        ("fastdds", "FASTDDS_DEFAULT_PROFILES_FILE"),
        ("fastrtps", "FASTRTPS_DEFAULT_PROFILES_FILE"),
    ],
)
def test_the_profile_is_named_as_the_installed_fast_dds_reads_it(package, variable, tmp_path):
    (tmp_path / "ros" / "share" / package).mkdir(parents=True)
    base = {"AMENT_PREFIX_PATH": f"{tmp_path / 'mine'}:{tmp_path / 'ros'}"}
    profile = tmp_path / "fastdds.xml"
    assert description.environment(profile, base) == {**base, variable: str(profile)}


@pytest.mark.parametrize("variable", description.PROFILE_VARIABLES)
def test_the_profile_of_the_user_stays(variable, tmp_path):
    theirs = {variable: "/theirs.xml"}
    assert description.environment(tmp_path / "fastdds.xml", theirs) == theirs
