"""The Python packages that a node needs, and one sentence where the Python that runs lacks some.

It imports the standard library alone: it runs before anything else, and as a script at the build.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Final

REQUIRED: Final = (
    "PIL",
    "cryptography",
    "cv2",
    "imagehash",
    "norfair",
    "numpy",
    "psutil",
    "pydantic",
    "rosbags",
    "ruamel",
    "safetensors",
    "scipy",
    "torch",
    "torchvision",
)
"""As they are imported. What ROS itself brings is not among them."""


def check_packages() -> None:
    """Ends the process with one sentence where this Python lacks a package.

    Raises:
        SystemExit: it does.
    """
    lacking = [name for name in REQUIRED if find_spec(name) is None]
    if lacking:
        sys.exit(
            f"patchline_ros was built for {sys.executable}, which lacks {', '.join(lacking)}: "
            "activate the Python environment that has them (README.md makes one) and run "
            "`colcon build --cmake-clean-cache`"
        )


if __name__ == "__main__":
    check_packages()
