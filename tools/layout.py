"""Where the private environment of a checkout lies."""

import sys
from dataclasses import dataclass
from pathlib import Path

PYTHON_FOLDER = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"

DISTROS = ("jazzy",)
"""Beside that of the checkout, each with tools/requirements/ros-NAME.txt."""


@dataclass(frozen=True)
class Layout:
    """The folders that the set-up makes below a checkout."""

    root: Path
    distro: str = ""
    """Of ROS 2, where a test asks for another one than that of the checkout; see DISTROS."""

    @property
    def private(self) -> Path:
        """Everything that the set-up makes; deleting it starts afresh."""
        return self.root / ".patchline" / self.distro

    @property
    def venv(self) -> Path:
        """Python environment with every package that is needed."""
        return self.private / "venv"

    @property
    def python(self) -> Path:
        """Interpreter of that environment."""
        return self.venv / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Where packages are installed to."""
        return self.venv / PYTHON_FOLDER

    @property
    def build(self) -> Path:
        """Intermediate files of colcon and CMake."""
        return self.private / "build"

    @property
    def install(self) -> Path:
        """The built ROS packages, one prefix."""
        return self.private / "install"

    @property
    def log(self) -> Path:
        """What each step printed."""
        return self.private / "log"

    @property
    def command(self) -> Path:
        """The installed `patchline` command."""
        return self.install / "bin" / "patchline"
