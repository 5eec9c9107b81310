"""Sets up the private environment of a checkout: Python packages, ROS 2, the built package.

Uses the standard library only, because it runs before anything is installed. Each step leaves a
stamp, a hash of everything it depends on, inside the folder that it makes; a call runs the steps
whose stamp is not valid.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.layout import PYTHON_FOLDER, Layout
from tools.ros import Ros, base_python, environment, find_ros

INSTALLED_FOLDERS = ("patchline_ros", "config", "launch", "resource")
LOG_LINES_SHOWN = 15


class SetupError(Exception):
    """The environment could not be set up; the message says why and how to go on."""


@dataclass(frozen=True)
class Step:
    """A part of the set-up that is done as a whole or not at all.

    `inputs` is everything the result depends on beside the command and the steps before this one;
    `made` is the folder that holds the result, and with it the stamp.
    """

    name: str
    title: str
    inputs: list[bytes]
    made: Path
    command: list[str]
    advice: str
    prepare: Callable[[], None] = lambda: None

    @property
    def stamp(self) -> Path:
        """File that holds the step's key once it is done."""
        return self.made / ".patchline" / self.name


def ensure(root: Path) -> dict[str, str]:
    """Run the steps that are due and return the environment of the checkout's programs.

    Raises SetupError when a step fails or the machine lacks something.
    """
    layout = Layout(root)
    layout.log.mkdir(parents=True, exist_ok=True)
    # colcon walks the folders of a user's workspace; the private one is none of its business.
    (layout.private / "COLCON_IGNORE").touch()
    with locked(layout) as lock:
        ros = _choose_ros(layout, dict(os.environ))
        variables = environment(layout, ros, dict(os.environ))
        steps = set_up_steps(layout, ros)
        if due(steps):
            _check_machine(ros)
            run_due(steps, layout, variables, lock)
    return variables


def is_ready(root: Path) -> bool:
    """Whether a set-up of this checkout has ended once."""
    return Layout(root).command.exists()


def set_up_steps(layout: Layout, ros: Ros) -> list[Step]:
    """All steps of the set-up, in order."""
    requirements = layout.root / "tools" / "requirements"
    wheels = [] if ros.home else ["ros.txt"]
    steps = [
        Step(
            name="environment",
            title="creating the Python environment",
            inputs=[PYTHON_FOLDER.encode()],
            made=layout.venv,
            command=_venv_command(layout, ros),
            advice="Remove the cause that the log names",
        ),
        _pip_step(
            layout,
            "ros",
            "installing build tools" if ros.home else "installing ROS 2 and build tools",
            [requirements / name for name in ["build.txt", *wheels]],
        ),
        _pip_step(layout, "torch", "installing PyTorch", [requirements / "torch.txt"]),
        _pip_step(
            layout,
            "packages",
            "installing Python packages",
            [requirements / "packages.txt", requirements / "test.txt"],
        ),
    ]
    before = list(keys(steps))[-1]
    if not ros.has_package("vision_msgs"):
        source = layout.root / "tools" / "vision_msgs"
        inputs = _contents(path for path in sorted(source.rglob("*")) if path.is_file())
        steps.append(_build_step(layout, "vision_msgs", source, inputs, before))
    steps.append(
        _build_step(
            layout, "patchline_ros", layout.root, list(_package_inputs(layout.root)), before
        )
    )
    return steps


def _venv_command(layout: Layout, ros: Ros) -> list[str]:
    options = ["--system-site-packages"] if ros.home else []
    return [base_python(), "-m", "venv", "--clear", *options, str(layout.venv)]


def _pip_step(layout: Layout, name: str, title: str, requirements: list[Path]) -> Step:
    files = [option for path in requirements for option in ("--requirement", str(path))]
    return Step(
        name=name,
        title=title,
        inputs=_contents(requirements),
        made=layout.venv,
        command=[
            str(layout.python),
            *("-m", "pip", "install", "--no-input", "--disable-pip-version-check"),
            *("--progress-bar", "off"),
            *files,
        ],
        advice="Check the network connection and the free disk space",
        prepare=lambda: _drop_half_installed(layout.site_packages),
    )


def _build_step(layout: Layout, name: str, source: Path, inputs: list[bytes], before: str) -> Step:
    include = layout.root / "tools" / "clear_wheel_paths.cmake"
    return Step(
        name=name,
        title=f"building {name}",
        inputs=[*inputs, *_contents([include])],
        made=layout.install,
        command=[
            str(layout.venv / "bin" / "colcon"),
            *("--log-base", str(layout.log / "colcon")),
            *("build", "--merge-install", "--symlink-install"),
            # Named, not searched for: the private environment lies below the root.
            *("--paths", str(source)),
            *("--build-base", str(layout.build), "--install-base", str(layout.install)),
            *("--event-handlers", "console_direct+"),
            *("--cmake-args", "-GNinja", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF"),
            f"-DPython3_EXECUTABLE={layout.python}",
            f"-DPYTHON_INSTALL_DIR={PYTHON_FOLDER}",
            f"-DCMAKE_PROJECT_{name}_INCLUDE={include}",
        ],
        advice="Remove the cause that the compiler or CMake names in the log",
        prepare=lambda: _drop_outdated_build(layout, before),
    )


def _package_inputs(root: Path) -> Iterator[bytes]:
    yield from _contents([root / "CMakeLists.txt", root / "package.xml"])
    yield from _contents(sorted((root / "msg").glob("*.msg")))
    # The install is one of symlinks: it changes when files come and go, not with what they say.
    for folder in INSTALLED_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(path.relative_to(root)).encode()


def _contents(paths: Iterable[Path]) -> list[bytes]:
    return [part for path in paths for part in (path.name.encode(), path.read_bytes())]


def keys(steps: list[Step]) -> Iterator[str]:
    """Key of each step. It includes the keys before it, as each step builds upon the others."""
    chain = hashlib.sha256()
    for step in steps:
        for part in (*(word.encode() for word in step.command), *step.inputs):
            chain.update(hashlib.sha256(part).digest())
        yield chain.hexdigest()


def due(steps: list[Step]) -> list[Step]:
    """The first step without a valid stamp, and all that follow it."""
    for number, (step, key) in enumerate(zip(steps, keys(steps), strict=True)):
        if not step.stamp.exists() or step.stamp.read_text() != key:
            return steps[number:]
    return []


def run_due(steps: list[Step], layout: Layout, variables: dict[str, str], lock: int) -> None:
    """Run what is due, with a line of progress each.

    variables: environment of the commands. lock: descriptor of the locked file, which the commands
    inherit, so that one that outlives a killed launcher keeps the lock until it has ended. Raises
    SetupError at the first step that fails; it and those after it stay due.
    """
    first = len(steps) - len(due(steps))
    for number, (step, key) in enumerate(zip(steps, keys(steps), strict=True)):
        if number >= first:
            _run(step, key, f"[{number + 1}/{len(steps)}]", layout, variables, lock)


def _run(
    step: Step, key: str, position: str, layout: Layout, variables: dict[str, str], lock: int
) -> None:
    step.stamp.unlink(missing_ok=True)
    log = layout.log / f"{step.name}.log"
    shown_log = log.relative_to(layout.root)
    started = time.monotonic()
    print(f"{position} {step.title} ...", end="", file=sys.stderr, flush=True)
    step.prepare()
    with log.open("wb") as output:
        process = subprocess.Popen(
            step.command,
            cwd=layout.root,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[lock],
        )
        status = _wait(process, f"{position} {step.title} ...", started)
    print(f" {time.monotonic() - started:.0f} s", file=sys.stderr)
    if status != 0:
        last = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        raise SetupError(
            "\n".join(
                [
                    f"{position} {step.title} failed (exit status {status}). The log ends with:",
                    *(f"    {line}" for line in last),
                    f"The whole log is {shown_log}.",
                    f"{step.advice}, then call ./patchline again: what is done is kept.",
                ]
            )
        )
    step.stamp.parent.mkdir(parents=True, exist_ok=True)
    aside = step.stamp.with_suffix(".new")
    aside.write_text(key)
    os.replace(aside, step.stamp)


def _wait(process: subprocess.Popen[bytes], line: str, started: float) -> int:
    try:
        while True:
            try:
                return process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                if sys.stderr.isatty():
                    seconds = time.monotonic() - started
                    print(f"\r{line} {seconds:.0f} s", end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        # The terminal has sent the signal to the step as well.
        process.wait()
        raise
    finally:
        if sys.stderr.isatty():
            print(f"\r{line}", end="", file=sys.stderr)


def _choose_ros(layout: Layout, inherited: dict[str, str]) -> Ros:
    """The ROS 2 that this environment was made for; on first use, the one that is found."""
    found = find_ros(inherited)
    configuration = layout.venv / "pyvenv.cfg"
    record = layout.private / "ros"
    if not (configuration.exists() and record.exists()):
        aside = record.with_suffix(".new")
        aside.write_text(found.home)
        os.replace(aside, record)
        return found
    home = record.read_text()
    if not home:
        return Ros(())
    if found.home != home:
        raise SetupError(
            f"This checkout was set up for the ROS 2 in {home}, which is not sourced in this "
            f"shell. Run `source {home}/setup.bash` first, or delete {layout.private} to set up "
            "anew."
        )
    return found


def _check_machine(ros: Ros) -> None:
    missing = []
    if not ros.home:
        supported = (3, 10) <= sys.version_info < (3, 14)
        if not (sys.platform == "linux" and platform.machine() == "x86_64" and supported):
            missing.append(
                "a ROS 2: its wheels exist for CPython 3.10 to 3.13 on x86-64 Linux, not for "
                f"Python {platform.python_version()} on {platform.machine()} {sys.platform}. "
                "Install ROS 2 for this machine and source its setup.bash, or call "
                "./patchline with another Python"
            )
    compilers = {
        "a C compiler (Debian and Ubuntu: apt install g++)": ("CC", "cc", "gcc", "clang"),
        "a C++ compiler (Debian and Ubuntu: apt install g++)": ("CXX", "c++", "g++", "clang++"),
    }
    for description, (variable, *names) in compilers.items():
        if not any(shutil.which(name) for name in (os.environ.get(variable, names[0]), *names)):
            missing.append(description)
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        missing.append("the headers of Python (Debian and Ubuntu: apt install python3-dev)")
    for module in ("venv", "ensurepip"):
        if not _has_module(module):
            missing.append(f"Python's {module} (Debian and Ubuntu: apt install python3-venv)")
    if missing:
        raise SetupError("The set-up needs\n" + "\n".join(f"  - {item}" for item in missing))


def _has_module(name: str) -> bool:
    command = [base_python(), "-c", f"import {name}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _drop_half_installed(site_packages: Path) -> None:
    """Let pip install anew what it was killed at: it writes INSTALLER when all else is there."""
    for information in site_packages.glob("*.dist-info"):
        if not (information / "INSTALLER").exists():
            shutil.rmtree(information)


def _drop_outdated_build(layout: Layout, before: str) -> None:
    """Start afresh when Python or ROS changed below a build: CMake keeps what it once found."""
    record = layout.install / ".patchline" / "environment"
    if record.exists() and record.read_text() == before:
        return
    for folder in (layout.build, layout.install):
        if folder.exists():
            shutil.rmtree(folder)
    record.parent.mkdir(parents=True)
    record.write_text(before)


@contextmanager
def locked(layout: Layout) -> Iterator[int]:
    """Hold the lock of the private environment, after whoever holds it now; its descriptor."""
    with (layout.private / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another ./patchline call that sets up ...", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
