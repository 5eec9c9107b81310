"""CORe50 (Lomonaco and Maltoni 2017): fifty things in a hand, each filmed in eleven places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from patchline_ros.datasets.file_sets import FileSet
from patchline_ros.datasets.picture_files import pictures_by_stem, read_class_map, read_rgb
from patchline_ros.tasks import Boxes, Frame, Image, Sample, Task

CATEGORIES = (
    "plug adapter",
    "mobile phone",
    "scissors",
    "light bulb",
    "can",
    "glass",
    "ball",
    "marker",
    "cup",
    "remote control",
)
"""The things 1 to 5 are of the first category, 6 to 10 of the second, and so on."""

THINGS_PER_CATEGORY = 5


@dataclass(frozen=True, order=True)
class Shot:
    """One picture: session 1 to 11, number of the frame in its video, thing 1 to 50."""

    session: int
    frame: int
    thing: int

    @property
    def name(self) -> str:
        """Name of its file without the ending."""
        return f"C_{self.session:02d}_{self.thing:02d}_{self.frame:03d}"

    @property
    def category(self) -> int:
        """Place of the thing's category in CATEGORIES."""
        return (self.thing - 1) // THINGS_PER_CATEGORY


class Core50:
    """The pictures of CORe50 with class, box and, where there are masks, class map.

    Layout, as the archives core50_350x350 and bbox unpack it:

        core50_350x350/sSESSION/oTHING/C_SESSION_THING_FRAME.png      350x350
        bbox/sSESSION/CropC_oTHING.txt                      a line `ColorFRAME: x1 y1 x2 y2` a frame
        masks/sSESSION/oTHING/C_SESSION_THING_FRAME.png     0 background, anything else the thing

    CORe50 publishes depth and no masks; they have to be made (the authors' way is
    github.com/giacomobartoli/core50_segmentation). Without the folder masks there is no
    segmentation; with it every picture needs one.
    categories: classes of the labels; the other things are not read.
    Raises ValueError where a folder is missing.
    """

    def __init__(self, directory: Path, categories: tuple[str, ...] = CATEGORIES) -> None:
        """Looks for the folders and lists nothing yet."""
        self._pictures = directory / "core50_350x350"
        self._boxes = directory / "bbox"
        self._masks = directory / "masks"
        for folder in (self._pictures, self._boxes):
            if not folder.is_dir():
                raise ValueError(f"there is no folder {folder}; unpack CORe50's archive there")
        self.categories = categories
        self._box_lines = cache(_read_box_lines)

    @property
    def classes(self) -> dict[Task, tuple[str, ...]]:
        """Classes of the tasks that there are labels for; in class maps 0 is the background."""
        classes = {Task.CLASSIFICATION: self.categories, Task.DETECTION: self.categories}
        if self._masks.is_dir():
            classes[Task.SEGMENTATION] = ("background", *self.categories)
        return classes

    def has_video(self, session: int, thing: int) -> bool:
        """Whether there is a folder for a thing in a session."""
        return self._video(session, thing).is_dir()

    def video(self, session: int, thing: int) -> list[Shot]:
        """The pictures of a thing in a session, in the order of time.

        Raises ValueError where its folder is missing or empty, or a name in it is not of the
        layout.
        """
        shots = []
        for stem, path in pictures_by_stem(self._video(session, thing), (".png",)).items():
            number = stem.rpartition("_")[-1]
            shot = Shot(session, int(number) if number.isdecimal() else -1, thing)
            if shot.name != stem:
                raise ValueError(
                    f"{path} is not named C_SESSION_THING_FRAME.png; rename it or take it out"
                )
            shots.append(shot)
        return shots

    def _video(self, session: int, thing: int) -> Path:
        return self._pictures / f"s{session}" / f"o{thing}"

    def frames(self, shots: Sequence[Shot]) -> Core50Frames:
        """Some pictures, to be read one by one."""
        return Core50Frames(self, shots)

    def frame(self, shot: Shot) -> Frame:
        """Reads one picture; ValueError names a picture, box or mask that is missing or broken."""
        name = shot.name
        place = Path(f"s{shot.session}") / f"o{shot.thing}"
        image = read_rgb(self._pictures / place / f"{name}.png")
        label = self.categories.index(CATEGORIES[shot.category])
        samples = {
            Task.CLASSIFICATION: Sample(image, label),
            Task.DETECTION: Sample(image, Boxes.truth([self._box(shot, image)], [label])),
        }
        if self._masks.is_dir():
            path = self._masks / place / f"{name}.png"
            if not path.is_file():
                raise ValueError(f"there is no mask {path}; add it or take the folder masks out")
            mask = read_class_map(path, image) > 0
            samples[Task.SEGMENTATION] = Sample(image, (mask * (label + 1)).astype(np.uint8))
        return Frame(name, image, samples)

    def _box(self, shot: Shot, image: Image) -> list[float]:
        path = self._boxes / f"s{shot.session}" / f"CropC_o{shot.thing}.txt"
        lines = self._box_lines(path)
        if shot.frame not in lines:
            raise ValueError(f"{path} has no line for the frame {shot.frame}")
        x1, y1, x2, y2 = lines[shot.frame]
        rows, columns = image.shape[:2]
        box = [max(x1, 0.0), max(y1, 0.0), min(x2, float(columns)), min(y2, float(rows))]
        if not (box[2] > box[0] and box[3] > box[1]):
            raise ValueError(
                f"{path}: the box of the frame {shot.frame} has no area in its picture"
            )
        return box


class Core50Frames(FileSet[Frame]):
    """Some pictures of CORe50."""

    def __init__(self, pictures: Core50, shots: Sequence[Shot]) -> None:
        self._pictures, self._shots = pictures, shots
        self.names: tuple[str, ...] = tuple(shot.name for shot in shots)

    def read(self, index: int) -> Frame:
        """Reads one; ValueError names a picture, box or mask that is missing or broken."""
        return self._pictures.frame(self._shots[index])


def _read_box_lines(path: Path) -> dict[int, tuple[float, float, float, float]]:
    if not path.is_file():
        raise ValueError(f"there is no file {path}; unpack CORe50's archive bbox there")
    boxes = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            frame, corners = line.removeprefix("Color").split(":")
            x1, y1, x2, y2 = (float(word) for word in corners.split())
            boxes[int(frame)] = x1, y1, x2, y2
        except ValueError as error:
            raise ValueError(f"line {number} of {path} is not `ColorFRAME: x1 y1 x2 y2`") from error
    return boxes
