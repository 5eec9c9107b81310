"""Pictures of messages become RGB, or one sentence says why not; whoever made the message."""

from __future__ import annotations

import struct
import zlib
from array import array
from dataclasses import dataclass
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from patchline_ros.messages.labels import ConversionError
from patchline_ros.messages.pictures import (
    check_claim,
    compressed_to_rgb,
    image_to_classmap,
    image_to_rgb,
)

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (6, 5, 1), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (6, 5), dtype=np.uint16)
GREY_RGB = np.repeat(GREY[..., None], 3, axis=2)
GREY16_RGB = np.repeat(np.rint(GREY16 / 257).astype(np.uint8)[..., None], 3, axis=2)

PIXELS = {
    "bgr8": (RGB[..., ::-1], RGB),
    "8UC3": (RGB[..., ::-1], RGB),
    "rgb8": (RGB, RGB),
    "bgra8": (np.concatenate([RGB[..., ::-1], ALPHA], axis=2), RGB),
    "rgba8": (np.concatenate([RGB, ALPHA], axis=2), RGB),
    "mono8": (GREY, GREY_RGB),
    "8UC1": (GREY, GREY_RGB),
    "mono16": (GREY16, GREY16_RGB),
}
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


@dataclass
class Message:
    """The fields of a sensor_msgs/Image."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


@dataclass
class Compressed:
    """The fields of a sensor_msgs/CompressedImage."""

    format: str
    data: Any


def message(
    pixels: NDArray[Any], encoding: str, padding: int = 0, big_endian: bool = False
) -> Message:
    """A picture as a driver sends it, rows padded with bytes that are no picture."""
    height, width = pixels.shape[:2]
    order = pixels.dtype.newbyteorder(">" if big_endian else "<")
    rows = np.ascontiguousarray(pixels.astype(order)).view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=7)
    data = array("B", rows.tobytes())
    return Message(height, width, encoding, int(big_endian), rows.shape[1], data)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("encoding", list(PIXELS))
def test_every_encoding(encoding: str, padding: int, big_endian: bool) -> None:
    pixels, expected = PIXELS[encoding]
    rgb = image_to_rgb(message(pixels, encoding, padding, big_endian))
    assert rgb.dtype == np.uint8 and rgb.flags.c_contiguous
    np.testing.assert_array_equal(rgb, expected)


def test_an_array_as_a_reader_of_bags_gives_it() -> None:
    msg = message(RGB, "rgb8", padding=2)
    msg.data = np.frombuffer(msg.data, dtype=np.uint8)
    np.testing.assert_array_equal(image_to_rgb(msg), RGB)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("colour", [RED, GREEN, BLUE])
def test_a_bayer_pattern(pattern: str, colour: tuple[int, int, int], padding: int) -> None:
    """Names say what the first two pixels of the first two rows see."""
    tile = np.array([colour["rgb".index(letter)] for letter in pattern], dtype=np.uint8)
    mosaic = np.tile(tile.reshape(2, 2), (4, 4))
    rgb = image_to_rgb(message(mosaic, f"bayer_{pattern}8", padding))
    np.testing.assert_array_equal(rgb, np.full((8, 8, 3), colour))


def luma_and_chroma(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """BT.601 as video has it: Y from 16 to 235, U and V around 128."""
    r, g, b = (value / 255 for value in rgb)
    y = 16 + 65.481 * r + 128.553 * g + 24.966 * b
    u = 128 - 37.797 * r - 74.203 * g + 112.0 * b
    v = 128 + 112.0 * r - 93.786 * g - 18.214 * b
    return round(y), round(u), round(v)


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("colour", [RED, GREEN, BLUE])
@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21"])
def test_colours_that_neighbours_share(
    encoding: str, colour: tuple[int, int, int], padding: int
) -> None:
    y, u, v = luma_and_chroma(colour)
    height, width = 4, 6
    if encoding in ("nv12", "nv21"):
        pair = (u, v) if encoding == "nv12" else (v, u)
        rows = np.vstack([np.full((height, width), y), np.tile(pair, (height // 2, width // 2))])
    else:
        four = (u, y, v, y) if encoding in ("yuv422", "uyvy") else (y, u, y, v)
        rows = np.tile(four, (height, width // 2))
    rows = np.pad(rows.astype(np.uint8), ((0, 0), (0, padding)), constant_values=77)
    msg = Message(height, width, encoding, 0, rows.shape[1], rows.ravel())
    np.testing.assert_allclose(image_to_rgb(msg), np.full((height, width, 3), colour), atol=3)
    msg.data = msg.data[:-1]
    with pytest.raises(ConversionError, match=f"{rows.size - 1} bytes of data"):
        image_to_rgb(msg)
    msg.width -= 1
    with pytest.raises(ConversionError, match=rf"is 5 x 4 pixels, but {encoding} needs"):
        image_to_rgb(msg)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"encoding": "yuv422_x"}, "encoding is 'yuv422_x'"),
        ({"encoding": ""}, "encoding is ''"),
        ({"data": bytes(89)}, "89 bytes of data"),
        ({"step": 14}, "step is 14 bytes"),
        ({"step": 16}, "90 bytes of data"),
        ({"height": 0}, "empty: 5 x 0"),
        ({"width": 0}, "empty: 0 x 6"),
        ({"width": 2**31, "height": 2**31}, "is 2147483648 x 2147483648 pixels, more than 50"),
    ],
)
def test_malformed_picture(change: dict[str, object], says: str) -> None:
    msg = message(RGB, "rgb8")
    for name, value in change.items():
        setattr(msg, name, value)
    with pytest.raises(ConversionError, match=says):
        image_to_rgb(msg)


def test_a_class_map_is_mono8() -> None:
    np.testing.assert_array_equal(image_to_classmap(message(GREY, "mono8", 3)), GREY)
    with pytest.raises(ConversionError, match="must be mono8, this one is '8UC1'"):
        image_to_classmap(message(GREY, "8UC1"))


def encoded(extension: str, pixels: NDArray[Any], *settings: int) -> bytes:
    return bytes(cv2.imencode(extension, pixels, settings)[1].tobytes())


@pytest.mark.parametrize(
    ("extension", "pixels", "expected"),
    [
        (".png", RGB[..., ::-1], RGB),
        (".png", np.concatenate([RGB[..., ::-1], ALPHA], axis=2), RGB),
        (".png", RGB[..., ::-1].astype(np.uint16) * 257, RGB),
        (".png", GREY, GREY_RGB),
        (".png", GREY16, GREY16_RGB),
        (".tiff", RGB[..., ::-1], RGB),
        (".tiff", GREY16, GREY16_RGB),
        (".bmp", RGB[..., ::-1], RGB),
        (".jpg", np.full((16, 16, 3), (20, 90, 200), np.uint8), (200, 90, 20)),
        (".jpg", np.full((16, 16), 99, np.uint8), (99, 99, 99)),
    ],
)
def test_compressed(extension: str, pixels: NDArray[Any], expected: Any) -> None:
    msg = Compressed(extension[1:], array("B", encoded(extension, pixels)))
    rgb = compressed_to_rgb(msg)
    assert rgb.shape == (*pixels.shape[:2], 3) and rgb.dtype == np.uint8
    np.testing.assert_allclose(
        rgb, np.broadcast_to(expected, rgb.shape), atol=3 * (extension == ".jpg")
    )


def test_a_palette_is_colours() -> None:
    file = BytesIO()
    PIL.Image.fromarray(RGB).convert("P").save(file, "PNG")
    msg = Compressed("png", file.getvalue())
    expected = np.asarray(PIL.Image.fromarray(RGB).convert("P").convert("RGB"))
    np.testing.assert_array_equal(compressed_to_rgb(msg), expected)


def test_the_format_may_name_a_bayer_pattern() -> None:
    mosaic = np.tile(np.array([[200, 0], [0, 0]], dtype=np.uint8), (4, 4))
    data = encoded(".png", mosaic)
    grey = np.repeat(mosaic[..., None], 3, axis=2)
    for name, expected in {
        "bayer_rggb8; png compressed bayer_rggb8": np.full((8, 8, 3), RED),
        "bayer_grbg16; png compressed": grey,
        "mono8; png compressed": grey,
        "png": grey,
    }.items():
        np.testing.assert_array_equal(compressed_to_rgb(Compressed(name, data)), expected)
    # Colours that a file has are the file's.
    colours = Compressed("bayer_rggb8; png compressed bgr8", encoded(".png", RGB[..., ::-1]))
    np.testing.assert_array_equal(compressed_to_rgb(colours), RGB)


def test_a_picture_is_not_turned() -> None:
    """EXIF's orientation is of the file's viewer; labels and calibration are of its pixels."""
    file, exif = BytesIO(), PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (24, 16)).save(file, "JPEG", exif=exif)
    assert cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), 1).shape == (24, 16, 3)
    assert compressed_to_rgb(Compressed("jpeg", file.getvalue())).shape == (16, 24, 3)


def claims(extension: str, width: int, height: int) -> bytes:
    """A small picture whose header says another size."""
    data = bytearray(encoded(extension, np.full((16, 24, 3), 99, np.uint8)))
    if extension == ".png":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    else:
        frame = next(i for i in range(len(data)) if data[i : i + 2] in (b"\xff\xc0", b"\xff\xc2"))
        data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("extension", [".png", ".jpg"])
@pytest.mark.parametrize(
    ("side", "says"),
    [
        (8_000, "is 8000 x 8000 pixels, more than 50 million"),
        (11_000, "more than 50 million"),
        (60_000, "more than 50 million"),
    ],
)
def test_a_compressed_picture_that_claims_gigabytes_is_not_decoded(
    extension: str, side: int, says: str
) -> None:
    with pytest.raises(ConversionError, match=says):
        compressed_to_rgb(Compressed(extension[1:], claims(extension, side, side)))
    msg = Compressed(extension[1:], claims(extension, 24, 16))
    assert compressed_to_rgb(msg).shape == (16, 24, 3)


def test_a_progressive_jpeg_with_a_comment_is_measured_as_it_is_decoded() -> None:
    data = encoded(".jpg", np.full((16, 24, 3), 99, np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    # A comment that looks like the frame of a huge picture.
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 11) + b"\xff\xc0\0\x11\x08" + b"\xff" * 6
    msg = Compressed("jpeg", data[:2] + comment + b"\xff\xff" + data[3:])
    assert compressed_to_rgb(msg).shape == (16, 24, 3)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no data"),
        (b"no picture", "cannot be decoded; send jpeg, png, tiff, webp or bmp"),
        (b"\xff\xd8\xff", "cannot be decoded"),
        (b"\xff\xd8\xff\xe0\0\0", "cannot be decoded"),
        (b"\x89PNG\r\n\x1a\n\0\0", "cannot be decoded"),
        (encoded(".jpg", RGB)[:-30], "cannot be decoded: .*truncated"),
        (encoded(".ppm", RGB), "send jpeg, png"),
        (encoded(".tiff", np.zeros((4, 4), np.float32)), "grey values of 32 bits"),
    ],
)
def test_malformed_compressed_picture(data: bytes, says: str) -> None:
    with pytest.raises(ConversionError, match=says):
        compressed_to_rgb(Compressed("jpeg", data))


@pytest.mark.filterwarnings("ignore")  # Pillow says much about such files.
@pytest.mark.parametrize("extension", [".png", ".jpg", ".tiff", ".bmp", ".webp"])
def test_whatever_byte_of_a_picture_is_wrong_it_is_one_sentence(extension: str) -> None:
    whole, rng = encoded(extension, RNG.integers(0, 256, (16, 24, 3), dtype=np.uint8)), RNG
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 4):
            data[place] = rng.integers(256)
        try:
            compressed_to_rgb(Compressed(extension[1:], bytes(data[: rng.integers(len(data)) + 1])))
        except ConversionError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    "claim, says",
    [
        ({"width": 10_000, "height": 10_000, "data": b""}, "10000 x 10000 pixels, more than 50"),
        ({"width": 2, "height": 2, "data": bytes(201 << 20)}, "201 MiB of data, more than 190"),
        ({"format": "jpeg", "data": bytes((64 << 20) + 1 + (1 << 20))}, "65 MiB of data"),
    ],
)
def test_a_claim_of_too_much_is_refused_before_it_waits(
    claim: dict[str, object], says: str
) -> None:
    with pytest.raises(ConversionError, match=says):
        check_claim(SimpleNamespace(**claim))
    check_claim(SimpleNamespace(width=8000, height=6000, data=b""))
