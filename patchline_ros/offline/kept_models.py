"""Source models that are finished, and the state of those whose training is under way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from patchline_ros.files import write_file


class KeptModels:
    """A folder with the weights of each finished model, NAME.safetensors."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder where it is missing.

        Raises:
            OSError: it can't be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

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

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"
