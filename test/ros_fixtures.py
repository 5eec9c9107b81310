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
from forked_node import ForkedNode

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
        self.processes: dict[str, subprocess.Popen[bytes] | ForkedNode] = {}
        self._logs = logs
        self._environment = {**os.environ, "ROS_DOMAIN_ID": str(probe.domain)}

    def start(self, name: str, **parameters: bool | int | float | str) -> ForkedNode:
        """Starts one node of the graph with parameters besides the graph's own."""
        node = next(node for node in describe(self.settings) if node.name == name)
        node = replace(node, parameters={**node.parameters, **parameters})
        _python, _m, module, *arguments = command(node, self.settings)
        log = self._logs / f"{name}.log"
        log.touch()
        process = ForkedNode(module, arguments, self._environment, log)
        self.processes[f"{name} {process.pid}"] = process
        return process

    def run(self, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        """Starts a process that hears and is heard by the probe; its output goes to a log."""
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                arguments, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        self.processes[f"{name} {process.pid}"] = process
        return process

    def progress(self) -> list[int]:
        """Something else whenever a process has loaded something, or has written to its log.

        That goes on while they start, however slowly, and is over when they wait. Raises
        AssertionError where one has failed.
        """
        for name, process in self.processes.items():
            log = self.log(name.split()[0])
            assert process.poll() in (None, 0), f"{name} ended with {process.poll()}: {log[-2000:]}"
        sizes = [path.stat().st_size for path in sorted(self._logs.glob("*.log"))]
        running = [process.pid for process in self.processes.values() if process.poll() is None]
        return sizes + [memory for pid in running for memory in _loaded(pid)]

    def log(self, name: str) -> str:
        """What the processes of that name have printed so far."""
        return (self._logs / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        """Ends every process, with force where asking does not help."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            # Asked to terminate, `ros2 launch` ends and leaves its nodes.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _loaded(pid: int) -> list[int]:
    """Memory of a process and of those that it has started, in units of 4 MiB."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []  # It ended meanwhile.
    below = [memory for child in children for memory in _loaded(int(child))]
    return [pages * os.sysconf("SC_PAGE_SIZE") >> 22, *below]


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
