"""Labelled samples of one task and size as a few tensors, for files of safetensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from patchline_ros.tasks import Boxes, Label, Sample


def sample_tensors(samples: Sequence[Sample]) -> dict[str, Tensor]:
    """Pictures and labels of one or more samples of one task and size.

    Returns:
        `images` uint8 (n, H, W, 3) and `labels`: int64 (n,) or uint8 (n, H, W). For boxes `counts`
        int64 (n,), and one after the other `boxes` float32 (m, 4) and `labels` int64 (m,).
    """
    tensors = {"images": torch.from_numpy(np.stack([sample.image for sample in samples]))}
    boxes = [sample.label for sample in samples if isinstance(sample.label, Boxes)]
    if not boxes:
        tensors["labels"] = torch.from_numpy(np.stack([np.asarray(s.label) for s in samples]))
        return tensors
    tensors["counts"] = torch.tensor([len(each) for each in boxes])
    tensors["boxes"] = torch.from_numpy(np.concatenate([each.boxes for each in boxes]))
    tensors["labels"] = torch.from_numpy(np.concatenate([each.labels for each in boxes]))
    return tensors


def samples_of(tensors: Mapping[str, Tensor]) -> list[Sample]:
    """The samples of such tensors.

    Raises:
        KeyError, RuntimeError, ValueError: they are not what `sample_tensors` makes.
    """
    labels: list[Label]
    if "counts" in tensors:
        counts = tensors["counts"].tolist()
        each = zip(tensors["boxes"].split(counts), tensors["labels"].split(counts), strict=True)
        labels = [Boxes.truth(boxes.numpy(), ids.numpy()) for boxes, ids in each]
    elif tensors["labels"].dim() == 1:
        labels = tensors["labels"].tolist()
    else:
        labels = list(tensors["labels"].numpy())
    return [
        Sample(image, label) for image, label in zip(tensors["images"].numpy(), labels, strict=True)
    ]
