"""Frames that are fixed to each other, as /tf_static tells of them."""

from __future__ import annotations

from typing import Final

import numpy as np

from patchline_ros.geometry.mounted_camera import Pose

MOST_FRAMES: Final = 10_000
"""Many times those of a robot; whoever can tell of frames could fill the memory else."""


class FrameError(LookupError):
    """Two frames are not fixed to each other, as far as is known, or there are too many."""


class FixedFrames:
    """A tree of frames; what is told of a frame later replaces what was told before."""

    def __init__(self) -> None:
        self._above: dict[str, tuple[str, Pose]] = {}

    def tell(self, frame: str, parent: str, pose: Pose) -> None:
        """`frame` is at `pose` in `parent`.

        Raises:
            FrameError: it would be one more than MOST_FRAMES.
        """
        if frame not in self._above and len(self._above) >= MOST_FRAMES:
            raise FrameError(
                f"/tf_static tells of more than {MOST_FRAMES} frames; {frame!r} and later ones are "
                "left out"
            )
        self._above[frame] = parent, pose

    def pose(self, frame: str, within: str) -> Pose:
        """Where `frame` is in `within`.

        Raises:
            FrameError: nothing fixes the one to the other.
        """
        ways = self._way_up(frame), self._way_up(within)
        for name, pose in ways[0].items():
            if name in ways[1]:
                return ways[1][name].inverse().after(pose)
        raise FrameError(
            f"/tf_static does not say where {frame} is in {within}; publish it, or state "
            "camera_height and camera_pitch"
        )

    def _way_up(self, frame: str) -> dict[str, Pose]:
        """The frame and all above it, each with where the frame is in it."""
        pose = Pose(np.eye(3), np.zeros(3))
        way = {frame: pose}
        while frame in self._above:
            frame, step = self._above[frame]
            if frame in way:
                raise FrameError(f"/tf_static has {frame} above itself")
            pose = step.after(pose)
            way[frame] = pose
        return way
