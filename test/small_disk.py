"""A file system of a few MiB that can be filled and made read-only, without privileges."""

from __future__ import annotations

import subprocess
from pathlib import Path


class SmallDisk:
    """A tmpfs in a mount namespace of its own; `path` leads to it from outside."""

    def __init__(self, mib: int) -> None:
        """Raises OSError where user namespaces are missing or not allowed."""
        mount = f"mount -t tmpfs -o size={mib}m none /mnt && echo ready && exec sh"
        self._shell = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._shell.stdout is not None and self._shell.stderr is not None
        if self._shell.stdout.readline() != "ready\n":
            raise OSError(self._shell.stderr.read().strip())
        self.path = Path(f"/proc/{self._shell.pid}/root/mnt")
        self._ballast = self.path / "ballast"

    def fill(self) -> None:
        """Leaves no room."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (2**20, 4096):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError:
                    continue

    def empty(self) -> None:
        """Gives the room back."""
        self._ballast.unlink()

    def remount(self, how: str) -> None:
        """Makes it read-only (`ro`) or writable again (`rw`)."""
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self._shell.stdin.write(f"mount -o remount,{how} /mnt && echo done\n")
        self._shell.stdin.flush()
        assert self._shell.stdout.readline() == "done\n"

    def close(self) -> None:
        """Ends the namespace, and with it the file system."""
        self._shell.communicate()
