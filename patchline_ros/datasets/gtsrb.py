"""GTSRB (Stallkamp et al. 2012): German traffic signs, a folder a class, several views a sign."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchline_ros.datasets.file_sets import FileSet
from patchline_ros.datasets.picture_files import pictures_by_stem, read_rgb
from patchline_ros.tasks import Sample

SIGN_CLASSES = (
    "speed_limit_20",
    "speed_limit_30",
    "speed_limit_50",
    "speed_limit_60",
    "speed_limit_70",
    "speed_limit_80",
    "end_of_speed_limit_80",
    "speed_limit_100",
    "speed_limit_120",
    "no_overtaking",
    "no_overtaking_by_trucks",
    "priority_at_next_crossing",
    "priority_road",
    "give_way",
    "stop",
    "no_vehicles",
    "no_trucks",
    "no_entry",
    "danger",
    "bend_left",
    "bend_right",
    "double_bend",
    "uneven_road",
    "slippery_road",
    "road_narrows",
    "road_works",
    "traffic_lights",
    "pedestrians",
    "children",
    "bicycles",
    "ice_or_snow",
    "wild_animals",
    "end_of_restrictions",
    "turn_right",
    "turn_left",
    "straight_on",
    "straight_or_right",
    "straight_or_left",
    "keep_right",
    "keep_left",
    "roundabout",
    "end_of_no_overtaking",
    "end_of_no_overtaking_by_trucks",
)
"""Names of the classes 0 to 42."""

_STEM = re.compile(r"([0-9]+)_[0-9]+")


class Gtsrb(FileSet[Sample]):
    """Folders named by class id ("00" to "42") of pictures named `TRACK_FRAME.jpg`.

    A track is one real sign seen from an approaching car: its pictures are near copies, so sets
    must be split by track and never by picture. Pictures are read when they are asked for.
    names: CLASS/TRACK_FRAME of each picture. labels: int64 (n,), the class ids. tracks: int64 (n,),
    equal exactly for pictures of one track.
    Raises ValueError where the folder is missing or a name in it is not of this layout.
    """

    def __init__(self, directory: Path) -> None:
        """List the pictures by name, without reading them."""
        if not directory.is_dir():
            raise ValueError(f"there is no folder {directory}; give the folder of class folders")
        self._paths: list[Path] = []
        labels: list[int] = []
        tracks: list[int] = []
        track_ids: dict[tuple[int, str], int] = {}
        for folder in sorted(path for path in directory.iterdir() if path.is_dir()):
            label = _class_of(folder)
            for stem, path in pictures_by_stem(folder).items():
                match = _STEM.fullmatch(stem)
                if match is None:
                    raise ValueError(f"{path} is not named TRACK_FRAME; rename it or take it out")
                self._paths.append(path)
                labels.append(label)
                # Track numbers start again in every class.
                tracks.append(track_ids.setdefault((label, match[1]), len(track_ids)))
        if not self._paths:
            raise ValueError(f"{directory} holds no class folder; they are named 00 to 42")
        self.names: tuple[str, ...] = tuple(f"{p.parent.name}/{p.stem}" for p in self._paths)
        self.labels: NDArray[np.int64] = np.array(labels, dtype=np.int64)
        self.tracks: NDArray[np.int64] = np.array(tracks, dtype=np.int64)

    def read(self, index: int) -> Sample:
        """Read one picture; ValueError names one that cannot be decoded."""
        return Sample(read_rgb(self._paths[index]), int(self.labels[index]))

    def split_by_track(
        self, fraction: float, seed: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Two ascending, disjoint index sets that share no track; together they are everything.

        The first has about `fraction` of the tracks of each class. Every class with two tracks or
        more is on both sides; the only track of a class goes to the first. The same seed gives the
        same split. Raises ValueError where `fraction` is not between 0 and 1.
        """
        if not 0.0 < fraction < 1.0:
            raise ValueError(f"fraction is {fraction}; it must be between 0 and 1")
        rng = np.random.default_rng(seed)
        first: list[int] = []
        for label in np.unique(self.labels):
            tracks = rng.permutation(np.unique(self.tracks[self.labels == label]))
            wanted = round(fraction * len(tracks))
            first.extend(tracks[: max(1, min(wanted, len(tracks) - 1))].tolist())
        in_first = np.isin(self.tracks, first)
        return np.flatnonzero(in_first), np.flatnonzero(~in_first)


def _class_of(folder: Path) -> int:
    if not re.fullmatch(r"[0-9]+", folder.name) or int(folder.name) >= len(SIGN_CLASSES):
        raise ValueError(
            f"the folder {folder} is not a class; GTSRB's folders are 00 to {len(SIGN_CLASSES) - 1}"
        )
    return int(folder.name)
