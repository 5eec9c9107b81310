"""launch/car.launch.py, run by `ros2 launch` like on the car."""

import importlib.util
import os
import shutil
import signal
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")
pytest.importorskip("launch_ros", reason="launch_ros is not installed (ROS 2 from apt has it)")

import numpy as np
from launch.actions import SetEnvironmentVariable
from launch.utilities import perform_substitutions
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Classification

from launch import LaunchContext
from patchline_ros import graph
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import ns_to_stamp, rgb_to_image

LAUNCH_FILE = Path(__file__).resolve().parents[2] / "launch" / "car.launch.py"


@pytest.fixture
def launch_file():
    """The launch file as a module."""
    spec = importlib.util.spec_from_file_location("car_launch", LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def started(launch_file, **arguments: str) -> list[str]:
    """Executables that the launch file would start."""
    context = LaunchContext()
    for argument in launch_file.ARGUMENTS:
        context.launch_configurations[argument.name] = arguments.get(
            argument.name
        ) or perform_substitutions(context, argument.default_value)
    return [
        perform_substitutions(context, node.node_executable)
        if isinstance(node.node_executable, list)
        else node.node_executable
        for node in launch_file.start(context)
    ]


def test_it_starts_what_the_graph_describes(launch_file):
    described = [node.executable for node in graph.describe(graph.GraphSettings("b", "s"))]
    assert started(launch_file) == described
    assert started(launch_file, rviz="true") == [*described, "status_picture", "rviz2"]


def test_the_arguments_are_the_ones_that_cars_expect(launch_file):
    defaults = {
        argument.name: perform_substitutions(LaunchContext(), argument.default_value)
        for argument in launch_file.ARGUMENTS
    }
    assert defaults.keys() >= {
        "namespace",
        "bundle",
        "image_topic",
        "sign_image_topic",
        "image_transport",
        "image_reliability",
        "use_sim_time",
        "params_file",
        "autostart",
        "use_respawn",
        "log_level",
        "rviz",
    }
    assert defaults["image_topic"] == "/camera/color/image_raw"
    assert defaults["image_reliability"] == "best_effort"
    assert Path(defaults["params_file"]).is_file()


def test_the_fast_dds_profile_is_set_unless_the_user_has_one(launch_file, monkeypatch):
    def set_variables() -> list[str]:
        context = LaunchContext()
        return [
            perform_substitutions(context, entity.value)
            for entity in launch_file.generate_launch_description().entities
            if isinstance(entity, SetEnvironmentVariable)
        ]

    for name in graph.PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    (profile,) = map(Path, set_variables())
    assert profile.is_file() and profile.name == "fastdds.xml"
    monkeypatch.setenv(graph.PROFILE_VARIABLES[0], "/theirs.xml")
    assert set_variables() == []


def test_ros2_launch(car):
    """The whole graph in a namespace, on another camera topic, with the shipped parameters."""
    ros2 = shutil.which("ros2")
    if ros2 is None:
        pytest.skip("the ros2 command is not on PATH")
    probe = car.probe
    masks = probe.collect(Image, "/car1/lane_segmenter/mask")
    signs = probe.collect(Classification, "/car1/sign_classifier/classification")
    arguments = {
        "namespace": "car1",
        "bundle": car.settings.bundle,
        "store": car.settings.store,
        "image_topic": "/cam/image",
    }
    given = [f"{name}:={value}" for name, value in arguments.items()]
    launch = car.run("launch", [ros2, "launch", graph.PACKAGE, LAUNCH_FILE.name, *given])
    camera = probe.publisher(Image, "/cam/image", qos.images("best_effort"), seconds=120)
    picture = rgb_to_image(np.zeros((48, 64, 3), np.uint8), Header(stamp=ns_to_stamp(1)))

    def seen() -> bool:
        camera.publish(picture)
        return bool(masks and signs)

    probe.until(seen, seconds=120)
    expected = {node.name for node in graph.describe(car.settings)}
    probe.until(
        lambda: (
            expected
            <= {
                name
                for name, namespace in probe.probe.get_node_names_and_namespaces()
                if namespace == "/car1"
            }
        ),
        seconds=120,
    )
    answer = probe.call(
        GetParameters,
        "/car1/lane_segmenter/get_parameters",
        names=["queue_depth", "image_reliability", "bundle"],
    )
    depth, reliability, bundle = answer.values
    assert depth.integer_value == 1
    assert reliability.string_value == "best_effort"
    assert bundle.string_value == car.settings.bundle
    os.killpg(launch.pid, signal.SIGINT)  # Ctrl-C: the nodes get it from the terminal and launch
    assert launch.wait(30) == 0, car.log("launch")
    assert "Traceback" not in car.log("launch")
    assert "has died" not in car.log("launch")
