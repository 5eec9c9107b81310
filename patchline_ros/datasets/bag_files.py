"""The files of a rosbag2 recording: which there are, and why some can't be read as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from patchline_ros.config_files import ConfigFileError, read_mapping

BAG_SUFFIXES = (".mcap", ".db3")
"""Endings of the files that rosbag2 keeps messages in."""

_COMPRESSED = tuple(f"{suffix}.zstd" for suffix in BAG_SUFFIXES)
_ROS_1 = ".bag"
_MOST_PER_BYTE: Final = 100
_POINTER = b"version https://git-lfs"
"""What git keeps in place of a large file until it is asked for it."""


def is_bag(path: Path) -> bool:
    """Whether it is a recording by its name, of another format too; bags have one of their own."""
    return _is_bag_file(path) or is_bag_folder(path)


def is_bag_folder(path: Path) -> bool:
    """Whether it is a folder that a recorder made, perhaps one that was killed."""
    return (path / "metadata.yaml").is_file() or bool(bag_files(path))


def bag_files(folder: Path) -> list[Path]:
    """Files of recordings in a folder, sorted by name; of other formats and compressed ones too."""
    if not folder.is_dir():
        return []
    return [file for file in sorted(folder.iterdir()) if _is_bag_file(file)]


def check_files(path: Path) -> None:
    """Looks at the files of a bag's folder, or at one file.

    Raises ValueError that says why they can't be read as they are, and what to do.
    """
    whole = (path / "metadata.yaml").exists()
    files = bag_files(path) if path.is_dir() else [path]
    for file in files:
        if file.suffix == _ROS_1:
            raise ValueError(
                f"the bag {file} is of ROS 1: convert it with `rosbags-convert --src {file} --dst "
                f"{file.with_suffix('')}`"
            )
        with file.open("rb") as opened:
            pointer = opened.read(len(_POINTER)) == _POINTER
        if pointer:
            raise ValueError(
                f"the file {file} is a pointer of git-lfs and no recording: `git lfs pull` gets it"
            )
        if not whole and file.name.endswith(_COMPRESSED):
            raise ValueError(
                f"the file {file} is compressed: name its folder, if metadata.yaml is there, or "
                f"unpack it with `zstd -d {file}`"
            )
    if path.is_dir() and whole:
        _check_metadata(path)
    elif path.is_dir():
        raise ValueError(_without_metadata(path, files))


def _check_metadata(folder: Path) -> None:
    """Raises ValueError for a metadata.yaml that says far too much: readers of bags believe it."""
    try:
        read_mapping(folder / "metadata.yaml")
    except ConfigFileError as error:
        raise ValueError(f"cannot read the bag {folder}: {error}{instead(folder)}") from error


def most_messages(path: Path) -> int:
    """More than a bag can hold: a message takes some bytes, also in a file that is compressed."""
    files = bag_files(path) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) * _MOST_PER_BYTE


def instead(folder: Path) -> str:
    """What else can be named where a folder's metadata.yaml can't be read."""
    names = " or ".join(str(file) for file in bag_files(folder))
    return f"; name its file {names} instead, or write metadata.yaml anew by `ros2 bag reindex`"


def _without_metadata(folder: Path, files: list[Path]) -> str:
    if not files:
        return f"the folder {folder} is no bag: it has no metadata.yaml"
    if len(files) == 1:
        advice = f"name its file {files[0]} instead"
    else:
        names = ", ".join(map(str, files))
        advice = (
            f"name one of its {len(files)} files instead ({names}), or write metadata.yaml anew by "
            f"`ros2 bag reindex {folder}`"
        )
    return (
        f"the bag {folder} has no metadata.yaml, so its recording was killed or still goes on: "
        f"{advice}"
    )


def _is_bag_file(path: Path) -> bool:
    return path.name.endswith((*BAG_SUFFIXES, *_COMPRESSED, _ROS_1))
