"""Patch sets that nobody trained, for the swaps of a trial, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from patchline_ros.bundle import Bundle
from patchline_ros.files import sha256
from patchline_ros.msg import PatchSet
from patchline_ros.nodes.conversions import bytes_field
from patchline_ros.patching.expected import Expected
from patchline_ros.patching.patch_set import PatchSetMetadata, to_bytes
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.runtime.backend import Backend
from patchline_ros.runtime.backend_pass import Engine
from patchline_ros.runtime.model_runner import ModelRunner
from patchline_ros.tasks import Image, Task
from patchline_ros.trials.expected_answers import answer_bytes

_DEVIATION = 0.05
_VISIBLE_DEVIATION = 0.3


def made_patch_set(bundle: Bundle, task: Task, version: int, seed: int = 0) -> bytes:
    """Two patches with random weights that are large enough to change the answers.

    The weights are the same for the same sum of `seed` and version.
    """
    torch.manual_seed(seed + version)
    model = PatchedModel(bundle.model(task), PatchSettings(k=2))
    with torch.no_grad():
        for parameter in model.patches.parameters():
            parameter.normal_(std=_VISIBLE_DEVIATION)
    return _patch_set(bundle, model, version, seed)


def random_patch_set(bundle: Bundle, task: Task, version: int) -> bytes:
    """One patch with random weights; the same for the same version."""
    model = PatchedModel(bundle.model(task), PatchSettings(k=1))
    generator = torch.Generator().manual_seed(version)
    with torch.no_grad():
        for weight in model.patches.parameters():
            weight.normal_(std=_DEVIATION, generator=generator)
    return _patch_set(bundle, model, version, version)


def _patch_set(bundle: Bundle, model: PatchedModel, version: int, seed: int) -> bytes:
    task = model.spec.task
    metadata = PatchSetMetadata(
        task=task,
        version=version,
        base_fingerprint=bundle.fingerprint(task),
        method=model.settings,
        norm="source",
        seed=seed,
        # Nobody watches it: what ran when it was made never runs.
        expected=Expected(
            agreement=0.5, ran="none", agreement_error=1.0, entropy=1.0, entropy_error=1.0
        ),
    )
    return to_bytes(model, metadata)


def patch_set_message(bundle: Bundle, task: Task, version: int, data: bytes) -> PatchSet:
    """What the adapter would send."""
    return PatchSet(
        task=str(task),
        version=version,
        base_fingerprint=bundle.fingerprint(task),
        sha256=sha256(data),
        data=bytes_field(data),
    )


def answers_by_version(
    bundle: Bundle,
    task: Task,
    patch_sets: Mapping[int, bytes],
    pictures: Sequence[Image],
    backend: Backend,
) -> dict[int, list[str]]:
    """The sha256 of each answer to the pictures; version 0 is the source model's."""
    runner = ModelRunner(bundle, task, Engine(backend))

    def answers() -> list[str]:
        return [sha256(answer_bytes(task, runner.infer(picture))) for picture in pictures]

    found = {0: answers()}
    for version, data in sorted(patch_sets.items()):
        runner.activate(runner.build(data, sha256(data)))
        found[version] = answers()
    return found
