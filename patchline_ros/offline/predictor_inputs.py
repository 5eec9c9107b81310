"""What each job of the predictor data reads: the source model and frames, in one file.

    FOLDER/KEY/inputs.safetensors

The key is the file's sha256, so that what lies beside it is known to be of these inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.config_files import StrictModel
from patchline_ros.files import sha256, write_file
from patchline_ros.patching.patched_model import PatchSettings
from patchline_ros.tasks import Boxes, Label, Sample
from patchline_ros.vision.model import ModelSpec, TaskModel

INPUTS: Final = "inputs.safetensors"
_FACTS = "facts"
_MODEL, _TRAIN, _HELD_OUT = "model.", "train.", "held_out."


class Facts(StrictModel):
    """What is not a tensor."""

    spec: ModelSpec
    method: PatchSettings
    """How a drift is adapted to; its k is replaced by each number of patches in turn."""
    training: TrainingSettings
    seed: int
    """Seed of the corruptions."""
    versions: dict[str, str]
    """Versions of libraries, by name; others give other figures."""


@dataclass(frozen=True)
class Inputs:
    """All that a figure depends on, but for the drift, the patches and the seed of the training.

    Attributes:
        facts: see there.
        model: source model, in evaluation mode.
        train, held_out: source samples at the model's input size.
    """

    facts: Facts
    model: TaskModel
    train: Sequence[Sample]
    held_out: Sequence[Sample]


def _tensors(samples: Sequence[Sample]) -> dict[str, Tensor]:
    """Pictures and labels of samples of one task and size; boxes one after the other."""
    tensors = {"images": torch.from_numpy(np.stack([sample.image for sample in samples]))}
    boxes = [sample.label for sample in samples if isinstance(sample.label, Boxes)]
    if not boxes:
        tensors["labels"] = torch.from_numpy(np.stack([np.asarray(s.label) for s in samples]))
        return tensors
    tensors["counts"] = torch.tensor([len(each) for each in boxes])
    tensors["boxes"] = torch.from_numpy(np.concatenate([each.boxes for each in boxes]))
    tensors["labels"] = torch.from_numpy(np.concatenate([each.labels for each in boxes]))
    return tensors


def _samples(tensors: Mapping[str, Tensor]) -> list[Sample]:
    labels: list[Label]
    if "counts" in tensors:
        counts = tensors["counts"].tolist()
        each = zip(tensors["boxes"].split(counts), tensors["labels"].split(counts), strict=True)
        labels = [Boxes.truth(boxes.numpy(), ids.numpy()) for boxes, ids in each]
    elif tensors["labels"].dim() == 1:
        labels = tensors["labels"].tolist()
    else:
        labels = list(tensors["labels"].numpy())
    return [
        Sample(image, label) for image, label in zip(tensors["images"].numpy(), labels, strict=True)
    ]


def write_inputs(folder: Path, inputs: Inputs) -> Path:
    """Writes the inputs below the folder, once, and returns where figures of them go.

    Raises:
        OSError: the disk refuses it.
    """
    tensors = {
        **{f"{_MODEL}{name}": value for name, value in inputs.model.state_dict().items()},
        **{f"{_TRAIN}{name}": value for name, value in _tensors(inputs.train).items()},
        **{f"{_HELD_OUT}{name}": value for name, value in _tensors(inputs.held_out).items()},
    }
    data = save(
        {name: value.contiguous() for name, value in tensors.items()},
        metadata={_FACTS: inputs.facts.model_dump_json()},
    )
    place = folder.resolve() / sha256(data)[:16]
    if not (place / INPUTS).is_file():
        place.mkdir(parents=True, exist_ok=True)
        write_file(place / INPUTS, data)
    return place


def read_inputs(place: Path) -> Inputs:
    """The inputs that were written there.

    Raises:
        ValueError: the file is missing or damaged.
    """
    path = place / INPUTS
    if not path.is_file():
        raise ValueError(f"{path} is not there: all machines must see this folder")
    try:
        with safe_open(path, framework="pt") as file:
            facts = Facts.model_validate_json((file.metadata() or {}).get(_FACTS, ""))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValidationError) as error:
        raise ValueError(f"{path} is damaged; delete it to make it again") from error

    def below(prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }

    model = TaskModel(facts.spec)
    model.load_state_dict(below(_MODEL))
    return Inputs(facts, model.eval(), _samples(below(_TRAIN)), _samples(below(_HELD_OUT)))
