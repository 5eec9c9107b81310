"""Where the tools that make labels put pictures and label files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from patchline_ros.datasets.picture_files import PICTURE_SUFFIXES, has_files, natural_order

IMAGE_FOLDERS = ("images", "JPEGImages")
"""Names of a folder of pictures, in any case: most tools', and PASCAL VOC's."""

_COCO_FILES = ("_annotations.coco.json", "annotations.json")
"""Names of a file of COCO's format: Roboflow's, and that of this package."""


def paired_folders(
    directory: Path, names: Collection[str], suffixes: tuple[str, ...]
) -> tuple[Path, Path]:
    """The folder of pictures and that of label files which a folder stands for.

    It holds both, by their names or in one; or it is a split below the pictures, `images/train`,
    whose labels are in `labels/train`. Where nothing fits, it is the layout that is wanted.

    Args:
        directory: that was given.
        names: of a folder of labels, in any case; the first is wanted.
        suffixes: endings of label files.

    Raises:
        ValueError: the pictures are in splits, of which one has to be named.
    """
    images = _inside(directory, IMAGE_FOLDERS)
    if images is not None:
        splits = _image_splits(images)
        if splits:
            raise ValueError(
                f"{images} holds no picture, but the splits {', '.join(splits)}: name one of them, "
                f"such as {next(iter(splits.values()))}"
            )
        beside = images if _is_shared(images, suffixes) else None
        return images, _inside(directory, names) or beside or directory / next(iter(names))
    labels = _labels_of_split(directory, names)
    if labels is not None:
        return directory, labels
    if _is_shared(directory, suffixes):
        return directory, directory
    return directory / IMAGE_FOLDERS[0], directory / next(iter(names))


def splits_of(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The folders for `paired_folders`, by the name of the split; one alone is called all."""

    def is_pair(path: Path) -> bool:
        return _inside(path, IMAGE_FOLDERS) is not None or _is_shared(path, suffixes)

    images = _inside(folder, IMAGE_FOLDERS)
    if images is not None:
        return _image_splits(images) or {"all": folder}
    if not is_pair(folder):
        splits = {path.name: path for path in _folders(folder) if is_pair(path)}
        if splits:
            return splits
    return {"all": folder}


def coco_parts(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Pictures and JSON file by the name of the split, in COCO's, CVAT's and Roboflow's layouts.

    Where nothing fits, it is the layout that is wanted.
    """
    start, end = "instances_", ".json"
    parts = {}
    for path in sorted((folder / "annotations").glob(f"{start}*{end}")):
        split = path.name.removeprefix(start).removesuffix(end)
        places = (folder / split, folder / "images" / split, folder / "images")
        parts[split] = next((p for p in places if p.is_dir()), places[0]), path
    if parts:
        return parts
    own = _coco_file(folder)
    if own is not None:
        return {"all": (_inside(folder, IMAGE_FOLDERS) or folder, own)}
    for path in _folders(folder):
        found = _coco_file(path)
        if found is not None:
            parts[path.name] = _inside(path, IMAGE_FOLDERS) or path, found
    return parts or {"all": (folder / "images", folder / "annotations.json")}


def _coco_file(folder: Path) -> Path | None:
    """The file of a usual name, else the only JSON file of the folder."""
    for name in _COCO_FILES:
        if (folder / name).is_file():
            return folder / name
    files = [path for path in folder.glob("*.json") if not path.name.startswith(".")]
    return files[0] if len(files) == 1 else None


def _folders(path: Path) -> Iterator[Path]:
    if path.is_dir():
        found = (p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
        yield from sorted(found, key=lambda p: natural_order(p.name))


def _inside(folder: Path, names: Collection[str]) -> Path | None:
    """The folder inside that has one of the names, in any case."""
    found = {path.name: path for path in _folders(folder)}
    in_any_case = {name.lower(): path for name, path in found.items()}
    for name in names:
        if name in found:
            return found[name]
        if name.lower() in in_any_case:
            return in_any_case[name.lower()]
    return None


def _image_splits(images: Path) -> dict[str, Path]:
    """Folders of pictures in one that holds none itself."""
    if has_files(images, PICTURE_SUFFIXES):
        return {}
    return {path.name: path for path in _folders(images) if has_files(path, PICTURE_SUFFIXES)}


def _labels_of_split(directory: Path, names: Collection[str]) -> Path | None:
    """`labels/train` for `images/train`: the last folder of that name in the path counts."""
    wanted = {name.lower() for name in IMAGE_FOLDERS}
    directory = directory.absolute()
    images = next((p for p in (directory, *directory.parents) if p.name.lower() in wanted), None)
    labels = None if images is None else _inside(images.parent, names)
    return None if images is None or labels is None else labels / directory.relative_to(images)


def _is_shared(folder: Path, suffixes: tuple[str, ...]) -> bool:
    """Holds pictures and label files side by side; masks are pictures, and so never are."""
    apart = not set(suffixes) & set(PICTURE_SUFFIXES)
    return apart and has_files(folder, PICTURE_SUFFIXES) and has_files(folder, suffixes)
