"""One task's model as it runs on the car: the source, the patched one, the swap, the way back."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchline_ros.bundle import Bundle
from patchline_ros.files import sha256
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.methods import MethodSettings
from patchline_ros.patching.patch_set import PatchSetError, PatchSetMetadata, apply, read_metadata
from patchline_ros.runtime.backend_pass import (
    PYTORCH_ON_CPU,
    BackendError,
    Engine,
    Run,
    graph_path,
    listed_as,
    runnable,
)
from patchline_ros.runtime.model_pass import ModelPass
from patchline_ros.runtime.swap_monitor import SwapMonitor
from patchline_ros.tasks import Image, Label, Task
from patchline_ros.vision.agreement import agreement
from patchline_ros.vision.heads.base import tensors_in
from patchline_ros.vision.inputs import image_tensor, resize_image, to_picture

KEPT: Final = 2
"""Patched models before the running one that are kept, so that it can be rolled back to them."""


class AnswerError(ValueError):
    """A model has said nothing about a picture; the message says why in one sentence."""


@dataclass(frozen=True)
class Perception:
    """What a model says about one picture.

    Attributes:
        prediction: class id, boxes or class map, in pixels of the picture that was given.
        confidence: probability of the class (classification), else the best box's score or the mean
            probability of the pixels' classes.
        entropy: mean entropy of the outputs in nats.
        features: (d,) float32, what the drift monitor compares; always of the *source* backbone,
            so that a swap does not look like a change of scene.
        patch_version: of the patch set that was active, 0 for the source model.
    """

    prediction: Label
    confidence: float
    entropy: float
    features: NDArray[np.float32]
    patch_version: int


@dataclass(frozen=True)
class Candidate:
    """A patched model that passed its checks and was run once."""

    run: Run
    metadata: PatchSetMetadata
    sha256: str
    """SHA-256 of the patch set's bytes."""
    runs_on: str
    """Library and device, in words."""

    @property
    def version(self) -> int:
        """Version of the patch set."""
        return self.metadata.version

    def is_the_model_of(self, other: Candidate) -> bool:
        """Whether both are the same model, though perhaps by another version."""
        mine, others = self.metadata, other.metadata
        return (mine.sha256, mine.method) == (others.sha256, others.method)


class ModelRunner:
    """Runs one task's model; swaps and removes patch sets.

    `infer`, `watch`, `activate` and `rollback` belong to one thread; `build` may run in another
    beside them.
    """

    def __init__(self, bundle: Bundle, task: Task, engine: Engine = PYTORCH_ON_CPU) -> None:
        """Loads the source model.

        Args:
            bundle: of the models.
            task: whose model.
            engine: what runs it and the patched ones.

        Raises:
            BundleError: the bundle has no such model or it does not load.
            BackendError: the backend can't run it, or the device is not there.
        """
        self.task = task
        self._bundle, self._engine = bundle, engine
        self.spec = bundle.spec(task)
        self._fingerprint = bundle.fingerprint(task)
        self._source = bundle.model(task).requires_grad_(False)
        self._drift_tap = bundle.manifest.drift.tap
        self._run_source, self._source_runs_on = self._runnable(None, None)
        self._active: Candidate | None = None
        self._earlier: deque[Candidate] = deque(maxlen=KEPT)
        self._monitor: SwapMonitor | None = None

    @property
    def fingerprint(self) -> str:
        """Of the source model."""
        return self._fingerprint

    @property
    def runs_on(self) -> str:
        """Library and device of the model that runs, in words."""
        return self._active.runs_on if self._active else self._source_runs_on

    @property
    def active(self) -> Candidate | None:
        """The patched model that runs; None: the source model does."""
        return self._active

    @property
    def patch_version(self) -> int:
        """Version of the active patch set, 0 for the source model."""
        return self._active.version if self._active else 0

    def infer(self, image: Image) -> Perception:
        """Result for one uint8 RGB picture (H, W, 3) of any size.

        Raises:
            AnswerError: the outputs or features are not finite, as those of weights that are.
        """
        run = self._active.run if self._active else self._run_source
        with torch.inference_mode():
            raw, features = run(self._input(image))
            if not _all_finite([*tensors_in(raw), features]):
                raise AnswerError("its outputs on a picture are not finite")
            read = self._source.head.read(raw)
            return Perception(
                prediction=to_picture(read.labels[0], image.shape[:2], self.spec.input_size),
                confidence=float(read.confidences[0]),
                entropy=float(read.entropies[0]),
                features=features[0].numpy(),
                patch_version=self.patch_version,
            )

    def watch(self, image: Image, perception: Perception) -> str | None:
        """What the patch set does after its swap; one that has collapsed is taken back at once.

        To be called with each picture once its result is out, since it may cost another pass.

        Returns:
            Why the patch set was taken back; None: it was not.
        """
        if self._monitor is None or not self._monitor.due():
            return None
        before = self._earlier[-1].run if self._earlier else self._run_source
        with torch.inference_mode():
            raw, _ = before(self._input(image))
            decoded = self._source.head.decode(raw)[0]
        answer = to_picture(decoded, image.shape[:2], self.spec.input_size)
        self._monitor.add(agreement(answer, perception.prediction), perception.entropy)
        if not self._monitor.finished:
            return None
        collapse = self._monitor.collapse()
        self._monitor = None
        if collapse is not None:
            self.rollback()
        return collapse

    def _runnable(
        self, adapted: AdaptedModel | None, method: MethodSettings | None
    ) -> tuple[Run, str]:
        whole = ModelPass(self._source, adapted, self._drift_tap).eval()
        graph = graph_path(self._bundle.path, self.spec, method, self._drift_tap)
        digest = self._bundle.manifest.files.get(listed_as(graph))
        return runnable(self._engine, whole, self.spec, graph, digest)

    def _input(self, image: Image) -> Tensor:
        return image_tensor(resize_image(image, self.spec.input_size))[None]

    def build(self, data: bytes, digest: str) -> Candidate:
        """Checks a patch set, builds the patched model beside the running one and runs it once.

        Args:
            data: the patch set's bytes.
            digest: their sha256, as the sender computed it.

        Raises:
            PatchSetError: with one sentence that says why the patch set is refused.
        """
        if sha256(data) != digest:
            raise PatchSetError(
                f"the patch set's sha256 is {sha256(data)[:12]}..., "
                f"its sender said {digest[:12]}..."
            )
        model = apply(self._source, self._fingerprint, data).requires_grad_(False)
        metadata = read_metadata(data)
        try:
            run, runs_on = self._runnable(model, metadata.method)
        except BackendError as error:
            raise PatchSetError(str(error)) from error
        generator = torch.Generator().manual_seed(0)
        probe = torch.randn((1, 3, *self.spec.input_size), generator=generator)
        with torch.inference_mode():
            raw, _ = run(probe)
        if not _all_finite(tensors_in(raw)):
            raise PatchSetError("the patched model gives outputs that are not finite")
        return Candidate(run, metadata, digest, runs_on)

    def activate(self, candidate: Candidate) -> None:
        """Swaps the patched model in; to be called between two frames.

        Where the same model runs already, it only goes by the new version from now on. It is
        watched where the model before it is the one that it was compared with at the gate: a node
        that started meanwhile, or went back, runs another, of which the gate says nothing.
        """
        if self._active is not None and self._active.is_the_model_of(candidate):
            self._active = candidate
            return
        before = self._active.metadata.sha256 if self._active else ""
        if self._active is not None:
            self._earlier.append(self._active)
        self._active = candidate
        expected = candidate.metadata.expected
        self._monitor = SwapMonitor(expected) if expected and expected.ran == before else None

    def rollback(self) -> int | None:
        """Back to the model that ran before; the version that was removed, None if none was.

        That is the patched model before this one, of which the last two are kept, or the source
        model; either way bit for bit.
        """
        removed = self._active.version if self._active else None
        self._active = self._earlier.pop() if self._earlier else None
        self._monitor = None
        return removed

    def return_to_source(self) -> None:
        """Back to the source model, bit for bit; nothing is kept."""
        self._active = self._monitor = None
        self._earlier.clear()


def _all_finite(outputs: Iterable[Tensor]) -> bool:
    # Of the least and the greatest value, which are NaN where any is; a test of each takes longer.
    bounds = [bound for output in outputs if output.numel() for bound in output.aminmax()]
    return all(math.isfinite(float(bound)) for bound in bounds)
