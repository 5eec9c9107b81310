"""Class maps in every form that a PNG has for small numbers, by every reader of them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from miniatures import write_picture

from patchline_ros.datasets.camvid import CAMVID_CLASSES, CamVid, lanes_of
from patchline_ros.datasets.masks import MaskFolder
from patchline_ros.datasets.recordings import open_frames
from patchline_ros.tasks import IGNORE, ClassMap, Task

HEIGHT, WIDTH = 24, 32
GREY, PALETTE = 0, 3
"""Colour types of PNG."""


def ids(*values: int) -> ClassMap:
    """Stripes of them."""
    return np.resize(np.array(values, dtype=np.uint8), (HEIGHT, WIDTH))


def write_png(path: Path, values: ClassMap, depth: int, colour: int) -> None:
    """Values of 1, 2, 4 or 8 bits as they are, which no library writes for all of them."""
    bits = np.unpackbits(values[:, :, None], axis=2)[:, :, -depth:].reshape(len(values), -1)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    height, width = values.shape
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    if colour == PALETTE:
        chunks.append((b"PLTE", bytes(v for i in range(2**depth) for v in (i, 255 - i, 7))))
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )


def read_mask(path: Path) -> ClassMap:
    (sample,) = MaskFolder(path.parents[1], CAMVID_CLASSES)
    return np.asarray(sample.label)


def read_label(path: Path) -> ClassMap:
    (frame,) = open_frames(path.parents[1] / "images", path.parent)
    return np.asarray(frame.samples[Task.SEGMENTATION].label)


@pytest.mark.parametrize("colour", [GREY, PALETTE])
@pytest.mark.parametrize(
    ("depth", "values"),
    [
        (1, ids(0, 1)),
        (2, ids(0, 1, 2, 3)),
        (4, ids(0, 1, 7, 11)),
        (8, ids(0, 1, 11, IGNORE)),
    ],
)
@pytest.mark.parametrize("read", [read_mask, read_label])
def test_few_bits_and_palettes(
    read: Callable[[Path], ClassMap], depth: int, values: ClassMap, colour: int, tmp_path: Path
) -> None:
    write_picture(tmp_path / "images" / "a.png", size=(HEIGHT, WIDTH))
    write_png(tmp_path / "masks" / "a.png", values, depth, colour)
    assert np.array_equal(read(tmp_path / "masks" / "a.png"), values)


@pytest.mark.parametrize("colour", [GREY, PALETTE])
def test_camvid_reads_the_same(colour: int, tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "a.png", size=(HEIGHT, WIDTH))
    write_png(tmp_path / "labels" / "a.png", ids(0, 3, 8), 4, colour)
    (frame,) = CamVid(tmp_path)
    assert np.array_equal(frame.samples[Task.SEGMENTATION].label, lanes_of(ids(0, 3, 8)))


@pytest.mark.parametrize("read", [read_mask, read_label])
@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (np.dstack([ids(0, 1)] * 3), "a.png is of mode RGB; it must hold class ids: a single-chan"),
        (np.dstack([ids(0, 1)] * 4), "a.png is of mode RGBA; it must hold class ids"),
        (ids(0, 1).astype(np.uint16), "a.png is of mode I;16; it must hold class ids"),
        (ids(0, IGNORE), "masks in .* hold nothing but 0 and 255, .* write 1 instead of 255"),
        (ids(0, 1)[:, 1:], "a.png is 31x24, its picture 32x24; they must be of one size"),
    ],
)
def test_maps_that_are_refused(
    read: Callable[[Path], ClassMap], pixels: ClassMap, sentence: str, tmp_path: Path
) -> None:
    write_picture(tmp_path / "images" / "a.png", size=(HEIGHT, WIDTH))
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), pixels)
    with pytest.raises(ValueError, match=sentence):
        read(tmp_path / "masks" / "a.png")


def test_black_and_white_is_right_beside_other_ids(tmp_path: Path) -> None:
    for place, values in enumerate([ids(0, IGNORE)] * 6 + [ids(0, 1)] * 6):
        write_picture(tmp_path / "images" / f"{place}.png", size=(HEIGHT, WIDTH))
        write_png(tmp_path / "masks" / f"{place}.png", values, 8, GREY)
    masks = MaskFolder(tmp_path, ("background", "lane"))
    assert np.array_equal(masks[0].label, ids(0, IGNORE))
