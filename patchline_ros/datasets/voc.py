"""Boxes in the XML of PASCAL VOC, and folders of pictures that are labelled with it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from patchline_ros.datasets.boxes import check_stated_size, inside_picture
from patchline_ros.datasets.file_sets import PairedFolder
from patchline_ros.tasks import Boxes, Image, Task

DAWN_CLASSES = ("car", "truck", "person", "bus", "motorcycle", "bicycle")
"""Classes of DAWN (Kenk and Hassaballah 2020), roads in bad weather, which is labelled so."""

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocFolder(PairedFolder):
    """A folder `images/*.jpg|png` with `annotations/<same stem>.xml`."""

    task = Task.DETECTION
    labels, suffixes, what = ("annotations",), (".xml",), "annotation"

    def label(self, path: Path, image: Image) -> Boxes:
        """The boxes over the classes; ValueError as `read_voc_boxes`."""
        return read_voc_boxes(path, image, self.classes)


def read_voc_boxes(path: Path, image: Image, classes: tuple[str, ...]) -> Boxes:
    """The objects of an annotation, difficult and truncated ones included.

    Corners are taken as they stand (some tools count pixels from 0, VOC from 1) and cut off at the
    picture's edge.
    Raises ValueError naming the file where it is missing, no such XML, for a picture of another
    size, or holds a class that is not one of `classes` or a box that is not in the picture.
    """
    root = _parsed(path)
    things = root.findall("object")
    if not things and root.tag != "annotation":
        raise ValueError(
            f"the annotation {path} is not in VOC's format: it is <{root.tag}> and not "
            "<annotation>; export it as PASCAL VOC"
        )
    width, height = (_stated(root, side, path) for side in ("width", "height"))
    check_stated_size(image, width, height, f"the annotation {path}")
    boxes: list[list[float]] = []
    labels: list[int] = []
    for thing in things:
        name = thing.findtext("name", default="").strip()
        if name not in classes:
            raise ValueError(
                f"the annotation {path} holds the class {name!r}; it knows {', '.join(classes)}"
            )
        try:
            corners = [float(thing.findtext(f"bndbox/{key}", "")) for key in _CORNERS]
        except ValueError as error:
            raise ValueError(
                f"the annotation {path} has a {name} without the four corners of its box"
            ) from error
        try:
            boxes.append(inside_picture(corners, image))
        except ValueError as error:
            raise ValueError(f"the annotation {path} has a {name} {error}") from error
        labels.append(classes.index(name))
    return Boxes.truth(boxes, labels)


def _parsed(path: Path) -> ElementTree.Element:
    if not path.is_file():
        raise ValueError(f"there is no annotation {path}; add it or take its picture out")
    try:
        return ElementTree.parse(path).getroot()
    # Besides what is no XML, encodings that there are not (LookupError) or that it does not read.
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"the annotation {path} is no XML: {error}") from error


def _stated(root: ElementTree.Element, side: str, path: Path) -> float:
    """Width or height of the picture that was labelled; 0: not stated."""
    text = root.findtext(f"size/{side}", default="").strip()
    try:
        return float(text or 0)
    except ValueError as error:
        raise ValueError(f"the annotation {path} states the {side} {text!r}") from error
