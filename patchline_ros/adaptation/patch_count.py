"""How many patches a drift needs by the bundle's table, which is monotone in MMD^2."""

from __future__ import annotations

import math
from collections.abc import Sequence

from patchline_ros.manifest import PatchStep


def steps_reached(table: Sequence[PatchStep], mmd2: float) -> int:
    """Number of patches of the highest step that this MMD^2 reaches; below all steps 0.

    Raises:
        ValueError: the MMD^2 is not a number.
    """
    if math.isnan(mmd2):
        raise ValueError("the MMD^2 of the drift is not a number; measure it again")
    return max((step.patches for step in table if mmd2 >= step.mmd2), default=0)


def patches_for(table: Sequence[PatchStep], mmd2: float) -> int:
    """Number of patches for a drift of this MMD^2; at least 1, since drift was detected.

    Raises:
        ValueError: the MMD^2 is not a number.
    """
    return max(1, steps_reached(table, mmd2))
