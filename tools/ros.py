"""Which ROS 2 is used, and the environment variables that its programs need."""

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.layout import PYTHON_FOLDER, Layout

_ASK = "import rclpy, rosidl_generator_py, numpy; print(numpy.__version__)"

PATH_VARIABLES = ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH")


@dataclass(frozen=True)
class Ros:
    """A ROS 2 installation: prefixes of a sourced one, or none for the wheels from PyPI."""

    prefixes: tuple[str, ...]
    numpy_major: int = 2
    """Of the NumPy that its messages were compiled against."""

    @property
    def home(self) -> str:
        """The sourced prefix that holds rclpy; empty for the wheels."""
        return next((prefix for prefix in self.prefixes if _holds(prefix, "rclpy")), "")

    def has_package(self, name: str) -> bool:
        """Whether the sourced prefixes hold the ROS package `name`."""
        return any(_holds(prefix, name) for prefix in self.prefixes)


def find_ros(environment: dict[str, str]) -> Ros:
    """Look for a sourced ROS 2 that this Python can use; else the wheels it is."""
    prefixes = tuple(_split(environment.get("AMENT_PREFIX_PATH", "")))
    if not Ros(prefixes).home:
        return Ros(())
    # Asked of the interpreter that the private environment would build upon: the one that runs
    # here may itself live in the private environment of another checkout.
    answer = subprocess.run(
        [base_python(), "-c", _ASK],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        return Ros(())
    return Ros(prefixes, numpy_major=int(answer.stdout.split(".")[0]))


def base_python() -> str:
    """The interpreter below any virtual environment that is active."""
    version = sys.version_info
    return os.path.join(sys.base_prefix, "bin", f"python{version.major}.{version.minor}")


def environment(layout: Layout, ros: Ros, inherited: dict[str, str]) -> dict[str, str]:
    """Variables for every program of the checkout, on top of `inherited` ones.

    With the wheels, a ROS 2 that happens to be sourced is taken out again: two distributions in one
    process do not work.
    """
    result = dict(inherited)
    paths = {name: list(_split(inherited.get(name, ""))) for name in PATH_VARIABLES}
    if not ros.home:
        foreign = [*paths["AMENT_PREFIX_PATH"], str(layout.private)]
        paths = {name: _outside(entries, foreign) for name, entries in paths.items()}
        paths["AMENT_PREFIX_PATH"] = [str(layout.venv)]
        paths["CMAKE_PREFIX_PATH"] = [str(layout.venv)]
        # The wheels hold this one only.
        result["RMW_IMPLEMENTATION"] = "rmw_fastrtps_cpp"
        # Set by a wheel when it has put its libraries on LD_LIBRARY_PATH; it has to do so anew.
        result.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    first = {
        "AMENT_PREFIX_PATH": [layout.install],
        "CMAKE_PREFIX_PATH": [layout.install],
        "LD_LIBRARY_PATH": [layout.install / "lib"],
        "PATH": [layout.install / "bin", layout.venv / "bin"],
        "PYTHONPATH": [layout.install / PYTHON_FOLDER],
    }
    for name, entries in paths.items():
        ours = [str(path) for path in first[name]]
        result[name] = os.pathsep.join(ours + [entry for entry in entries if entry not in ours])
    result["VIRTUAL_ENV"] = str(layout.venv)
    result.pop("PYTHONHOME", None)
    names = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
    if not any(inherited.get(name) for name in names):
        # Fast DDS 2 (Humble, Jazzy) was called fastrtps; 3 complains about the other's name.
        prefixes = (str(layout.venv), *ros.prefixes)
        version_2 = any(Path(prefix, "share", "fastrtps").is_dir() for prefix in prefixes)
        result[names[version_2]] = str(layout.root / "config" / "fastdds.xml")
    return result


def _split(paths: str) -> Iterable[str]:
    return (entry for entry in paths.split(os.pathsep) if entry)


def _holds(prefix: str, package: str) -> bool:
    index = Path(prefix, "share", "ament_index", "resource_index", "packages")
    return (index / package).exists()


def _outside(entries: list[str], prefixes: list[str]) -> list[str]:
    folders = [Path(prefix) for prefix in prefixes]
    return [e for e in entries if not any(Path(e).is_relative_to(folder) for folder in folders)]
