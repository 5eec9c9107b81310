"""Files that are never seen half-written, and what names their content."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from patchline_ros.tasks import Task


def sha256(data: bytes) -> str:
    """Hexadecimal digest."""
    return hashlib.sha256(data).hexdigest()


def open_anew(path: Path) -> int:
    """A descriptor of a new, empty file to write; what had the name goes, and no link is followed.

    Somebody who can write in the folder might have put a link there to a file of ours elsewhere.

    Raises:
        OSError: the disk refuses it, or somebody puts one there at this moment.
    """
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o666)


def write_file(path: Path, data: bytes) -> None:
    """Writes aside, flushes to disk and moves into place: a reader meets the old or the new.

    Once it returns, the file is there after a loss of power, too.

    Raises:
        OSError: the disk refuses it, for instance because it is full, or the path is a device, a
            pipe or a folder. What was there stays.
    """
    write_files({path: data})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Writes files of one folder as write_file() does; none is moved before all are on the disk.

    So only a call that is killed between two moves, one right after the other, leaves some old and
    some new. They are moved in the order given.

    Raises:
        OSError: as write_file(). Where the disk is full, all that was there stays.
    """
    for path in contents:
        _refuse_what_is_no_file(path)
    aside = {path.with_name(f".{path.name}.part"): path for path in contents}
    try:
        for part, path in aside.items():
            with os.fdopen(open_anew(part), "wb") as file:
                file.write(contents[path])
                file.flush()
                os.fsync(file.fileno())
        for part, path in aside.items():
            part.replace(path)
    except OSError:
        # A half of it would only take room; on a read-only disk there is none to remove.
        for part in aside:
            with contextlib.suppress(OSError):
                part.unlink()
        raise
    for folder in {path.parent for path in contents}:
        _flush_folder(folder)


def _refuse_what_is_no_file(path: Path) -> None:
    """A move into its place would take away `/dev/null`, or `/dev/stdout`, from everybody.

    A link elsewhere goes, as a planted one must, but what it leads to stays.
    """
    place = path.absolute()
    if place.parent == Path("/dev") or (
        place.exists() and not place.is_file() and not place.is_symlink()
    ):
        raise OSError(errno.EINVAL, "only files are written, and this is none", str(path))


def _flush_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Removes what `write_file` left aside in a process that was killed.

    Only for who writes there: it would take away the file that another process is writing.
    """
    for path in folder.glob(".*.part"):
        path.unlink(missing_ok=True)


def adopt_earlier_names(folder: Path) -> None:
    """Gives files and folders that are called by a task's earlier name the present one.

    Only for who writes there. Where both are there, the earlier one stays as it is.

    Raises:
        OSError: the disk refuses it.
    """
    for task in Task:
        for name in task.earlier_names:
            for path in (folder / name, *folder.glob(f"{name}.*")):
                target = path.with_name(f"{task}{path.name.removeprefix(name)}")
                if path.exists() and not target.exists():
                    path.rename(target)
