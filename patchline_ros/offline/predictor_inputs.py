"""What each job of the predictor data reads, and where its figure goes.

    FOLDER/KEY/inputs.safetensors

The key is the file's sha256, so that what lies beside it is known to be of these inputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.files import sha256, write_file
from patchline_ros.offline.job_inputs import Facts, Inputs, to_bytes
from patchline_ros.patching.patched_model import PatchSettings

INPUTS: Final = "inputs.safetensors"


class PredictorFacts(Facts):
    """All that a figure depends on, but for tensors, drift, patches and seed of the training."""

    method: PatchSettings
    """How a drift is adapted to; its k is replaced by each number of patches in turn."""
    training: TrainingSettings
    seed: int
    """Seed of the corruptions."""
    versions: dict[str, str]
    """Versions of libraries, by name; others give other figures."""


def write_inputs(folder: Path, inputs: Inputs[PredictorFacts]) -> Path:
    """Writes the inputs below the folder, once, and returns where figures of them go.

    Raises:
        OSError: the disk refuses it.
    """
    data = to_bytes(inputs)
    place = folder.resolve() / sha256(data)[:16]
    if not (place / INPUTS).is_file():
        place.mkdir(parents=True, exist_ok=True)
        write_file(place / INPUTS, data)
    return place
