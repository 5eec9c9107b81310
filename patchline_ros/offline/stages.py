"""What is finished of a bundle that is being made: the same command goes on after a kill."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from patchline_ros.files import remove_leftovers, write_file
from patchline_ros.offline.sources import SourceData
from patchline_ros.vision.training import sample_bytes

logger = logging.getLogger(__name__)

MAKING: Final = ".making"
"""Folder below the bundle's that holds it; it goes when the bundle is whole."""


class Stages:
    """Results of the long stages, kept in a folder for exactly these inputs."""

    def __init__(self, out: Path, key: str) -> None:
        """Opens the folder; what is there of other inputs goes.

        Args:
            out: of the bundle.
            key: `inputs_key` of all that the results depend on.

        Raises:
            OSError: the folder can't be made.
        """
        self._folder = out / MAKING / key[:16]
        self._folder.mkdir(parents=True, exist_ok=True)
        for other in self._folder.parent.iterdir():
            if other != self._folder:
                logger.warning(
                    "%s was begun with other data, settings or versions, and begins anew", out
                )
                shutil.rmtree(other)
        remove_leftovers(self._folder)

    def folder(self, name: str) -> Path:
        """For a stage that keeps what it has in files of its own."""
        return self._folder / name

    def tensors(self, name: str) -> dict[str, Tensor] | None:
        """A finished model's state; None: it is not finished.

        Raises:
            ValueError: its file is damaged.
        """
        path = self._path(name)
        if not path.is_file():
            return None
        try:
            return load_tensors(path.read_bytes())
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged; delete it to make it again") from error

    def keep(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """A model is finished; its checkpoint is not needed any more."""
        state = {key: value.contiguous() for key, value in tensors.items()}
        write_file(self._path(name), save_tensors(state))
        self.checkpoint(name).unlink(missing_ok=True)

    def checkpoint(self, name: str) -> Path:
        """File for the state of a training that is under way."""
        return self._folder / f"{name}.checkpoint"

    def done(self) -> None:
        """The bundle is whole: nothing of this is needed any more."""
        shutil.rmtree(self._folder.parent)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"


def inputs_key(source: SourceData, settings: str, weights: Mapping[str, Tensor] | None) -> str:
    """sha256 over pictures, labels, classes, settings and the weights to start from."""
    digest = hashlib.sha256(settings.encode())
    for task, data in sorted(source.tasks.items()):
        digest.update(f"{task} {data.classes} {data.names}".encode())
        for sample in [*data.train, *data.held_out]:
            digest.update(sample_bytes(sample))
    for name, value in sorted((weights or {}).items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()
