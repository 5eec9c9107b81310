"""Videos that are there and can't be decoded."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from patchline_ros.datasets.recordings import open_frames


def test_a_video_without_a_frame_names_its_codec(tmp_path: Path) -> None:
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(5):
        writer.write(np.full((48, 64, 3), 90, dtype=np.uint8))
    writer.release()
    assert len(list(open_frames(path))) == 5
    data = bytearray(path.read_bytes())
    place = data.find(b"00dc")
    while 0 <= place < data.find(b"idx1"):
        # What no decoder of the codec makes a picture of.
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        data[place + 8 : place + 8 + size] = bytes(size)
        place = data.find(b"00dc", place + 8 + size)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"no frame of the video .*drive.avi can be .*codec MJPG"):
        list(open_frames(path))
