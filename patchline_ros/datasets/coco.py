"""Boxes in COCO's JSON, and folders of pictures that are labelled with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from patchline_ros.config_files import first_mistake
from patchline_ros.datasets.file_sets import FileSet
from patchline_ros.datasets.picture_files import natural_order, read_rgb
from patchline_ros.tasks import Boxes, Image, Sample


class _Picture(BaseModel):
    id: int
    file_name: str


class _Thing(BaseModel):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float] = Field(description="x, y, width, height in pixels")
    iscrowd: bool = False


class _Category(BaseModel):
    id: int
    name: str


class _Content(BaseModel):
    images: list[_Picture]
    annotations: list[_Thing]
    categories: list[_Category] = []


class CocoAnnotations:
    """One JSON file: pictures, and the boxes of single objects in them; crowds are left out."""

    def __init__(self, path: Path) -> None:
        """Reads the file; ValueError where it is missing or not of this format."""
        self.path = path
        try:
            self._content = _Content.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise ValueError(f"there is no file {path}; put the set's annotations there") from error
        except ValidationError as error:
            mistake = first_mistake(error, _Content)
            raise ValueError(f"{path} is not in COCO's format: {mistake}") from error
        except ValueError as error:
            raise ValueError(f"{path} is no JSON: {error}") from error
        self.files: tuple[str, ...] = tuple(
            sorted({image.file_name for image in self._content.images}, key=natural_order)
        )

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, in the order of their ids."""
        return tuple(
            category.name for category in sorted(self._content.categories, key=lambda c: c.id)
        )

    @property
    def used_categories(self) -> set[int]:
        """Ids of the categories that an object is of."""
        return {thing.category_id for thing in self._content.annotations}

    def labels_of(self, classes: tuple[str, ...]) -> dict[int, int]:
        """Place in `classes` by the id of the category of that name.

        Raises ValueError where the file has no category of a name.
        """
        for name in classes:
            if name not in self.categories:
                raise ValueError(
                    f"{self.path} has no category {name!r}; it has {', '.join(self.categories)}"
                )
        return {
            category.id: classes.index(category.name)
            for category in self._content.categories
            if category.name in classes
        }

    def boxes_by_file(
        self, labels: Mapping[int, int]
    ) -> dict[str, list[tuple[tuple[float, float, float, float], int]]]:
        """x, y, width, height and label of the objects by file; other categories are left out.

        Raises ValueError where an object is of a picture that the file does not list.
        """
        names = {image.id: image.file_name for image in self._content.images}
        found: dict[str, list[tuple[tuple[float, float, float, float], int]]] = {}
        for thing in self._content.annotations:
            if thing.image_id not in names:
                raise ValueError(
                    f"{self.path} is not in COCO's format: an annotation is of the image "
                    f"{thing.image_id}, which it does not list"
                )
            if thing.category_id in labels and not thing.iscrowd:
                label = labels[thing.category_id]
                found.setdefault(names[thing.image_id], []).append((thing.bbox, label))
        return found


def boxes_in(image: Image, things: list[tuple[tuple[float, float, float, float], int]]) -> Boxes:
    """Objects given by x, y, width, height; cut off at the picture's edge, empty ones dropped."""
    rows, columns = image.shape[:2]
    kept = [
        ([max(x, 0.0), max(y, 0.0), min(x + w, columns), min(y + h, rows)], label)
        for (x, y, w, h), label in things
    ]
    kept = [(box, label) for box, label in kept if box[2] > box[0] and box[3] > box[1]]
    return Boxes.truth([box for box, _ in kept], [label for _, label in kept])


class CocoFolder(FileSet[Sample]):
    """The pictures that a JSON file of COCO's format lists, in natural order of their names.

    Pictures without an object stay, with no box. They are read when they are asked for.
    """

    def __init__(
        self, images: Path, annotations: Path, classes: tuple[str, ...] | None = None
    ) -> None:
        """Reads the annotations; no picture yet.

        Args:
            images: the folder that the file names in it are relative to.
            annotations: the JSON file.
            classes: names of the categories to detect; None: all that the file has.

        Raises:
            ValueError: the folder or the file is missing, not of this format, or lacks a category.
        """
        if not images.is_dir():
            raise ValueError(
                f"there is no folder {images}; give the folder that holds the pictures"
            )
        content = CocoAnnotations(annotations)
        self.classes = content.categories if classes is None else classes
        self._boxes = content.boxes_by_file(content.labels_of(self.classes))
        self._images = images
        self.names: tuple[str, ...] = content.files

    def read(self, index: int) -> Sample:
        """Reads one picture; its label is Boxes over the classes.

        Raises ValueError naming a picture that is missing or cannot be decoded.
        """
        name = self.names[index]
        image = read_rgb(self._images / name)
        return Sample(image, boxes_in(image, self._boxes.get(name, [])))
