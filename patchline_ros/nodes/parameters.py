"""Every parameter of the nodes, declared once: default, range, description, read_only.

Parameters that are not read-only are read again at each use, so `ros2 param set` takes effect at
once; the others are fixed when the node starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from patchline_ros.nodes.qos import IMAGE_RELIABILITIES

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
        "region_class", "", "class id of the detections that are signs; empty: every detection is"
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
        4,
        100_000,
        read_only=False,
    ),
)


def declare(node: Node, table: tuple[Parameter, ...]) -> None:
    """Declare every parameter of the table on the node.

    Raises rclpy's InvalidParameterTypeException or InvalidParameterValueException when an override
    has the wrong type or lies outside the range.
    """
    for parameter in table:
        node.declare_parameter(parameter.name, parameter.default, parameter.descriptor())


def read(node: Node, table: tuple[Parameter, ...]) -> dict[str, Any]:
    """The values by name. Raises ParameterError for a string outside its choices."""
    values = {parameter.name: node.get_parameter(parameter.name).value for parameter in table}
    for parameter in table:
        value = values[parameter.name]
        if parameter.choices and value not in parameter.choices:
            raise ParameterError(
                f"parameter {parameter.name} is {value!r}; use one of "
                f"{', '.join(parameter.choices)}"
            )
    return values
