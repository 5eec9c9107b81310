"""The bundle: the folder that an offline run makes and a car loads.

    manifest.json            what is in it, with the sha256 of each file
    manifest.sig             its signature, where somebody has signed it
    TASK.safetensors         the source model of each task
    reference.safetensors    source features and the null of the drift test
    trained_on.json          names of the pictures that the models were trained on
    held_out.json            names of those that they were measured on
    examples.safetensors     a few of the latter, for the card
    source_frames.safetensors    a few of the latter with their labels, that no message can change
    predictor.safetensors    the learnt patch predictor, where there is one
    prepared-TASK.safetensors    patches that were trained before the car left, where there are any
    card.html                for people; not in the manifest, so it may be deleted or made again

Reading checks everything before anything is used; a manifest is written last, so a folder with a
manifest is whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.torch import load as load_tensors
from torch import Tensor

from patchline_ros.drift.monitor import DriftReference
from patchline_ros.drift.whitening import Whitening
from patchline_ros.files import sha256
from patchline_ros.manifest import BundleError, Manifest, ModelEntry, read_manifest
from patchline_ros.messages.label_check import check_label
from patchline_ros.signing import SigningError, Verifier, bundle_statement
from patchline_ros.tasks import Image, Sample, Task
from patchline_ros.vision.model import ModelSpec, TaskModel, fingerprint
from patchline_ros.vision.sample_tensors import samples_of

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
REFERENCE = "reference.safetensors"
TRAINED_ON = "trained_on.json"
HELD_OUT = "held_out.json"
EXAMPLES = "examples.safetensors"
SOURCE_FRAMES = "source_frames.safetensors"
PREDICTOR = "predictor.safetensors"
CARD = "card.html"


def _weights(manifest: Manifest, task: Task) -> str:
    """The file of a task's source model; bundles of formats 1 and 2 have an earlier name for it."""
    names = [f"{name}.safetensors" for name in (task, *task.earlier_names)]
    return next((name for name in names if name in manifest.files), names[0])


_FILE_NAME: Final = re.compile(r"(onnx/)?[^/\x00.][^/\x00]*")
"""Of a file in the folder itself, or of a graph of `patchline export` below it."""
_NAMES: Final = TypeAdapter(dict[Task, list[str]])
_TASK_NAMES: Final = {name for task in Task for name in (str(task), *task.earlier_names)}


def _is_like(found: NDArray[Any], shape: tuple[int | None, ...]) -> bool:
    """Whether finite numbers have this shape; None: any length."""
    fits = len(found.shape) == len(shape) and all(
        have > 0 and want in (None, have) for have, want in zip(found.shape, shape, strict=True)
    )
    return fits and found.dtype.kind == "f" and bool(np.isfinite(found).all())


def prepared_file(task: Task) -> str:
    """Name of the file of a task's prepared patches."""
    return f"prepared-{task}.safetensors"


def _check_signature(path: Path, manifest: bytes, key: Path) -> None:
    """Raises BundleError for a manifest that the key has not signed."""
    try:
        verifier = Verifier(key)
        verifier.check(bundle_statement(manifest), (path / SIGNATURE).read_bytes())
    except SigningError as error:
        raise BundleError(
            f"the manifest of bundle {path} is not to be trusted: {error}; where you have changed "
            "the bundle yourself, sign it again with `patchline bundle sign`"
        ) from error
    except OSError as error:
        raise BundleError(
            f"bundle {path} is not signed, and only one that {key} has signed is loaded; sign it "
            "with `patchline bundle sign`"
        ) from error


class Bundle:
    """A bundle on disk, checked."""

    def __init__(self, path: Path, manifest: Manifest, key: Path | None = None) -> None:
        """`key` is the file of the public key that it was signed with; None: nobody asked."""
        self.path = path
        self.manifest = manifest
        self.key = key

    @classmethod
    def load(cls, path: Path, key: Path | None = None) -> Bundle:
        """Reads and checks a bundle: the manifest, that each file is there, and each sha256.

        Args:
            path: its folder.
            key: NAME.pub, whose signature the manifest has to have; None: it needs none.

        Raises:
            BundleError: with one sentence that says what is wrong.
        """
        manifest_path = path / MANIFEST
        if path.is_file():
            raise BundleError(f"bundle {path} is a file: give the folder that it lies in")
        if not path.is_dir():
            raise BundleError(
                f"bundle {path} does not exist; make one with `patchline offline` or name another"
            )
        if not manifest_path.is_file():
            raise BundleError(f"bundle {path} has no {MANIFEST}: it is not a bundle, or not whole")
        text = manifest_path.read_bytes()
        if key is not None:
            _check_signature(path, text, key)
        manifest = read_manifest(text, manifest_path)
        for name, digest in manifest.files.items():
            file = path / name
            if not _FILE_NAME.fullmatch(name):
                raise BundleError(f"bundle {path} names the file {name!r} outside of itself")
            if not file.is_file():
                raise BundleError(f"bundle {path} lacks the file {name}; make or copy it again")
            if sha256(file.read_bytes()) != digest:
                raise BundleError(
                    f"bundle {path} is damaged: {name} does not have the sha256 of the manifest"
                )
        missing = {_weights(manifest, task) for task in manifest.models} | {REFERENCE, TRAINED_ON}
        if manifest.patch_predictor is not None:
            missing.add(PREDICTOR)
        missing |= {prepared_file(task) for task in manifest.prepared}
        missing -= manifest.files.keys()
        if missing:
            raise BundleError(f"bundle {path}: the manifest does not list {sorted(missing)[0]}")
        return cls(path, manifest, key)

    def model(self, task: Task) -> TaskModel:
        """The source model of a task, in evaluation mode.

        Raises:
            BundleError: the bundle has no such model, or its weights are not what it says.
        """
        entry = self._entry(task)
        model = TaskModel(entry.spec)
        try:
            tensors = load_tensors((self.path / _weights(self.manifest, task)).read_bytes())
            model.load_state_dict(tensors)
        except (SafetensorError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise BundleError(
                f"bundle {self.path}: {task} model does not load: {reason}"
            ) from error
        if fingerprint(model) != entry.fingerprint:
            raise BundleError(
                f"bundle {self.path}: the {task} model does not have the manifest's fingerprint"
            )
        return model.eval()

    def _entry(self, task: Task) -> ModelEntry:
        if task not in self.manifest.models:
            known = ", ".join(sorted(str(task) for task in self.manifest.models))
            raise BundleError(f"bundle {self.path} has no model for {task}; it has {known}")
        return self.manifest.models[task]

    def spec(self, task: Task) -> ModelSpec:
        """How the model of a task is built."""
        return self._entry(task).spec

    def prepared(self, task: Task) -> bytes:
        """The patch set of a task that was trained before the car left.

        Raises:
            BundleError: the bundle has none for the task.
        """
        if task not in self.manifest.prepared:
            raise BundleError(f"bundle {self.path} has no prepared patches for {task}")
        return (self.path / prepared_file(task)).read_bytes()

    def fingerprint(self, task: Task) -> str:
        """Fingerprint of the task's source model, which each patch set names."""
        return self._entry(task).fingerprint

    @cached_property
    def trained_on(self) -> dict[Task, list[str]]:
        """Names of the pictures that each source model was trained on."""
        return self._names(TRAINED_ON)

    @cached_property
    def held_out(self) -> dict[Task, list[str]]:
        """Names of the pictures that each was measured on; none in a bundle of format 1."""
        return self._names(HELD_OUT) if HELD_OUT in self.manifest.files else {}

    def _names(self, file: str) -> dict[Task, list[str]]:
        """Raises BundleError where the file holds something else."""
        try:
            names = _NAMES.validate_json((self.path / file).read_bytes())
        except ValidationError as error:
            raise BundleError(
                f"bundle {self.path}: {file} holds no lists of names by task: "
                f"{error.errors()[0]['msg']}"
            ) from error
        return names

    def _arrays(self, file: str) -> dict[str, NDArray[Any]]:
        """Raises BundleError where the file is none of arrays."""
        try:
            return load_arrays((self.path / file).read_bytes())
        except (SafetensorError, KeyError) as error:
            # KeyError: of a type that NumPy does not have.
            raise BundleError(f"bundle {self.path}: {file} does not load: {error}") from error

    @cached_property
    def examples(self) -> dict[Task, list[Image]]:
        """A few held-out pictures of each task, in the models' order; none in one of format 1.

        Raises:
            BundleError: the file holds something else.
        """
        if EXAMPLES not in self.manifest.files:
            return {}
        arrays = self._arrays(EXAMPLES)
        # The file says no order.
        there: dict[Task, list[Image]] = {}
        for name, images in arrays.items():
            if name not in _TASK_NAMES or images.dtype != np.uint8 or images.shape[3:] != (3,):
                raise BundleError(
                    f"bundle {self.path}: {EXAMPLES} holds {name[:40]!r} of {images.dtype} "
                    f"{images.shape}, which are no pictures of a task"
                )
            there[Task(name)] = list(images)
        return {task: there[task] for task in self.manifest.models if task in there}

    @cached_property
    def source_frames(self) -> dict[Task, list[Sample]]:
        """A few held-out samples of each task at the model's size; a bundle may have none.

        Raises:
            BundleError: the file holds something else.
        """
        if SOURCE_FRAMES not in self.manifest.files:
            return {}
        try:
            tensors = load_tensors((self.path / SOURCE_FRAMES).read_bytes())
            frames = {task: self._frames_of(task, tensors) for task in self.manifest.models}
        except (SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise BundleError(
                f"bundle {self.path}: {SOURCE_FRAMES} holds no labelled pictures: {error}"
            ) from error
        return {task: samples for task, samples in frames.items() if samples}

    def _frames_of(self, task: Task, tensors: Mapping[str, Tensor]) -> list[Sample]:
        """Those of a task; raises what `source_frames` catches."""
        own = {
            name.removeprefix(f"{task}."): value
            for name, value in tensors.items()
            if name.startswith(f"{task}.")
        }
        if not own:
            return []
        spec, images = self.spec(task), own["images"]
        if images.dtype is not torch.uint8 or images.shape[1:] != (*spec.input_size, 3):
            raise ValueError(f"{images.dtype} {tuple(images.shape)} for {task}")
        if own["labels"].dtype not in (torch.uint8, torch.int64):
            raise ValueError(f"labels of {own['labels'].dtype} for {task}")
        samples = samples_of(own)
        for sample in samples:
            check_label(task, spec.classes, sample)
        return samples

    @cached_property
    def drift_reference(self) -> DriftReference:
        """What the drift monitor compares with.

        Raises:
            BundleError: the file holds something else.
        """
        arrays, drift = self._arrays(REFERENCE), self.manifest.drift
        width = arrays["features"].shape[-1] if "features" in arrays else 0
        # Bundles of formats before 5 put each feature on a scale of its own.
        earlier = "scale" in arrays
        shapes = {"features": (None, width), "mean": (width,), "null": (None,)}
        shapes |= {"scale": (width,)} if earlier else {"whitening": (width, width)}
        for name, shape in shapes.items():
            found = arrays.get(name)
            if found is None or not _is_like(found, shape):
                raise BundleError(
                    f"bundle {self.path}: {REFERENCE} has no {name} that frames can be compared "
                    "with"
                )
        mean = arrays["mean"]
        return DriftReference(
            features=arrays["features"],
            whitening=Whitening.by_deviations(mean, arrays["scale"])
            if earlier
            else Whitening(mean, arrays["whitening"]),
            bandwidth=drift.bandwidth,
            null=arrays["null"].astype(np.float64),
            threshold=drift.threshold,
            window=drift.window,
        )
