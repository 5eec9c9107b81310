"""What a launch needs, checked before its first node is started.

A launch file that fails later leaves the nodes behind that it has started: launch only ends those
whose start it has seen the end of. The launch files run in the Python of the `ros2` command, which
has the standard library and ROS alone; what takes more is asked of the nodes' own Python.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from patchline_ros.graph.description import GraphSettings, Teacher
from patchline_ros.package_share import PACKAGE
from patchline_ros.tasks import Task

OTHERS: Final = "patchline_arguments"
"""The global of a launch in which a file leaves the names of its arguments for one it includes."""
_CHECK = "launch_check"
"""The program that answers in the nodes' Python (nodes/launch_check.py)."""
_CANNOT_RUN = (126, 127)
"""What the shell returns for an interpreter that is not there or is none."""


@dataclass(frozen=True)
class Need:
    """A file of an installed package.

    Attributes:
        package: by its name.
        files: below the folder that the package is installed in; one of them has to be there.
        argument: of the launch, which asked for it.
        advice: what to do where it is missing.
    """

    package: str
    files: tuple[str, ...]
    argument: str
    advice: str


def misspelt(given: Iterable[str], known: Iterable[str]) -> list[str]:
    """A sentence for each argument of the command line that looks like another one.

    One that looks like none may be of a launch file of others, which includes this one.

    Args:
        given: arguments as `NAME:=VALUE`.
        known: names of those that there are.
    """
    names = set(known)
    unknown = sorted({argument.partition(":=")[0] for argument in given} - names)
    near = {name: get_close_matches(name, sorted(names), n=1) for name in unknown}
    return [
        f"argument {name} does not exist and has no effect; did you mean {found[0]}?"
        for name, found in near.items()
        if found
    ]


def check_files(settings: GraphSettings, written: Callable[[str, str], str]) -> None:
    """What five processes would otherwise say one after the other, or again and again.

    Args:
        settings: of the graph.
        written: an argument as the user writes it, from its name and its value.

    Raises:
        ValueError: the bundle is none, or the parameter file is missing.
    """
    bundle = Path(settings.bundle).expanduser()
    if not (bundle / "manifest.json").is_file():
        raise ValueError(
            f"{written('bundle', settings.bundle)} is no bundle (it has no manifest.json); give "
            "the folder that `patchline offline` made"
        )
    if settings.params_file and not Path(settings.params_file).is_file():
        raise ValueError(f"{written('params_file', settings.params_file)} does not exist")


def program(name: str) -> Need:
    """A program of this package."""
    advice = "its build is not complete or not of this version, run `colcon build` again"
    return Need(PACKAGE, (f"lib/{PACKAGE}/{name}",), "this launch", advice)


def find(need: Need) -> Path:
    """The first of the files that is there.

    Raises:
        ValueError: the package or the file is missing; the sentence says what to do.
    """
    try:
        prefix = Path(get_package_prefix(need.package))
    except PackageNotFoundError as error:
        raise ValueError(
            f"{need.argument} needs the package {need.package}, which is not installed, or its "
            f"workspace is not sourced: {need.advice}"
        ) from error
    for file in need.files:
        if (prefix / file).is_file():
            return prefix / file
    raise ValueError(
        f"{need.argument} needs {' or '.join(need.files)} in {prefix}, where the package "
        f"{need.package} has no such file: {need.advice}"
    )


def ask_nodes_python(arguments: Iterable[str] = ()) -> dict[str, Any]:
    """What the nodes' Python says of this launch; it also checks that it has its packages.

    Args:
        arguments: of `nodes/launch_check.py`.

    Raises:
        ValueError: it can't run, lacks a package, or refuses an argument; with its sentence.
    """
    asked = find(program(_CHECK))
    answer = subprocess.run(
        [str(asked), *arguments], capture_output=True, encoding="utf-8", errors="replace"
    )
    said = answer.stderr.strip().splitlines()
    if answer.returncode in _CANNOT_RUN:
        raise ValueError(
            f"the Python that {PACKAGE} was built for can't be run ({said[-1] if said else asked}):"
            " activate the Python environment and run `colcon build --cmake-clean-cache`"
        )
    if answer.returncode:
        raise ValueError(said[-1] if said else f"{asked} ended with {answer.returncode}")
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def teacher_of(answer: dict[str, Any]) -> Teacher | None:
    """The teacher in an answer of the nodes' Python; None where none was asked for."""
    found = answer.get("teacher")
    if found is None:
        return None
    classes = {Task(task): tuple(names) for task, names in found.pop("classes").items()}
    return Teacher(classes=classes, **found)
