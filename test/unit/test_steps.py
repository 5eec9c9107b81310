"""The set-up: what is repeated, what a failure says, and what a kill leaves behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.bootstrap import PACKAGES, set_up_steps
from tools.layout import Layout
from tools.ros import Ros
from tools.steps import SetupError, Step, locked, run_due

ROOT = Path(__file__).parents[2]
ADVICE = "Free some space"


def step(folder: Path, name: str, command: list[str], needs: Step | None = None) -> Step:
    return Step(name, f"doing {name}", command, [], folder, needs, ADVICE)


def run(steps: list[Step], folder: Path) -> None:
    with locked(folder / "lock") as lock:
        run_due(steps, folder, dict(os.environ), lock)


def count(marks: Path) -> list[str]:
    return marks.read_text().split() if marks.exists() else []


def test_a_failed_step_says_so_and_the_next_call_goes_on_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marks = tmp_path / "marks"
    first = step(tmp_path, "first", ["sh", "-c", f"echo first >> {marks}"])
    second = step(
        tmp_path, "second", ["sh", "-c", f"echo no space left; test -e {tmp_path}/room"], first
    )
    with pytest.raises(SetupError) as error:
        run([first, second], tmp_path)
    message = str(error.value)
    for part in ("[2/2] doing second failed", "no space left", "second.log", ADVICE):
        assert part in message
    assert first.done
    assert not second.done

    (tmp_path / "room").touch()
    capsys.readouterr()
    run([first, second], tmp_path)
    assert capsys.readouterr().err.splitlines() == ["[2/2] doing second ... 0 s"]
    assert count(marks) == ["first"]


def test_a_step_is_repeated_when_what_it_needs_changes(tmp_path: Path) -> None:
    marks = tmp_path / "marks"

    def steps(text: str) -> list[Step]:
        below = step(tmp_path, "below", ["sh", "-c", f"echo {text} >> {marks}"])
        return [below, step(tmp_path, "above", ["sh", "-c", f"echo above >> {marks}"], below)]

    for text in ("one", "one", "two"):
        run(steps(text), tmp_path)
    assert count(marks) == ["one", "above", "two", "above"]


def test_a_killed_set_up_leaves_no_stamp_and_holds_the_lock_until_its_step_has_ended(
    tmp_path: Path,
) -> None:
    program = (
        "import os, pathlib; from tools.steps import Step, locked, run_due\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "step = Step('slow', 'waiting', ['sleep', '2'], [], folder, None, '')\n"
        "with locked(folder / 'lock') as lock: run_due([step], folder, dict(os.environ), lock)"
    )
    launcher = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    while not (tmp_path / "slow.log").exists():
        time.sleep(0.02)
    time.sleep(0.1)
    launcher.kill()
    launcher.wait()
    started = time.monotonic()
    with locked(tmp_path / "lock"):
        assert time.monotonic() - started > 1
    assert not Step("slow", "waiting", ["sleep", "2"], [], tmp_path, None, "").done


def test_a_new_file_or_message_is_built_and_an_edited_module_is_not(tmp_path: Path) -> None:
    for name, text in {
        "CMakeLists.txt": "",
        "package.xml": "",
        "msg/A.msg": "bool a",
        "patchline_ros/module.py": "",
        "tools/clear_wheel_paths.cmake": "",
        "tools/vision_msgs/package.xml": "",
        **{f"tools/requirements/{name}.txt": "" for name in ("build", "ros", "torch")},
        **{f"tools/requirements/{name}.txt": "" for name in (*PACKAGES, "numpy2")},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def changed(path: str, text: str) -> set[str]:
        before = {step.name: step.key for step in set_up_steps(Layout(tmp_path), Ros(()))}
        (tmp_path / path).write_text(text)
        after = set_up_steps(Layout(tmp_path), Ros(()))
        return {step.name for step in after if step.key != before[step.name]}

    assert changed("patchline_ros/module.py", "edited = True") == set()
    assert changed("patchline_ros/new.py", "") == {"patchline_ros"}
    assert changed("msg/A.msg", "bool b") == {"patchline_ros"}
    assert changed("tools/requirements/test.txt", "new") == {"packages"}
    assert changed("tools/requirements/ros.txt", "new") == {"ros", "vision_msgs", "patchline_ros"}


def test_the_stand_in_for_vision_msgs_is_never_built_beside_the_real_one(tmp_path: Path) -> None:
    real = tmp_path / "share" / "ament_index" / "resource_index" / "packages" / "vision_msgs"
    real.parent.mkdir(parents=True)
    real.touch()
    for package in ("rclpy", "vision_msgs"):
        real.with_name(package).touch()
    names = [step.name for step in set_up_steps(Layout(ROOT), Ros((str(tmp_path),)))]
    assert names == ["environment", "ros", "torch", "packages", "patchline_ros"]
    assert (ROOT / "tools" / "COLCON_IGNORE").exists()
