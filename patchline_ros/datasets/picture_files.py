"""What every set of picture files needs: listing in order, and reading with clear errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from patchline_ros.files import sha256
from patchline_ros.tasks import IGNORE, ClassMap, Image

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp")
"""File endings (in lower case) that count as a picture."""


LABEL_SUFFIXES = (".png",)
"""File endings that count as a label map: what compresses with loss would change class ids."""


def natural_order(name: str) -> tuple[list[str | int], str]:
    """Sort key that compares the digits of a name as numbers, so that frame 9 is before 10."""
    pieces = re.split(r"([0-9]+)", name)
    return [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)], name


def pictures_by_stem(
    directory: Path, suffixes: tuple[str, ...] = PICTURE_SUFFIXES
) -> dict[str, Path]:
    """The pictures in a folder by file name without ending, in natural order.

    Raises ValueError where the folder is missing or holds no picture, or where two pictures share
    a stem (a label could not tell them apart).
    """
    if not directory.is_dir():
        raise ValueError(f"there is no folder {directory}; give the folder that holds the pictures")
    found: dict[str, Path] = {}
    for path in sorted(directory.iterdir(), key=lambda path: natural_order(path.stem)):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ValueError(
                f"{found[path.stem]} and {path} share a stem; keep one of the two pictures"
            )
        found[path.stem] = path
    if not found:
        raise ValueError(f"{directory} holds no picture ({', '.join(suffixes)})")
    return found


def paired_by_stem(
    images: Path, labels: Path, suffixes: tuple[str, ...], what: str
) -> dict[str, tuple[Path, Path]]:
    """Each picture of a folder with the file of the same stem in another, in natural order.

    `suffixes` are the endings of the label files, and `what` is what the messages call one.
    Raises ValueError where a folder is missing or empty, or a file lacks its partner.
    """
    pictures = pictures_by_stem(images)
    others = pictures_by_stem(labels, suffixes)
    bare = [path for stem, path in pictures.items() if stem not in others]
    if bare:
        raise ValueError(
            f"{bare[0]} has no {what} {labels / bare[0].stem}{suffixes[0]}; "
            f"add it or take the picture out{_and_more(bare)}"
        )
    bare = [path for stem, path in others.items() if stem not in pictures]
    if bare:
        raise ValueError(
            f"{bare[0]} has no picture {bare[0].stem}.jpg or .png in {images}; "
            f"add it or take the {what} out{_and_more(bare)}"
        )
    return {stem: (path, others[stem]) for stem, path in pictures.items()}


def _and_more(paths: list[Path]) -> str:
    return f" (and {len(paths) - 1} more like it)" if len(paths) > 1 else ""


def copies(pictures: Mapping[str, Path]) -> dict[str, str]:
    """Names of pictures that hold the same bytes as an earlier one, with the name of that one.

    Only files of equal size are read. What is missing or can't be decoded is nobody's copy.
    """
    by_size: dict[int, list[str]] = {}
    for name, path in pictures.items():
        if path.is_file():
            by_size.setdefault(path.stat().st_size, []).append(name)
    found: dict[str, str] = {}
    for names in by_size.values():
        first: dict[str, str] = {}
        for name in names if len(names) > 1 else ():
            original = first.setdefault(sha256(pictures[name].read_bytes()), name)
            if original != name and _decoded(pictures[name], cv2.IMREAD_COLOR) is not None:
                found[name] = original
    return found


def read_rgb(path: Path) -> Image:
    """A picture file as uint8 RGB (H, W, 3); ValueError names one that cannot be decoded."""
    bgr = _decoded(path, cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"cannot decode the picture {path}; replace the file")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_class_map(path: Path, image: Image, count: int = 256) -> ClassMap:
    """The label map of a picture: one class id a pixel, uint8 (H, W), as large as the picture.

    Raises ValueError naming the file where it cannot be decoded, is not single-channel 8-bit, is
    of another size than `image`, or holds an id that is neither one of `count` nor IGNORE.
    """
    label = _decoded(path, cv2.IMREAD_UNCHANGED)
    if label is None:
        raise ValueError(f"cannot decode the label map {path}; replace the file")
    if label.ndim != 2 or label.dtype != np.uint8:
        raise ValueError(
            f"the label map {path} is {label.dtype} of shape {label.shape}; "
            "it must be a single-channel 8-bit picture of class ids"
        )
    ids = np.asarray(label, dtype=np.uint8)
    check_class_map(ids, image, count, path)
    return ids


def read_indexed(path: Path) -> ClassMap:
    """A PNG of class ids, grey or with a palette, whose places (OpenCV gives colours) are the ids.

    Raises ValueError naming one that cannot be decoded or holds something else.
    """
    try:
        with PIL.Image.open(path) as picture:
            mode, ids = picture.mode, np.asarray(picture)
    except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(f"cannot decode the label map {path}: {error}") from error
    if mode not in ("P", "L"):
        raise ValueError(f"the label map {path} is of mode {mode}; it must hold class ids")
    return ids.astype(np.uint8)


def check_class_map(ids: ClassMap, image: Image, count: int, path: Path) -> None:
    """Raises ValueError naming the file unless ids fit the picture and are of `count` classes."""
    if ids.shape != image.shape[:2]:
        raise ValueError(
            f"the label map {path} is {ids.shape[1]}x{ids.shape[0]}, "
            f"its picture {image.shape[1]}x{image.shape[0]}; they must be of one size"
        )
    wrong = ids[(ids >= count) & (ids != IGNORE)]
    if wrong.size:
        raise ValueError(
            f"the label map {path} holds the class id {wrong[0]}; "
            f"ids are 0 to {count - 1}, and {IGNORE} where nothing is labelled"
        )


def _decoded(path: Path, flags: int) -> NDArray[Any] | None:
    # imdecode fails on a file that was cut short, where imread gives the part that it has.
    data = np.fromfile(path, dtype=np.uint8)
    try:
        return cv2.imdecode(data, flags) if data.size else None
    except cv2.error:  # Its header claims more pixels than OpenCV reads.
        return None
