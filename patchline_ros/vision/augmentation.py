"""Random views of samples, which source training and adaptation share.

What a view looks like is drawn first and made afterwards: processes that train together draw all
views of a batch, so that their generators agree, and each makes those of its own share.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from patchline_ros.tasks import Boxes, Image, Sample, Task
from patchline_ros.vision.inputs import flipped


class _Exposure(NamedTuple):
    """Another exposure and contrast, as a camera's automatics would give."""

    gain: float
    offset: float

    def of(self, image: Image) -> Image:
        """The picture so exposed."""
        exposed = np.maximum(image * self.gain + self.offset, 0)
        return cv2.convertScaleAbs(exposed.astype(np.float32))


class _Move(NamedTuple):
    """A sign seen a little nearer or further, turned and off centre; the border is repeated."""

    degrees: float
    scale: float
    right: float
    """Shift to the right, in widths of the picture."""
    down: float
    """Shift downwards, in heights of the picture."""

    def of(self, sample: Sample) -> Sample:
        """The sample so seen."""
        height, width = sample.image.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), self.degrees, self.scale)
        matrix[:, 2] += (self.right * width, self.down * height)
        image = cv2.warpAffine(
            sample.image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE
        )
        return Sample(image, sample.label)


class _Window(NamedTuple):
    """A road picture, perhaps in a mirror, cut to a window, at the same size."""

    mirrored: bool
    share: float
    """Length of the cut-out's sides as a share of the picture's, 0..1."""
    top: int
    left: int

    def of(self, sample: Sample) -> Sample:
        """The sample so cut."""
        if self.mirrored:
            sample = flipped(sample)
        height, width = sample.image.shape[:2]
        cut_height, cut_width = _cut(height, self.share), _cut(width, self.share)
        window = np.s_[self.top : self.top + cut_height, self.left : self.left + cut_width]
        image = cv2.resize(sample.image[window], (width, height), interpolation=cv2.INTER_LINEAR)
        label = sample.label
        if isinstance(label, Boxes):
            return Sample(image, self._boxes(label, height, width))
        if isinstance(label, np.ndarray):
            label = cv2.resize(label[window], (width, height), interpolation=cv2.INTER_NEAREST)
        return Sample(image, label)

    def _boxes(self, label: Boxes, height: int, width: int) -> Boxes:
        """The boxes of which more than 40% can still be seen."""
        boxes = (label.boxes - (self.left, self.top, self.left, self.top)) / self.share
        clipped = np.clip(boxes, 0, (width, height, width, height)).astype(np.float32)
        whole = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        visible = (clipped[:, 2:] - clipped[:, :2]).prod(axis=1)
        keep = visible > 0.4 * whole
        return Boxes(clipped[keep], label.labels[keep], label.scores[keep])


class View(NamedTuple):
    """One random view of a picture: how it is seen, and how it is exposed."""

    seen: _Move | _Window
    exposure: _Exposure

    def of(self, sample: Sample) -> Sample:
        """The sample in this view, with the label moved along."""
        sample = self.seen.of(sample)
        return Sample(self.exposure.of(sample.image), sample.label)


def _cut(side: int, share: float) -> int:
    return int(side * share)


def _draw_move(rng: np.random.Generator) -> _Move:
    degrees, scale = rng.uniform(-8, 8), rng.uniform(0.85, 1.2)
    right, down = rng.uniform(-0.08, 0.08, size=2)
    return _Move(degrees, scale, right, down)


def _draw_window(size: tuple[int, int], rng: np.random.Generator) -> _Window:
    mirrored = rng.random() < 0.5
    share = rng.uniform(0.6, 1.0)
    top, left = (int(rng.integers(0, side - _cut(side, share) + 1)) for side in size)
    return _Window(mirrored, share, top, left)


def draw_view(task: Task, size: tuple[int, int], rng: np.random.Generator) -> View:
    """Draws a view for a picture of this (height, width).

    Signs are moved and never mirrored; road pictures are cut to at least 60% of each side.
    """
    seen = _draw_move(rng) if task.traits.one_label else _draw_window(size, rng)
    return View(seen, _Exposure(rng.uniform(0.75, 1.25), rng.uniform(-20, 20)))


def augmented(task: Task, sample: Sample, rng: np.random.Generator) -> Sample:
    """One random view of a sample, with the label moved along."""
    return draw_view(task, sample.image.shape[:2], rng).of(sample)
