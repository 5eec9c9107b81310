"""Fixtures of the node and process tiers; ROS is only imported when a test asks for it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tiny_bundle

from patchline_ros.bundle import Bundle
from patchline_ros.graph.description import GraphSettings, command, describe, environment

FASTDDS_PROFILE = Path(__file__).resolve().parents[1] / "config" / "fastdds.xml"

if TYPE_CHECKING:
    from ros_bench import Bench


class Car:
    """The graph's nodes as processes in the domain of a probe."""

    def __init__(self, probe: Bench, settings: GraphSettings, logs: Path) -> None:
        self.probe = probe
        self.settings = settings
        self.processes: list[subprocess.Popen[bytes]] = []
        self._logs = logs

    def start(self, name: str, **parameters: bool | int | float | str) -> subprocess.Popen[bytes]:
        """Starts one node of the graph with parameters besides the graph's own."""
        node = next(node for node in describe(self.settings) if node.name == name)
        node = replace(node, parameters={**node.parameters, **parameters})
        return self.run(name, command(node, self.settings))

    def run(self, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        """Starts a process that hears and is heard by the probe; its output goes to a log."""
        variables = {**os.environ, "ROS_DOMAIN_ID": str(self.probe.domain)}
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                arguments, env=variables, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)
        return process

    def log(self, name: str) -> str:
        """What the processes of that name have printed so far."""
        return (self._logs / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        """Ends every process, with force where asking does not help."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            # Asked to terminate, `ros2 launch` ends and leaves its nodes.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def bench(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Bench]]:
    """Call it with the parameters of the nodes; everything is ended after the test."""
    from ros_bench import Bench

    os.environ.update(environment(FASTDDS_PROFILE))
    benches: list[Bench] = []

    def make(params_file: str = "", **parameters: bool | int | float | str) -> Bench:
        benches.append(Bench(capfd, params_file, **parameters))
        return benches[-1]

    yield make
    for made in benches:
        made.close()


@pytest.fixture
def car(bench: Callable[..., Bench], bundle: Bundle, tmp_path: Path) -> Iterator[Car]:
    """Nodes in processes of their own, a probe to talk to them, and the end of all of them."""
    probe = bench()
    settings = GraphSettings(
        bundle=str(bundle.path), store=str(tmp_path / "store"), image_topic="image_raw"
    )
    made = Car(probe, settings, tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with untrained models."""
    folder: Path = tmp_path_factory.mktemp("bundle") / "tiny"
    return tiny_bundle.make_bundle(folder)
