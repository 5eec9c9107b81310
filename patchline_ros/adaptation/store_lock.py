"""One adapter for each store: two would take each other's frames and patch sets for their own."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from patchline_ros.adaptation.store import StoreError

_FILE = "lock"


class StoreLock:
    """Holds a store's folder for this process until `release`, or until the process ends."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder and takes it.

        Raises:
            StoreError: another process holds it, or it can't be made.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(folder / _FILE, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise StoreError(f"the store {folder} can't be made: {error}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise StoreError(
                f"{folder} is in use by another adapter; give each car a store of its own"
            ) from error

    def release(self) -> None:
        """Lets another adapter have it."""
        os.close(self._file)
