"""Learns the patch table: which drift needs how many patches, rising with MMD^2."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import isotonic_regression

from patchline_ros.manifest import PatchStep


def smallest_sufficient(metric_by_patches: Mapping[int, float], margin: float) -> int:
    """The smallest number of patches whose metric is within `margin` of the best one.

    Source: the labelling rule of the paper's section 4.2, with the margin stated.

    Raises:
        ValueError: no metrics, or one that is not finite.
    """
    bad = [k for k, metric in metric_by_patches.items() if not math.isfinite(metric)]
    if not metric_by_patches or bad:
        raise ValueError(
            f"the metric with {bad[0]} patches is not finite"
            if bad
            else "no number of patches was tried"
        )
    best = max(metric_by_patches.values())
    return min(k for k, metric in metric_by_patches.items() if metric >= best - margin)


def learn_patch_table(mmd2: Sequence[float], patches: Sequence[int]) -> list[PatchStep]:
    """The rising step function that fits (MMD^2, patches needed) pairs best in least squares.

    Raises:
        ValueError: no pairs, lists of different lengths, or an MMD^2 that is not finite.
    """
    if not mmd2 or len(mmd2) != len(patches):
        raise ValueError(
            f"a patch table needs pairs of MMD^2 and patches; {len(mmd2)} and {len(patches)} came"
        )
    if not np.isfinite(mmd2).all():
        raise ValueError("a patch table can't be learnt from an MMD^2 that is not finite")
    order = np.argsort(mmd2)
    rising = isotonic_regression(np.asarray(patches, dtype=float)[order]).x
    counts = np.ceil(rising - 1e-9).astype(int)
    steps: list[PatchStep] = []
    for value, count in zip(np.asarray(mmd2)[order], counts, strict=True):
        if not steps or count > steps[-1].patches:
            steps.append(PatchStep(mmd2=float(value), patches=int(count)))
    return steps
