"""What a launch file imports is there in the Python of ROS's own `ros2` command."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from patchline_ros.required_packages import REQUIRED

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.py"))
WITH_LAUNCH = {"launch", "launch_ros", "ament_index_python"}
OF_ROS = {
    *("ament_index_python", "rclpy", "builtin_interfaces", "diagnostic_msgs", "geometry_msgs"),
    *("lifecycle_msgs", "nav_msgs", "rcl_interfaces", "rosgraph_msgs", "sensor_msgs", "std_msgs"),
    *("std_srvs", "tf2_msgs", "vision_msgs", "visualization_msgs"),
}
WITH_OTHERS = {"pydantic_core"}
"""Installed with one that is required."""
ONLY_IN_A_FUNCTION = {"rosbags"}


def imports(node: ast.AST, in_functions: bool) -> set[str]:
    """Full names of what the code imports when it is loaded, and in its functions if asked."""
    found = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and not in_functions:
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            found |= {name.name for name in child.names}
        elif isinstance(child, ast.ImportFrom):
            found |= {f"{child.module}.{name.name}" for name in child.names}
        found |= imports(child, in_functions)
    return found


def own_files(name: str) -> set[Path]:
    """The files of the package that are read when `name`, a module or what is in one, is."""
    parts = name.split(".")
    paths = [ROOT.joinpath(*parts[: i + 1]) for i in range(len(parts))]
    files = [file for path in paths for file in (path / "__init__.py", path.with_suffix(".py"))]
    return {file for file in files if file.is_file()}


def others(files: list[Path]) -> set[str]:
    """Packages, neither this nor of the standard library, that loading the files takes."""
    found, read, left = set(), set(), set(files)
    while left:
        file = left.pop()
        read.add(file)
        for name in imports(ast.parse(file.read_text(encoding="utf-8")), file in LAUNCH_FILES):
            if name.startswith("patchline_ros."):
                left |= own_files(name) - read
            else:
                found.add(name.split(".")[0])
    return found - sys.stdlib_module_names - {"patchline_ros"}


@pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda file: file.name)
def test_a_launch_file_needs_no_package_but_those_of_launch(file):
    assert others([file]) - WITH_LAUNCH == set()


def test_the_packages_that_are_checked_are_those_that_nodes_import():
    nodes = [ROOT / "patchline_ros" / "nodes" / f"{name}.py" for name in node_programs()]
    assert others(nodes) - OF_ROS - WITH_OTHERS == set(REQUIRED) - ONLY_IN_A_FUNCTION


def test_a_python_without_the_packages_says_so_in_one_line():
    script = ROOT / "patchline_ros" / "required_packages.py"
    bare = [sys.executable, "-I", "-S", str(script)]
    answer = subprocess.run(bare, capture_output=True, text=True)
    assert answer.returncode == 1
    (said,) = answer.stderr.splitlines()
    assert f"built for {sys.executable}, which lacks {', '.join(REQUIRED)}: " in said


def node_programs() -> list[str]:
    """As CMakeLists.txt lists them."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    _, listed = text.split("foreach(node", 1)
    return listed.split(")", 1)[0].split()


def test_package_xml_names_every_ros_package_that_is_imported():
    """Those that a launch file or a node needs, and those that the build finds."""
    tree = ElementTree.parse(ROOT / "package.xml")
    kinds = ("depend", "exec_depend")
    named = {element.text for kind in kinds for element in tree.iter(kind)}
    nodes = sorted((ROOT / "patchline_ros").rglob("*.py"))
    imported = {
        name.split(".")[0]
        for file in (*nodes, *LAUNCH_FILES)
        for name in imports(ast.parse(file.read_text(encoding="utf-8")), True)
    }
    assert imported & (OF_ROS | WITH_LAUNCH) <= named
    cmake = (ROOT / "CMakeLists.txt").read_text()
    groups = re.findall(r"find_package\((\w+)|(ament_cmake_\w+)\b", cmake)
    found = {name for names in groups for name in names} - {"", "Python3"}
    build = ("buildtool_depend", "depend", "test_depend")
    assert found <= {e.text for kind in build for e in tree.iter(kind)}


def test_the_messages_alone_need_no_other_package():
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")
    program = (
        "import sys, patchline_ros.msg\n"
        f"print([name for name in {REQUIRED!r} if name in sys.modules and name != 'numpy'])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (found.returncode, found.stdout.strip()) == (0, "[]"), found.stderr
