"""Makes the part of patchline_ros that needs no ROS installable with pip.

With ROS, colcon builds the package with CMakeLists.txt and does not read this file.
"""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
SHARE = Path("share", "patchline_ros")


def manifest(tag: str) -> str:
    """Text of an element of package.xml, the one place that states it."""
    text = ElementTree.parse(ROOT / "package.xml").findtext(tag, default="")
    return " ".join(text.split())


def shared_files() -> list[tuple[str, list[str]]]:
    """The share folder of the ROS package, so that it lies below the prefix here too."""
    files: dict[str, list[str]] = {
        "share/ament_index/resource_index/packages": ["resource/patchline_ros"],
        SHARE.as_posix(): ["package.xml"],
    }
    for folder in ("config", "launch", "resource"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                relative = path.relative_to(ROOT)
                files.setdefault((SHARE / relative.parent).as_posix(), []).append(str(relative))
    return list(files.items())


setup(
    name=manifest("name"),
    version=manifest("version"),
    description=manifest("description"),
    license=manifest("license"),
    python_requires=">=3.10",
    packages=find_packages(include=["patchline_ros", "patchline_ros.*"]),
    package_data={"": ["*.jinja", "*.html", "*.css"]},
    data_files=shared_files(),
    entry_points={"console_scripts": ["patchline = patchline_ros.cli.app:app"]},
    install_requires=[
        "ImageHash>=4.3",
        "cryptography>=42",
        "jinja2>=3.1",
        "matplotlib>=3.8",
        "norfair-enough>=2.4",
        "numpy>=1.26,<3",
        "opencv-python-headless>=4.8",
        "pillow>=10",
        "psutil>=6",
        "pycocotools>=2.0.8",
        "pydantic>=2.12",
        "rich>=13",
        "rosbags>=0.11",
        "ruamel.yaml>=0.19",
        "safetensors>=0.4",
        "scipy>=1.15",
        "torch>=2.6",
        "torchmetrics>=1.5",
        "torchvision>=0.21",
        "typer>=0.12",
        "typing_extensions>=4.10",
    ],
    extras_require={
        # Training source models, on several GPUs too, and their curves: patchline offline.
        "offline": ["lightning-fabric>=2.5", "tensorboard>=2.14"],
        # Benchmarks, and to spread jobs over a cluster: --ray-address of bench, offline, bundle.
        "bench": ["lightning-fabric>=2.5", "ray>=2.9"],
        # The page and the Foxglove bridge: patchline watch.
        "watch": ["foxglove-sdk>=0.30"],
        # ONNX graphs and ONNX Runtime: patchline export, and backend: onnx of the nodes.
        "onnx": ["onnxruntime>=1.20", "onnxscript>=0.5"],
        # U-Net and DeepLabv3+ of the twelve models; a car does not need them.
        "models": ["segmentation-models-pytorch>=0.6"],
        # The site of the documentation: mkdocs build.
        "docs": ["mkdocs-material>=9.6", "mkdocstrings-python>=1.16"],
        # For comparisons only. It needs NumPy 1: see tools/requirements/alibi.txt.
        "alibi": ["alibi-detect>=0.13,<0.14", "pytest>=8"],
    },
)
