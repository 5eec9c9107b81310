"""Figures over seeds: mean and spread, and differences of two rows that are paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9999


@dataclass(frozen=True)
class Summary:
    """One figure over seeds."""

    seeds: int
    mean: float
    deviation: float | None
    """Sample standard deviation (n - 1); None for one seed."""


@dataclass(frozen=True)
class Difference:
    """One row's figure minus another's, over the seeds that both have.

    With one seed there is no interval and no p: all but the mean is None.
    """

    seeds: int
    mean: float
    p: float | None = None
    """Two-sided, of the paired t-test."""
    interval: tuple[float, float] | None = None
    """95%, of the same test."""
    bootstrap: tuple[float, float] | None = None
    """95%, percentiles of the mean over resampled seeds. With few seeds it is too narrow: five
    values can only be resampled in 126 ways."""


def summary(values: Sequence[float]) -> Summary:
    """Mean and spread.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("there is no value to summarise")
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(len(values), float(np.mean(values)), deviation)


def difference(values: Mapping[int, float], reference: Mapping[int, float]) -> Difference | None:
    """The difference over the seeds that both have; None where they share none.

    Args:
        values: a row's figure by seed.
        reference: that of the row it is compared with.
    """
    shared = sorted(values.keys() & reference.keys())
    if not shared:
        return None
    deltas = np.array([values[seed] - reference[seed] for seed in shared])
    mean = float(deltas.mean())
    if len(deltas) == 1:
        return Difference(1, mean)
    if np.ptp(deltas) == 0:
        # The t statistic of equal differences is infinite, or of zeros not defined.
        return Difference(len(deltas), mean, float(mean == 0), (mean, mean), (mean, mean))
    test = stats.ttest_rel([values[seed] for seed in shared], [reference[seed] for seed in shared])
    interval = test.confidence_interval(CONFIDENCE)
    resampled = stats.bootstrap(
        (deltas,),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Difference(
        seeds=len(deltas),
        mean=mean,
        p=float(test.pvalue),
        interval=(float(interval.low), float(interval.high)),
        bootstrap=(float(resampled.low), float(resampled.high)),
    )
