"""Labelled frames on disk: bounded, never half-written, there again after a crash.

One file a frame and task in a folder a task, `<stamp>_<id>.npz` or `<stamp>_<id>+<entropy>.npz`: it
holds the picture as PNG and its label as arrays. The names are the index; whoever writes lists them
once and goes on in memory. A file is written aside and moved into place.

**Who goes when there is no room**: frames of the present drift stay as long as there are others.
Among the rest (or among all where there is nothing but the drift) the frame with the lowest entropy
per age goes, the age being counted from the newest frame: one that is twice as old must have had
the running model twice as uncertain to stay. Where the entropy is not known it counts as the mean
of the others; the oldest goes among equals. The frame that just came is not the one that goes.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Final
from zipfile import BadZipFile

import cv2
import numpy as np
from numpy.typing import NDArray

from patchline_ros.files import adopt_earlier_names, remove_leftovers, write_file
from patchline_ros.tasks import Boxes, Image, Label, Sample, Task

_NAME = re.compile(r"(\d{20})_([\w.-]+)(?:\+(\d+\.\d{6}))?\.npz")
LARGEST_SHARE: Final = 16
"""A frame takes at most so-manieth part of what the frames of its task may take."""
_REMEMBERED: Final = 1024
"""Pictures whose entropy is remembered for a label that comes later: half a minute at 30 Hz."""


class StoreError(ValueError):
    """A stored frame can't be read or written; the message names it."""


class DiskError(StoreError):
    """The disk refuses to keep a frame that is fine; what was stored before is still there."""


@dataclass(frozen=True, order=True)
class StoredFrame:
    """A labelled frame on disk, ordered by time.

    Attributes:
        stamp_ns: of the picture.
        frame_id: unique within the stamp.
        path: its file.
        entropy: of the running model's outputs on the picture in nats; None: not known.
        size: of the file in bytes; only who stores frames knows it.
    """

    stamp_ns: int
    frame_id: str
    path: Path = field(compare=False)
    entropy: float | None = field(default=None, compare=False)
    size: int = field(default=0, compare=False)


def _png(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # Half the time of PNG's lowest level, for about as many bytes: labels come in bursts.
    fast = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
    done, data = cv2.imencode(".png", image, fast)
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


def _decode(name: str, data: bytes) -> Sample:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            bgr = _picture(arrays["image"], cv2.IMREAD_COLOR)
            image: Image = np.ascontiguousarray(bgr[:, :, ::-1])
            label: Label
            if "boxes" in arrays.files:
                label = Boxes.truth(arrays["boxes"], arrays["labels"])
            elif "classes" in arrays.files:
                label = _picture(arrays["classes"], cv2.IMREAD_GRAYSCALE)
            else:
                label = int(arrays["sign"])
    except _DAMAGE as error:
        raise StoreError(f"stored frame {name} can't be read: {error}") from error
    return Sample(image, label)


_DAMAGE: Final = (
    BadZipFile,
    EOFError,
    KeyError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    cv2.error,
    struct.error,
    zlib.error,
)
"""What comes out of NumPy and zipfile where bytes of a stored frame are not what they were."""


def _file_name(stamp_ns: int, frame_id: str, entropy: float | None) -> str:
    known = "" if entropy is None else f"+{entropy:.6f}"
    return f"{stamp_ns:020d}_{frame_id}{known}.npz"


class StoredFrames:
    """Reads the labelled frames under a folder, while another process may store more there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def select(self, task: Task, since_ns: int) -> list[StoredFrame]:
        """Frames of a task with a stamp of `since_ns` or later, in the order of time."""
        found = []
        for path in (self._directory / str(task)).iterdir():
            match = _NAME.fullmatch(path.name)
            if match and int(match[1]) >= since_ns:
                entropy = float(match[3]) if match[3] else None
                found.append(StoredFrame(int(match[1]), match[2], path, entropy))
        return sorted(found)

    def count(self, task: Task, since_ns: int) -> int:
        """How many frames of a task have a stamp of `since_ns` or later."""
        return len(self.select(task, since_ns))

    def read(self, frames: Iterable[StoredFrame]) -> list[Sample]:
        """Pictures and labels of stored frames, but for those that had to go in the meantime.

        Raises:
            StoreError: a file can't be read; the message names it.
        """
        data = ((frame.path.name, self._bytes(frame)) for frame in frames)
        return [_decode(name, content) for name, content in data if content is not None]

    @staticmethod
    def _bytes(frame: StoredFrame) -> bytes | None:
        try:
            return frame.path.read_bytes()
        except FileNotFoundError:
            # Its entropy became known and is part of its name now, or it is gone.
            start = _file_name(frame.stamp_ns, frame.frame_id, None).removesuffix(".npz")
            renamed = next(frame.path.parent.glob(f"{start}+*.npz"), None)
            try:
                return renamed.read_bytes() if renamed else None
            except FileNotFoundError:
                return None
        except OSError as error:
            raise StoreError(f"stored frame {frame.path.name} can't be read: {error}") from error


class FrameStore(StoredFrames):
    """Stores the labelled frames of all tasks under one folder; only one process may do so.

    The frames of each task are bounded in number and in bytes; see the module for who goes.
    """

    def __init__(self, directory: Path, capacity: int, capacity_mib: int) -> None:
        """Opens or makes the folder, and removes what a killed process left half-written.

        Args:
            directory: where the frames lie.
            capacity: frames kept for each task.
            capacity_mib: MiB that the frames of each task take at most.

        Raises:
            StoreError: the folder can't be made or read, or a bound is below 1.
        """
        if capacity < 1 or capacity_mib < 1:
            raise StoreError(
                f"a store of {capacity} frames and {capacity_mib} MiB holds nothing; use 1 or more"
            )
        super().__init__(directory)
        self._capacity = capacity
        self._capacity_bytes = capacity_mib * 2**20
        self._drift_since_ns = 0
        self._entropies: dict[Task, dict[int, float]] = {task: {} for task in Task}
        self._kept: dict[Task, list[StoredFrame]] = {}
        try:
            adopt_earlier_names(directory)
            for task in Task:
                folder = directory / str(task)
                folder.mkdir(parents=True, exist_ok=True)
                remove_leftovers(folder)
                self._kept[task] = [
                    replace(frame, size=frame.path.stat().st_size)
                    for frame in super().select(task, 0)
                ]
        except OSError as error:
            raise StoreError(f"the frame store {directory} can't be made: {error}") from error

    def select(self, task: Task, since_ns: int) -> list[StoredFrame]:
        """Frames of a task with a stamp of `since_ns` or later, in the order of time."""
        return self._kept[task][self._place(task, since_ns) :]

    def add(self, frame_id: str, task: Task, stamp_ns: int, sample: Sample) -> StoredFrame:
        """Keeps a labelled frame: it is on disk when this returns, and replaces one of its name.

        Args:
            frame_id: letters, digits, `_`, `-` and `.` only.
            task: whose label it is.
            stamp_ns: of the picture, 0 or more; with the id it is the frame's name.
            sample: picture and label, already checked against the task's classes.

        Raises:
            StoreError: an id that can't be part of a file name, or a frame beyond the bounds.
            DiskError: the disk refuses the file; nothing that was stored before is lost.
        """
        if not re.fullmatch(r"[\w.-]{1,100}", frame_id):
            raise StoreError(
                f"frame id {frame_id[:101]!r} can't be part of a file name; use 1 to 100 letters, "
                "digits, _ - ."
            )
        data = _encode(sample)
        most = self._capacity_bytes // LARGEST_SHARE
        if len(data) > most:
            raise StoreError(
                f"frame {frame_id} takes {len(data) / 2**20:.1f} MiB, and one frame may take "
                f"{most / 2**20:.1f}, so that it does not drive out all others: send smaller "
                "pictures, or give the adapter a larger capacity_mib"
            )
        try:
            self._check_folder(task)
            frame = self._filed(task, stamp_ns, frame_id, len(data))
            write_file(frame.path, data)
            self._keep(task, frame)
            self._make_room(task, frame)
        except OSError as error:
            raise DiskError(f"frame {frame_id} could not be stored: {error}") from error
        return frame

    def _check_folder(self, task: Task) -> None:
        """Makes the folder again where somebody has wiped the store; its frames are gone."""
        folder = self._directory / str(task)
        if not folder.is_dir():
            folder.mkdir(parents=True)
            self._kept[task] = []

    def saw(self, task: Task, stamp_ns: int, entropy: float) -> None:
        """Takes in how unsure the running model was of a picture; its label is there or may come.

        Args:
            task: of the model.
            stamp_ns: of the picture.
            entropy: of the model's outputs in nats; one that is not finite says nothing.
        """
        if not math.isfinite(entropy):
            return
        entropy = max(entropy, 0.0)
        remembered = self._entropies[task]
        remembered[stamp_ns] = entropy
        if len(remembered) > _REMEMBERED:
            del remembered[next(iter(remembered))]
        kept = self._kept[task]
        place = self._place(task, stamp_ns)
        while place < len(kept) and kept[place].stamp_ns == stamp_ns:
            if kept[place].entropy is None:
                kept[place] = self._with_entropy(kept[place], entropy)
            place += 1

    def protect(self, since_ns: int) -> None:
        """Frames with this stamp or later are of the present drift from now on; 0: none are."""
        self._drift_since_ns = since_ns

    def _place(self, task: Task, stamp_ns: int) -> int:
        return bisect_left(self._kept[task], stamp_ns, key=lambda frame: frame.stamp_ns)

    def _filed(self, task: Task, stamp_ns: int, frame_id: str, size: int) -> StoredFrame:
        """Under what name a frame is stored; the same again, so that it is replaced in one step."""
        entropy = self._entropies[task].get(stamp_ns)
        path = self._directory / str(task) / _file_name(stamp_ns, frame_id, entropy)
        frame = StoredFrame(stamp_ns, frame_id, path, entropy, size)
        kept = self._kept[task]
        place = bisect_left(kept, frame)
        if place < len(kept) and kept[place] == frame:
            return replace(kept[place], size=size)
        return frame

    def _keep(self, task: Task, frame: StoredFrame) -> None:
        kept = self._kept[task]
        place = bisect_left(kept, frame)
        if place < len(kept) and kept[place] == frame:
            kept[place] = frame
        else:
            kept.insert(place, frame)

    @staticmethod
    def _with_entropy(frame: StoredFrame, entropy: float) -> StoredFrame:
        path = frame.path.with_name(_file_name(frame.stamp_ns, frame.frame_id, entropy))
        # Where the disk refuses, the entropy is known until a restart, which is good enough.
        with contextlib.suppress(OSError):
            return replace(frame, path=frame.path.rename(path), entropy=entropy)
        return replace(frame, entropy=entropy)

    def _make_room(self, task: Task, newcomer: StoredFrame) -> None:
        """Drops frames until the bounds hold. Raises OSError when the disk refuses."""
        kept = self._kept[task]
        size = sum(frame.size for frame in kept)
        while len(kept) > self._capacity or size > self._capacity_bytes:
            goes = self._first_to_go(kept, newcomer)
            goes.path.unlink(missing_ok=True)
            kept.remove(goes)
            size -= goes.size

    def _first_to_go(self, kept: list[StoredFrame], newcomer: StoredFrame) -> StoredFrame:
        """The frame that the rule of this module gives up."""
        known = [frame.entropy for frame in kept if frame.entropy is not None]
        usual = fmean(known) if known else 1.0
        newest_ns = kept[-1].stamp_ns

        def worth(frame: StoredFrame) -> tuple[bool, float, int]:
            of_the_drift = 0 < self._drift_since_ns <= frame.stamp_ns
            entropy = usual if frame.entropy is None else frame.entropy
            return of_the_drift, entropy / (newest_ns - frame.stamp_ns + 1), frame.stamp_ns

        return min((frame for frame in kept if frame is not newcomer), key=worth)
