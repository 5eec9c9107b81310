"""Frees the shared memory that killed processes left behind."""

from __future__ import annotations

import fcntl
import re
import time
from pathlib import Path
from typing import Final

_FOLDER: Final = Path("/dev/shm")
_LOCK = re.compile(r"((?:fastdds|fastrtps)_[0-9a-f]{16})_el")
_SETTLED_SECONDS: Final = 10.0
"""A lock file that is younger may belong to a process that is about to lock it."""


def remove_abandoned_segments() -> int:
    """Removes the segments of Fast DDS whose process has ended; how many.

    A process that is killed can't remove its own, 64 MiB and more with `config/fastdds.xml`: a
    car whose nodes are started again after a kill would fill its memory. Fast DDS locks a file
    beside each segment as long as its process lives; what can't be opened or is locked is left
    alone.
    """
    removed = 0
    # Other systems have another folder, or none, and nothing of this stays there.
    for lock in _FOLDER.glob("*_el") if _FOLDER.is_dir() else ():
        match = _LOCK.fullmatch(lock.name)
        if match and _is_abandoned(lock):
            (_FOLDER / match[1]).unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
            removed += 1
    return removed


def _is_abandoned(lock: Path) -> bool:
    try:
        if time.time() - lock.stat().st_mtime < _SETTLED_SECONDS:
            return False
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, PermissionError, BlockingIOError):
        return False
    return True
