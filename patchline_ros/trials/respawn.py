"""Starts the graph's processes and starts again what ends, as a launch file's respawn does."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from patchline_ros.graph.processes import Processes

RESPAWN_SECONDS: Final = 1.0
"""Seconds from the end of a process to its next start; launch/car.launch.py waits as long."""
_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Ended:
    """A process that ended. `code` is negative for a signal."""

    name: str
    code: int


class Supervisor:
    """The processes of the graph; leaving the `with` block ends them all."""

    def __init__(self, processes: Processes, commands: Mapping[str, Sequence[str]]) -> None:
        """Nothing is started yet."""
        self._processes, self._commands = processes, commands
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._due: dict[str, float] = {}
        self._held: set[str] = set()
        self._ended: list[Ended] = []
        self._changed = threading.RLock()
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor")

    def __enter__(self) -> Supervisor:
        """Starts all and looks after them."""
        for name in self._commands:
            self._start(name)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Starts nothing any more and ends what runs."""
        self._stopping.set()
        self._watcher.join()
        self._processes.stop()

    @property
    def names(self) -> list[str]:
        """Names of all processes."""
        return list(self._commands)

    def pid(self, name: str) -> int:
        """Process id of what runs, or ran last, under this name."""
        with self._changed:
            return self._running[name].pid

    def signal(self, name: str, number: int) -> None:
        """Sends a signal; a process that has just ended is left alone."""
        with self._changed:
            self._running[name].send_signal(number)

    def hold(self, names: Iterable[str], number: int) -> None:
        """Ends processes with a signal and leaves them ended until `release`."""
        names = list(names)
        with self._changed:
            self._held.update(names)
            for name in names:
                self.signal(name, number)
        for name in names:
            self._running[name].wait(30)

    def release(self, names: Iterable[str]) -> None:
        """Starts at once what was held."""
        with self._changed:
            self._look()
            for name in names:
                self._held.discard(name)
                self._due[name] = 0.0
            self._look()

    def take_ended(self) -> list[Ended]:
        """What ended since the last call."""
        with self._changed:
            self._look()
            ended, self._ended = self._ended, []
        return ended

    def _start(self, name: str) -> None:
        self._running[name] = self._processes.start(name, self._commands[name])

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            with self._changed:
                self._look()

    def _look(self) -> None:
        now = time.monotonic()
        for name, process in self._running.items():
            if process.poll() is not None and name not in self._due:
                self._ended.append(Ended(name, process.returncode))
                self._due[name] = now + RESPAWN_SECONDS
        for name, due in list(self._due.items()):
            if name not in self._held and now >= due:
                del self._due[name]
                self._start(name)
