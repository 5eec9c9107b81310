"""Compares our permutation test with alibi-detect's: same samples, same kernel, one run of each.

    python -m tools.compare_alibi

needs the environment of tools/requirements/alibi.txt. Alibi-detect computes the reference's kernel
matrix when the detector is made; that time is left out, which is in its favour.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from patchline_ros.drift.kernels import median_bandwidth
from patchline_ros.drift.permutation import permutation_test


@dataclass(frozen=True)
class Outcome:
    """What a test said, and the seconds that it took."""

    mmd2: float
    p_value: float
    seconds: float


def ours(
    x: NDArray[np.float32], y: NDArray[np.float32], bandwidth: float, permutations: int
) -> Outcome:
    """Our test of y (m, d) against x (n, d)."""
    started = time.perf_counter()
    result = permutation_test(x, y, bandwidth, np.random.default_rng(0), permutations=permutations)
    return Outcome(result.mmd2, result.p_value, time.perf_counter() - started)


def theirs(
    x: NDArray[np.float32], y: NDArray[np.float32], bandwidth: float, permutations: int
) -> Outcome:
    """Alibi-detect's test of y (m, d) against x (n, d)."""
    from alibi_detect.cd.pytorch.mmd import (  # type: ignore[import-not-found, unused-ignore]
        MMDDriftTorch,
    )

    torch.manual_seed(0)
    sigma = np.array([bandwidth], dtype=np.float32)
    detector = MMDDriftTorch(x, sigma=sigma, n_permutations=permutations, device="cpu")
    started = time.perf_counter()
    p_value, mmd2, _ = detector.score(y)
    return Outcome(mmd2, p_value, time.perf_counter() - started)


def main() -> None:
    """Reads the sizes and prints the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1000, help="of each sample")
    parser.add_argument("--width", type=int, default=1280, help="features of a row")
    parser.add_argument("--permutations", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1, help="of torch, for both")
    given = parser.parse_args()

    torch.set_num_threads(given.threads)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(given.rows, given.width)).astype(np.float32)
    y = rng.normal(0.05, 1, size=(given.rows, given.width)).astype(np.float32)
    bandwidth = median_bandwidth(np.concatenate([x, y]))
    for test in (ours, theirs):
        # Libraries start their threads and choose their kernels on the first call.
        test(x[:64], y[:64], bandwidth, 20)
    own, other = (test(x, y, bandwidth, given.permutations) for test in (ours, theirs))

    print(
        f"{given.rows} rows a sample, {given.width} features, {given.permutations} permutations, "
        f"{given.threads} threads, RBF bandwidth {bandwidth:.3f}"
    )
    print(f"patchline_ros  MMD^2 {own.mmd2:.9f}  p {own.p_value:.3f}  {own.seconds:7.3f} s")
    print(f"alibi-detect   MMD^2 {other.mmd2:.9f}  p {other.p_value:.3f}  {other.seconds:7.3f} s")
    print(f"difference {abs(own.mmd2 - other.mmd2):.1e}, {other.seconds / own.seconds:.1f} times")


if __name__ == "__main__":
    main()
