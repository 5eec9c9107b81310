"""Sets up the private environment of a checkout: Python packages, ROS 2, the built package.

Uses the standard library only, because it runs before anything is installed.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools.layout import PYTHON_FOLDER, Layout
from tools.ros import Ros, base_python, environment, find_ros
from tools.steps import SetupError, Step, locked, run_due, write_aside

INSTALLED_FOLDERS = ("patchline_ros", "config", "launch", "resource")
PACKAGES = ("torch", "packages", "models", "offline", "onnx", "watch", "docs", "test")
"""Requirement files of all that runs in a checkout, beside ROS."""
STAND_INS = ("tf2_msgs", "vision_msgs")
"""Message packages that are not among the wheels: built from what tools/ has of them."""


def ensure(layout: Layout, inherited: dict[str, str]) -> dict[str, str]:
    """Run the steps that are due and return the environment of the checkout's programs.

    inherited: the variables of this shell. Raises SetupError when a step fails or the machine lacks
    something.
    """
    layout.log.mkdir(parents=True, exist_ok=True)
    # colcon walks the folders of a user's workspace; the private one is none of its business.
    (layout.private / "COLCON_IGNORE").touch()
    with locked(layout.private / "lock") as lock:
        ros = _choose_ros(layout, inherited)
        variables = environment(layout, ros, inherited)
        steps = set_up_steps(layout, ros)
        if not all(step.done for step in steps):
            _check_machine(ros)
            # Without it, colcon has ninja wait as long as other work keeps the cores busy.
            jobs = {"MAKEFLAGS": f"-j{os.cpu_count() or 1}"}
            run_due(steps, layout.log, {**jobs, **variables}, lock)
    return variables


def set_up_steps(layout: Layout, ros: Ros) -> list[Step]:
    """All steps of the set-up, each after the one that it needs."""
    requirements = layout.root / "tools" / "requirements"
    arrays = requirements / f"numpy{ros.numpy_major}.txt"
    wheels = requirements / (f"ros-{layout.distro}.txt" if layout.distro else "ros.txt")
    packages = [requirements / f"{name}.txt" for name in PACKAGES]
    venv = _environment_step(layout, ros)
    # uv overlooks the packages of a sourced ROS; without it, pip installs.
    below = venv
    if not ros.home:
        title = "installing uv, which installs the rest"
        below = _install_step(layout, "uv", title, [requirements / "uv.txt"], venv)
    build_tools = _install_step(
        layout,
        "ros",
        "installing build tools" if ros.home else "installing ROS 2 and build tools",
        [requirements / "build.txt", arrays, *([] if ros.home else [wheels])],
        below,
        # The packages come while the builds run, and so must replace nothing of this.
        constraints=packages,
    )
    rest = _install_step(
        layout,
        "packages",
        "installing PyTorch and other packages",
        [*packages, arrays],
        build_tools,
    )
    builds = [build_tools]
    for name in STAND_INS:
        if not ros.has_package(name):
            source = layout.root / "tools" / name
            builds.append(_build_step(layout, ros, source, _stand_in_inputs(source), builds[-1]))
    package_inputs = list(_package_inputs(layout.root))
    builds.append(_build_step(layout, ros, layout.root, package_inputs, builds[-1]))
    return [venv, *([] if ros.home else [below]), build_tools, rest, *builds[1:]]


def _environment_step(layout: Layout, ros: Ros) -> Step:
    options = ["--system-site-packages"] if ros.home else []
    return Step(
        name="environment",
        title="creating the Python environment",
        command=[base_python(), "-m", "venv", "--clear", *options, str(layout.venv)],
        inputs=[PYTHON_FOLDER.encode()],
        made=layout.venv,
        needs=None,
        advice="Remove the cause that the log names",
    )


def _install_step(
    layout: Layout,
    name: str,
    title: str,
    requirements: list[Path],
    needs: Step,
    constraints: Iterable[Path] = (),
) -> Step:
    """A step that installs requirements; what constraints say is no reason to repeat it."""
    files = [option for path in requirements for option in ("--requirement", str(path))]
    limits = [option for path in constraints for option in ("--constraint", str(path))]
    return Step(
        name=name,
        title=title,
        command=[str(layout.python), str(layout.root / "tools" / "install.py"), *files, *limits],
        inputs=_contents(requirements),
        made=layout.venv,
        needs=needs,
        advice="Check the network connection and the free disk space",
        prepare=lambda: _drop_half_installed(layout.site_packages),
    )


def _build_step(layout: Layout, ros: Ros, source: Path, inputs: list[bytes], needs: Step) -> Step:
    name = "patchline_ros" if source == layout.root else source.name
    clear = layout.root / "tools" / "clear_wheel_paths.cmake"
    # Known to work with what the wheels generate; a sourced ROS may be of any age.
    names = [] if ros.home else ["join_sources.cmake", "source_wheels.cmake"]
    of_wheels = [layout.root / "tools" / name for name in names]
    hook = [layout.root / "tools" / "wheels.dsv.in"] if of_wheels else []
    options = [
        f"-DCMAKE_PROJECT_INCLUDE={';'.join(str(path) for path in of_wheels)}",
        f"-DPATCHLINE_WHEELS={layout.venv}",
    ]
    return Step(
        name=name,
        title=f"building {name}",
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
            f"-DCMAKE_PROJECT_{name}_INCLUDE={clear}",
            *(options if of_wheels else []),
        ],
        inputs=[*inputs, *_contents([clear, *of_wheels, *hook])],
        made=layout.install,
        needs=needs,
        advice="Remove the cause that the compiler or CMake names in the log",
        prepare=lambda: _drop_outdated(layout, _environment_key(needs)),
    )


def _environment_key(step: Step) -> str:
    """Key of the step that made Python and ROS, below whatever was built with them."""
    while step.needs is not None and step.name != "ros":
        step = step.needs
    return step.key


def _stand_in_inputs(source: Path) -> list[bytes]:
    return _contents(path for path in sorted(source.rglob("*")) if path.is_file())


def _package_inputs(root: Path) -> Iterator[bytes]:
    yield from _contents([root / "CMakeLists.txt", root / "package.xml"])
    yield from _contents(sorted((root / "msg").glob("*.msg")))
    # The install is one of symlinks: it changes when files come and go, not with what they say.
    for folder in INSTALLED_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            relative = path.relative_to(root)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
            if path.is_file() and not hidden:
                yield str(relative).encode()


def _contents(paths: Iterable[Path]) -> list[bytes]:
    return [part for path in paths for part in (path.name.encode(), path.read_bytes())]


def _choose_ros(layout: Layout, inherited: dict[str, str]) -> Ros:
    """The ROS 2 that this environment was made for; on first use, the one that is found."""
    if layout.distro:
        return Ros(())
    found = find_ros(inherited)
    record = layout.private / "ros"
    if not (layout.python.exists() and record.exists()):
        write_aside(record, found.home)
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
    missing = [
        *([] if ros.home else _missing_for_wheels()),
        *_missing_compilers(),
        *_missing_in_python(),
    ]
    if missing:
        raise SetupError("The set-up needs\n" + "\n".join(f"  - {item}" for item in missing))


def _missing_for_wheels() -> Iterator[str]:
    supported = (3, 10) <= sys.version_info < (3, 14)
    if not (sys.platform == "linux" and platform.machine() == "x86_64" and supported):
        yield (
            "a ROS 2: its wheels exist for CPython 3.10 to 3.13 on x86-64 Linux, not for Python "
            f"{platform.python_version()} on {platform.machine()} {sys.platform}. Install ROS 2 "
            "for this machine and source its setup.bash, or call ./patchline with another Python"
        )


def _missing_compilers() -> Iterator[str]:
    for language, variable, names in (
        ("C", "CC", ("cc", "gcc", "clang")),
        ("C++", "CXX", ("c++", "g++", "clang++")),
    ):
        chosen = os.environ.get(variable)
        if not any(shutil.which(name) for name in ([chosen] if chosen else names)):
            yield f"a {language} compiler (Debian and Ubuntu: apt install g++)"


def _missing_in_python() -> Iterator[str]:
    for module in ("venv", "ensurepip"):
        command = [base_python(), "-c", f"import {module}"]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            yield f"Python's {module} (Debian and Ubuntu: apt install python3-venv)"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        yield "the headers of Python (Debian and Ubuntu: apt install python3-dev)"


def _drop_half_installed(site_packages: Path) -> None:
    """Have installed anew what was cut off: pip and uv write INSTALLER when all else is there."""
    for information in site_packages.glob("*.dist-info"):
        if not (information / "INSTALLER").exists():
            shutil.rmtree(information)


def _drop_outdated(layout: Layout, environment_key: str) -> None:
    """Remove links to deleted files, or all when Python or ROS changed below the build.

    CMake installs anew what there is, but keeps the paths that it once found.
    """
    record = layout.install / ".patchline" / "environment"
    if record.exists() and record.read_text() == environment_key:
        for path in layout.install.rglob("*"):
            if path.is_symlink() and not path.exists():
                path.unlink()
        return
    for folder in (layout.build, layout.install):
        if folder.exists():
            shutil.rmtree(folder)
    write_aside(record, environment_key)
