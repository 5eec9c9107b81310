"""The launch files of the checkout, run by `ros2 launch` like on the car."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")
pytest.importorskip("launch_ros", reason="launch_ros is not installed (ROS 2 from apt has it)")

import numpy as np
import psutil
from foreign_package import install
from launch.actions import OpaqueFunction, SetEnvironmentVariable
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.utilities import perform_substitutions
from patchline_ros.msg import FrameFeatures, PatchStatus
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tiny_bundle import make_bundle, make_patch_set
from vision_msgs.msg import Classification

from launch import LaunchContext, LaunchDescription, LaunchService
from patchline_ros.graph import description
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import ns_to_stamp, rgb_to_image, stamp_to_ns
from patchline_ros.tasks import Task

LAUNCH_FILES = Path(__file__).resolve().parents[2] / "launch"
SIM_BUNDLE = LAUNCH_FILES.parent / "resource" / "sim_road"
LAUNCH_FILE = LAUNCH_FILES / "car.launch.py"


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


def test_it_starts_what_the_graph_describes(launch_file, monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, "lib/rviz2/rviz2", "")
    described = [
        node.executable for node in description.describe(description.GraphSettings("b", "s"))
    ]
    bundle = str(SIM_BUNDLE)
    assert started(launch_file, bundle=bundle) == described
    assert started(launch_file, bundle=bundle, rviz="true") == [
        *described,
        "status_picture",
        "rviz2",
    ]
    on_the_ground = started(launch_file, bundle=bundle, ground="true", depth_topic="/depth")
    assert on_the_ground == [*described, "ground_projector", "object_locator"]
    labelled = started(launch_file, bundle=bundle, labeller="true", labeller_tasks="detection")
    assert labelled == [*described, "labeller"]
    taught = [*described, "object_detector", "lane_segmenter", "labeller"]
    tasks = (Task.DETECTION, Task.SEGMENTATION)
    car = str(make_bundle(tmp_path / "car").path)
    teacher = str(make_bundle(tmp_path / "teacher", tasks=tasks, backbone="resnet50").path)
    assert started(launch_file, bundle=car, teacher=teacher) == taught
    with pytest.raises(ValueError, match=r"teacher:=\S+ has other classes for detection"):
        started(launch_file, bundle=str(SIM_BUNDLE), teacher=teacher)


def test_a_home_folder_may_be_written_as_a_tilde(launch_file, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"params_file:=.*/own\.yaml does not exist"):
        started(launch_file, bundle=str(SIM_BUNDLE), params_file="~/own.yaml")
    (tmp_path / "own.yaml").write_text("")
    assert started(launch_file, bundle=str(SIM_BUNDLE), params_file="~/own.yaml")


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
        "camera_driver",
        "remap",
        "image_transport",
        "image_reliability",
        "use_sim_time",
        "params_file",
        "autostart",
        "use_respawn",
        "log_level",
        "labeller",
        "labeller_tasks",
        "teacher",
        "teacher_rate",
        "rviz",
    }
    assert defaults["image_topic"] == "camera/color/image_raw"
    assert defaults["camera_driver"] == "none"
    assert defaults["image_reliability"] == "best_effort"
    assert Path(defaults["params_file"]).is_file()


@pytest.mark.parametrize("file", ["car.launch.py", "sim.launch.py", "replay.launch.py"])
def test_the_fast_dds_profile_is_set_before_anything_starts(file, monkeypatch):
    """Unless the user has one."""

    def set_variables() -> list[str]:
        source = PythonLaunchDescriptionSource(str(LAUNCH_FILES / file))
        context = LaunchContext()
        entities = source.get_launch_description(context).entities
        first = next(i for i, e in enumerate(entities) if isinstance(e, OpaqueFunction))
        return [
            perform_substitutions(context, entity.value)
            for entity in entities[:first]
            if isinstance(entity, SetEnvironmentVariable)
        ]

    for name in description.PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    (profile,) = map(Path, set_variables())
    assert profile.is_file() and profile.name == "fastdds.xml"
    monkeypatch.setenv(description.PROFILE_VARIABLES[0], "/theirs.xml")
    assert set_variables() == []


DRIVER = """
import json, os
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction

def write(context):
    seen = {"profile": os.environ.get("%s"), **context.launch_configurations}
    open(r"%s", "w").write(json.dumps(seen))

def generate_launch_description():
    level = DeclareLaunchArgument("log_level", default_value="its own")
    return LaunchDescription([level, OpaqueFunction(function=write)])
"""


def test_a_driver_gets_the_profile_and_the_namespace_but_not_our_arguments(
    launch_file, monkeypatch, tmp_path
):
    for name in description.PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    ((variable, _),) = description.profile_variables(Path("x"), os.environ).items()
    driver = DRIVER % (variable, tmp_path / "seen")
    install(monkeypatch, tmp_path, "share/astra_camera/launch/dabai.launch.py", driver)
    start = OpaqueFunction(function=lambda c: [launch_file.driver("astra_camera", "car1", c)])
    described = launch_file.generate_launch_description().entities
    before = [entity for entity in described if not isinstance(entity, OpaqueFunction)]
    service = LaunchService(argv=["log_level:=debug"])
    service.include_launch_description(LaunchDescription([*before, start]))
    assert service.run() == 0
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen["profile"] and seen["profile"].endswith("fastdds.xml")
    assert (seen["log_level"], seen["ros_namespace"]) == ("its own", "/car1")
    assert "image_topic" not in seen


@pytest.fixture(scope="module")
def ros2() -> str:
    """The ros2 command."""
    found = shutil.which("ros2")
    if found is None:
        pytest.skip("the ros2 command is not on PATH")
    return found


def launch(car, ros2: str, file: str, **arguments: str) -> subprocess.Popen[bytes]:
    """Starts the checkout's own launch file, whatever is installed."""
    given = [f"{name}:={value}" for name, value in arguments.items()]
    return car.run("launch", [ros2, "launch", str(LAUNCH_FILES / file), *given])


def interrupt(car, process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C: the nodes get it from the terminal and from launch."""
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 0, car.log("launch")
    assert "Traceback" not in car.log("launch")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_car_in_a_namespace_whose_killed_node_comes_back_with_its_patch_set(
    car, ros2, bundle, tmp_path
):
    """The whole graph with the shipped parameters, another camera topic and a renamed output."""
    probe = car.probe
    stored = tmp_path / "store" / "episodes"
    stored.mkdir(parents=True)
    (stored / "classification.v1.safetensors").write_bytes(
        make_patch_set(bundle, Task.CLASSIFICATION, 1)
    )
    masks = probe.collect(Image, "/car1/lane_segmenter/mask")
    signs = probe.collect(Classification, "/signs")
    statuses = probe.collect(PatchStatus, "/car1/sign_classifier/patch_status", qos.LATCHED)
    process = launch(
        car,
        ros2,
        "car.launch.py",
        namespace="car1",
        bundle=car.settings.bundle,
        store=car.settings.store,
        image_topic="/cam/image",
        remap="sign_classifier/classification:=/signs",
        use_respawn="true",
    )
    camera = probe.publisher(Image, "/cam/image", qos.images("best_effort"), seconds=120)
    picture = rgb_to_image(np.zeros((48, 64, 3), np.uint8), Header(stamp=ns_to_stamp(1)))

    def seen() -> bool:
        camera.publish(picture)
        return bool(masks and signs) and statuses[-1].version == 1

    probe.until(seen, seconds=120)
    answer = probe.call(
        GetParameters,
        "/car1/lane_segmenter/get_parameters",
        names=["queue_depth", "image_reliability", "bundle"],
    )
    depth, reliability, name = answer.values
    assert depth.integer_value == 1
    assert reliability.string_value == "best_effort"
    assert name.string_value == car.settings.bundle

    # launch starts executables of the package; the one of this launch is in its process group.
    (pid,) = pids(process.pid, "/sign_classifier")
    statuses.clear()
    os.kill(pid, signal.SIGKILL)
    probe.until(lambda: bool(statuses) and statuses[-1].state == PatchStatus.ACTIVE, seconds=120)
    assert pids(process.pid, "/sign_classifier") != [pid]
    interrupt(car, process)


def pids(group: int, program: str) -> list[int]:
    """Processes of the group with that in their command line."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if program in " ".join(process.info["cmdline"] or []):
            with suppress(ProcessLookupError):
                if os.getpgid(process.pid) == group:
                    found.append(process.pid)
    return found


GROUND_CLASSES = """
ground_projector:
  ros__parameters: {drivable_classes: road, line_classes: sky, standing_classes: car}
"""
"""In the bundle's own words."""


def test_the_simulated_road_is_recorded_and_replayed_with_its_time(car, ros2, tmp_path):
    """From clear weather into the night, live, and then as a bag; the graph ends with the bag."""
    probe, bag = car.probe, tmp_path / "drive"
    features = probe.collect(FrameFeatures, "/lane_segmenter/features", qos.LABELLED_FRAMES)
    # Recorded by hand: nothing but what a camera and a teacher send.
    topics = "/camera/color/image_raw,/sign/image_raw,/labelled_frames"
    command = [
        sys.executable,
        "-m",
        "patchline_ros.cli",
        "record",
        str(bag),
        "--topics",
        topics,
    ]
    recorder = car.run("record", command)
    arguments = {"bundle": car.settings.bundle, "store": car.settings.store}
    process = launch(
        car, ros2, "sim.launch.py", condition="night", change_after="1", rate="4", **arguments
    )
    probe.until(lambda: len(features) >= 8, seconds=180)
    recorder.send_signal(signal.SIGINT)
    interrupt(car, process)
    assert recorder.wait(30) == 0, car.log("record")
    log = car.log("launch")
    assert "the weather changes from clear to night" in log
    live = {stamp_to_ns(msg.header.stamp) for msg in features}

    features.clear()
    arguments["store"] = str(tmp_path / "fresh")
    arguments["params_file"] = str(tmp_path / "classes.yaml")
    Path(arguments["params_file"]).write_text(GROUND_CLASSES)
    process = launch(
        car, ros2, "replay.launch.py", bag=str(bag), rate="0.5", ground="true", **arguments
    )
    probe.until(lambda: "bag_player" in probe.probe.get_node_names(), seconds=180)
    (waits,) = probe.call(GetParameters, "/bag_player/get_parameters", names=["wait_for"]).values
    assert "/ground_projector" in waits.string_value.split(",")
    while process.poll() is None:
        probe.spin(0.2)
    log = car.log("launch").removeprefix(log)
    assert process.returncode == 0 and "messages sent" in log, log
    assert "Traceback" not in log and "has died" not in log, log
    # Both took the latest picture, so each may have left out others; the stamps are the camera's.
    assert live & {stamp_to_ns(msg.header.stamp) for msg in features}
