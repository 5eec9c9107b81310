"""Recorded drives to replay, whatever they are kept in: folders, videos and ROS bags."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from patchline_ros.datasets.bag import BagFrames
from patchline_ros.datasets.bag_files import is_bag
from patchline_ros.datasets.camvid import CamVid
from patchline_ros.datasets.picture_files import (
    LABEL_SUFFIXES,
    PICTURE_SUFFIXES,
    check_not_black_and_white,
    pictures_by_stem,
    read_class_map,
    read_rgb,
)
from patchline_ros.datasets.video import VideoFrames
from patchline_ros.tasks import Frame, Sample, Task


class FrameSource(Protocol):
    """Frames in order of time, read one at a time; each iteration starts at the first.

    len() is known before anything is decoded. A frame without labels has no samples.
    """

    def __len__(self) -> int:
        """Number of frames."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """The frames; ValueError names the file and frame that cannot be read."""
        ...


def open_frames(path: Path, labels: Path | None = None, topic: str | None = None) -> FrameSource:
    """The frames of a recording.

    `path` is a folder in CamVid's layout (see CamVid), any other folder of pictures, a video file,
    or a rosbag2 recording (its folder, or one .mcap or .db3 file). `labels` is a folder of PNG
    class maps for segmentation, in the class ids of the model and with 255 = ignore, each named
    as the frame it belongs to: the picture's stem, or for videos and bags their own name and the
    frame's number from 0 in six digits (`drive_000012.png`). Frames without one are unlabelled.
    `topic` chooses among the image topics of a bag; the first of colour otherwise.

    Raises ValueError where `path` is none of these, a label map belongs to no frame, or `labels`
    or `topic` does not go with such a recording.
    """
    frames = _open(path, topic)
    if labels is None:
        return frames
    if isinstance(frames, CamVid):
        raise ValueError(f"{path} has label maps of its own; give no folder of labels with it")
    return LabelledFrames(frames, labels)


class PictureFolder:
    """The pictures of a folder as unlabelled frames, in natural order of their names."""

    def __init__(self, directory: Path) -> None:
        """List the pictures; ValueError where there are none or two share a stem."""
        self._images = pictures_by_stem(directory)
        self.names: tuple[str, ...] = tuple(self._images)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.names)

    def __iter__(self) -> Iterator[Frame]:
        """Read the pictures one by one; ValueError names one that cannot be decoded."""
        for name, path in self._images.items():
            yield Frame(name, read_rgb(path), {})


class LabelledFrames:
    """Frames with segmentation labels from a folder of class maps named as the frames are."""

    def __init__(self, frames: PictureFolder | VideoFrames | BagFrames, directory: Path) -> None:
        """Pair by name.

        Raises ValueError where a class map belongs to no frame, or they are black and white.
        """
        self._frames = frames
        self._labels = pictures_by_stem(directory, LABEL_SUFFIXES)
        names: Collection[str] = set(frames.names)
        for stem, path in self._labels.items():
            if stem not in names:
                raise ValueError(
                    f"the label map {path} belongs to no frame; frames are named "
                    f"{frames.names[0]} to {frames.names[-1]}"
                )
        check_not_black_and_white([*self._labels.values()])

    def __len__(self) -> int:
        """Number of frames, labelled or not."""
        return len(self._frames)

    def __iter__(self) -> Iterator[Frame]:
        """The frames; ValueError names a class map that is unreadable or of another size."""
        for frame in self._frames:
            path = self._labels.get(frame.name)
            if path is None:
                yield frame
                continue
            sample = Sample(frame.image, read_class_map(path, frame.image))
            yield Frame(frame.name, frame.image, {Task.SEGMENTATION: sample})


def _open(path: Path, topic: str | None) -> CamVid | PictureFolder | VideoFrames | BagFrames:
    if is_bag(path):
        return BagFrames(path, topic)
    if topic is not None:
        raise ValueError(f"{path} is no ROS bag and has no topic {topic}; leave the topic out")
    if (path / "images").is_dir() and (path / "labels").is_dir():
        return CamVid(path)
    if path.is_dir():
        return PictureFolder(path)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        raise ValueError(f"{path} is one picture; give the folder that holds the pictures")
    return VideoFrames(path)
