"""A patch set: all that an adaptation changed of one model, as one safetensors file.

It holds the patches (or whatever else a method trained), the head when it was trained, and the
norm statistics when they were re-estimated, so that source model + patch set gives the adapted
model back bit for bit. Its metadata is JSON in the file's own header, so that one sha256 of the
file covers everything; the header itself holds the sha256 of the tensors' bytes behind it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

import torch
from pydantic import Field, ValidationError
from pydantic_core import from_json
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from patchline_ros.config_files import StrictModel, first_mistake
from patchline_ros.files import sha256
from patchline_ros.patching.adapted_model import AdaptedModel, NormPolicy
from patchline_ros.patching.expected import Expected
from patchline_ros.patching.methods import MethodSettings, adapted
from patchline_ros.tasks import Task
from patchline_ros.vision.model import TaskModel

FORMAT: Final = 3
_HEADER_KEY = "patchline"
_MAX_HEADER_BYTES = 1 << 20


class PatchSetError(ValueError):
    """A patch set can't be used; the message says why in one sentence."""


class PatchSetMetadata(StrictModel):
    """What is known of a patch set besides its tensors."""

    format: Literal[3] = FORMAT
    task: Task
    version: int = Field(ge=1)
    base_fingerprint: str
    method: MethodSettings
    """What was trained; of patches how many, and how they are wired."""
    norm: NormPolicy
    seed: int
    metrics: dict[str, float] = Field(default_factory=dict)
    expected: Expected | None = None
    """What is expected of it after a swap; None: nobody watches that."""
    versions: dict[str, str] = Field(default_factory=dict)
    sha256: str = ""
    """SHA-256 of the tensors' bytes; filled in when the patch set is written."""


def _changed_tensors(model: AdaptedModel, norm: NormPolicy) -> dict[str, Tensor]:
    """All that an adaptation changed, as it is written."""
    return {
        name: value.detach().cpu().contiguous() for name, value in model.adapted_state(norm).items()
    }


def state_sha256(model: AdaptedModel, norm: NormPolicy) -> str:
    """`PatchSetMetadata.sha256` of the patch set that `to_bytes` makes of the model."""
    return tensors_sha256(save_tensors(_changed_tensors(model, norm)))


def to_bytes(model: AdaptedModel, metadata: PatchSetMetadata) -> bytes:
    """The patch set of a trained model as a safetensors file."""
    tensors = _changed_tensors(model, metadata.norm)
    digest = tensors_sha256(save_tensors(tensors))
    whole = metadata.model_copy(update={"sha256": digest})
    return save_tensors(tensors, metadata={_HEADER_KEY: whole.model_dump_json()})


def renumbered(data: bytes, version: int, **facts: object) -> bytes:
    """The same patch set as another version; `facts` replace what else its metadata says.

    Raises:
        PatchSetError: this is not a patch set.
    """
    metadata = read_metadata(data).model_copy(update={"version": version, **facts})
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise PatchSetError(f"the patch set's tensors can't be read: {error}") from error
    return save_tensors(tensors, metadata={_HEADER_KEY: metadata.model_dump_json()})


def _header_length(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


def tensors_sha256(data: bytes) -> str:
    """SHA-256 of a patch set's tensors: the same for the same weights, whatever their version.

    An intact patch set has it as `PatchSetMetadata.sha256`.
    """
    return sha256(_tensor_bytes(data))


def _tensor_bytes(data: bytes) -> bytes:
    """What follows the header of a safetensors file."""
    return data[8 + _header_length(data) :]


def _migrated(plain: Any) -> Any:
    """Metadata in the present format: format 2 had other names of tasks, which `Task` knows."""
    if isinstance(plain, dict) and plain.get("format") == 2:
        return {**plain, "format": FORMAT}
    return plain


def read_metadata(data: bytes) -> PatchSetMetadata:
    """Metadata of a patch set, from the safetensors header alone.

    Raises:
        PatchSetError: this is not a patch set, or one of a format that is not known here.
    """
    length = _header_length(data)
    if len(data) < 8 or length > min(len(data) - 8, _MAX_HEADER_BYTES):
        raise PatchSetError("this is not a safetensors file: its header does not fit in it")
    try:
        header: dict[str, Any] = json.loads(data[8 : 8 + length])
        text = header["__metadata__"][_HEADER_KEY]
        return PatchSetMetadata.model_validate(_migrated(from_json(text)))
    except ValidationError as error:
        mistake = first_mistake(error, PatchSetMetadata)
        raise PatchSetError(f"patch set metadata, {mistake}") from error
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise PatchSetError("the file's header holds no patch set metadata") from error


def checked_metadata(data: bytes) -> PatchSetMetadata:
    """The same, of a patch set whose tensors are those that were written.

    Raises:
        PatchSetError: as `read_metadata`, or the tensors do not have the header's sha256.
    """
    metadata = read_metadata(data)
    if tensors_sha256(data) != metadata.sha256:
        raise PatchSetError("the patch set is damaged: its tensors do not have the header's sha256")
    return metadata


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


def apply(source: TaskModel, base_fingerprint: str, data: bytes) -> AdaptedModel:
    """The adapted model, in evaluation mode, beside the untouched source model.

    Args:
        source: the model that the patch set was trained on.
        base_fingerprint: `fingerprint(source)`, as the bundle keeps it.
        data: bytes of a patch set.

    Raises:
        PatchSetError: wrong base or task, damaged, missing, unknown or misshapen tensors, values
            that are not finite, or no patch set at all.
    """
    metadata = read_metadata(data)
    if metadata.task is not source.spec.task:
        raise PatchSetError(f"this patch set is for {metadata.task}, not {source.spec.task}")
    if metadata.base_fingerprint != base_fingerprint:
        raise PatchSetError(
            f"this patch set was trained on another source model: base fingerprint "
            f"{metadata.base_fingerprint[:12]}..., here {base_fingerprint[:12]}..."
        )
    try:
        model = adapted(source, metadata.method)
    except ValueError as error:
        raise PatchSetError(f"this patch set does not fit the model: {error}") from error
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise PatchSetError(f"the patch set's tensors can't be read: {error}") from error
    _check_tensors(model.adapted_state(metadata.norm), tensors)
    checked_metadata(data)
    model.load_state_dict(tensors, strict=False)
    return model.eval()
