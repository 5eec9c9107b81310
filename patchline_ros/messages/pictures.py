"""The pictures of sensor_msgs as RGB, whoever made the message: ROS, or a reader of bags.

The size of a compressed picture is known from its header, before anything is decoded.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from patchline_ros.messages.labels import ConversionError
from patchline_ros.tasks import ClassMap, Image

MOST_MEGAPIXELS: Final = 50
"""Of a picture: more than 8K video has. A header of a few bytes can claim gigabytes."""


MOST_COMPRESSED_MIB: Final = 64
"""Of a compressed picture: a PNG of noise of 20 megapixels has as much."""
_MOST_BYTES_A_PIXEL: Final = 4


@dataclass(frozen=True)
class _Layout:
    """How an encoding keeps its pixels.

    Attributes:
        dtype: of a value.
        channels: values of a pixel in a row.
        to_rgb: OpenCV's conversion; None: it is RGB already.
        even_width, even_height: pixels share colours with a neighbour.
        rows: rows of data for two rows of pixels, with those of a plane of colours behind.
    """

    dtype: str
    channels: int
    to_rgb: int | None
    even_width: bool = False
    even_height: bool = False
    rows: int = 2


_UYVY: Final = _Layout("u1", 2, cv2.COLOR_YUV2RGB_UYVY, even_width=True)
_YUYV: Final = _Layout("u1", 2, cv2.COLOR_YUV2RGB_YUY2, even_width=True)

_LAYOUTS: Final = {
    "rgb8": _Layout("u1", 3, None),
    "bgr8": _Layout("u1", 3, cv2.COLOR_BGR2RGB),
    "rgba8": _Layout("u1", 4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Layout("u1", 4, cv2.COLOR_BGRA2RGB),
    "mono8": _Layout("u1", 1, cv2.COLOR_GRAY2RGB),
    "mono16": _Layout("u2", 1, cv2.COLOR_GRAY2RGB),
    # OpenCV's names of types, which say nothing about colours: they are in OpenCV's order.
    "8UC1": _Layout("u1", 1, cv2.COLOR_GRAY2RGB),
    "8UC3": _Layout("u1", 3, cv2.COLOR_BGR2RGB),
    "bayer_rggb8": _Layout("u1", 1, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr8": _Layout("u1", 1, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg8": _Layout("u1", 1, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg8": _Layout("u1", 1, cv2.COLOR_BayerGRBG2RGB),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": _Layout("u1", 1, cv2.COLOR_YUV2RGB_NV12, even_width=True, even_height=True, rows=3),
    "nv21": _Layout("u1", 1, cv2.COLOR_YUV2RGB_NV21, even_width=True, even_height=True, rows=3),
}

_DEPTH: Final = {"16UC1": _Layout("u2", 1, None), "32FC1": _Layout("f4", 1, None)}
"""What depth cameras send: as a picture it is black. A grey camera of 16 bits says mono16."""

_CODECS: Final = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
"""Of compressed pictures, as Pillow calls them. image_transport sends the first three."""
DAMAGE: Final = (
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    OverflowError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What Pillow raises where bytes of a picture are not what they were."""


def image_to_rgb(msg: Any) -> Image:
    """A sensor_msgs/Image as uint8 RGB (H, W, 3). 16-bit grey is scaled from 0..65535 to 0..255.

    Raises ConversionError for an encoding that is not read, a picture that is empty, of more than
    MOST_MEGAPIXELS or of a size that the encoding can't have, a step too short for the width, and
    data of another length than height and step ask for.
    """
    layout = _layout(msg.encoding)
    return _to_rgb(_values(msg, layout), layout)


def image_to_classmap(msg: Any) -> ClassMap:
    """A mono8 picture of class ids as uint8 (H, W).

    Raises ConversionError for another encoding or a malformed picture.
    """
    if msg.encoding != "mono8":
        raise ConversionError(f"a class map must be mono8, this one is {msg.encoding!r}")
    return _values(msg, _layout("mono8")).copy()


def image_to_depth(msg: Any) -> NDArray[np.float32]:
    """A depth picture as float32 (H, W) in metres, NaN where nothing was measured.

    Depth is in millimetres as 16UC1 and in metres as 32FC1 (REP 118).

    Raises ConversionError for another encoding or a malformed picture.
    """
    layout = _DEPTH.get(msg.encoding)
    if layout is None:
        raise ConversionError(
            f"depth must be {' or '.join(_DEPTH)}, this picture is {msg.encoding!r}"
        )
    metres = _values(msg, layout).astype(np.float32)
    if msg.encoding == "16UC1":
        metres /= 1000
    metres[~(np.isfinite(metres) & (metres > 0))] = np.nan
    return metres


def check_claim(msg: Any) -> None:
    """Looks at what a picture's message says, before anything is decoded or has to wait.

    Raises ConversionError for a sensor_msgs/Image or CompressedImage that would take too much
    memory.
    """
    if hasattr(msg, "format"):
        if len(msg.data) > MOST_COMPRESSED_MIB << 20:
            raise ConversionError(
                f"the compressed picture has {len(msg.data) >> 20} MiB of data, more than "
                f"{MOST_COMPRESSED_MIB}"
            )
        return
    _check_size(int(msg.width), int(msg.height))
    most = MOST_MEGAPIXELS * 1_000_000 * _MOST_BYTES_A_PIXEL
    if len(msg.data) > most:
        raise ConversionError(
            f"the picture has {len(msg.data) >> 20} MiB of data, more than {most >> 20}"
        )


def compressed_to_rgb(msg: Any) -> Image:
    """A sensor_msgs/CompressedImage as uint8 RGB (H, W, 3), as the camera has seen it.

    An orientation that the file asks for (EXIF) is not obeyed: the camera's calibration, and what
    other nodes say about the picture, are about its pixels as they were sent. One grey channel is
    demosaiced where `format` begins with a Bayer pattern.

    Raises ConversionError when the data is empty, is a picture of more than MOST_MEGAPIXELS, or
    cannot be decoded.
    """
    if is_depth(msg.format):
        raise ConversionError(
            f"the format {msg.format!r} is depth, no picture; choose another topic"
        )
    data = bytes(msg.data)
    if not data:
        raise ConversionError(f"the compressed picture (format {msg.format!r}) has no data")
    try:
        pixels = _decoded(data)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ConversionError(
            f"the compressed picture (format {msg.format!r}) has more than {MOST_MEGAPIXELS} "
            "million pixels"
        ) from error
    except ConversionError:
        raise
    except PIL.UnidentifiedImageError as error:
        codecs = ", ".join(_CODECS[:-1]).lower()
        raise ConversionError(
            f"the compressed picture (format {msg.format!r}, {len(data)} bytes) cannot be decoded; "
            f"send {codecs} or {_CODECS[-1].lower()}"
        ) from error
    except DAMAGE as error:
        raise ConversionError(
            f"the compressed picture (format {msg.format!r}, {len(data)} bytes) cannot be decoded: "
            f"{error}"
        ) from error
    if pixels.ndim == 3:
        return pixels
    pattern = msg.format.partition(";")[0].strip()
    raw = pixels.dtype == np.uint8 and pattern.startswith("bayer_") and pattern in _LAYOUTS
    grey = "mono16" if pixels.dtype == np.uint16 else "mono8"
    return _to_rgb(pixels, _LAYOUTS[pattern if raw else grey])


def _decoded(data: bytes) -> NDArray[Any]:
    """RGB as uint8 (H, W, 3), or grey as uint8 or uint16 (H, W)."""
    with PIL.Image.open(BytesIO(data), formats=_CODECS) as picture:
        _check_size(*picture.size)
        if picture.mode.startswith("I;16"):
            return np.array(picture).astype(np.uint16)
        if picture.mode in ("I", "F"):
            raise ConversionError(
                "the compressed picture holds grey values of 32 bits; send 8 or 16 bits"
            )
        grey = picture.mode == "L"
        return np.array(picture if grey else picture.convert("RGB"))


def is_depth(encoding: str) -> bool:
    """Whether an encoding, or the format of a compressed picture, is that of depth."""
    return encoding in _DEPTH or "compressedDepth" in encoding


def _layout(encoding: str) -> _Layout:
    if is_depth(encoding):
        raise ConversionError(
            f"the encoding {encoding!r} is depth, no picture; choose another topic"
        )
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        raise ConversionError(f"the encoding is {encoding!r}; supported are {', '.join(_LAYOUTS)}")
    return layout


def _check_size(width: int, height: int) -> None:
    """Raises ConversionError for a picture that would take too much memory."""
    if width * height > MOST_MEGAPIXELS * 1_000_000:
        raise ConversionError(
            f"the picture is {width} x {height} pixels, more than {MOST_MEGAPIXELS} million"
        )


def _check_layout(width: int, height: int, encoding: str, layout: _Layout) -> None:
    """Raises ConversionError for a size that no picture of the encoding can have."""
    if height <= 0 or width <= 0:
        raise ConversionError(f"the picture is empty: {width} x {height} pixels")
    _check_size(width, height)
    if (layout.even_width and width % 2) or (layout.even_height and height % 2):
        sides = "width and height" if layout.even_height else "a width"
        raise ConversionError(
            f"the picture is {width} x {height} pixels, but {encoding} needs {sides} that can be "
            "halved"
        )


def _values(msg: Any, layout: _Layout) -> NDArray[Any]:
    """The values in native byte order, (rows, W) or (rows, W, C), without padding."""
    height, width, step = int(msg.height), int(msg.width), int(msg.step)
    _check_layout(width, height, msg.encoding, layout)
    dtype = np.dtype((">" if msg.is_bigendian else "<") + layout.dtype)
    row = width * layout.channels * dtype.itemsize
    if step < row:
        raise ConversionError(
            f"the step is {step} bytes, but a row of {width} {msg.encoding} pixels needs {row}"
        )
    rows = height * layout.rows // 2
    if len(msg.data) != rows * step:
        raise ConversionError(
            f"the picture has {len(msg.data)} bytes of data, but {rows} rows of step {step} make "
            f"{rows * step}"
        )
    lines = np.frombuffer(msg.data, dtype=np.uint8).reshape(rows, step)[:, :row]
    values = np.ascontiguousarray(lines).view(dtype)
    if layout.channels > 1:
        values = values.reshape(rows, width, layout.channels)
    return values.astype(dtype.newbyteorder("="), copy=False)


def _to_rgb(values: NDArray[Any], layout: _Layout) -> Image:
    if layout.to_rgb is None:
        return values
    if values.dtype == np.uint16:
        values = cv2.convertScaleAbs(values, alpha=255 / 65535)
    return np.asarray(cv2.cvtColor(values, layout.to_rgb), dtype=np.uint8)
