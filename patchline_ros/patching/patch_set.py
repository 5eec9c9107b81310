"""A patch set: all that an adaptation changed of one model, as one safetensors file.

It holds the patches, the head when it was trained, and the norm statistics when they were
re-estimated, so that source model + patch set gives the adapted model back bit for bit. Its
metadata is JSON in the file's own header, so that one sha256 covers everything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from patchline_ros.patching.patched_model import PatchedModel
from patchline_ros.tasks import Task
from patchline_ros.vision.model import TaskModel

FORMAT: Final = 1
_HEADER_KEY = "patchline"
_MAX_HEADER_BYTES = 1 << 20


class PatchSetError(ValueError):
    """A patch set can't be used; the message says why in one sentence."""


class PatchSetMetadata(BaseModel):
    """What is known of a patch set besides its tensors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = FORMAT
    task: Task
    version: int = Field(ge=1)
    base_fingerprint: str
    k: int = Field(ge=1)
    wiring: Literal["side"] = "side"
    norm: Literal["source", "reestimated"]
    seed: int
    metrics: dict[str, float] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)


def _adapted_tensors(model: PatchedModel, norm: str) -> dict[str, Tensor]:
    """The model's state without what stayed as in the source model."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return {
        name: value
        for name, value in model.state_dict().items()
        if not name.startswith("backbone.") or (norm == "reestimated" and name.endswith(statistics))
    }


def to_bytes(model: PatchedModel, metadata: PatchSetMetadata) -> bytes:
    """The patch set of a trained model as a safetensors file."""
    tensors = {
        name: value.detach().cpu().contiguous()
        for name, value in _adapted_tensors(model, metadata.norm).items()
    }
    return save_tensors(tensors, metadata={_HEADER_KEY: metadata.model_dump_json()})


def read_metadata(data: bytes) -> PatchSetMetadata:
    """Metadata of a patch set, from the safetensors header alone.

    Raises:
        PatchSetError: this is not a patch set, or one of a format that is not known here.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, _MAX_HEADER_BYTES):
        raise PatchSetError("this is not a safetensors file: its header does not fit in it")
    try:
        header: dict[str, Any] = json.loads(data[8 : 8 + length])
        text = header["__metadata__"][_HEADER_KEY]
        return PatchSetMetadata.model_validate_json(text)
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise PatchSetError("the file's header holds no patch set metadata") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PatchSetError(f"patch set metadata, {where}: {first['msg']}") from error


def _check_tensors(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    missing = sorted(expected.keys() - found.keys())
    if missing:
        raise PatchSetError(f"the patch set lacks {len(missing)} tensors, the first {missing[0]}")
    unknown = sorted(found.keys() - expected.keys())
    if unknown:
        raise PatchSetError(f"the patch set has {len(unknown)} unknown tensors: {unknown[0]}, ...")
    for name, value in found.items():
        want = expected[name]
        if value.shape != want.shape or value.dtype != want.dtype:
            raise PatchSetError(
                f"tensor {name} is {value.dtype} {tuple(value.shape)}, "
                f"the model needs {want.dtype} {tuple(want.shape)}"
            )
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise PatchSetError(f"tensor {name} has values that are not finite")


def apply(source: TaskModel, base_fingerprint: str, data: bytes) -> PatchedModel:
    """The adapted model, in evaluation mode, beside the untouched source model.

    Args:
        source: the model that the patch set was trained on.
        base_fingerprint: `fingerprint(source)`, as the bundle keeps it.
        data: bytes of a patch set.

    Raises:
        PatchSetError: wrong base or task, missing, unknown or misshapen tensors, values that are
            not finite, or no patch set at all.
    """
    metadata = read_metadata(data)
    if metadata.task is not source.spec.task:
        raise PatchSetError(f"this patch set is for {metadata.task}, not {source.spec.task}")
    if metadata.base_fingerprint != base_fingerprint:
        raise PatchSetError(
            f"this patch set was trained on another source model: base fingerprint "
            f"{metadata.base_fingerprint[:12]}..., here {base_fingerprint[:12]}..."
        )
    groups = len(source.backbone.specs)
    if metadata.k > groups:
        raise PatchSetError(f"the patch set has {metadata.k} patches, the backbone {groups} groups")
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise PatchSetError(f"the patch set's tensors can't be read: {error}") from error
    model = PatchedModel(source, metadata.k)
    _check_tensors(_adapted_tensors(model, metadata.norm), tensors)
    model.load_state_dict(tensors, strict=False)
    return model.eval()
