"""How long processes would take to end if they had the machine for themselves."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psutil

_WANTS_THE_MACHINE: Final = ("R", "D")
"""States of a thread that runs or waits for a core, and of one that waits for a disk."""


class OwnTime:
    """Adds up what other programs on the machine have no part in; `look` is called again and again.

    That is the time in which no process wanted a core, since all of them waited for something, and
    the CPU time of the one that used most.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        """Begins to count, with these processes."""
        self._looked = time.monotonic()
        self._idle = 0.0
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._read(pids)

    @property
    def seconds(self) -> float:
        """So far."""
        used = (last - self._first[pid] for pid, last in self._last.items())
        return self._idle + max(used, default=0.0)

    def look(self, pids: Iterable[int]) -> None:
        """Counts the time since the last look, by what these processes do now."""
        now = time.monotonic()
        if self._read(pids) == 0:
            self._idle += now - self._looked
        self._looked = now

    def _read(self, pids: Iterable[int]) -> int:
        """Notes their CPU times; how many of their threads want the machine."""
        busy = 0
        for pid in pids:
            try:
                # psutil knows the state of a process, but not those of its threads.
                tasks = [*Path(f"/proc/{pid}/task").iterdir()]
                states = [
                    (t / "stat").read_text("ascii", "replace").rpartition(")")[2] for t in tasks
                ]
                times = psutil.Process(pid).cpu_times()
            except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
                continue  # It has ended.
            busy += sum(state.split()[0] in _WANTS_THE_MACHINE for state in states)
            used = times.user + times.system
            self._first.setdefault(pid, used)
            self._last[pid] = used
        return busy
