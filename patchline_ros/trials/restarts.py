"""`patchline trial restarts`: nodes are killed where the next one can be deaf, again and again.

Fast DDS can't tell that a listener is dead whose process was killed between two messages (its pull
requests 4728 and 4737). So rare a moment is not waited for: what the killed process left is changed
into that state.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.table import Table

from patchline_ros.graph.processes import DOMAINS
from patchline_ros.nodes.port_memory import leave_between_messages
from patchline_ros.trials.probe import RATE_HZ
from patchline_ros.trials.trial_graph import MONITOR, NotSeenError, TrialGraph
from patchline_ros.trials.trial_setup import TrialSetup, wide_console

GIVE_UP_SECONDS: Final = 120.0
"""After which a node counts as deaf; its start is long where others take the cores."""
_LOCK: Final = re.compile(r"(fast(?:dds|rtps)_port(\d+))_el")
_FIRST_PORT: Final = 7400 + 250 * min(DOMAINS)
"""Below it are the ports of discovery, which are those of no domain."""


@dataclass(frozen=True)
class Restart:
    """One kill and start.

    Attributes:
        node: its name.
        ports: in shared memory that were left as after a kill between two messages.
        seconds: from the start of the process until all works again; None if that never came.
        missing: what did not work; empty if all did.
    """

    node: str
    ports: list[str]
    seconds: float | None
    missing: str


def ports_of(pid: int) -> list[Path]:
    """The ports in shared memory on which a process listens for messages."""
    found = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        lock = Path(os.readlink(file))
        match = _LOCK.fullmatch(lock.name)
        if match and int(match[2]) >= _FIRST_PORT:
            found.append(lock.with_name(match[1]))
    return found


def try_restarts(setup: TrialSetup, times: int) -> int:
    """Runs it, writes the result, and returns how many nodes were deaf.

    Raises:
        TimeoutError: the graph does not come up, or not again after a deaf node was started anew.
        RuntimeError: the state can't be made with this version of Fast DDS.
    """
    console = wide_console()
    console.print(f"ROS domain {setup.domain}, this machine only; logs in {setup.out}")
    trial = TrialGraph(setup)
    restarts: list[Restart] = []
    with trial.running():
        names = trial.supervisor.names
        for number in range(times):
            restart = _restart(trial, names[number % len(names)])
            restarts.append(restart)
            console.print(_line(number, times, restart))
            if restart.seconds is None:
                _start_anew(trial, restart.node)
    deaf = sum(restart.seconds is None for restart in restarts)
    settings = {"times": times, "give_up_seconds": GIVE_UP_SECONDS, "rate_hz": RATE_HZ}
    result = {"restarts": [asdict(restart) for restart in restarts], "deaf": deaf}
    path = setup.write_result(settings, result)
    console.print(_table(restarts))
    console.print(f"{deaf} deaf of {times}; {path}")
    return deaf


def _restart(trial: TrialGraph, name: str) -> Restart:
    trial.begin()
    ports = ports_of(trial.supervisor.pid(name))
    trial.take_down([name])
    forced = [port.name for port in ports if leave_between_messages(port)]
    if not forced:
        raise RuntimeError(
            f"{name} left no port in /dev/shm that could be changed: this trial knows Fast DDS 2.6 "
            "to 3.6 with shared memory"
        )
    trial.bring_up([name])
    seconds = trial.recovery(GIVE_UP_SECONDS)
    missing = "" if seconds is not None else trial.missing()
    if seconds is not None and name == MONITOR:
        # It publishes whether it hears or not, and no answer needs it.
        try:
            trial.until(lambda: trial.counted(name, "frames") > 0, "the drift monitor hears", 10)
        except NotSeenError as error:
            seconds, missing = None, str(error)
    return Restart(name, forced, seconds, missing)


def _start_anew(trial: TrialGraph, name: str) -> None:
    """So that the next restart begins in a graph that works."""
    trial.take_down([name])
    trial.bring_up([name])
    if trial.recovery(GIVE_UP_SECONDS) is None:
        raise TimeoutError(f"the graph does not work again: {trial.missing()}")


def _line(number: int, times: int, restart: Restart) -> str:
    took = "deaf" if restart.seconds is None else f"{restart.seconds:4.1f} s"
    return f"{number + 1:3d}/{times} {restart.node:16} {took}  {restart.missing}"


def _table(restarts: Sequence[Restart]) -> Table:
    table = Table(title="Nodes that were killed between two messages and started again")
    table.add_column("node")
    for name in ("restarts", "median s", "longest s", "deaf"):
        table.add_column(name, justify="right")
    for name in dict.fromkeys(restart.node for restart in restarts):
        rows = [restart for restart in restarts if restart.node == name]
        took = sorted(restart.seconds or GIVE_UP_SECONDS for restart in rows)
        table.add_row(
            name,
            str(len(rows)),
            f"{took[len(took) // 2]:.1f}",
            f"{took[-1]:.1f}",
            str(sum(restart.seconds is None for restart in rows)),
        )
    return table
