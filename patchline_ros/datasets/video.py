"""Video files as frames."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from patchline_ros.tasks import Frame

logger = logging.getLogger(__name__)


class VideoFrames:
    """A video file as unlabelled frames named `<stem of the file>_<number from 0>`.

    The length is what the file's header states. Where fewer frames can be decoded the iteration
    ends there and logs a warning with both numbers; where none can, that is a ValueError.
    """

    def __init__(self, path: Path) -> None:
        """Read the header; ValueError where it is no video or states no length."""
        self._path = path
        capture = self._open()
        length = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        if length <= 0:
            raise ValueError(
                f"the video {path} does not state how many frames it has; write it to a container "
                "that does (avi, mp4, mkv)"
            )
        self.names: tuple[str, ...] = tuple(f"{path.stem}_{i:06d}" for i in range(length))

    def __len__(self) -> int:
        """Number of frames that the header states."""
        return len(self.names)

    def __iter__(self) -> Iterator[Frame]:
        """Decode from the first frame on."""
        capture = self._open()
        try:
            for index, name in enumerate(self.names):
                decoded, bgr = capture.read()
                if not decoded and not index:
                    raise ValueError(
                        f"no frame of the video {self._path} can be decoded (codec "
                        f"{_codec(capture)}): the file is cut off, or the codec is not known here; "
                        f"convert it, as `ffmpeg -i {self._path} -c:v libx264 NEW.mp4` does"
                    )
                if not decoded:
                    logger.warning(
                        "the video %s ends after %d of the %d frames that its header states",
                        self._path,
                        index,
                        len(self),
                    )
                    return
                rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
                yield Frame(name, np.asarray(rgb, dtype=np.uint8), {})
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        if not self._path.is_file():
            raise ValueError(f"there is no file or folder {self._path}")
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            raise ValueError(
                f"cannot open {self._path} as a video; give a video file, a folder of pictures, "
                "or a rosbag2 recording (folder, .mcap or .db3)"
            )
        return capture


def _codec(capture: cv2.VideoCapture) -> str:
    """Four letters, such as av01."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    return code.to_bytes(4, "little").decode("ascii", "replace").strip("\0 ") or "unknown"
