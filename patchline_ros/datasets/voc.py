"""Boxes in the XML of PASCAL VOC, and folders of pictures that are labelled with it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from patchline_ros.datasets.file_sets import PairedFolder
from patchline_ros.tasks import Boxes, Image, Task

DAWN_CLASSES = ("car", "truck", "person", "bus", "motorcycle", "bicycle")
"""Classes of DAWN (Kenk and Hassaballah 2020), roads in bad weather, which is labelled so."""

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocFolder(PairedFolder):
    """A folder `images/*.jpg|png` with `annotations/<same stem>.xml`."""

    task = Task.DETECTION
    labels, suffixes, what = "annotations", (".xml",), "annotation"

    def label(self, path: Path, image: Image) -> Boxes:
        """The boxes over the classes; ValueError as `read_voc_boxes`."""
        return read_voc_boxes(path, image, self.classes)


def read_voc_boxes(path: Path, image: Image, classes: tuple[str, ...]) -> Boxes:
    """The objects of an annotation, difficult and truncated ones included.

    Corners are taken as they stand (some tools count pixels from 0, VOC from 1) and cut off at the
    picture's edge.
    Raises ValueError naming the file where it is missing, no such XML, or holds a class that is
    not one of `classes` or a box without an area in the picture.
    """
    if not path.is_file():
        raise ValueError(f"there is no annotation {path}; add it or take its picture out")
    try:
        root = ElementTree.parse(path).getroot()
    # Besides what is no XML, encodings that there are not (LookupError) or that it does not read.
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"the annotation {path} is no XML: {error}") from error
    boxes: list[list[float]] = []
    labels: list[int] = []
    rows, columns = image.shape[:2]
    for thing in root.findall("object"):
        name = thing.findtext("name", default="").strip()
        if name not in classes:
            raise ValueError(
                f"the annotation {path} holds the class {name!r}; it knows {', '.join(classes)}"
            )
        try:
            x1, y1, x2, y2 = (float(thing.findtext(f"bndbox/{key}", "")) for key in _CORNERS)
        except ValueError as error:
            raise ValueError(
                f"the annotation {path} has a {name} without the four corners of its box"
            ) from error
        box = [max(x1, 0.0), max(y1, 0.0), min(x2, float(columns)), min(y2, float(rows))]
        # Written so that a number that is none fails too.
        if not (box[2] > box[0] and box[3] > box[1]):
            raise ValueError(
                f"the annotation {path} has a {name} at {x1:g}, {y1:g}, {x2:g}, {y2:g}, "
                f"which is no area of the {columns}x{rows} picture"
            )
        boxes.append(box)
        labels.append(classes.index(name))
    return Boxes.truth(boxes, labels)
