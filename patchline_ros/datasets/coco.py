"""Boxes in COCO's JSON, and folders of pictures that are labelled with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ValidationError

from patchline_ros.config_files import first_mistake
from patchline_ros.datasets.boxes import check_stated_size, inside_picture
from patchline_ros.datasets.file_sets import FileSet
from patchline_ros.datasets.picture_files import natural_order, read_rgb
from patchline_ros.tasks import Boxes, Image, Sample


def _with_slashes(name: str) -> str:
    """Tools on Windows write folders with backslashes."""
    return name.replace("\\", "/")


class _Picture(BaseModel):
    id: int
    file_name: Annotated[str, AfterValidator(_with_slashes)]
    width: float | None = None
    height: float | None = None


class _Thing(BaseModel):
    """An object. What its box is made of is looked at when its picture is read."""

    id: int | None = None
    image_id: int
    category_id: int
    bbox: list[Any] | None = None
    segmentation: Any = None
    iscrowd: bool = False


class _Category(BaseModel):
    id: int
    name: str
    supercategory: str | None = None


class _Content(BaseModel):
    images: list[_Picture]
    annotations: list[_Thing]
    categories: list[_Category] = []


@dataclass(frozen=True)
class CocoPicture:
    """What the file says about one picture."""

    source: Path
    """The file, for messages."""
    file: str
    width: float
    """In pixels; 0 where the file does not state it."""
    height: float
    things: list[tuple[_Thing, int]] = field(default_factory=list)
    """Objects, with their labels."""

    def boxes(self, image: Image) -> Boxes:
        """The objects' boxes, cut off at the picture's edge.

        Raises ValueError where the picture is not of the size that the file states, or an object
        has no box in it.
        """
        check_stated_size(
            image, self.width, self.height, f"the entry of {self.file} in {self.source}"
        )
        boxes = []
        for thing, _ in self.things:
            try:
                boxes.append(inside_picture(_corners(thing), image))
            except ValueError as error:
                raise ValueError(
                    f"{self.source}: the annotation {thing.id} of {self.file} is a box {error}"
                ) from error
        return Boxes.truth(boxes, [label for _, label in self.things])


def _corners(thing: _Thing) -> list[float]:
    """x1, y1, x2, y2 of its box, else of its outline; ValueError where it has neither."""
    try:
        if thing.bbox:
            x, y, width, height = map(float, thing.bbox)
            return [x, y, x + width, y + height]
        points = np.concatenate([np.reshape(part, (-1, 2)) for part in thing.segmentation])
        return [*map(float, points.min(axis=0)), *map(float, points.max(axis=0))]
    except (TypeError, ValueError) as error:
        raise ValueError(f"that is none: bbox is {thing.bbox}, not x, y, width, height") from error


class CocoAnnotations:
    """One JSON file: pictures, and the boxes of single objects in them; crowds are left out."""

    def __init__(self, path: Path) -> None:
        """Reads the file; ValueError where it is missing or not of this format."""
        self.path = path
        try:
            # Editors of Windows begin a text with a mark.
            content = json.loads(path.read_text(encoding="utf-8-sig"))
            self._content = _Content.model_validate(content)
        except FileNotFoundError as error:
            raise ValueError(f"there is no file {path}; put the set's annotations there") from error
        except ValidationError as error:
            mistake = first_mistake(error, _Content)
            raise ValueError(f"{path} is not in COCO's format: {mistake}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is no JSON: {error}") from error
        self.files: tuple[str, ...] = tuple(
            sorted({image.file_name for image in self._content.images}, key=natural_order)
        )

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, in the order of their ids.

        A group of others that no object is of, such as Roboflow's first category, is none.
        """
        declared = sorted(self._content.categories, key=lambda c: c.id)
        used = self.used_categories
        groups = {c.supercategory for c in declared if c.supercategory != c.name}
        return tuple(c.name for c in declared if c.id in used or c.name not in groups)

    @property
    def used_categories(self) -> set[int]:
        """Ids of the categories that an object is of."""
        return {thing.category_id for thing in self._content.annotations}

    def labels_of(self, classes: tuple[str, ...]) -> dict[int, int]:
        """Place in `classes` by the id of the category of that name.

        Raises ValueError where the file has no category of a name, one id for two categories, or
        objects of a category that it does not declare.
        """
        declared = self._content.categories
        for name in classes:
            if name not in {category.name for category in declared}:
                raise ValueError(
                    f"{self.path} has no category {name!r}; it has {', '.join(self.categories)}"
                )
        self._check_declared([category.id for category in declared])
        return {
            category.id: classes.index(category.name)
            for category in declared
            if category.name in classes
        }

    def _check_declared(self, declared: Collection[int]) -> None:
        twice = [number for number, count in Counter(declared).items() if count > 1]
        if twice:
            raise ValueError(
                f"{self.path} declares two categories of the id {twice[0]}; give each its own id"
            )
        unknown = sorted(self.used_categories - {*declared})
        if unknown:
            things = [t.id for t in self._content.annotations if t.category_id == unknown[0]]
            raise ValueError(
                f"{self.path} has {len(things)} annotations of the category id {unknown[0]}, such "
                f"as the annotation {things[0]}, but declares {', '.join(map(str, declared))}: "
                "declare it under categories, or correct the ids"
            )

    def pictures(self, labels: Mapping[int, int]) -> dict[str, CocoPicture]:
        """What the file says about each picture, by file; other categories are left out.

        Raises ValueError where an object is of a picture that the file does not list.
        """
        found: dict[str, CocoPicture] = {}
        by_id: dict[int, CocoPicture] = {}
        for image in self._content.images:
            picture = CocoPicture(
                self.path, image.file_name, image.width or 0.0, image.height or 0.0
            )
            by_id[image.id] = found.setdefault(image.file_name, picture)
        for thing in self._content.annotations:
            if thing.image_id not in by_id:
                raise ValueError(
                    f"{self.path} is not in COCO's format: an annotation is of the image "
                    f"{thing.image_id}, which it does not list"
                )
            if thing.category_id in labels and not thing.iscrowd:
                by_id[thing.image_id].things.append((thing, labels[thing.category_id]))
        return found


class CocoFolder(FileSet[Sample]):
    """The pictures that a JSON file of COCO's format lists, in natural order of their names.

    Pictures without an object stay, with no box. They are read when they are asked for.
    """

    def __init__(
        self, images: Path, annotations: Path, classes: tuple[str, ...] | None = None
    ) -> None:
        """Reads the annotations; no picture yet.

        Args:
            images: the folder that the file names in it are relative to; where there is no such
                file, they are relative to the folder of the JSON file, as some tools write them.
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
        self._pictures = content.pictures(content.labels_of(self.classes))
        self._images, self._annotations = images, annotations
        self.names: tuple[str, ...] = content.files

    def path(self, name: str) -> Path:
        """Where a picture is, or would be."""
        path = self._images / name
        beside = self._annotations.parent / name
        return beside if beside.is_file() and not path.is_file() else path

    def read(self, index: int) -> Sample:
        """Reads one picture; its label is Boxes over the classes.

        Raises ValueError naming a picture that is missing or cannot be decoded.
        """
        name = self.names[index]
        path = self.path(name)
        if not path.is_file():
            raise ValueError(
                f"there is no picture {path}, which {self._annotations} lists: put it there, or "
                "correct its file_name"
            )
        image = read_rgb(path)
        return Sample(image, self._pictures[name].boxes(image))
