"""MMD^2 in time and memory that grow with the number of rows, not with its square.

Random Fourier features (Rahimi and Recht, NIPS 2007): the kernel is the mean of cos(w (x - y)) over
frequencies w drawn from its spectrum, so that MMD^2 is the mean over the frequencies of the squared
distance between the two samples' characteristic functions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchline_ros.drift.kernels import (
    Bandwidth,
    Real,
    checked_bandwidths,
    checked_sample,
    checked_samples,
    product,
)


class Estimate(NamedTuple):
    """An MMD^2 and the standard error that comes from the choice of the frequencies."""

    mmd2: float
    error: float


class RandomFeatures:
    """Frequencies of an RBF kernel, or of a mean of several, drawn once from a seed.

    The estimate's expectation over the seeds is the exact MMD^2 of the same rows. Each of the D
    frequencies contributes between 0 and 4, so where the exact biased MMD^2 is V, the biased
    estimate's standard error is at most sqrt(V (4 - V) / D), and never above 2 / sqrt(D). The
    unbiased one's is larger by (1 / (n - 1) + 1 / (m - 1)) / (2 sqrt(D)) at most.
    """

    def __init__(self, width: int, bandwidth: Bandwidth, frequencies: int, seed: int) -> None:
        """Draws the frequencies; each bandwidth has the same number of them.

        Args:
            width: features of a row, d.
            bandwidth: as in mmd2().
            frequencies: their number, D.
            seed: decides them.

        Raises:
            ValueError: fewer than two frequencies, or a number the bandwidths don't divide; a
                bandwidth that is not positive and finite.
        """
        bandwidths = checked_bandwidths(bandwidth)
        if frequencies < 2 or frequencies % len(bandwidths):
            raise ValueError(
                f"there are {frequencies} frequencies; there must be at least 2, and a multiple of "
                f"the number of bandwidths, {len(bandwidths)}"
            )
        normal = np.random.default_rng(seed).standard_normal((width, frequencies))
        scale = np.resize(bandwidths, frequencies)
        self.frequencies: NDArray[np.float32] = (normal / scale).astype(np.float32)
        """(d, D)"""

    def waves(self, x: Real, centre: Real) -> NDArray[np.complex64]:
        """(n, D) exp(i w (x - centre)) of the rows of x (n, d).

        Raises:
            ValueError: rows of another width than the frequencies.
        """
        if x.shape[1] != len(self.frequencies):
            raise ValueError(
                f"rows of {x.shape[1]} features came, the frequencies are for "
                f"{len(self.frequencies)}"
            )
        phase = product((x - centre).astype(np.float32), self.frequencies)
        waves = np.empty(phase.shape, dtype=np.complex64)
        waves.real, waves.imag = np.cos(phase), np.sin(phase)
        return waves

    def mmd2(self, x: Real, y: Real, *, biased: bool = False) -> Estimate:
        """MMD^2 between two samples (n, d) and (m, d) in O((n + m) d D).

        Raises:
            ValueError: as mmd2() of the module mmd; or rows of another width than the frequencies.
        """
        x, y = checked_samples(x, y)
        centre = _centre(y)
        return _estimate(
            self.waves(x, centre).mean(axis=0, dtype=np.complex128),
            len(x),
            self.waves(y, centre).mean(axis=0, dtype=np.complex128),
            len(y),
            biased,
        )


class WindowMMD:
    """MMD^2 of the last frames of a stream against a fixed reference, frame by frame.

    A frame costs its projection, O(d D), and O(D) to move the window, whatever the sizes of
    the window and the reference. The result is that of RandomFeatures.mmd2(window, reference) but
    for float64 rounding.
    """

    def __init__(
        self, features: RandomFeatures, reference: Real, window: int, *, biased: bool = False
    ) -> None:
        """Reads the reference (n, d) once.

        Raises:
            ValueError: a reference as in checked_sample() or of another width than the frequencies;
                a window below 2.
        """
        checked_sample(reference, "the reference")
        if window < 2:
            raise ValueError(f"a window has {window} frames; it must have at least 2")
        self._features = features
        self._biased = biased
        self._centre = _centre(reference)
        waves = features.waves(reference, self._centre)
        self._reference = waves.mean(axis=0, dtype=np.complex128)
        self._reference_rows = len(reference)
        self._ring = np.zeros((window, waves.shape[1]), dtype=np.complex64)
        self._sum = np.zeros(waves.shape[1], dtype=np.complex128)
        self._frames = 0

    def push(self, frame: Real) -> Estimate | None:
        """Takes in one frame's features (d,); an estimate once the window is full.

        Raises:
            ValueError: features of another width, or that are not finite; the window stays as it
                was.
        """
        if frame.ndim != 1:
            raise ValueError(f"a frame has shape {frame.shape}; it must be one feature vector")
        if not np.isfinite(frame).all():
            raise ValueError("a frame has features that are not finite; it is not used")
        waves = self._features.waves(frame[None], self._centre)[0]
        place = self._frames % len(self._ring)
        self._sum += waves.astype(np.complex128) - self._ring[place]
        self._ring[place] = waves
        self._frames += 1
        if self._frames < len(self._ring):
            return None
        return _estimate(
            self._sum / len(self._ring),
            len(self._ring),
            self._reference,
            self._reference_rows,
            self._biased,
        )


def _centre(reference: Real) -> NDArray[np.float64]:
    """(d,) what phases are counted from: near the rows they are small, and exact in float32."""
    return reference.mean(axis=0, dtype=np.float64)


def _estimate(
    x: NDArray[np.complex128], n: int, y: NDArray[np.complex128], m: int, biased: bool
) -> Estimate:
    """MMD^2 and its error from two samples' characteristic functions (D,) and sizes."""
    within_x, within_y = np.abs(x) ** 2, np.abs(y) ** 2
    if not biased:
        # A row's kernel with itself is 1 at every frequency.
        within_x, within_y = (n * within_x - 1) / (n - 1), (m * within_y - 1) / (m - 1)
    terms = within_x + within_y - 2 * (x * y.conj()).real
    return Estimate(float(terms.mean()), float(terms.std(ddof=1) / np.sqrt(len(terms))))
