"""Launch files that can't do what they are asked say so in one sentence, and start nothing."""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")
pytest.importorskip("launch_ros", reason="launch_ros is not installed (ROS 2 from apt has it)")

import psutil
from foreign_package import install
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from rosbags.rosbag2 import StoragePlugin, Writer

from launch import LaunchDescription, LaunchService

LAUNCH_FILES = Path(__file__).resolve().parents[2] / "launch"

MISTAKES = {
    "there is no bag /nowhere": ["replay.launch.py", "bag:=/nowhere"],
    "bundle:=/nowhere is no bundle": ["car.launch.py", "bundle:=/nowhere"],
    "Valid options are: ['best_effort', 'reliable']": ["car.launch.py", "image_reliability:=fast"],
    "severity:=much is no number": ["sim.launch.py", "severity:=much"],
    "remap: 'a=b' is no remapping of topics; write FROM:=TO": ["car.launch.py", "remap:=a=b"],
    "labeller:=true labels nothing without labeller_tasks": ["car.launch.py", "labeller:=true"],
    "teacher:=/nowhere is no bundle": ["car.launch.py", "teacher:=/nowhere"],
    "camera_driver:=astra_camera needs the package astra_camera, which is not": [
        "sim.launch.py",
        "camera_driver:=astra_camera",
    ],
}


@pytest.mark.parametrize("says", MISTAKES)
def test_a_mistake_is_one_sentence_and_starts_nothing(says):
    file, argument = MISTAKES[says]
    assert_refused(file, argument, says)


def test_a_bag_without_a_message_starts_nothing(tmp_path):
    with Writer(tmp_path / "drive", version=9, storage_plugin=StoragePlugin.MCAP):
        pass
    assert_refused("replay.launch.py", f"bag:={tmp_path / 'drive'}", "holds no message")


@pytest.mark.parametrize(
    ("file", "given", "said"),
    [
        ("car.launch.py", "grund:=true", "grund does not exist and has no effect; did you mean gr"),
        ("sim.launch.py", "conditon:=fog", "conditon does not exist and has no effect; did you"),
        ("sim.launch.py", "labels:=false", ""),
        ("car.launch.py", "of_another_file:=1", ""),
    ],
)
def test_a_misspelt_argument_is_warned_of(file, given, said):
    """An argument that the launch then refuses keeps the nodes from starting."""
    name, _, value = given.partition(":=")
    heard = assert_refused(file, "bundle:=/nowhere", "is no bundle", {name: value})
    warned = [line for line in heard if "does not exist" in line]
    assert len(warned) == bool(said) and all(said in line for line in warned)


FOREIGN_FILES = {
    "needs share/orbbec_camera/launch/dabai.launch.py in": [
        "camera_driver:=orbbec_camera",
        "share/orbbec_camera/launch/orbbec_camera.launch.py",
        "",
    ],
    "dabai.launch.py can't be used: ": [
        "camera_driver:=astra_camera",
        "share/astra_camera/launch/dabai.launch.py",
        "import no_such_module",
    ],
    "no_such_package": [
        "camera_driver:=astra_camera",
        "share/astra_camera/launch/dabai.launch.py",
        """from launch import LaunchDescription
from launch_ros.actions import Node

def generate_launch_description():
    return LaunchDescription([Node(package="no_such_package", executable="x")])""",
    ],
    "needs lib/rviz2/rviz2 in": ["rviz:=true", "share/rviz2/package.xml", ""],
}
"""What the sentence says, the argument, and what there is of the other package."""


@pytest.mark.parametrize("says", FOREIGN_FILES)
def test_a_launch_that_needs_what_others_lack_starts_nothing(says, monkeypatch, tmp_path):
    argument, file, text = FOREIGN_FILES[says]
    install(monkeypatch, tmp_path, file, text)
    assert_refused("sim.launch.py", argument, says)


def assert_refused(
    file: str, argument: str, says: str, others: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """As `ros2 launch` shows it, without the time that its start takes; what the log says."""
    source = PythonLaunchDescriptionSource(str(LAUNCH_FILES / file))
    name, _, value = argument.partition(":=")
    given = {**others, name: value}
    service = LaunchService(argv=[f"{name}:={value}" for name, value in given.items()])
    description = LaunchDescription(
        [IncludeLaunchDescription(source, launch_arguments=given.items())]
    )
    service.include_launch_description(description)
    said, handler = [], logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    # What is for the user goes to a logger that hands nothing on.
    loggers = [logging.getLogger(name) for name in ("launch", "launch.user")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        assert service.run() == 1
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    assert says in " ".join(said)
    assert not [line for line in said if "process started" in line]
    below = psutil.Process().children(recursive=True)
    assert not [child for child in below if "lib/patchline_ros" in " ".join(child.cmdline())]
    return said
