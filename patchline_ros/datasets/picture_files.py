"""What every set of picture files needs: listing in order, and reading with clear errors."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from patchline_ros.files import sha256
from patchline_ros.messages.pictures import DAMAGE
from patchline_ros.tasks import IGNORE, ClassMap, Image

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp")
"""File endings (in lower case) that count as a picture."""


LABEL_SUFFIXES = (".png",)
"""File endings that count as a label map: what compresses with loss would change class ids."""


_MASKS_LOOKED_AT = 8


def natural_order(name: str) -> tuple[list[str | int], str]:
    """Sort key that compares the digits of a name as numbers, so that frame 9 is before 10."""
    pieces = re.split(r"([0-9]+)", name)
    return [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)], name


def _is_file_of(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def has_files(directory: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether it is a folder with a file of one of the endings."""
    return directory.is_dir() and any(_is_file_of(path, suffixes) for path in directory.iterdir())


def pictures_by_stem(
    directory: Path, suffixes: tuple[str, ...] = PICTURE_SUFFIXES, what: str = "picture"
) -> dict[str, Path]:
    """The pictures in a folder by file name without ending, in natural order.

    With other `suffixes` it is the label files, one of which the messages call `what`.
    Raises ValueError where the folder is missing or holds no picture, or where two pictures share
    a stem (a label could not tell them apart).
    """
    if not directory.is_dir():
        raise ValueError(f"there is no folder {directory}; give the folder that holds the {what}s")
    found: dict[str, Path] = {}
    for path in sorted(directory.iterdir(), key=lambda path: natural_order(path.stem)):
        if not _is_file_of(path, suffixes):
            continue
        if path.stem in found:
            raise ValueError(
                f"{found[path.stem]} and {path} share a stem; keep one of the two {what}s"
            )
        found[path.stem] = path
    if not found:
        raise ValueError(f"{directory} holds no {what} ({', '.join(suffixes)})")
    return found


def paired_by_stem(
    images: Path,
    labels: Path,
    suffixes: tuple[str, ...],
    what: str,
    *,
    background: bool = False,
    notes: Collection[str] = (),
) -> dict[str, tuple[Path, Path]]:
    """Each picture of a folder with the file of the same stem in another, in natural order.

    Args:
        images: folder of the pictures.
        labels: folder of the label files, which may be the same.
        suffixes: endings of the label files.
        what: the messages call a label file.
        background: a picture may lack its label file; the path of one that is not there is given.
        notes: stems (in lower case) of files of those endings that are no label where no picture
            has that stem.

    Raises:
        ValueError: a folder is missing or empty, or a file lacks its partner.
    """
    pictures = pictures_by_stem(images)
    others = {
        stem: path
        for stem, path in pictures_by_stem(labels, suffixes, what).items()
        if stem in pictures or stem.lower() not in notes
    }
    if not others:
        raise ValueError(f"{labels} holds no {what} of a picture in {images}")
    bare = [path for stem, path in pictures.items() if stem not in others]
    if bare and not background:
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
    return {
        stem: (path, others.get(stem, labels / f"{stem}{suffixes[0]}"))
        for stem, path in pictures.items()
    }


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

    Raises ValueError naming the file as read_indexed and check_class_map do.
    """
    ids = read_indexed(path)
    check_class_map(ids, image, count, path)
    return ids


def read_indexed(path: Path) -> ClassMap:
    """A PNG of class ids, grey or with a palette, whose places (OpenCV gives colours) are the ids.

    Raises ValueError naming one that cannot be decoded or holds something else.
    """
    try:
        with PIL.Image.open(path) as picture:
            mode, ids = picture.mode, np.asarray(picture)
            depth = _png_depth(path) if picture.format == "PNG" else 8
    except (*DAMAGE, PIL.Image.DecompressionBombError) as error:
        raise ValueError(f"cannot decode the label map {path}: {error}") from error
    if mode not in ("P", "L", "1"):
        raise ValueError(
            f"the label map {path} is of mode {mode}; it must hold class ids: a single-channel "
            "picture of at most 8 bits, grey or with a palette"
        )
    if mode == "L":
        # Grey of fewer bits is stretched from black to white by whoever reads it as a picture.
        ids = ids // (255 // (2**depth - 1))
    return ids.astype(np.uint8)


def _png_depth(path: Path) -> int:
    """Bits of a value, which are behind the width and height in a PNG's header."""
    with path.open("rb") as file:
        return file.read(25)[24]


def check_not_black_and_white(paths: Sequence[Path]) -> None:
    """Looks at some of a set's masks: white (255) is how other tools mark the class 1.

    Raises ValueError where they hold nothing but 0 and 255, which is not labelled here.
    """
    values: set[int] = set()
    for path in paths[:: max(1, len(paths) // _MASKS_LOOKED_AT)]:
        try:
            values.update(np.unique(read_indexed(path)).tolist())
        except ValueError:  # Who reads the set names what is broken.
            continue
        if values - {0, IGNORE}:
            return
    if IGNORE in values:
        raise ValueError(
            f"the masks in {paths[0].parent} hold nothing but 0 and {IGNORE}, and {IGNORE} is what "
            f"is not labelled, so no pixel would be of the class 1: write 1 instead of {IGNORE}"
        )


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
