"""Every parameter of the nodes, declared once: default, range, description, read_only.

Parameters that are not read-only are read again at each use, so `ros2 param set` takes effect at
once; the others are fixed when the node starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from patchline_ros.nodes.qos import IMAGE_RELIABILITIES
from patchline_ros.runtime.backend import Backend
from patchline_ros.sim import Condition

IMAGE_TRANSPORTS = ("raw", "compressed")


class ParameterError(ValueError):
    """A parameter has a value that the node cannot work with."""


@dataclass(frozen=True)
class Parameter:
    """One parameter; `minimum` and `maximum` are inclusive, `choices` are for strings."""

    name: str
    default: bool | int | float | str
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = True

    def descriptor(self) -> ParameterDescriptor:
        """The same as a ROS descriptor, for `ros2 param describe`."""
        descriptor = ParameterDescriptor(
            name=self.name,
            description=self.description,
            read_only=self.read_only,
            additional_constraints=f"one of {', '.join(self.choices)}" if self.choices else "",
        )
        if self.minimum is not None and self.maximum is not None:
            if isinstance(self.default, int):
                whole = IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum))
                descriptor.integer_range = [whole]
            else:
                real = FloatingPointRange(
                    from_value=float(self.minimum), to_value=float(self.maximum)
                )
                descriptor.floating_point_range = [real]
        return descriptor


MANAGED = (
    Parameter("bundle", "", "folder made by `patchline offline`: models, classes, drift reference"),
    Parameter("autostart", True, "configure and activate at start; false: a manager does it"),
    Parameter("threads", 1, "threads of PyTorch in this process", 1, 64),
)
"""What every node of the graph has."""

PERCEPTION = (
    *MANAGED,
    Parameter("image_transport", "raw", "form of the pictures", choices=IMAGE_TRANSPORTS),
    Parameter(
        "image_reliability",
        "best_effort",
        "reliability asked of the camera; best_effort hears every camera",
        choices=tuple(IMAGE_RELIABILITIES),
    ),
    Parameter(
        "backend",
        str(Backend.PYTORCH),
        "what runs the models; onnx needs the graphs that `patchline export` puts into the bundle",
        choices=tuple(map(str, Backend)),
    ),
    Parameter(
        "queue_depth", 1, "pictures kept for the model; 1 means always the latest one", 1, 50
    ),
    Parameter(
        "trusted_key", "", "NAME.pub of `patchline keys`; a patch set signed otherwise is refused"
    ),
    Parameter("require_signature", False, "refuse patch sets that are not signed, too"),
    Parameter(
        "largest_patch_set_mib", 64, "data of a patch set beyond this size are refused", 1, 4096
    ),
    Parameter("sample_every", 1, "use every n-th picture received", 1, 1000, read_only=False),
)

SIGN_CLASSIFIER = (
    *PERCEPTION,
    Parameter(
        "regions",
        "whole",
        "what of a picture is a sign: all of it, or each box that comes on sign/detections for it",
        choices=("whole", "detections"),
    ),
    Parameter(
        "region_class",
        "",
        "class id, or name, of the detections that are signs; empty: every detection is",
    ),
)

DRIFT_MONITOR = MANAGED

ADAPTER = (
    *MANAGED,
    Parameter("store", "", "folder that keeps labelled frames and accepted patch sets"),
    Parameter("signing_key", "", "NAME.key of `patchline keys`; patch sets are signed with it"),
    Parameter("epochs", 7, "passes over the labelled frames in a training", 1, 10_000),
    Parameter("seed", 0, "of the training", 0, 2**31 - 1),
    Parameter("capacity", 512, "labelled frames kept for each task", 8, 100_000),
    Parameter(
        "capacity_mib", 512, "MiB that the labelled frames of each task take at most", 1, 1_000_000
    ),
    Parameter(
        "min_frames",
        24,
        "labelled frames from after the drift began that each labelled task must have",
        10,
        100_000,
        read_only=False,
    ),
)

CAMERA = (
    Parameter("rate_hz", 6.0, "frames a second", 0.1, 120.0),
    Parameter("wait_seconds", 60.0, "how long to wait for the nodes to listen", 1.0, 600.0),
)
"""What the cameras have that make their pictures themselves."""

SIM_CAMERA = (
    *CAMERA,
    Parameter("seed", 1, "of the road; the shipped bundle has seen 1000 to 1015", 0, 2**31 - 1),
    Parameter(
        "condition",
        str(Condition.FOG),
        "what the weather changes to",
        choices=tuple(map(str, Condition)),
        read_only=False,
    ),
    Parameter("severity", 0.0, "of the condition; 0: as in the demo", 0.0, 1.0, read_only=False),
    Parameter("change_after", 15.0, "seconds of clear weather before it", 0.0, 1e6),
    Parameter("labels", True, "publish the labels of each frame, too", read_only=False),
)

BAG_PLAYER = (
    Parameter("bag", "", "folder or file of rosbag2, sqlite3 or mcap"),
    Parameter(
        "topics", "", "of the bag, with commas between; empty: all but what the graph publishes"
    ),
    Parameter("rate", 1.0, "seconds of the recording a second", 0.01, 100.0),
    Parameter("start", 0.0, "seconds of the recording to leave out", 0.0, 1e9),
    Parameter("loop", False, "from the start again at the end"),
    Parameter(
        "wait_for", "", "full names of managed nodes that must be active, with commas between"
    ),
    Parameter("wait_seconds", 120.0, "how long to wait for them", 1.0, 3600.0),
)


def declare(node: Node, table: tuple[Parameter, ...]) -> None:
    """Declare every parameter of the table on the node; ranges and choices hold at run time, too.

    Raises rclpy's InvalidParameterTypeException or InvalidParameterValueException when an override
    has the wrong type or lies outside the range.
    """
    choices = {p.name: p.choices for p in table if p.choices and not p.read_only}

    def check(changes: list[RosParameter[Any]]) -> SetParametersResult:
        """ROS itself only knows ranges of numbers."""
        for change in changes:
            if change.name in choices and change.value not in choices[change.name]:
                reason = _wrong_choice(change.name, change.value, choices[change.name])
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    if choices:
        node.add_on_set_parameters_callback(check)
    for parameter in table:
        node.declare_parameter(parameter.name, parameter.default, parameter.descriptor())


def read(node: Node, table: tuple[Parameter, ...]) -> dict[str, Any]:
    """The values by name. Raises ParameterError for a string outside its choices."""
    values = {parameter.name: node.get_parameter(parameter.name).value for parameter in table}
    for parameter in table:
        value = values[parameter.name]
        if parameter.choices and value not in parameter.choices:
            raise ParameterError(_wrong_choice(parameter.name, value, parameter.choices))
    return values


def _wrong_choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    return f"parameter {name} is {value!r}; use one of {', '.join(choices)}"
