"""Labelled frames on disk: bounded, never half-written, there again after a crash.

One file a frame and task, `<stamp>_<id>.npz` in a folder a task, holding the picture as PNG and
its label as arrays. A file is written aside and moved into place.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from patchline_ros.files import write_file
from patchline_ros.tasks import Boxes, Image, Label, Sample, Task

_NAME = re.compile(r"(\d{20})_(.+)\.npz")


class StoreError(ValueError):
    """A stored frame can't be read or written; the message names it."""


@dataclass(frozen=True, order=True)
class StoredFrame:
    """A labelled frame on disk, ordered by time."""

    stamp_ns: int
    frame_id: str
    path: Path


def _png(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    done, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise StoreError(f"a picture of shape {image.shape} can't be encoded as PNG")
    return data


def _encode(sample: Sample) -> bytes:
    arrays: dict[str, NDArray[np.generic]] = {"image": _png(sample.image[:, :, ::-1])}
    if isinstance(sample.label, Boxes):
        arrays["boxes"] = sample.label.boxes
        arrays["labels"] = sample.label.labels
    elif isinstance(sample.label, np.ndarray):
        arrays["classes"] = _png(sample.label)
    else:
        arrays["sign"] = np.array(sample.label, dtype=np.int64)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _picture(data: NDArray[np.uint8], mode: int) -> NDArray[np.uint8]:
    picture: NDArray[np.uint8] | None = cv2.imdecode(data, mode)
    if picture is None:
        raise ValueError("a picture in it is damaged")
    return picture


def _decode(path: Path) -> Sample:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            bgr = _picture(arrays["image"], cv2.IMREAD_COLOR)
            image: Image = np.ascontiguousarray(bgr[:, :, ::-1])
            label: Label
            if "boxes" in arrays.files:
                label = Boxes.truth(arrays["boxes"], arrays["labels"])
            elif "classes" in arrays.files:
                label = _picture(arrays["classes"], cv2.IMREAD_GRAYSCALE)
            else:
                label = int(arrays["sign"])
    except (OSError, EOFError, ValueError, KeyError, BadZipFile, cv2.error) as error:
        raise StoreError(f"stored frame {path.name} can't be read: {error}") from error
    return Sample(image, label)


class FrameStore:
    """Labelled frames of all tasks under one folder."""

    def __init__(self, directory: Path, capacity: int) -> None:
        """Opens or makes the folder.

        Args:
            directory: where the frames lie.
            capacity: frames kept for each task; the oldest go first.

        Raises:
            StoreError: the folder can't be made, or the capacity is below 1.
        """
        if capacity < 1:
            raise StoreError(f"a store of {capacity} frames holds nothing; use 1 or more")
        self._directory = directory
        self._capacity = capacity
        try:
            for task in Task:
                (directory / str(task)).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the frame store {directory} can't be made: {error}") from error

    def add(self, frame_id: str, task: Task, stamp_ns: int, sample: Sample) -> StoredFrame:
        """Keeps a labelled frame; one of the same id and stamp is replaced.

        Args:
            frame_id: letters, digits, `_`, `-` and `.` only.
            task: whose label it is.
            stamp_ns: of the picture, 0 or more.
            sample: picture and label, already checked against the task's classes.

        Raises:
            StoreError: an id that can't be part of a file name, or the disk refuses the file.
        """
        if not re.fullmatch(r"[\w.-]{1,100}", frame_id):
            raise StoreError(
                f"frame id {frame_id!r} can't be part of a file name; use letters, digits, _ - ."
            )
        path = self._directory / str(task) / f"{stamp_ns:020d}_{frame_id}.npz"
        try:
            write_file(path, _encode(sample))
        except OSError as error:
            raise StoreError(f"frame {frame_id} could not be stored: {error}") from error
        for old in self.select(task, 0)[: -self._capacity]:
            old.path.unlink(missing_ok=True)
        return StoredFrame(stamp_ns, frame_id, path)

    def select(self, task: Task, since_ns: int) -> list[StoredFrame]:
        """Frames of a task with a stamp of `since_ns` or later, in the order of time."""
        found = []
        for path in (self._directory / str(task)).iterdir():
            match = _NAME.fullmatch(path.name)
            if match and int(match[1]) >= since_ns:
                found.append(StoredFrame(int(match[1]), match[2], path))
        return sorted(found)

    def count(self, task: Task, since_ns: int) -> int:
        """How many frames of a task have a stamp of `since_ns` or later."""
        return len(self.select(task, since_ns))

    @staticmethod
    def read(frames: Iterable[StoredFrame]) -> list[Sample]:
        """Pictures and labels of stored frames.

        Raises:
            StoreError: a file can't be read; the message names it.
        """
        return [_decode(frame.path) for frame in frames]
