"""Fixtures of the process tier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_drives import shipped_bundle
from ros_fixtures import bench, bundle, car

from tools.browser import Browser, NoBrowserError

__all__ = ["bench", "bundle", "car", "shipped_bundle"]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    try:
        made = Browser(tmp_path / "browser")
    except NoBrowserError as error:
        pytest.skip(str(error))
    yield made
    made.close()
