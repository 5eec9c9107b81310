"""Pictures without labels, which norm statistics and the label-free gate are taken from."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from patchline_ros.files import write_file
from patchline_ros.tasks import Image, Task

CAPACITY: Final = 48
"""Pictures of each task that are kept: about ten seconds of the road."""
LEAST_UNLABELLED: Final = 12
"""Pictures of each task from which the first answer to a drift is made."""
_IMAGES = "images"


class UnlabelledFrames:
    """The last pictures of each task, at the size of its model's input, in memory."""

    def __init__(self, tasks: Collection[Task]) -> None:
        self._frames: dict[Task, deque[tuple[int, Image]]] = {
            task: deque(maxlen=CAPACITY) for task in tasks
        }

    def add(self, task: Task, stamp_ns: int, image: Image) -> None:
        """Keeps a picture; where there is no room, the oldest goes."""
        self._frames[task].append((stamp_ns, image))

    def stamps(self, since_ns: int) -> dict[Task, list[int]]:
        """Stamps of each task's pictures, from this one on, in the order in which they came."""
        return {
            task: [stamp for stamp, _ in frames if stamp >= since_ns]
            for task, frames in self._frames.items()
        }

    def write(self, folder: Path, since_ns: int, until_ns: int) -> dict[Task, Path]:
        """Writes the pictures with these stamps and all between them, a file for each task.

        Args:
            folder: of the files; what is there of earlier ones is replaced.
            since_ns: first stamp.
            until_ns: last stamp.

        Returns:
            The files of the tasks that have pictures.

        Raises:
            OSError: the disk refuses it.
        """
        files = {}
        for task, frames in self._frames.items():
            images = [image for stamp, image in frames if since_ns <= stamp <= until_ns]
            if images:
                files[task] = folder / f"unlabelled-{task}.safetensors"
                write_file(files[task], save({_IMAGES: np.stack(images)}))
        return files


def read_unlabelled(path: Path) -> Sequence[Image]:
    """The pictures in a file of `UnlabelledFrames.write`, uint8 (n, H, W, 3).

    Raises:
        ValueError: the file is damaged.
        OSError: it can't be read.
    """
    try:
        return list(load_file(path)[_IMAGES])
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"pictures without labels {path} can't be read: {error}") from error
