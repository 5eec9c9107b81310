"""Fixtures of the process tier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser
from demo_drives import shipped_bundle
from ros_fixtures import bench, bundle, car

__all__ = ["bench", "bundle", "car", "shipped_bundle"]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    made = Browser(tmp_path / "browser")
    yield made
    made.close()
