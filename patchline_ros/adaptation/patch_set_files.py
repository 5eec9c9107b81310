"""The files of accepted patch sets: how they are called, and that they are signed when written.

    TASK.vVERSION.safetensors    a patch set; an empty file stands for the source model
    TASK.vVERSION.sig            its signature, where the adapter signs

It is the gate that signs. What lies in the folder without a signature was put there by somebody.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from patchline_ros.config_files import StrictModel
from patchline_ros.files import sha256, write_file
from patchline_ros.signing import Signer, SigningError, statement
from patchline_ros.tasks import Task

LAST_VERSION: Final = 2**63 - 1
"""No patch set has a later one: there must always be a number left to give."""
_NAME: Final = re.compile(rf"({'|'.join(Task)})\.v([0-9]{{1,19}})\.safetensors")


class Seal(StrictModel):
    """How stored patch sets are signed.

    Attributes:
        key: path of the private key; None: they are not signed.
        car: that they are for: the namespace of its graph.
    """

    key: Path | None = None
    car: str = "/"

    def signature(self, task: Task, version: int, base_fingerprint: str, data: bytes) -> bytes:
        """Of a patch set; nothing where none is signed.

        Raises:
            SigningError: the key can't be used any more.
        """
        if self.key is None:
            return b""
        return Signer(self.key).sign(self._text(task, version, base_fingerprint, data))

    def check_stored(self, path: Path, task: Task, version: int, base: str, data: bytes) -> None:
        """Looks for the gate's signature beside a patch set's file, where sets are signed.

        Raises:
            SigningError: there is none, or it is not by this key.
        """
        if self.key is None:
            return
        try:
            signature = signature_file(path).read_bytes()
        except OSError as error:
            raise SigningError(
                "it has no signature, so it was not this adapter's gate that stored it"
            ) from error
        Signer(self.key).public.check(self._text(task, version, base, data), signature)

    def issued(
        self, path: Path, task: Task, version: int, base: str, data: bytes, epoch: int
    ) -> bytes:
        """The signature of the message in which a stored patch set is sent now.

        Args:
            path: of the patch set's file.
            task, version, base, data: of the patch set.
            epoch: of the adapter.

        Returns:
            Nothing where none is signed.

        Raises:
            SigningError: it was not the gate that stored it.
        """
        self.check_stored(path, task, version, base, data)
        if self.key is None:
            return b""
        return Signer(self.key).issue(self._text(task, version, base, data), epoch)

    def _text(self, task: Task, version: int, base_fingerprint: str, data: bytes) -> bytes:
        return statement(self.car, task, version, base_fingerprint, sha256(data) if data else "")


def signature_file(path: Path) -> Path:
    """Where the signature of a patch set's file lies."""
    return path.with_suffix(".sig")


def write_patch_set(
    folder: Path, task: Task, version: int, base_fingerprint: str, data: bytes, seal: Seal
) -> Path:
    """Keeps a patch set with its signature, which is there first; the file of the set.

    Args:
        folder: of the files.
        task: whose model it patches.
        version: of the patch set.
        base_fingerprint: of the source model.
        data: the set's bytes; empty for the source model.
        seal: how it is signed.

    Raises:
        OSError: the disk refuses it.
        SigningError: the key can't be used any more.
    """
    path = patch_set_file(folder, task, version)
    folder.mkdir(parents=True, exist_ok=True)
    signature = seal.signature(task, version, base_fingerprint, data)
    if signature:
        write_file(signature_file(path), signature)
    write_file(path, data)
    return path


def remove_patch_set(path: Path) -> None:
    """Removes a patch set's file, and its signature after it. Raises OSError."""
    path.unlink()
    signature_file(path).unlink(missing_ok=True)


def patch_set_file(folder: Path, task: Task, version: int) -> Path:
    """The file of a patch set in a folder."""
    return folder / f"{task}.v{version}.safetensors"


def stored_patch_sets(folder: Path) -> dict[Task, dict[int, Path]]:
    """Files in a folder by task and version, of the tasks that have any."""
    stored: dict[Task, dict[int, Path]] = {}
    if not folder.is_dir():  # Somebody has wiped the store.
        return stored
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        # A number of many digits is somebody else's file.
        if match and int(match[2]) < LAST_VERSION:
            stored.setdefault(Task(match[1]), {})[int(match[2])] = path
    return stored
