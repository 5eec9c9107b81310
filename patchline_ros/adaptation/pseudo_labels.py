"""Labels that a model makes itself: its own answers where it is sure of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.tasks import IGNORE, Boxes, Image, Label, Sample, Task
from patchline_ros.vision.evaluation import answers
from patchline_ros.vision.inputs import device_of, image_batches, resize_image


def pseudo_labelled(
    model: AdaptedModel, images: Sequence[Image], share: float, least_score: float
) -> list[Sample]:
    """The pictures at the model's size with what it is surest of, class by class.

    By classes, since otherwise the rare ones, of which a model is seldom sure, would not be taught
    at all (Zou et al., CBST, ECCV 2018). Roads are looked at in a mirror as well.

    Args:
        model: in evaluation mode.
        images: one or more.
        share: of the pixels, or of the pictures with one label, that is labelled in each class.
        least_score: of a box.

    Returns:
        One sample a picture; a picture with one label is left out where it is unsure. Pixels that
        are unsure are IGNORE.
    """
    small = [resize_image(image, model.spec.input_size) for image in images]
    if model.spec.task is Task.DETECTION:
        return _boxes(model, small, least_score)
    probabilities = _probabilities(model, small)
    confidence, labels = (found.numpy() for found in probabilities.max(dim=1))
    sure = np.zeros(labels.shape, dtype=bool)
    for label in np.unique(labels):
        of_class = labels == label
        sure |= of_class & (confidence >= np.quantile(confidence[of_class], 1 - share))
    if model.spec.task.traits.one_label:
        rows = np.flatnonzero(sure[:, 0])
        return [Sample(small[row], int(labels[row, 0])) for row in rows]
    maps = np.where(sure, labels, IGNORE).astype(np.uint8)
    size = model.spec.input_size
    return [Sample(image, each.reshape(size)) for image, each in zip(small, maps, strict=True)]


def _boxes(model: AdaptedModel, images: Sequence[Image], least_score: float) -> list[Sample]:
    found = answers(model, images).labels
    return [
        Sample(image, _surest(label, least_score))
        for image, label in zip(images, found, strict=True)
    ]


def _surest(label: Label, least_score: float) -> Boxes:
    assert isinstance(label, Boxes)
    sure = label.scores >= least_score
    return Boxes.truth(label.boxes[sure], label.labels[sure])


def _probabilities(model: AdaptedModel, images: Sequence[Image]) -> Tensor:
    """(n, C, outputs) of every picture; of a road also as seen in a mirror, and averaged."""
    found = []
    with torch.inference_mode():
        for batch in image_batches(model.spec, images, device=device_of(model)):
            probabilities = model.head.probabilities(model(batch))
            if not model.spec.task.traits.one_label:
                mirrored = model.head.probabilities(model(batch.flip(-1)))
                probabilities = (probabilities + _seen_back(mirrored, model.spec.input_size)) / 2
            found.append(probabilities.cpu())
    return torch.cat(found)


def _seen_back(mirrored: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H * W) of mirrored pictures, in the pixels of the pictures themselves."""
    return mirrored.unflatten(2, size).flip(-1).flatten(2)
