"""Every parameter of the nodes, declared once: default, range, description, read_only.

Parameters that are not read-only are read again at each use, so `ros2 param set` takes effect at
once; the others are fixed when the node starts.
"""

from __future__ import annotations

from typing import Final

from patchline_ros.adaptation.label_policy import LabelPolicy
from patchline_ros.nodes.parameter import Parameter
from patchline_ros.nodes.qos import IMAGE_RELIABILITIES
from patchline_ros.runtime.backend import Backend
from patchline_ros.sim import Condition
from patchline_ros.vision.device import Device

IMAGE_TRANSPORTS = ("raw", "compressed")


MANAGED = (
    Parameter(
        "bundle",
        "",
        "folder of the bundle (of `patchline offline`): models, classes, drift reference",
    ),
    Parameter(
        "bundle_key",
        "",
        "path of NAME.pub; only a bundle that `patchline bundle sign` has signed with its key is "
        "loaded; empty: any",
    ),
    Parameter(
        "autostart",
        True,
        "whether the node configures and activates itself; false leaves that to a manager",
    ),
    Parameter("threads", 1, "number of PyTorch's threads in this process", 1, 64),
)
"""Parameters of every node of the graph."""


def _signs(what: str) -> Parameter:
    return Parameter(
        "signing_key",
        "",
        f"path of NAME.key of `patchline keys`, which {what} are signed with; empty: unsigned",
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
    _signs("statuses"),
    *_CAMERA_INPUT,
    Parameter(
        "backend",
        str(Backend.AUTO),
        "library that runs the models; onnx needs a bundle with the graphs of `patchline export`; "
        "auto: onnx for a model whose graph is there, on a CPU, and pytorch elsewhere",
        choices=tuple(map(str, Backend)),
    ),
    Parameter(
        "device",
        str(Device.AUTO),
        "what the model runs on; auto: a GPU where the backend has one, else the CPU",
        choices=tuple(map(str, Device)),
    ),
    Parameter(
        "tensorrt",
        False,
        "whether the backend onnx may use TensorRT on a GPU, which builds an engine for each patch "
        "set",
    ),
    Parameter(
        "half_precision",
        False,
        "whether answers are computed in 16 bits, on a GPU: by pytorch, or by onnx with tensorrt",
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

OBJECT_DETECTOR = (
    *PERCEPTION,
    Parameter(
        "min_score",
        0.05,
        "score from which on a box is published; the models give none below 0.05",
        0.0,
        1.0,
        read_only=False,
    ),
    Parameter(
        "nms_overlap",
        0.5,
        "IoU above which a box is left out for a better one of its class; the models leave out "
        "those above 0.5",
        0.0,
        1.0,
        read_only=False,
    ),
    Parameter(
        "track_score",
        0.3,
        "score from which on an object gets an id, which it keeps from picture to picture",
        0.0,
        1.0,
        read_only=False,
    ),
)

DRIFT_MONITOR = (*MANAGED, _signs("statuses"))

ADAPTER = (
    *MANAGED,
    Parameter("store", "", "folder for the labelled frames and the accepted patch sets"),
    _signs("patch sets"),
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
        "labels_key",
        "",
        "path of NAME.pub; only labelled frames signed with its key are taken; empty: anybody's",
    ),
    Parameter(
        "labels",
        str(LabelPolicy.WELCOME),
        "required: wait for labels; welcome: answer a drift at once with the bundle's prepared "
        "patches and train when labels come; none: answer, and train nothing",
        choices=tuple(map(str, LabelPolicy)),
    ),
    Parameter(
        "device",
        str(Device.AUTO),
        "what trainings run on; auto: a GPU where PyTorch sees one, else the CPU",
        choices=tuple(map(str, Device)),
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
    _signs("labelled frames"),
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
        "min_score", 0.5, "score from which on a detection or a classification is a label", 0.0, 1.0
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

GROUND_PROJECTOR = (
    *MANAGED,
    Parameter(
        "drivable_classes", "road,lane_marking", "classes of the bundle that a car may drive on"
    ),
    Parameter("line_classes", "lane_marking", "classes that are lines painted on the road"),
    Parameter(
        "standing_classes",
        "sky,building,vehicle,person",
        "classes that stand on the ground and hide what is behind, and sky; all others are ground",
    ),
    Parameter(
        "ground_frame",
        "base_footprint",
        "frame of the results: on the ground below the car, x ahead, y left, z up",
    ),
    Parameter(
        "camera_height",
        0.0,
        "metres from the ground to the camera; 0: /tf_static says where the camera is",
        0.0,
        10.0,
    ),
    Parameter(
        "camera_pitch", 0.0, "degrees that a camera with camera_height looks down", -30.0, 89.0
    ),
    Parameter(
        "field_of_view",
        0.0,
        "degrees that the camera sees from left to right; 0: camera_info says how it projects",
        0.0,
        150.0,
    ),
    Parameter("reach", 20.0, "metres ahead that are looked at", 1.0, 200.0),
    Parameter("width", 20.0, "metres from right to left of the grid", 1.0, 200.0),
    Parameter("resolution", 0.1, "metres of a cell's edge", 0.01, 2.0),
)

OBJECT_LOCATOR = (
    *MANAGED,
    Parameter(
        "slop_ms",
        20,
        "ms that the stamps of detections and depth may be apart; 0: the stamps are the same",
        0,
        1000,
    ),
    Parameter(
        "queue_depth", 30, "most depth pictures that wait for the detections of their time", 1, 1000
    ),
)

CAMERA = (
    _signs("labelled frames"),
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


OF_ALL_NODES: Final = frozenset(
    parameter.name
    for table in (
        SIGN_CLASSIFIER,
        OBJECT_DETECTOR,
        ADAPTER,
        LABELLER,
        GROUND_PROJECTOR,
        OBJECT_LOCATOR,
        SIM_CAMERA,
        BAG_PLAYER,
    )
    for parameter in table
)
"""One file of parameters may be for all nodes (`/**`), and then holds those of others, too."""
