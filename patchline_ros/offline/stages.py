"""What is finished of a bundle that is being made: the same command goes on after a kill."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from torch import Tensor

from patchline_ros.files import remove_leftovers
from patchline_ros.offline.kept_models import KeptModels
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
        self.models = KeptModels(self._folder)
        """Source models."""

    def folder(self, name: str) -> Path:
        """For a stage that keeps what it has in files of its own."""
        return self._folder / name

    def done(self) -> None:
        """The bundle is whole: nothing of this is needed any more."""
        shutil.rmtree(self._folder.parent)


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
