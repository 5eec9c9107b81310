"""How many patches a drift gets: what the predictor that the bundle carries says of its frames."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from patchline_ros.adaptation.patch_count import patches_for
from patchline_ros.adaptation.predictor import DriftedSet, NetworkPredictor, evenly
from patchline_ros.adaptation.predictor_file import PredictorError, from_bytes
from patchline_ros.adaptation.readers import TapReader, tap_features
from patchline_ros.bundle import PREDICTOR, Bundle
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.manifest import PatchCount
from patchline_ros.tasks import Image
from patchline_ros.vision.model import TaskModel

MOST_FRAMES: Final = 32
"""Of a drift that a learnt predictor looks at, evenly over all: as many as it learnt each from."""
LEAST_FRAMES: Final = 2
"""An MMD^2 takes two."""


@dataclass(frozen=True)
class PatchChoice:
    """How many patches a drift gets.

    Attributes:
        patches: at least 1, since drift was detected.
        by: what said it. It is the table, too, where a learnt predictor has too few frames.
        gflops: forward GFLOPs that it took. The table takes none: the MMD^2 is measured.
        seconds: wall time that it took, with the reading of the predictor from the bundle.
    """

    patches: int
    by: PatchCount
    gflops: float = 0.0
    seconds: float = 0.0


def choose_patches(bundle: Bundle, images: Sequence[Image], mmd2: float) -> PatchChoice:
    """Asks the bundle's predictor.

    Args:
        bundle: with a learnt predictor or the table alone.
        images: of the drift, as the watched task's model is to see them; of any size.
        mmd2: of the drift from the source, as the drift monitor measures it.

    Raises:
        BundleError: the watched model does not load.
        PredictorError: the predictor is damaged, or made for another model.
        ValueError: the MMD^2 is not a number.
    """
    entry = bundle.manifest.patch_predictor
    if entry is None or len(images) < LEAST_FRAMES:
        return PatchChoice(patches_for(bundle.manifest.patch_table, mmd2), "table")
    started = time.monotonic()
    watched = bundle.model(bundle.manifest.drift.task)
    predictor = load_predictor(bundle, watched)
    read = [images[place] for place in evenly(len(images), MOST_FRAMES)]
    with FlopCounter() as flops:
        features = np.empty((len(read), 0), np.float32)
        if isinstance(predictor.reader, TapReader):
            features = tap_features(watched, read)
        patches = predictor.predict(DriftedSet(read, features, mmd2))
    seconds = time.monotonic() - started
    return PatchChoice(max(1, patches), entry.kind, flops.total / 1e9, seconds)


def load_predictor(bundle: Bundle, watched: TaskModel) -> NetworkPredictor:
    """The learnt predictor of a bundle that has one.

    Args:
        bundle: whose manifest names a predictor.
        watched: its model of the task that is watched for drift.

    Raises:
        PredictorError: the file is damaged, or made for another model.
    """
    entry = bundle.manifest.patch_predictor
    assert entry is not None
    try:
        predictor = from_bytes((bundle.path / PREDICTOR).read_bytes())
        if predictor.reader.kind != entry.kind:
            raise PredictorError(f"it reads as {predictor.reader.kind}, not as {entry.kind}")
        _check_fit(predictor, watched)
    except PredictorError as error:
        raise PredictorError(
            f"bundle {bundle.path}: {PREDICTOR} can't be used: {error}; make the bundle again"
        ) from error
    return predictor


def _check_fit(predictor: NetworkPredictor, watched: TaskModel) -> None:
    backbone, reader = watched.backbone, predictor.reader
    if predictor.classifier.outputs != len(backbone.specs) + 1:
        raise PredictorError(
            f"it knows 0 to {predictor.classifier.outputs - 1} patches, but the "
            f"{watched.spec.task} model takes 0 to {len(backbone.specs)}"
        )
    widths = tuple(2 * channels for channels in backbone.channels)
    if isinstance(reader, TapReader) and reader.widths != widths:
        raise PredictorError(f"it reads other taps than those of the {watched.spec.task} model")
