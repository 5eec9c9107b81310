"""The graph without `ros2`: `patchline drive` runs it, `patchline call` asks its nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

import psutil
from ros_bench import Bench
from tiny_bundle import make_bundle

from patchline_ros.graph.description import SERVICES

TYPES = {False: "std_srvs/srv/Trigger", True: "std_srvs/srv/SetBool"}
Patchline = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def patchline(bench: type[Bench]) -> Patchline:
    """Starts a command on the domain of a bench."""

    def start(domain: int, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "patchline_ros.cli", *map(str, arguments)]
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)

    return start


def test_the_graph_runs_answers_and_ends(
    bench: type[Bench], patchline: Patchline, tmp_path: Path
) -> None:
    at = bench()
    folder = make_bundle(tmp_path / "bundle").path
    store = tmp_path / "store"
    car = patchline(
        at.domain, "drive", "--bundle", folder, "--store", store, "--namespace", "/car1"
    )
    wanted = {
        (f"/car1/{node}/{name}", TYPES[takes_value])
        for node, services in SERVICES.items()
        for name, takes_value in services.items()
    }

    def offered() -> set[tuple[str, str]]:
        return {(name, types[0]) for name, types in at.probe.get_service_names_and_types()}

    try:
        at.until(lambda: wanted <= offered(), 120)
        called = patchline(at.domain, "call", "adapter", "pause", "true", "--namespace", "/car1")
        assert called.communicate(timeout=60) == ("paused\n", "")
        assert called.returncode == 0
        called = patchline(at.domain, "call", "adapter", "republish", "--namespace", "/car1")
        assert called.communicate(timeout=60) == ("", "patchline: no patch set is stored\n")
        assert called.returncode == 1
        nodes = psutil.Process(car.pid).children(recursive=True)
    finally:
        car.send_signal(signal.SIGINT)
        _, said = car.communicate(timeout=60)
    assert car.returncode == 0, said
    # Their words are on this terminal.
    assert "[adapter]" in said or "adapter]: " in said
    assert nodes and not any(node.is_running() for node in nodes)


def test_a_node_that_ends_ends_the_graph_with_1(
    bench: type[Bench], patchline: Patchline, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    store.write_text("no folder")
    folder = make_bundle(tmp_path / "bundle").path
    car = patchline(bench().domain, "drive", "--bundle", folder, "--store", store)
    _, said = car.communicate(timeout=120)
    assert car.returncode == 1
    assert "patchline: adapter ended by itself (exit code 1); what it said is above" in said
    assert "parameter store: " in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("drive", "--bundle", "/nowhere"), "--bundle /nowhere is no bundle"),
        (("drive", "--params-file", "/nowhere"), "--params-file /nowhere does not exist"),
        (("call", "adaptor", "reset"), "there is no node adaptor to call; known are adapter, "),
        (("call", "adapter", "resett"), "adapter has no service resett; known are pause, "),
        (("call", "adapter", "pause"), "adapter pause takes true or false"),
        (("call", "adapter", "reset", "true"), "adapter reset takes no value"),
        (("call", "adapter", "reset"), "nobody offers /adapter/reset on ROS domain "),
    ],
)
def test_what_can_not_be_done_is_told(
    bench: type[Bench], patchline: Patchline, arguments: tuple[str, ...], sentence: str
) -> None:
    process = patchline(bench().domain, *arguments)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.count("\n")) == (2, 1)
    assert said.startswith(f"patchline: {sentence}")
