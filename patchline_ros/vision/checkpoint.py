"""The state of a training between two steps, as one safetensors file.

A training that was interrupted and goes on from its checkpoint gives the same bits as one that was
not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from patchline_ros.files import write_file

_KEY, _FACTS = "key", "facts"


class Checkpoint(NamedTuple):
    """Everything that the next epoch depends on."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]
    """Plain JSON data."""


def write_checkpoint(path: Path, key: str, checkpoint: Checkpoint) -> None:
    """Replaces the file in one step.

    Args:
        path: where.
        key: says which training this is of.
        checkpoint: what to keep.
    """
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()
    }
    write_file(path, save(tensors, metadata={_KEY: key, _FACTS: json.dumps(checkpoint.facts)}))


def read_checkpoint(path: Path, key: str) -> Checkpoint | None:
    """What was kept; None when there is no file.

    Raises:
        ValueError: the file is no checkpoint, or one of another training.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"checkpoint {path} can't be read: {error}; delete it") from error
    if metadata.get(_KEY) != key:
        raise ValueError(
            f"checkpoint {path} belongs to a training with other frames, settings or weights; "
            "delete it or name another file"
        )
    return Checkpoint(tensors, json.loads(metadata[_FACTS]))


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's running averages, by place and name."""
    state = optimiser.state_dict()["state"]
    return {
        f"optimiser.{place}.{name}": torch.as_tensor(value)
        for place, values in state.items()
        for name, value in values.items()
    }


def restore_optimiser(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """Puts the running averages and the groups' rates back."""
    state: dict[int, dict[str, Tensor]] = {}
    for full_name, value in tensors.items():
        if full_name.startswith("optimiser."):
            _, place, name = full_name.split(".", 2)
            state.setdefault(int(place), {})[name] = value
    optimiser.load_state_dict({"param_groups": groups, "state": state})
