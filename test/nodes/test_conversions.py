"""Pictures and labels through messages and back, with cv_bridge where it is and without it."""

import struct
import zlib

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

import cv2
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from patchline_ros.messages.labels import ConversionError
from patchline_ros.nodes import conversions
from patchline_ros.tasks import Boxes, Sample, Task

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (6, 5, 1), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (6, 5), dtype=np.uint16)
GREY_RGB = np.repeat(GREY[..., None], 3, axis=2)
GREY16_RGB = np.repeat(np.rint(GREY16 / 257).astype(np.uint8)[..., None], 3, axis=2)

PIXELS = {
    "bgr8": (RGB[..., ::-1], RGB),
    "rgb8": (RGB, RGB),
    "bgra8": (np.concatenate([RGB[..., ::-1], ALPHA], axis=2), RGB),
    "rgba8": (np.concatenate([RGB, ALPHA], axis=2), RGB),
    "mono8": (GREY, GREY_RGB),
    "mono16": (GREY16, GREY16_RGB),
    "16UC1": (GREY16, GREY16_RGB),
}


def message(pixels: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> Image:
    """An Image as a driver sends it, rows padded with bytes that are no picture."""
    order = ">" if big_endian else "<"
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(order)))
    rows = rows.view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=7)
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=rows.shape[1],
        data=conversions.bytes_field(rows.tobytes()),
    )


@pytest.fixture(params=["numpy", "cv_bridge"])
def bridge(request):
    """Each way to convert colours."""
    if request.param == "numpy":
        return None
    if conversions.CV_BRIDGE is None:
        pytest.skip("ROS 2's cv_bridge is not installed here")
    return conversions.CV_BRIDGE


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("encoding", list(PIXELS))
def test_every_encoding(encoding, padding, big_endian, bridge):
    pixels, expected = PIXELS[encoding]
    rgb = conversions.image_to_rgb(message(pixels, encoding, padding, big_endian), bridge)
    assert rgb.dtype == np.uint8 and rgb.flags.c_contiguous
    np.testing.assert_array_equal(rgb, expected)


@pytest.mark.parametrize(
    ("extension", "pixels", "expected"),
    [
        (".png", RGB[..., ::-1], RGB),
        (".png", np.concatenate([RGB[..., ::-1], ALPHA], axis=2), RGB),
        (".png", GREY, GREY_RGB),
        (".png", GREY16, GREY16_RGB),
        (".jpg", np.full((16, 16, 3), (20, 90, 200), np.uint8), (200, 90, 20)),
        (".jpg", np.full((16, 16), 99, np.uint8), (99, 99, 99)),
    ],
)
def test_compressed(extension, pixels, expected, bridge):
    data = cv2.imencode(extension, pixels)[1].tobytes()
    msg = CompressedImage(format=extension[1:], data=conversions.bytes_field(data))
    rgb = conversions.compressed_to_rgb(msg, bridge)
    assert rgb.shape == (*pixels.shape[:2], 3)
    np.testing.assert_allclose(
        rgb, np.broadcast_to(expected, rgb.shape), atol=3 * (extension == ".jpg")
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"encoding": "yuv422_x"}, "encoding is 'yuv422_x'"),
        ({"encoding": ""}, "encoding is ''"),
        ({"data": conversions.bytes_field(bytes(89))}, "89 bytes of data"),
        ({"step": 14}, "step is 14 bytes"),
        ({"step": 16}, "90 bytes of data"),
        ({"height": 0}, "empty: 5 x 0"),
        ({"width": 0}, "empty: 0 x 6"),
        ({"width": 2**31, "height": 2**31}, "is 2147483648 x 2147483648 pixels, more than 50"),
    ],
)
def test_malformed_picture(change, says):
    msg = message(RGB, "rgb8")
    for name, value in change.items():
        setattr(msg, name, value)
    with pytest.raises(ConversionError, match=says):
        conversions.image_to_rgb(msg)


def claims(extension: str, width: int, height: int) -> bytes:
    """A small picture whose header says another size."""
    data = bytearray(cv2.imencode(extension, np.full((16, 24, 3), 99, np.uint8))[1].tobytes())
    if extension == ".png":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    else:
        frame = next(i for i in range(len(data)) if data[i : i + 2] in (b"\xff\xc0", b"\xff\xc2"))
        data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(
    ("extension", "width", "height"), [(".png", 30_000, 30_000), (".jpg", 60_000, 60_000)]
)
def test_a_compressed_picture_that_claims_gigabytes_is_not_decoded(extension, width, height):
    data = conversions.bytes_field(claims(extension, width, height))
    with pytest.raises(
        ConversionError, match=f"is {width} x {height} pixels, more than 50 million"
    ):
        conversions.compressed_to_rgb(CompressedImage(format=extension[1:], data=data))
    data = conversions.bytes_field(claims(extension, 24, 16))
    decoded = conversions.compressed_to_rgb(CompressedImage(format=extension[1:], data=data))
    assert decoded.shape == (16, 24, 3)


def test_a_progressive_jpeg_with_a_comment_is_measured_as_it_is_decoded():
    progressive = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    data = cv2.imencode(".jpg", np.full((16, 24, 3), 99, np.uint8), progressive)[1].tobytes()
    # A comment that looks like the frame of a huge picture.
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 11) + b"\xff\xc0\0\x11\x08" + b"\xff" * 6
    data = data[:2] + comment + b"\xff\xff" + data[3:]
    msg = CompressedImage(format="jpeg", data=conversions.bytes_field(data))
    assert conversions.compressed_to_rgb(msg).shape == (16, 24, 3)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no data"),
        (b"no picture", "cannot be decoded"),
        (b"\xff\xd8\xff", "cannot be decoded"),
        (b"\xff\xd8\xff\xe0\0\0", "cannot be decoded"),
        (b"\x89PNG\r\n\x1a\n\0\0", "cannot be decoded"),
        (cv2.imencode(".bmp", RGB)[1].tobytes(), "send jpeg or png"),
    ],
)
def test_malformed_compressed_picture(data, says):
    msg = CompressedImage(format="jpeg", data=conversions.bytes_field(data))
    with pytest.raises(ConversionError, match=says):
        conversions.compressed_to_rgb(msg)


def test_only_the_cv_bridge_of_ros2_counts(tmp_path, monkeypatch):
    """A `cv_bridge` that the ament index does not know is PyPI's, which misreads pictures."""
    package = tmp_path / "cv_bridge" / "boost"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("class CvBridge: pass\n")
    (package / "__init__.py").touch()
    (package / "cv_bridge_boost.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "no_prefix"))
    assert conversions._ros2_cv_bridge() is None


def header() -> Header:
    return Header(stamp=Time(sec=12, nanosec=345), frame_id="camera")


LABELS = {
    Task.CLASSIFICATION: 3,
    Task.DETECTION: Boxes.truth([[0.5, 1.25, 3.0, 4.0], [1, 1, 5, 6]], [2, 0]),
    Task.SEGMENTATION: RNG.integers(0, 6, (6, 5), dtype=np.uint8),
}


@pytest.mark.parametrize("task", list(Task))
def test_labelled_frame_and_back(task):
    msg = conversions.labelled_frame_to_msg("a", task, Sample(RGB, LABELS[task]), header())
    name, found, stamp, sample = conversions.msg_to_labelled_frame(msg)
    assert (name, found, stamp) == ("a", task, 12_000_000_345)
    np.testing.assert_array_equal(sample.image, RGB)
    if isinstance(sample.label, Boxes):
        np.testing.assert_array_equal(sample.label.boxes, LABELS[task].boxes)
        np.testing.assert_array_equal(sample.label.labels, LABELS[task].labels)
    else:
        np.testing.assert_array_equal(sample.label, LABELS[task])


def test_a_frame_without_objects_is_a_label():
    nothing = Sample(RGB, Boxes.truth([], []))
    msg = conversions.labelled_frame_to_msg("a", Task.DETECTION, nothing, header())
    assert len(conversions.msg_to_labelled_frame(msg)[3].label) == 0


def spoil_id(msg):
    msg.id = ""


def spoil_task(msg):
    msg.task = "lane"


def spoil_sign(msg):
    msg.sign.results = []


def spoil_class(msg):
    msg.objects.detections[0].results[0].hypothesis.class_id = "car"


def spoil_size(msg):
    msg.objects.detections[0].bbox.size_x = -1.0


def spoil_area(msg):
    msg.objects.detections[1].bbox.size_y = 0.0


def spoil_place(msg):
    msg.objects.detections[1].bbox.center.position.x = 40.0


def spoil_mask(msg):
    msg.lanes = conversions.mask_to_image(np.zeros((5, 5), np.uint8), msg.header)


def spoil_mask_encoding(msg):
    msg.lanes.encoding = "rgb8"


@pytest.mark.parametrize(
    ("task", "spoil", "says"),
    [
        (Task.CLASSIFICATION, spoil_id, "no id"),
        (Task.CLASSIFICATION, spoil_task, "task is 'lane'; use one of signs, objects, lanes"),
        (Task.CLASSIFICATION, spoil_sign, "0 results"),
        (Task.DETECTION, spoil_class, "class id is 'car'"),
        (Task.DETECTION, spoil_size, "detection 0 has a box of -1.0"),
        (Task.DETECTION, spoil_area, "box 1 is empty: 4.0 x 0.0"),
        (Task.DETECTION, spoil_place, "box 1 .* leaves its picture of 5 x 6"),
        (Task.SEGMENTATION, spoil_mask, "class map is 5 x 5 pixels, its picture is 5 x 6"),
        (Task.SEGMENTATION, spoil_mask_encoding, "must be mono8"),
    ],
)
def test_malformed_labelled_frame(task, spoil, says):
    msg = conversions.labelled_frame_to_msg("a", task, Sample(RGB, LABELS[task]), header())
    spoil(msg)
    with pytest.raises(ConversionError, match=says):
        conversions.msg_to_labelled_frame(msg)


def test_results_carry_the_header_of_their_picture():
    found = conversions.boxes_to_msg(LABELS[Task.DETECTION], header())
    assert found.header == header() and found.detections[0].header == header()
    assert conversions.mask_to_image(GREY, header()).header == header()
    assert conversions.classification_to_msg(1, 0.5, header()).header == header()


def test_label_info_counts_from_zero():
    info = conversions.label_info(("road", "car"), header())
    assert [(c.class_id, c.class_name) for c in info.class_map] == [(0, "road"), (1, "car")]


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999, 1_700_000_000_123_456_789])
def test_stamps(nanoseconds):
    assert conversions.stamp_to_ns(conversions.ns_to_stamp(nanoseconds)) == nanoseconds
