"""What a node remembers of patch sets when it starts anew: an old one, sent again, stays old."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from patchline_ros.config_files import StrictModel
from patchline_ros.files import write_file

_MOST_REMOVED: Final = 256
"""Removed versions that are remembered; older ones are older than the newest, too."""


class _Memory(StrictModel):
    """As it is written.

    Attributes:
        key: that the versions are signed with, hexadecimal; another key counts from 1 again.
        newest: version that ran last.
        sha256: of its data; empty for the source model.
        removed: versions that were taken back.
        epoch: newest in which a patch set was issued; earlier files do not say it.
    """

    key: str
    epoch: int = Field(default=0, ge=0, lt=2**64)
    newest: int = Field(ge=0, lt=2**64)
    sha256: str
    removed: list[int]


class VersionMemory:
    """The newest version that ran, the newest epoch, and what was removed, in a file or for a run.

    The epoch may be heard in another thread than that in which versions run.
    """

    def __init__(self, path: Path | None = None, key: str = "") -> None:
        """Reads what was remembered.

        Args:
            path: of the file; None: nothing outlasts this run.
            key: that the versions are signed with.

        Raises:
            ValueError: the file is damaged.
            OSError: it can't be read, or its folder can't be made.
        """
        self._path, self._key = path, key
        self._writing = threading.Lock()
        self.newest, self.sha256, self.epoch = 0, "", 0
        self._removed: list[int] = []
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            return
        try:
            found = _Memory.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ValueError(
                f"{path} does not say which patch sets ran here: delete it, and then the first "
                "patch set that comes is believed to be the newest"
            ) from error
        if found.key == key:
            self.newest, self.sha256 = found.newest, found.sha256
            self._removed = found.removed[-_MOST_REMOVED:]
            self.epoch = found.epoch

    def is_old(self, version: int, sha256: str) -> bool:
        """Whether something newer ran; the newest itself may come again after a restart."""
        return version < self.newest or (version == self.newest and sha256 != self.sha256)

    def was_removed(self, version: int) -> bool:
        """Whether this version was taken back."""
        return version in self._removed

    def heard(self, epoch: int) -> None:
        """A patch set of this epoch was issued. Raises OSError as `ran` does."""
        if epoch > self.epoch:
            self.epoch = epoch
            self._write()

    def ran(self, version: int, sha256: str) -> None:
        """A newer version runs. Raises OSError where the disk refuses to remember it."""
        self.newest, self.sha256 = version, sha256
        self._write()

    def removed(self, version: int) -> None:
        """A version was taken back. Raises OSError where the disk refuses to remember it."""
        self._removed = [*self._removed, version][-_MOST_REMOVED:]
        self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        with self._writing:
            memory = _Memory(
                key=self._key,
                newest=self.newest,
                sha256=self.sha256,
                removed=self._removed,
                epoch=self.epoch,
            )
            write_file(self._path, memory.model_dump_json().encode())
