"""Every parameter of the nodes, declared once: default, range, description, read_only.

Parameters that are not read-only are read again at each use, so `ros2 param set` takes effect at
once; the others are fixed when the node starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from patchline_ros.adaptation.label_policy import LabelPolicy
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
    Parameter(
        "bundle",
        "",
        "folder of the bundle (of `patchline offline`): models, classes, drift reference",
    ),
    Parameter(
        "autostart",
        True,
        "whether the node configures and activates itself; false leaves that to a manager",
    ),
    Parameter("threads", 1, "number of PyTorch's threads in this process", 1, 64),
)
"""Parameters of every node of the graph."""

_SIGNS_STATUSES = (
    Parameter(
        "signing_key",
        "",
        "path of NAME.key of `patchline keys`, which statuses are signed with; empty: unsigned",
    ),
)

_CAMERA_INPUT = (
    Parameter(
        "image_transport", "raw", "how the camera sends its pictures", choices=IMAGE_TRANSPORTS
    ),
    Parameter(
        "image_reliability",
        "best_effort",
        "reliability that the subscription asks for; best_effort hears every camera",
        choices=tuple(IMAGE_RELIABILITIES),
    ),
)

PERCEPTION = (
    *MANAGED,
    *_SIGNS_STATUSES,
    *_CAMERA_INPUT,
    Parameter(
        "backend",
        str(Backend.PYTORCH),
        "library that runs the models; onnx needs a bundle with the graphs of `patchline export`",
        choices=tuple(map(str, Backend)),
    ),
    Parameter(
        "queue_depth",
        1,
        "most pictures that wait for the model; with 1 it always takes the latest",
        1,
        50,
    ),
    Parameter(
        "trusted_key",
        "",
        "path of NAME.pub of `patchline keys`; only patch sets signed with its key are taken",
    ),
    Parameter(
        "accept_unsigned",
        False,
        "whether patch sets without a signature are taken although there is a trusted_key",
    ),
    Parameter(
        "memory",
        "",
        "folder in which is kept which signed patch sets ran, so that an old one is not taken "
        "after a restart; empty: patchline_ros in ROS_HOME",
    ),
    Parameter(
        "largest_patch_set_mib",
        64,
        "MiB that the data of a patch set may have; larger ones are refused",
        1,
        4096,
    ),
    Parameter(
        "sample_every",
        1,
        "of the pictures received, only each n-th is used",
        1,
        1000,
        read_only=False,
    ),
    Parameter(
        "max_rate",
        0.0,
        "most pictures a second that are used, by their stamps; 0: all of them",
        0.0,
        1e3,
        read_only=False,
    ),
)

SIGN_CLASSIFIER = (
    *PERCEPTION,
    Parameter(
        "regions",
        "whole",
        "what is classified: the whole picture, or each box that sign/detections gives for it",
        choices=("whole", "detections"),
    ),
    Parameter(
        "region_class",
        "",
        "class id or name of the detections to classify; empty: all of them",
    ),
)

DRIFT_MONITOR = (*MANAGED, *_SIGNS_STATUSES)

ADAPTER = (
    *MANAGED,
    Parameter("store", "", "folder for the labelled frames and the accepted patch sets"),
    Parameter(
        "signing_key",
        "",
        "path of NAME.key of `patchline keys`, which patch sets are signed with; empty: unsigned",
    ),
    Parameter(
        "trusted_key",
        "",
        "path of NAME.pub; only drift and patch statuses signed with its key are believed",
    ),
    Parameter(
        "accept_unsigned",
        False,
        "whether statuses without a signature are believed although the adapter signs",
    ),
    Parameter(
        "labels",
        str(LabelPolicy.WELCOME),
        "required: wait for labels; welcome: answer a drift at once with the bundle's prepared "
        "patches and train when labels come; none: answer, and train nothing",
        choices=tuple(map(str, LabelPolicy)),
    ),
    Parameter("epochs", 7, "passes over the labelled frames in a training", 1, 10_000),
    Parameter("seed", 0, "seed of everything that a training draws at random", 0, 2**31 - 1),
    Parameter("capacity", 512, "most labelled frames that are kept for each task", 8, 100_000),
    Parameter(
        "capacity_mib", 512, "most MiB that the labelled frames of each task may take", 1, 1_000_000
    ),
    Parameter(
        "min_frames",
        24,
        "labelled frames since the drift began that each task with labels needs for a training",
        10,
        100_000,
        read_only=False,
    ),
)

LABELLER = (
    *MANAGED,
    *_CAMERA_INPUT,
    Parameter(
        "tasks",
        "",
        "tasks that are labelled, with commas between: classification, detection, segmentation",
    ),
    Parameter(
        "slop_ms",
        0,
        "ms that the stamps of a label and its picture may be apart; 0: the stamps are the same",
        0,
        10_000,
    ),
    Parameter(
        "queue_depth",
        60,
        "most pictures that wait for their label, and labels for their picture; 60 are 2 s at 30 "
        "Hz, in which the label has to come",
        1,
        10_000,
    ),
    Parameter(
        "min_score",
        0.5,
        "score from which on a detection or a classification is a label",
        0.0,
        1.0,
    ),
    Parameter(
        "doubtful_score",
        0.25,
        "a picture with a detection from this score on, but below min_score, teaches nothing; "
        "detections below it are left out as noise",
        0.0,
        1.0,
    ),
    Parameter(
        "label_empty_frames",
        False,
        "whether a picture with nothing but noise in its detections teaches that it is empty; one "
        "with no detections at all does",
    ),
    Parameter(
        "max_rate", 1.0, "most labelled frames a second for each task, by their stamps", 0.001, 1e3
    ),
)

CAMERA = (
    Parameter("rate_hz", 6.0, "frames a second that are published", 0.1, 120.0),
    Parameter("wait_seconds", 60.0, "most seconds to wait for the nodes to listen", 1.0, 600.0),
)
"""Parameters of the cameras that make their pictures themselves."""

SIM_CAMERA = (
    *CAMERA,
    Parameter(
        "seed", 1, "seed of the road; the shipped bundle was trained on 1000 to 1015", 0, 2**31 - 1
    ),
    Parameter(
        "condition",
        str(Condition.FOG),
        "condition that the weather changes to",
        choices=tuple(map(str, Condition)),
        read_only=False,
    ),
    Parameter(
        "severity",
        0.0,
        "strength of the condition, 0 to 1; 0: as in the demo",
        0.0,
        1.0,
        read_only=False,
    ),
    Parameter("change_after", 15.0, "seconds of clear weather before the change", 0.0, 1e6),
    Parameter(
        "labels", True, "whether the labels of each frame are published, too", read_only=False
    ),
)

BAG_PLAYER = (
    Parameter("bag", "", "folder or file of a ROS 2 bag, sqlite3 or mcap"),
    Parameter(
        "topics",
        "",
        "topics to play, with commas between; empty: all but those that the graph publishes",
    ),
    Parameter("rate", 1.0, "seconds of the recording that are played a second", 0.01, 100.0),
    Parameter("start", 0.0, "seconds of the recording to skip at its start", 0.0, 1e9),
    Parameter("loop", False, "whether to play from the start again at the end"),
    Parameter(
        "wait_for", "", "full names of managed nodes that must be active, with commas between"
    ),
    Parameter("wait_seconds", 120.0, "most seconds to wait for them", 1.0, 3600.0),
)


_OWN_OF_ROS: Final = ("use_sim_time", "start_type_description_service", "qos_overrides.")
"""Names, and beginnings of names, of parameters that every node of ROS 2 may be given."""

_OF_ALL_NODES: Final = frozenset(
    parameter.name
    for table in (SIGN_CLASSIFIER, ADAPTER, LABELLER, SIM_CAMERA, BAG_PLAYER)
    for parameter in table
)
"""One file of parameters may be for all nodes (`/**`), and then holds those of others, too."""


def unknown_overrides(given: Iterable[str], table: tuple[Parameter, ...]) -> list[str]:
    """A sentence for each parameter that was given and that no node knows; with the nearest name.

    Args:
        given: names of the parameters that a node was started with.
        table: those that it has.
    """
    own = [parameter.name for parameter in table]
    sentences = []
    for name in sorted(set(given) - set(own) - _OF_ALL_NODES):
        if name.startswith(_OWN_OF_ROS):
            continue
        near = get_close_matches(name, own, n=1)
        meant = f"did you mean {near[0]}?" if near else f"the parameters are {', '.join(own)}"
        sentences.append(f"parameter {name} does not exist and has no effect; {meant}")
    return sentences


def declare(node: Node, table: tuple[Parameter, ...]) -> None:
    """Declare every parameter of the table on the node; ranges and choices hold at run time, too.

    A parameter that was given but does not exist is warned of, not refused: a file for `/**` may
    hold parameters of other packages' nodes, and rclpy does not say where one comes from.

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

    # rclpy has no public name for them.
    for sentence in unknown_overrides(node._parameter_overrides, table):
        node.get_logger().warning(sentence)
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
