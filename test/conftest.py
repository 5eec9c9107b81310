"""Fixtures that every tier of the tests shares."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_disk import SmallDisk

LONGEST_FIRST = ("process", "pipeline", "unit/test_style.py", "nodes")
"""Folders and files below this one: with what is short at the end, all workers end together."""

# In the background of a shell Ctrl-C is ignored, and so it would be by all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long starts first."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        ways = (i for i, way in enumerate(LONGEST_FIRST) if item.path.is_relative_to(here / way))
        return next(ways, len(LONGEST_FIRST))

    items.sort(key=place)


def pytest_xdist_auto_num_workers() -> int:
    """One more than the cores that this process may use: some tests wait for what they started."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real development data; tests that need it skip where it is missing."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("PATCHLINE_DATA", beside))
    if not root.is_dir():
        pytest.skip(f"no real data at {root}: set PATCHLINE_DATA to the folder that holds it")
    return root


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    """More threads than free cores wait for each other by spinning: minutes instead of seconds."""
    torch.set_num_threads(1)


@pytest.fixture
def small_disk() -> Iterator[SmallDisk]:
    """A file system of 2 MiB."""
    try:
        disk = SmallDisk(mib=2)
    except OSError as error:
        pytest.skip(f"no file system can be mounted in a namespace here: {error}")
    yield disk
    disk.close()
