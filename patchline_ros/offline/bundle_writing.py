"""Writes a bundle's folder; `patchline_ros.bundle` says what is in it, and reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors

from patchline_ros.bundle import (
    CARD,
    EXAMPLES,
    HELD_OUT,
    MANIFEST,
    PREDICTOR,
    REFERENCE,
    SIGNATURE,
    SOURCE_FRAMES,
    TRAINED_ON,
    Bundle,
    prepared_file,
)
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.files import remove_leftovers, sha256, write_file, write_files
from patchline_ros.manifest import Manifest, PreparedEntry
from patchline_ros.signing import Signer, bundle_statement
from patchline_ros.tasks import Image, Sample, Task
from patchline_ros.vision.model import TaskModel
from patchline_ros.vision.sample_tensors import sample_tensors


@dataclass(frozen=True)
class PictureRecord:
    """What a bundle says of one task's pictures.

    Attributes:
        trained_on: names of those that the model was trained on.
        held_out: names of those that it was measured on.
        examples: a few of the latter, all of one size.
        frames: a few of the latter with their labels, by which a car's gate sees what was unlearnt.
    """

    trained_on: Sequence[str]
    held_out: Sequence[str]
    examples: Sequence[Image]
    frames: Sequence[Sample] = ()


def save_bundle(
    path: Path,
    manifest: Manifest,
    models: Mapping[Task, TaskModel],
    reference: DriftReference,
    pictures: Mapping[Task, PictureRecord],
    predictor: bytes = b"",
    prepared: Mapping[Task, bytes] = MappingProxyType({}),
) -> Bundle:
    """Writes a bundle; the manifest last, with the sha256 of the other files filled in.

    What is there of an earlier bundle, or of one that was not finished, goes.

    Args:
        path: folder of the bundle.
        manifest: without `files`.
        models: source models.
        reference: of the drift monitor.
        pictures: of each task.
        predictor: the file of the learnt patch predictor; empty where there is none.
        prepared: the patch sets that were trained before the car leaves.

    Raises:
        OSError: the disk refuses it.
    """
    path.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    _remove_earlier(path, models)
    contents = {
        f"{task}.safetensors": save_tensors(
            {name: value.contiguous() for name, value in model.state_dict().items()}
        )
        for task, model in models.items()
    }
    contents[REFERENCE] = _reference(reference)
    contents[TRAINED_ON] = _listing({task: of.trained_on for task, of in pictures.items()})
    contents[HELD_OUT] = _listing({task: of.held_out for task, of in pictures.items()})
    contents[EXAMPLES] = save_arrays(
        {str(task): np.stack(of.examples) for task, of in pictures.items() if of.examples}
    )
    frames = {task: of.frames for task, of in pictures.items() if of.frames}
    if frames:
        contents[SOURCE_FRAMES] = _source_frames(frames)
    contents |= {prepared_file(task): data for task, data in prepared.items()}
    if predictor:
        contents[PREDICTOR] = predictor
    for name, data in contents.items():
        write_file(path / name, data)
    whole = manifest.model_copy(
        update={"files": {name: sha256(data) for name, data in sorted(contents.items())}}
    )
    write_file(path / MANIFEST, whole.model_dump_json(indent=1).encode())
    return Bundle(path, whole)


def _remove_earlier(path: Path, models: Mapping[Task, TaskModel]) -> None:
    """Removes an earlier bundle's files but those that are written anew; the manifest first."""
    prepared = {prepared_file(task) for task in Task}
    weights = {f"{name}.safetensors" for task in Task for name in (task, *task.earlier_names)}
    others = weights - {f"{task}.safetensors" for task in models}
    for earlier in (MANIFEST, SIGNATURE, CARD, PREDICTOR, SOURCE_FRAMES, *prepared, *others):
        (path / earlier).unlink(missing_ok=True)


def add_prepared(
    bundle: Bundle, entries: Mapping[Task, PreparedEntry], prepared: Mapping[Task, bytes]
) -> Bundle:
    """Adds prepared patches to a bundle, or replaces them; the manifest is written last.

    Args:
        bundle: that is whole.
        entries: what the manifest says of them.
        prepared: the patch sets.

    Raises:
        OSError: the disk refuses it; then the bundle is what it was.
    """
    old = {prepared_file(task) for task in bundle.manifest.prepared}
    files = {name: digest for name, digest in bundle.manifest.files.items() if name not in old}
    manifest = bundle.manifest.model_copy(update={"prepared": dict(entries), "files": files})
    return _changed(bundle, manifest, {prepared_file(t): data for t, data in prepared.items()})


def add_source_frames(bundle: Bundle, frames: Mapping[Task, Sequence[Sample]]) -> Bundle:
    """Keeps labelled source frames in a bundle that is whole, or replaces them.

    Args:
        bundle: whose tasks the frames are of.
        frames: of each task, one or more at the model's size.

    Raises:
        OSError: the disk refuses it.
    """
    return _changed(bundle, bundle.manifest, {SOURCE_FRAMES: _source_frames(frames)})


def replace_reference(
    bundle: Bundle, reference: DriftReference, facts: Mapping[str, Any]
) -> Bundle:
    """Gives a bundle that is whole another reference of the drift monitor.

    Args:
        bundle: whose models the reference is of.
        reference: what it gets.
        facts: fields of the manifest that go with it.

    Raises:
        OSError: the disk refuses it.
    """
    manifest = bundle.manifest.model_copy(update=dict(facts))
    return _changed(bundle, manifest, {REFERENCE: _reference(reference)})


def _reference(reference: DriftReference) -> bytes:
    return save_arrays(
        {
            "features": reference.features,
            "mean": reference.whitening.mean,
            "whitening": reference.whitening.matrix,
            "null": reference.null,
        }
    )


def _source_frames(frames: Mapping[Task, Sequence[Sample]]) -> bytes:
    return save_tensors(
        {
            f"{task}.{name}": value.contiguous()
            for task, samples in frames.items()
            for name, value in sample_tensors(samples).items()
        }
    )


def sign_bundle(bundle: Bundle, signer: Signer) -> None:
    """Signs the manifest as it is, and with it each file that it lists.

    Raises:
        OSError: the disk refuses it.
    """
    manifest = (bundle.path / MANIFEST).read_bytes()
    write_file(bundle.path / SIGNATURE, signer.sign(bundle_statement(manifest)))


def list_files(bundle: Bundle, digests: Mapping[str, str]) -> Bundle:
    """Adds files that lie in a bundle's folder to its manifest, by name, with their sha256.

    Raises:
        OSError: the disk refuses it; then the bundle is what it was.
    """
    files = {**bundle.manifest.files, **digests}
    return _changed(bundle, bundle.manifest.model_copy(update={"files": files}), {})


def _changed(bundle: Bundle, manifest: Manifest, contents: Mapping[str, bytes]) -> Bundle:
    """The bundle with other files, which its manifest gets the sha256 of; all at once or not.

    Args:
        bundle: that is whole.
        manifest: what it gets.
        contents: of files, by name.

    Raises:
        OSError: the disk refuses it; then the bundle is what it was.
    """
    files = manifest.files | {name: sha256(data) for name, data in contents.items()}
    whole = manifest.model_copy(update={"files": dict(sorted(files.items()))})
    text = whole.model_dump_json(indent=1).encode()
    folder = bundle.path
    write_files({**{folder / name: contents[name] for name in contents}, folder / MANIFEST: text})
    return Bundle(folder, whole)


def _listing(names: Mapping[Task, Sequence[str]]) -> bytes:
    listed = {str(task): list(of_task) for task, of_task in names.items()}
    return json.dumps(listed, indent=1).encode()
