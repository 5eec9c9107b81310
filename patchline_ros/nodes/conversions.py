"""The one place between ROS messages and the plain data of the core.

Pictures become uint8 RGB (H, W, 3). Colour conversion is cv_bridge's where ROS 2's cv_bridge is
installed; elsewhere the same conversions run on NumPy and OpenCV. Rows are unpacked here for both,
because cv_bridge's Python side shears rows whose step is not a whole number of pixels and fails on
big-endian pictures under NumPy 2.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import (
    Classification,
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    VisionClass,
)

from patchline_ros.messages.labels import (
    ConversionError,
    check_inside,
    corners_of,
    msg_to_boxes,
    msg_to_class,
)
from patchline_ros.messages.picture_size import encoded_size
from patchline_ros.msg import LabelledFrame
from patchline_ros.tasks import Boxes, ClassMap, Label, Sample, Task
from patchline_ros.tasks import Image as Picture

if TYPE_CHECKING:
    from cv_bridge import CvBridge

Pixels: TypeAlias = NDArray[Any]
Regions: TypeAlias = NDArray[np.float32]
"""Boxes of a picture, (n, 4) x1, y1, x2, y2 in pixels."""

NANOSECONDS = 1_000_000_000
MOST_MEGAPIXELS = 50
"""Largest picture: more than 8K video has. A header of a few bytes can claim gigabytes."""


def _ros2_cv_bridge() -> CvBridge | None:
    """ROS 2's cv_bridge, None where it is not installed.

    PyPI has a ROS 1 port of the same name that fails on NumPy 2 and misreads 16UC1, so only the
    package that the ament index knows counts.
    """
    try:
        prefix = Path(get_package_prefix("cv_bridge")).resolve()
        import cv_bridge
        import cv_bridge.boost.cv_bridge_boost
    except (PackageNotFoundError, ImportError):
        return None
    if prefix not in Path(cv_bridge.__file__).resolve().parents:
        return None
    return cv_bridge.CvBridge()


CV_BRIDGE = _ros2_cv_bridge()
"""What converts colours by default; None is the conversion of this module."""


@dataclass(frozen=True)
class _Encoding:
    """Pixel layout, the colour conversion to RGB, and the name under which cv_bridge knows it."""

    dtype: str
    channels: int
    to_rgb: int | None
    bridge_name: str


_ENCODINGS = {
    "bgr8": _Encoding("u1", 3, cv2.COLOR_BGR2RGB, "bgr8"),
    "rgb8": _Encoding("u1", 3, None, "rgb8"),
    "bgra8": _Encoding("u1", 4, cv2.COLOR_BGRA2RGB, "bgra8"),
    "rgba8": _Encoding("u1", 4, cv2.COLOR_RGBA2RGB, "rgba8"),
    "mono8": _Encoding("u1", 1, cv2.COLOR_GRAY2RGB, "mono8"),
    "mono16": _Encoding("u2", 1, cv2.COLOR_GRAY2RGB, "mono16"),
    # Depth cameras and 16-bit grey ones say 16UC1, a type without a colour: read as mono16.
    "16UC1": _Encoding("u2", 1, cv2.COLOR_GRAY2RGB, "mono16"),
}


def image_to_rgb(msg: Image, bridge: CvBridge | None = CV_BRIDGE) -> Picture:
    """The picture as uint8 RGB (H, W, 3). 16-bit grey is scaled from 0..65535 to 0..255.

    Raises ConversionError for an encoding not in bgr8, rgb8, bgra8, rgba8, mono8, mono16, 16UC1, an
    empty picture or one of more than MOST_MEGAPIXELS, a step too short for the width, or data that
    is not height * step bytes long.
    """
    return _to_rgb(_pixels(msg), msg.encoding, bridge)


def compressed_to_rgb(msg: CompressedImage, bridge: CvBridge | None = CV_BRIDGE) -> Picture:
    """A jpeg or png picture as uint8 RGB (H, W, 3).

    Raises ConversionError when the data is empty, is a picture of more than MOST_MEGAPIXELS, or
    cannot be decoded.
    """
    data = np.frombuffer(msg.data, dtype=np.uint8)
    if not data.size:
        raise ConversionError(f"the compressed picture (format {msg.format!r}) has no data")
    size = encoded_size(data.tobytes())
    if size is None:
        raise ConversionError(
            f"the compressed picture (format {msg.format!r}, {data.size} bytes) cannot be decoded; "
            "send jpeg or png"
        )
    _check_size(*size)
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ConversionError(
            f"the compressed picture (format {msg.format!r}, {data.size} bytes) cannot be decoded: "
            f"{error.err}"
        ) from error
    if pixels is None:
        raise ConversionError(
            f"the compressed picture (format {msg.format!r}, {data.size} bytes) cannot be decoded; "
            "send jpeg or png"
        )
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    encoding = {(1, 1): "mono8", (2, 1): "mono16", (1, 3): "bgr8", (1, 4): "bgra8"}.get(
        (pixels.dtype.itemsize, channels)
    )
    if encoding is None:
        raise ConversionError(
            f"the compressed picture holds {channels} channels of {pixels.dtype}; send 8-bit "
            "colour or 8 or 16-bit grey"
        )
    return _to_rgb(pixels, encoding, bridge)


def image_to_classmap(msg: Image) -> ClassMap:
    """A mono8 picture of class ids as uint8 (H, W).

    Raises ConversionError for another encoding or a malformed picture.
    """
    if msg.encoding != "mono8":
        raise ConversionError(f"a class map must be mono8, this one is {msg.encoding!r}")
    return _pixels(msg).copy()


def rgb_to_image(picture: Picture, header: Header) -> Image:
    """An rgb8 message with the given header."""
    return _image(picture, "rgb8", header)


def mask_to_image(mask: ClassMap, header: Header) -> Image:
    """A mono8 message of class ids with the given header."""
    return _image(mask, "mono8", header)


def classification_to_msg(class_id: int, confidence: float, header: Header) -> Classification:
    """One result: the class id in decimal (LabelInfo has its name) and its probability."""
    result = ObjectHypothesis(class_id=str(class_id), score=float(confidence))
    return Classification(header=header, results=[result])


def boxes_to_msg(found: Boxes, header: Header) -> Detection2DArray:
    """Boxes in pixels, one hypothesis each."""
    detections = []
    for (x1, y1, x2, y2), label, score in zip(
        found.boxes.astype(np.float64).tolist(),
        found.labels.tolist(),
        found.scores.astype(np.float64).tolist(),
        strict=True,
    ):
        detection = Detection2D(header=header)
        detection.bbox.center.position.x = (x1 + x2) / 2
        detection.bbox.center.position.y = (y1 + y2) / 2
        detection.bbox.size_x = x2 - x1
        detection.bbox.size_y = y2 - y1
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id = str(label)
        hypothesis.hypothesis.score = score
        detection.results = [hypothesis]
        detections.append(detection)
    return Detection2DArray(header=header, detections=detections)


def msg_to_regions(msg: Detection2DArray, class_id: str) -> Regions:
    """Where the detections of that class are, as (n, 4) x1, y1, x2, y2 in pixels.

    Args:
        msg: of any detector; classes may be numbers or names, or missing where none is asked for.
        class_id: of the first hypothesis, as it stands there; empty: every detection.

    Raises ConversionError for a box of negative or infinite size.
    """
    corners = [
        corners_of(number, detection)
        for number, detection in enumerate(msg.detections)
        if class_id in ("", *(result.hypothesis.class_id for result in detection.results[:1]))
    ]
    return np.asarray(corners, dtype=np.float32).reshape(-1, 4)


def label_info(classes: Sequence[str], header: Header) -> LabelInfo:
    """The names behind the class ids, which count from 0."""
    class_map = [VisionClass(class_id=i, class_name=name) for i, name in enumerate(classes)]
    return LabelInfo(header=header, class_map=class_map)


def labelled_frame_to_msg(
    frame_id: str, task: Task, sample: Sample, header: Header
) -> LabelledFrame:
    """A labelled picture; `frame_id` is its name, `header` carries its stamp."""
    msg = LabelledFrame(header=header, id=frame_id, task=str(task))
    msg.image = rgb_to_image(sample.image, header)
    label = sample.label
    if isinstance(label, Boxes):
        msg.objects = boxes_to_msg(label, header)
    elif isinstance(label, np.ndarray):
        msg.lanes = mask_to_image(label, header)
    else:
        msg.sign = classification_to_msg(label, 1.0, header)
    return msg


def msg_to_labelled_frame(msg: LabelledFrame) -> tuple[str, Task, int, Sample]:
    """Frame id, task, stamp in nanoseconds and the sample.

    Raises ConversionError for an empty id, an unknown task, a picture or label that cannot be read,
    and a class map or box that does not fit the picture.
    """
    if not msg.id:
        raise ConversionError("the labelled frame has no id")
    task = text_to_task(msg.task)
    picture = image_to_rgb(msg.image)
    height, width = picture.shape[:2]
    label: Label
    if task is Task.CLASSIFICATION:
        label = msg_to_class(msg.sign)
    elif task is Task.DETECTION:
        label = msg_to_boxes(msg.objects)
        check_inside(label, width, height)
    else:
        label = image_to_classmap(msg.lanes)
        if label.shape != (height, width):
            raise ConversionError(
                f"the class map is {label.shape[1]} x {label.shape[0]} pixels, its picture is "
                f"{width} x {height}"
            )
    return msg.id, task, stamp_to_ns(msg.header.stamp), Sample(picture, label)


def text_to_task(text: str) -> Task:
    """The task of that name. Raises ConversionError for any other text."""
    try:
        return Task(text)
    except ValueError:
        names = ", ".join(map(str, Task))
        raise ConversionError(f"the task is {text!r}; use one of {names}") from None


def stamp_to_ns(stamp: Time) -> int:
    """Nanoseconds since the epoch of the clock that stamped it."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def ns_to_stamp(nanoseconds: int) -> Time:
    """The same as a message."""
    seconds, rest = divmod(nanoseconds, NANOSECONDS)
    return Time(sec=seconds, nanosec=rest)


def bytes_field(data: bytes) -> array[int]:
    """`data` in the form that every rclpy assigns to a uint8[] field without a loop over it."""
    return array("B", data)


def _check_size(width: int, height: int) -> None:
    """Raises ConversionError for a picture that would take too much memory."""
    if width * height > MOST_MEGAPIXELS * 1_000_000:
        raise ConversionError(
            f"the picture is {width} x {height} pixels, more than {MOST_MEGAPIXELS} million"
        )


def _pixels(msg: Image) -> Pixels:
    """The picture's pixels in native byte order, (H, W) or (H, W, C), without padding."""
    layout = _ENCODINGS.get(msg.encoding)
    if layout is None:
        raise ConversionError(
            f"the encoding is {msg.encoding!r}; supported are {', '.join(_ENCODINGS)}"
        )
    height, width, step = int(msg.height), int(msg.width), int(msg.step)
    if height == 0 or width == 0:
        raise ConversionError(f"the picture is empty: {width} x {height} pixels")
    _check_size(width, height)
    dtype = np.dtype((">" if msg.is_bigendian else "<") + layout.dtype)
    row = width * layout.channels * dtype.itemsize
    if step < row:
        raise ConversionError(
            f"the step is {step} bytes, but a row of {width} {msg.encoding} pixels needs {row}"
        )
    if len(msg.data) != height * step:
        raise ConversionError(
            f"the picture has {len(msg.data)} bytes of data, but {height} rows of step {step} make "
            f"{height * step}"
        )
    rows = np.frombuffer(msg.data, dtype=np.uint8).reshape(height, step)[:, :row]
    pixels = np.ascontiguousarray(rows).view(dtype)
    if layout.channels > 1:
        pixels = pixels.reshape(height, width, layout.channels)
    return pixels.astype(dtype.newbyteorder("="), copy=False)


def _to_rgb(pixels: Pixels, encoding: str, bridge: CvBridge | None) -> Picture:
    layout = _ENCODINGS[encoding]
    if layout.to_rgb is None:
        return pixels
    if bridge is not None:
        named = _image(pixels, layout.bridge_name, Header())
        return np.ascontiguousarray(bridge.imgmsg_to_cv2(named, desired_encoding="rgb8"))
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    return np.asarray(cv2.cvtColor(pixels, layout.to_rgb), dtype=np.uint8)


def _image(pixels: Pixels, encoding: str, header: Header) -> Image:
    """A message without padding, in native byte order."""
    layout = _ENCODINGS[encoding]
    height, width = pixels.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big" and pixels.dtype.itemsize > 1),
        step=width * layout.channels * pixels.dtype.itemsize,
        data=bytes_field(pixels.tobytes()),
    )
