"""The launcher: help without a set-up, old Pythons, and the variables that programs get."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import patchline_ros
from tools.bootstrap import set_up_steps
from tools.install import UV, configured_options, uv_options
from tools.layout import Layout
from tools.ros import Ros, environment
from tools.test_command import TIERS, pytest_arguments, unknown_place

ROOT = Path(__file__).parents[2]
LAYOUT = Layout(Path("/car/checkout"))
SOURCED = {
    "AMENT_PREFIX_PATH": "/opt/ros/jazzy",
    "LD_LIBRARY_PATH": "/opt/ros/jazzy/lib:/opt/cuda/lib",
    "PATH": "/opt/ros/jazzy/bin:/usr/bin",
    "PYTHONPATH": "/opt/ros/jazzy/lib/python3.12/site-packages",
    "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp",
}


def test_help_from_another_folder_sets_up_nothing(tmp_path: Path) -> None:
    checkout = tmp_path / "a checkout"
    shutil.copytree(ROOT / "tools", checkout / "tools")
    shutil.copy(ROOT / "patchline", checkout)
    result = subprocess.run(
        [sys.executable, checkout / "patchline"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "./patchline demo" in result.stdout
    assert not (checkout / ".patchline").exists()


def test_a_checkout_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copy(ROOT / "patchline", tmp_path)
    # A file in the place of the folder stops root as well.
    (tmp_path / ".patchline").touch()
    command = [sys.executable, str(tmp_path / "patchline"), "demo"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("can't set up an environment here: ")
    assert result.stderr.count("\n") == 1


def test_another_ros_has_an_environment_of_its_own() -> None:
    command = [sys.executable, str(ROOT / "patchline"), "test", "--distro"]
    result = subprocess.run([*command, "foxy"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (2, "--distro is 'foxy'; use jazzy\n")
    jazzy = Layout(ROOT, "jazzy")
    assert jazzy.venv == ROOT / ".patchline" / "jazzy" / "venv"
    steps = {step.name: " ".join(step.command) for step in set_up_steps(jazzy, Ros(()))}
    assert "ros-jazzy.txt" in steps["ros"] and "/ros.txt" not in steps["ros"]


def test_tiers_are_named_before_what_is_for_pytest() -> None:
    assert pytest_arguments(["unit", "nodes", "-k", "process"])[-4:] == [
        "test/unit",
        "test/nodes",
        "-k",
        "process",
    ]
    assert all((ROOT / "test" / tier).is_dir() for tier in TIERS)
    assert pytest_arguments([])[:3] == ["-m", "pytest", "-rfEs"]


def test_a_misspelt_tier_is_told_at_once() -> None:
    command = [sys.executable, str(ROOT / "patchline"), "test", "unit", "nodse"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == (
        "'nodse' is neither a file nor a tier of tests; "
        "the tiers: unit, cases, nodes, pipeline, process, trials\n"
    )
    for known in ([], ["unit", "-k", "fog"], ["test/unit/test_launcher.py::test_x", "fog"]):
        assert unknown_place(known, ROOT) is None


def test_the_launcher_can_be_read_by_an_old_python() -> None:
    ast.parse((ROOT / "patchline").read_text(), feature_version=(3, 6))


def test_what_pip_is_told_is_told_to_uv() -> None:
    lines = [
        ":env:.index-url='https://mirror.example/simple'",
        "download.index-url='https://of-another-command.example'",
        "global.extra-index-url='\\nhttps://a.example\\nhttps://b.example'",
        "global.index-url='https://overridden.example'",
        "global.timeout='15'",
        "install.cert='/etc/our certificates.pem'",
        "install.timeout='60'",
    ]
    configured = configured_options(lines)
    assert configured["timeout"] == "60"
    assert uv_options(configured) == [
        *("--cert", "/etc/our certificates.pem"),
        *("--index", "https://a.example", "--index", "https://b.example"),
        *("--default-index", "https://mirror.example/simple"),
    ]


@pytest.mark.skipif(not Path(UV).exists(), reason="below a sourced ROS, pip installs everything")
def test_pip_installs_where_uv_cannot_be_told_what_pip_was() -> None:
    def said(variables: dict[str, str]) -> str:
        command = [sys.executable, ROOT / "tools" / "install.py", "--help"]
        environment = {**os.environ, **variables}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert "Usage: uv pip install" in said({"PIP_NO_CACHE_DIR": "1"})
    reason, usage = said({"PIP_REQUIRE_HASHES": "1"}).split("\n", 1)
    assert reason == "pip installs, because its configuration has require-hashes"
    assert "pip install [options]" in usage


def test_wheels_take_a_sourced_ros_out_of_the_way() -> None:
    result = environment(LAYOUT, Ros(()), SOURCED)
    assert not [name for name, value in result.items() if "/opt/ros/jazzy" in value]
    assert result["RMW_IMPLEMENTATION"] == "rmw_fastrtps_cpp"
    assert result["AMENT_PREFIX_PATH"] == f"{LAYOUT.install}:{LAYOUT.venv}"
    assert result["LD_LIBRARY_PATH"] == f"{LAYOUT.install}/lib:/opt/cuda/lib"
    assert result["PATH"] == f"{LAYOUT.install}/bin:{LAYOUT.venv}/bin:/usr/bin"


def test_a_sourced_checkout_finds_the_definitions_of_the_wheels() -> None:
    checkout = Layout(ROOT)
    wheels = checkout.venv / "share" / "sensor_msgs" / "msg" / "Image.msg"
    if not (checkout.command.exists() and wheels.exists()):
        pytest.skip("no ./patchline has built this checkout with the wheels of ROS")
    script = """
        source "$0/venv/bin/activate" && source "$0/install/setup.bash" && exec python -c '
import os
from ament_index_python.packages import get_package_share_directory as share
print(share("sensor_msgs"), share("patchline_ros"), os.environ["RMW_IMPLEMENTATION"])'
    """
    result = subprocess.run(
        ["bash", "-c", script, str(checkout.private)],
        env={"PATH": "/usr/bin:/bin", "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"},
        capture_output=True,
        text=True,
        check=True,
    )
    shares = [prefix / "share" for prefix in (checkout.venv, checkout.install)]
    expected = [str(shares[0] / "sensor_msgs"), str(shares[1] / "patchline_ros")]
    assert result.stdout.split() == [*expected, "rmw_fastrtps_cpp"]


def test_a_sourced_ros_is_used_below_ours(tmp_path: Path) -> None:
    rclpy = tmp_path / "share" / "ament_index" / "resource_index" / "packages" / "rclpy"
    rclpy.parent.mkdir(parents=True)
    rclpy.touch()
    ros = Ros((str(tmp_path),))
    result = environment(LAYOUT, ros, {**SOURCED, "AMENT_PREFIX_PATH": str(tmp_path)})
    assert result["AMENT_PREFIX_PATH"] == f"{LAYOUT.install}:{tmp_path}"
    assert result["RMW_IMPLEMENTATION"] == "rmw_cyclonedds_cpp"
    assert environment(LAYOUT, ros, result) == result


def test_the_fast_dds_profile_is_set_unless_the_user_has_one(tmp_path: Path) -> None:
    def variables(ros: Ros, inherited: dict[str, str]) -> dict[str, str]:
        result = environment(LAYOUT, ros, inherited)
        return {name: value for name, value in result.items() if "PROFILES_FILE" in name}

    ours = "/car/checkout/config/fastdds.xml"
    (tmp_path / "share" / "fastrtps").mkdir(parents=True)
    assert variables(Ros(()), {}) == {"FASTDDS_DEFAULT_PROFILES_FILE": ours}
    assert variables(Ros((str(tmp_path),)), {}) == {"FASTRTPS_DEFAULT_PROFILES_FILE": ours}
    own = {"FASTRTPS_DEFAULT_PROFILES_FILE": "/car/own.xml"}
    assert variables(Ros(()), own) == own


def test_one_version() -> None:
    manifest = ElementTree.parse(ROOT / "package.xml")
    assert manifest.findtext("version") == patchline_ros.__version__
