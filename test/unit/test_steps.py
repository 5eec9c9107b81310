"""The set-up: what is repeated, what a failure says, and what a kill leaves behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tools.bootstrap import PACKAGES, STAND_INS, set_up_steps
from tools.layout import Layout
from tools.ros import Ros
from tools.steps import SetupError, Step, locked, run_due

ROOT = Path(__file__).parents[2]
ADVICE = "Free some space"
LATER = ((2, "l"), (3, "r"), (4, "last"))


def step(folder: Path, name: str, command: list[str], needs: Step | None = None) -> Step:
    return Step(name, f"doing {name}", command, [], folder, needs, ADVICE)


def run(steps: list[Step], folder: Path) -> None:
    with locked(folder / "lock") as lock:
        run_due(steps, folder, dict(os.environ), lock)


def ended(process: int) -> bool:
    """Whether it has ended, at the latest in a moment; nobody may have asked for its status yet."""
    for _ in range(100):
        try:
            if psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


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
    # Not on a terminal, what begins is said, too: a step may take minutes.
    assert capsys.readouterr().err.splitlines() == [
        *("[2/2] doing second ...", "[2/2] doing second ... 0 s")
    ]
    assert count(marks) == ["first"]


def test_steps_run_side_by_side_but_for_those_that_need_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    met = "until test -e {}; do sleep 0.01; done"
    below = step(tmp_path, "below", ["sh", "-c", f"sleep 0.3; touch {tmp_path}/below"])
    left = ["sh", "-c", f"touch {tmp_path}/left; " + met.format(tmp_path / "right")]
    right = ["sh", "-c", f"touch {tmp_path}/right; " + met.format(tmp_path / "left")]
    waited = ["sh", "-c", f"test -e {tmp_path}/below && test -e {tmp_path}/left"]
    # Each of the two waits for the other, and the last for what only the first one makes.
    two = [step(tmp_path, "l", left, below), step(tmp_path, "r", right, below)]
    steps = [below, *two, step(tmp_path, "last", waited, two[0])]
    run(steps, tmp_path)
    lines = capsys.readouterr().err.splitlines()
    begun = [line for line in lines if line.endswith("...")]
    assert begun == ["[1/4] doing below ...", *(f"[{n}/4] doing {name} ..." for n, name in LATER)]
    done = [line for line in lines if line not in begun]
    assert done[0] == "[1/4] doing below ... 0 s"
    assert sorted(done[1:]) == [f"[{n}/4] doing {name} ... 0 s" for n, name in LATER]
    assert all(step.done for step in steps)


def test_a_failed_step_ends_those_beside_it(tmp_path: Path) -> None:
    slow = step(tmp_path, "slow", ["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"])
    failing = ["sh", "-c", f"until test -s {tmp_path}/pid; do sleep 0.01; done; exit 3"]
    after = step(tmp_path, "after", ["touch", str(tmp_path / "after")], slow)
    with pytest.raises(SetupError, match=r"^\[2/3\] doing failing failed \(exit status 3\)"):
        run([slow, step(tmp_path, "failing", failing), after], tmp_path)
    assert ended(int((tmp_path / "pid").read_text()))
    assert not slow.done
    assert not (tmp_path / "after").exists()


def test_an_interrupt_ends_the_steps_and_what_they_have_started(tmp_path: Path) -> None:
    program = (
        "import os, pathlib; from tools.steps import Step, locked, run_due\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "def step(name):\n"
        "    command = ['sh', '-c', f'sleep 60 & echo $! > {folder}/{name}.pid; wait']\n"
        "    return Step(name, name, command, [], folder, None, '')\n"
        "steps = [step('a'), step('b')]\n"
        "with locked(folder / 'lock') as lock: run_due(steps, folder, dict(os.environ), lock)"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    files = [tmp_path / "a.pid", tmp_path / "b.pid"]
    while not all(file.exists() and file.read_text() for file in files):
        time.sleep(0.02)
    launcher.send_signal(signal.SIGINT)
    launcher.wait(timeout=20)
    assert all(ended(int(file.read_text())) for file in files)
    with locked(tmp_path / "lock"):
        assert not (tmp_path / ".patchline").exists()


def test_an_interrupt_as_a_step_starts_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run([step(tmp_path, "slow", ["sleep", "60"])], tmp_path)
    assert ended(started[0])


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
        "tools/join_sources.cmake": "",
        "tools/source_wheels.cmake": "",
        "tools/wheels.dsv.in": "",
        **{f"tools/{name}/package.xml": "" for name in STAND_INS},
        **{f"tools/requirements/{name}.txt": "" for name in ("build", "ros", "uv")},
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
    built = {*STAND_INS, "patchline_ros"}
    assert changed("tools/requirements/ros.txt", "new") == {"ros", "packages", *built}


def test_no_stand_in_for_messages_is_ever_built_beside_the_real_ones(tmp_path: Path) -> None:
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    for package in ("rclpy", *STAND_INS):
        (index / package).touch()
    names = [step.name for step in set_up_steps(Layout(ROOT), Ros((str(tmp_path),)))]
    assert names == ["environment", "ros", "packages", "patchline_ros"]
    assert (ROOT / "tools" / "COLCON_IGNORE").exists()
