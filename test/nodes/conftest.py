"""Fixtures of the node tier."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from ros_fixtures import bench, bundle

if TYPE_CHECKING:
    from lanes import Lanes
    from ros_bench import Bench

    from patchline_ros.bundle import Bundle

__all__ = ["bench", "bundle"]


@pytest.fixture
def lanes(bench: Callable[..., Bench], bundle: Bundle) -> Lanes:
    """A running lane segmenter that misses no picture."""
    from lanes import Lanes

    return Lanes(bench(bundle=str(bundle.path), image_reliability="reliable", queue_depth=20))
