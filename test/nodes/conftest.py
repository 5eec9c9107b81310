"""Fixtures of the node tier; nothing here imports ROS before a test asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tiny_bundle

from patchline_ros.bundle import Bundle

if TYPE_CHECKING:
    from ros_bench import Bench


@pytest.fixture
def bench(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Bench]]:
    """Call it with the parameters of the nodes; everything is ended after the test."""
    from ros_bench import Bench

    benches: list[Bench] = []

    def make(**parameters: bool | int | float | str) -> Bench:
        benches.append(Bench(capfd, **parameters))
        return benches[-1]

    yield make
    for made in benches:
        made.close()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with untrained models."""
    folder: Path = tmp_path_factory.mktemp("bundle") / "tiny"
    return tiny_bundle.make_bundle(folder)
