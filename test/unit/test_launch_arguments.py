"""The arguments of the launch files, and the page that lists them."""

import ast
import time
from pathlib import Path

import pytest

from patchline_ros.graph.launch_arguments import CAR, REPLAY, SIM, LaunchArgument
from patchline_ros.sim import Condition
from tools import list_launch_arguments

ROOT = Path(__file__).resolve().parents[2]
TABLES = {"car.launch.py": "CAR", "sim.launch.py": "SIM", "replay.launch.py": "REPLAY"}


def test_the_page_lists_them() -> None:
    page = (ROOT / "docs" / "launch.md").read_text(encoding="utf-8")
    expected = list_launch_arguments.page()
    assert page == expected, "python -m tools.list_launch_arguments > docs/launch.md"


@pytest.mark.parametrize("file", TABLES)
def test_a_launch_file_declares_its_table_and_nothing_else(file: str) -> None:
    tree = ast.parse((ROOT / "launch" / file).read_text(encoding="utf-8"))
    declared = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "DeclareLaunchArgument"
    ]
    (loop,) = (
        node for node in ast.walk(tree) if isinstance(node, ast.ListComp) and node.elt in declared
    )
    assert len(declared) == 1
    assert ast.unparse(loop.generators[0].iter) == TABLES[file]


def test_every_launch_file_is_on_the_page() -> None:
    assert {path.name for path in (ROOT / "launch").iterdir()} == set(list_launch_arguments.TABLES)


@pytest.mark.parametrize("table", [CAR, SIM, REPLAY], ids=TABLES)
def test_an_argument_is_described_and_its_default_is_allowed(
    table: tuple[LaunchArgument, ...],
) -> None:
    assert len({argument.name for argument in table}) == len(table)
    for argument in table:
        assert argument.description
        assert not argument.choices or argument.default in argument.choices


def test_the_conditions_are_those_of_the_simulator() -> None:
    (condition,) = (argument for argument in SIM if argument.name == "condition")
    assert condition.choices == tuple(str(condition) for condition in Condition)


def test_launch_gets_folders_and_times_in_place_of_their_signs(tmp_path: Path) -> None:
    share = tmp_path / "of 100%d"
    given = {argument.name: argument.keywords(share) for argument in (*CAR, *REPLAY)}
    assert given["bundle"]["default_value"] == f"{share}/resource/sim_road"
    assert given["params_file"]["default_value"] == f"{share}/config/car.yaml"
    folder = Path(given["store"]["default_value"])
    assert folder.parent == Path("~/.ros/patchline_replay")
    assert abs(time.mktime(time.strptime(folder.name, "%Y%m%d-%H%M%S")) - time.time()) < 60
    assert given["bag"]["default_value"] is None
    assert given["image_reliability"]["choices"] == ["best_effort", "reliable"]
    assert given["namespace"]["choices"] is None
