"""The paper's reader of pictures, with a thin VGG16 of random weights."""

from __future__ import annotations

import torch

from patchline_ros.adaptation.readers import ImageReader


def vgg16_weights(seed: int) -> dict[str, torch.Tensor]:
    """A state dict of torchvision's VGG16 at a sixteenth of its width, without the classifier."""
    generator = torch.Generator().manual_seed(seed)
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    widths = (3, 4, 4, 8, 8, 16, 16, 16, 32, 32, 32, 32, 32, 32)
    state = {}
    for place, below, above in zip(places, widths, widths[1:], strict=False):
        deviation = (2 / (9 * below)) ** 0.5
        weight = torch.randn(above, below, 3, 3, generator=generator) * deviation
        state[f"features.{place}.weight"] = weight
        state[f"features.{place}.bias"] = torch.zeros(above)
    return state


def image_reader(seed: int = 0) -> ImageReader:
    return ImageReader(vgg16_weights(seed), (32, 40), vgg16_width=1 / 16)
