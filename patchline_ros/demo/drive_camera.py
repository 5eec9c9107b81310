"""The demo's camera: plays a drive, with labels for the adapter, and writes down what it played."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from patchline_ros.demo.drive import LABELLED_LAP, Shot, Shots, open_drive
from patchline_ros.demo.records import CAMERA_LOG, CameraLine, LineWriter
from patchline_ros.nodes.node_main import run
from patchline_ros.nodes.paced_camera import PacedCamera
from patchline_ros.nodes.parameter import Parameter
from patchline_ros.nodes.parameters import CAMERA

DRIVE_CAMERA = (
    *CAMERA,
    Parameter("drive", "", "file that says what is played (patchline_ros.demo.drive)"),
    Parameter("out", "", "existing folder for camera.jsonl"),
    Parameter("labels", True, "whether the labels of the frames for the adapter are published"),
)


@dataclass(frozen=True)
class _Played:
    shot: Shot
    lap: int


class CameraNode(PacedCamera[_Played]):
    """Publishes the drive's pictures, and the labels of those that are for the adapter."""

    def __init__(self) -> None:
        super().__init__(DRIVE_CAMERA)
        self._shots: Shots = open_drive(Path(self.get_parameter("drive").value))
        self._labelled_lap = LABELLED_LAP if self.get_parameter("labels").value else None
        self._log = LineWriter(Path(self.get_parameter("out").value) / CAMERA_LOG)

    def close(self) -> None:
        """Ends the thread that reads ahead."""
        super().close()
        self._log.close()

    def frames(self) -> Iterator[_Played]:
        """Lap after lap."""
        lap = 0
        while True:
            for shot in self._shots.play(lap):
                yield _Played(shot, lap)
            lap += 1

    def show(self, item: _Played) -> None:
        """One frame; it is logged first, so that no result is ever known before its picture."""
        shot = item.shot
        labelled = shot.labelled if item.lap == self._labelled_lap else frozenset()
        header, stamp_ns = self.stamp()
        self._log.write(
            CameraLine(
                index=shot.index,
                stamp_ns=stamp_ns,
                names=shot.names,
                lap=item.lap,
                condition=shot.condition,
                split=shot.split,
                labelled=sorted(labelled),
            )
        )
        self.publish(shot.frame, labelled, shot.names, header)


def main() -> int:
    """Runs the node; returns the exit code."""
    return run(CameraNode)


if __name__ == "__main__":
    raise SystemExit(main())
