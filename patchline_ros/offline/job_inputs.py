"""What jobs read that train on source frames: the source model and the frames, in one file.

A job that is sent to another process then carries no more than the path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from patchline_ros.config_files import StrictModel
from patchline_ros.tasks import Sample
from patchline_ros.vision.model import ModelSpec, TaskModel
from patchline_ros.vision.sample_tensors import sample_tensors, samples_of

_FACTS: Final = "facts"
_MODEL, _TRAIN, _HELD_OUT = "model.", "train.", "held_out."


class Facts(StrictModel):
    """What is not a tensor; a kind of job adds its own."""

    spec: ModelSpec


FactsT = TypeVar("FactsT", bound=Facts)


@dataclass(frozen=True)
class Inputs(Generic[FactsT]):
    """What a kind of job reads.

    Attributes:
        facts: see there.
        model: source model, in evaluation mode.
        train, held_out: source samples at the model's input size.
    """

    facts: FactsT
    model: TaskModel
    train: Sequence[Sample]
    held_out: Sequence[Sample]


def to_bytes(inputs: Inputs[FactsT]) -> bytes:
    """The inputs as a safetensors file; equal inputs give equal bytes."""
    tensors = {
        **{f"{_MODEL}{name}": value for name, value in inputs.model.state_dict().items()},
        **{f"{_TRAIN}{name}": value for name, value in sample_tensors(inputs.train).items()},
        **{f"{_HELD_OUT}{name}": value for name, value in sample_tensors(inputs.held_out).items()},
    }
    return save(
        {name: value.contiguous() for name, value in tensors.items()},
        metadata={_FACTS: inputs.facts.model_dump_json()},
    )


def read_inputs(path: Path, kind: type[FactsT]) -> Inputs[FactsT]:
    """The inputs that were written to a file, with facts of this kind.

    Raises:
        ValueError: the file is missing or damaged.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not there: all machines must see this folder")
    try:
        with safe_open(path, framework="pt") as file:
            facts = kind.model_validate_json((file.metadata() or {}).get(_FACTS, ""))
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
    return Inputs(facts, model.eval(), samples_of(below(_TRAIN)), samples_of(below(_HELD_OUT)))
