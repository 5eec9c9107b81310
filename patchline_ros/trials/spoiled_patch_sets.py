"""Messages of patch sets that a node must refuse, and what it must say about them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Final

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from patchline_ros.files import sha256
from patchline_ros.msg import PatchSet
from patchline_ros.nodes.conversions import bytes_field
from patchline_ros.signing import statement, status_statement
from patchline_ros.tasks import Task
from patchline_ros.trials.file_damage import Spoil
from patchline_ros.trials.random_patches import made_patch_set
from patchline_ros.trials.trial_graph import CAR, TrialGraph

FOREIGN_SHA256: Final = "0" * 64
"""That of no file here."""

_LATEST: Final = 2**63 - 1
"""An epoch that no adapter has reached."""

Made = tuple[PatchSet, str]
"""A message, and what the refusal must say."""


def first_task(trial: TrialGraph) -> Task:
    """The task whose patch sets are spoiled."""
    return trial.tasks[0]


def whole_patch_set(trial: TrialGraph, version: int | None = None, **facts: Any) -> PatchSet:
    """A patch set that would be taken, if nothing were spoiled."""
    task = first_task(trial)
    version = version or trial.newest_file(task) + 1
    data = made_patch_set(trial.bundle, task, version, seed=100)
    if facts:
        data = with_metadata(data, **facts)
    return _signed(trial, version, data)


def _signed(trial: TrialGraph, version: int, data: bytes, **fields: Any) -> PatchSet:
    task = first_task(trial)
    given = {"fingerprint": trial.bundle.fingerprint(task), "digest": sha256(data), **fields}
    return trial.signed(task, version, given["fingerprint"], given["digest"], data)


def _header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    return header


def with_header(data: bytes, header: bytes) -> bytes:
    """The same tensors behind another header."""
    length = int.from_bytes(data[:8], "little")
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def with_metadata(data: bytes, **facts: Any) -> bytes:
    """The same tensors with other facts in the metadata."""
    header = _header(data)
    metadata = {**json.loads(header["__metadata__"]["patchline"]), **facts}
    header["__metadata__"]["patchline"] = json.dumps(metadata)
    return with_header(data, json.dumps(header).encode())


def with_tensors(data: bytes, change: Callable[[dict[str, torch.Tensor]], None]) -> bytes:
    """The tensors changed, and the metadata's sha256 made right for them."""
    tensors = load_tensors(data)
    change(tensors)
    plain = save_tensors(tensors)
    length = int.from_bytes(plain[:8], "little")
    metadata = json.loads(_header(data)["__metadata__"]["patchline"])
    metadata["sha256"] = sha256(plain[8 + length :])
    return save_tensors(tensors, metadata={"patchline": json.dumps(metadata)})


def spoiled_patch_set(trial: TrialGraph, spoil: Spoil, **fields: Any) -> PatchSet:
    """A patch set whose data is spoiled, then signed; `fields` replace fingerprint or digest."""
    whole = whole_patch_set(trial)
    return _signed(trial, whole.version, spoil(whole.data.tobytes()), **fields)


def nan_weight(tensors: dict[str, torch.Tensor]) -> None:
    """Makes one weight NaN."""
    first = next(value for value in tensors.values() if value.is_floating_point())
    first.view(-1)[0] = math.nan


def enormous_weights(tensors: dict[str, torch.Tensor]) -> None:
    """Makes all weights so large that outputs overflow."""
    for value in tensors.values():
        if value.is_floating_point():
            value.fill_(3e38)


def infinite_weight(tensors: dict[str, torch.Tensor]) -> None:
    """Makes one weight infinite."""
    first = next(value for value in tensors.values() if value.is_floating_point())
    first.view(-1)[-1] = math.inf


def of_16_bits(tensors: dict[str, torch.Tensor]) -> None:
    """Halves the bits of all tensors."""
    for name, value in tensors.items():
        tensors[name] = value.half()


def of_integers(tensors: dict[str, torch.Tensor]) -> None:
    """Makes all tensors whole numbers."""
    for name, value in tensors.items():
        tensors[name] = value.to(torch.int64)


def emptied(tensors: dict[str, torch.Tensor]) -> None:
    """Takes all values of one tensor away."""
    tensors[sorted(tensors)[0]] = torch.zeros(0)


def renamed(tensors: dict[str, torch.Tensor]) -> None:
    """Gives one tensor a name that a terminal would obey."""
    name = sorted(tensors)[0]
    tensors[f"\x1b[31m{name}"] = tensors.pop(name)


def one_tensor_less(tensors: dict[str, torch.Tensor]) -> None:
    """Takes a tensor away."""
    tensors.pop(sorted(tensors)[0])


def one_tensor_more(tensors: dict[str, torch.Tensor]) -> None:
    """Adds a tensor that no model has."""
    tensors["stranger"] = torch.zeros(3)


def other_shape(tensors: dict[str, torch.Tensor]) -> None:
    """Gives one tensor another shape."""
    name = sorted(tensors)[0]
    tensors[name] = torch.zeros(7, 7)


def bit_flipped(data: bytes) -> bytes:
    """Flips one bit of a weight."""
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


def of_another_task(trial: TrialGraph) -> Made:
    """A patch set whose data is for another task."""
    other = trial.tasks[1]
    version = trial.newest_file(first_task(trial)) + 1
    data = made_patch_set(trial.bundle, other, version)
    return _signed(trial, version, data), "is for"


def named_another_task(trial: TrialGraph) -> Made:
    """A patch set whose message names another task."""
    msg = whole_patch_set(trial)
    msg.task = str(trial.tasks[1])
    return msg, "this node runs"


def not_signed(trial: TrialGraph) -> Made:
    """A whole patch set without a signature."""
    msg = whole_patch_set(trial)
    msg.signature = bytes_field(b"")
    return msg, "not signed"


def signed_otherwise(trial: TrialGraph) -> Made:
    """A whole patch set with a signature that no key made."""
    msg = whole_patch_set(trial)
    msg.signature = bytes_field(bytes(64))
    return msg, "signature"


def of_the_past(trial: TrialGraph) -> Made:
    """A whole patch set with the version of the newest that is stored."""
    return whole_patch_set(trial, trial.newest_file(first_task(trial))), "not newer"


def of_another_version(trial: TrialGraph) -> Made:
    """A patch set whose message and data have different versions."""
    msg = whole_patch_set(trial)
    data = msg.data.tobytes()
    return _signed(trial, msg.version + 5, data), "its data version"


def without_data(trial: TrialGraph) -> Made:
    """A patch set that has a sha256 and no data."""
    version = trial.newest_file(first_task(trial)) + 1
    return _signed(trial, version, b"", digest=FOREIGN_SHA256), "no data"


def unsigned_of_version_2_64(trial: TrialGraph) -> Made:
    """The highest version that there is, which would shut out all others."""
    msg = PatchSet(task=str(first_task(trial)), version=2**64 - 1)
    return msg, "not signed"


def unsigned_source(trial: TrialGraph) -> Made:
    """Asks for the source model, signed by nobody."""
    task = first_task(trial)
    version = trial.newest_file(task) + 1
    fingerprint = trial.bundle.fingerprint(task)
    return PatchSet(task=str(task), version=version, base_fingerprint=fingerprint), "not signed"


def of_another_car(trial: TrialGraph) -> Made:
    """A whole patch set that the same key signed for another car."""
    msg, task = whole_patch_set(trial), first_task(trial)
    text = statement("/another", task, msg.version, msg.base_fingerprint, msg.sha256)
    msg.signature = bytes_field(trial.signer.issue(text, _LATEST))
    return msg, "not by the key"


def of_another_bundle(trial: TrialGraph) -> Made:
    """Asks, signed, for the source model of another bundle."""
    version = trial.newest_file(first_task(trial)) + 1
    msg = trial.signed(first_task(trial), version, FOREIGN_SHA256, "", b"")
    return msg, "another bundle"


def signed_as_a_status(trial: TrialGraph) -> Made:
    """A whole patch set with what the nodes' key says of a status."""
    msg = whole_patch_set(trial)
    text = status_statement(CAR, "patch", msg.task, msg.version, 1, 0)
    msg.signature = bytes_field(trial.nodes_signer.sign_now(text))
    return msg, "not by the key"


def signed_as_a_file(trial: TrialGraph) -> Made:
    """A whole patch set with what the gate signed for its file, which says no time."""
    msg, task = whole_patch_set(trial), first_task(trial)
    text = statement(CAR, task, msg.version, msg.base_fingerprint, msg.sha256)
    msg.signature = bytes_field(trial.signer.sign(text))
    return msg, "does not say when it was issued"


def issued_before(trial: TrialGraph) -> Made:
    """A whole patch set that an earlier start of the adapter issued."""
    msg, task = whole_patch_set(trial), first_task(trial)
    text = statement(CAR, task, msg.version, msg.base_fingerprint, msg.sha256)
    msg.signature = bytes_field(trial.signer.issue(text, 1))
    return msg, "before the adapter's last start"


def signed_at_length(trial: TrialGraph) -> Made:
    """A whole patch set whose signature is far too long."""
    msg = whole_patch_set(trial)
    msg.signature = bytes_field(bytes(10_000))
    return msg, "not by the key"
