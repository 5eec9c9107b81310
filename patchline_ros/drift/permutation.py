"""How large an MMD^2 is by chance: permutation tests that keep the frames of a video together."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, floor

import numpy as np

from patchline_ros.drift.kernels import Bandwidth, Real, checked_samples
from patchline_ros.drift.mmd import mmd2_of_splits

_TIE = 1e-6
"""Values nearer than this are equal: float32 sums tell no more."""


@dataclass(frozen=True)
class TwoSampleTest:
    """Whether two samples differ.

    Attributes:
        mmd2: unbiased MMD^2 between them.
        p_value: share of the arrangements, this one included, with at least that MMD^2.
        threshold: mmd2 is above it exactly when p_value is at most alpha.
    """

    mmd2: float
    p_value: float
    threshold: float


def permutation_test(
    x: Real,
    y: Real,
    bandwidth: Bandwidth,
    rng: np.random.Generator,
    *,
    permutations: int = 999,
    alpha: float = 0.05,
    block: int = 1,
) -> TwoSampleTest:
    """Tests whether two samples come from one distribution, by rearranging their blocks.

    Each sample is cut into blocks of consecutive rows, the last of which may be shorter, and
    blocks move as a whole between the samples. Rows that depend on each other, as frames of a video
    do, have to be in one block: apart, they make the threshold far too low.

    Args:
        x, y: (n, d) and (m, d) feature vectors, in the order of time if block is above 1.
        bandwidth: as in mmd2(); chosen without regard to which sample a row is of.
        rng: where the arrangements come from.
        permutations: number of random arrangements.
        alpha: share of false alarms.
        block: rows of a block; 1 is the ordinary permutation test.

    Raises:
        ValueError: as mmd2(); or too few blocks or permutations for a p value of alpha.
    """
    x, y = checked_samples(x, y)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must be between 0 and 1")
    if block < 1:
        raise ValueError(f"a block has {block} rows; it must have at least 1")
    # Rounding must not cost a rank: 0.29 * 100 is just below 29.
    rank = floor(alpha * (permutations + 1) + 1e-9)
    if rank < 1:
        raise ValueError(f"{permutations} permutations are too few for alpha {alpha}")
    first, second = -(-len(x) // block), -(-len(y) // block)
    if min(first, second) < 2 or comb(first + second, first) < 1 / alpha:
        raise ValueError(
            f"{len(x)} and {len(y)} rows are {first} and {second} blocks of {block}, too few for "
            f"alpha {alpha}; take shorter blocks or more rows"
        )
    as_given = np.arange(first + second)[:, None] < first
    arranged = rng.permuted(as_given.repeat(permutations, axis=1), axis=0)
    block_of_row = np.concatenate([np.arange(len(x)) // block, first + np.arange(len(y)) // block])
    inside = np.hstack([as_given, arranged])[block_of_row]
    values = mmd2_of_splits(np.concatenate([x, y]), inside, bandwidth)
    values[np.abs(values - values[0]) < _TIE] = values[0]
    return TwoSampleTest(
        mmd2=float(values[0]),
        p_value=float((values >= values[0]).mean()),
        threshold=float(np.sort(values[1:])[-rank]),
    )
