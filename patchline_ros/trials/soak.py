"""`patchline trial soak`: the graph runs for a long time, and must not grow."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Final

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table
from scipy.stats import theilslopes
from std_msgs.msg import Header

from patchline_ros.bundle import Bundle
from patchline_ros.graph.processes import Processes
from patchline_ros.nodes.conversions import labelled_frame_to_msg, ns_to_stamp
from patchline_ros.trials.listener import Listener
from patchline_ros.trials.random_patches import patch_set_message, random_patch_set
from patchline_ros.trials.trial_pictures import render_labelled, within
from patchline_ros.trials.trial_setup import TrialSetup, wide_console

MOST_GROWTH_MIB: Final = 1.0
"""A minute, after warming up."""
WARM_UP: Final = 0.2
"""Share of the time that does not count."""
SWAP_SECONDS: Final = 30.0
LABEL_SECONDS: Final = 1.0
"""Seconds between two swaps of each node, and between two labelled frames of each task."""
_SAMPLE_SECONDS: Final = 5.0
_SWAPPED_SECONDS: Final = 30.0
_NEVER: Final = 100_000
_CAPACITY: Final = 32
"""Labelled frames that the adapter keeps, so that its store is full early on."""


@dataclass
class Usage:
    """What one process took; each list has one value a sample.

    Attributes:
        seconds: since the start.
        memory_mib: resident.
        threads, descriptors: how many there were.
    """

    seconds: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def sample(self, pid: int, seconds: float) -> None:
        """Adds what the process takes now."""
        process = psutil.Process(pid)
        self.seconds.append(seconds)
        self.memory_mib.append(process.memory_info().rss / 2**20)
        self.threads.append(process.num_threads())
        self.descriptors.append(process.num_fds())

    def warm(self) -> slice:
        """The samples after warming up."""
        return slice(int(np.searchsorted(self.seconds, WARM_UP * self.seconds[-1])), None)

    def growth_mib(self) -> float:
        """MiB a minute after warming up: the median of all slopes (Theil and Sen)."""
        part = self.warm()
        return float(60 * theilslopes(self.memory_mib[part], self.seconds[part]).slope)

    def more(self, values: Sequence[int]) -> int:
        """How many more there are at the end than after warming up, as medians of tenths."""
        part = values[self.warm()]
        tenth = max(1, len(part) // 10)
        return round(float(np.median(part[-tenth:]) - np.median(part[:tenth])))

    def trouble(self) -> str:
        """What grows; empty if nothing does."""
        if self.growth_mib() >= MOST_GROWTH_MIB:
            return f"its memory grows by {self.growth_mib():.2f} MiB a minute"
        if self.more(self.threads) > 0:
            return f"it has {self.more(self.threads)} threads more"
        if self.more(self.descriptors) > 0:
            return f"it has {self.more(self.descriptors)} file descriptors more"
        return ""


def soak(setup: TrialSetup, minutes: float, rate_hz: float) -> int:
    """Runs camera, labelled frames and swaps all the time; returns how many processes grew.

    Args:
        setup: where it runs.
        minutes: how long.
        rate_hz: of the camera, whose pictures have 640x480 pixels.

    Raises:
        TimeoutError: the graph does not start.
    """
    console = wide_console()
    console.print(f"ROS domain {setup.domain}, this machine only; logs in {setup.out}")
    bundle = Bundle.load(setup.bundle)
    commands = setup.nodes({"adapter": {"min_frames": _NEVER, "capacity": _CAPACITY}})
    listener = Listener(setup.domain)
    try:
        with Processes(setup.out / "logs", setup.environment) as processes:
            pids = {name: processes.start(name, command).pid for name, command in commands.items()}
            listener.until_started(processes, commands)
            camera = [sys.executable, "-m", "patchline_ros.trials.trial_camera"]
            processes.start("camera", [*camera, str(60 * minutes + 60), str(rate_hz)])
            usages = _watch(listener, processes, bundle, pids, minutes, console)
    finally:
        listener.close()
    troubles = {name: usage.trouble() for name, usage in usages.items()}
    settings = {
        "minutes": minutes,
        "rate_hz": rate_hz,
        "swap_seconds": SWAP_SECONDS,
        "label_seconds": LABEL_SECONDS,
    }
    samples = {name: asdict(usage) for name, usage in usages.items()}
    path = setup.write_result(settings, {"usage": samples, "troubles": troubles})
    console.print(_table(usages, troubles))
    console.print(f"{path}")
    return sum(bool(trouble) for trouble in troubles.values())


def _watch(
    listener: Listener,
    processes: Processes,
    bundle: Bundle,
    pids: Mapping[str, int],
    minutes: float,
    console: Console,
) -> dict[str, Usage]:
    labels, sets = listener.labelled_frames(), listener.patch_sets()
    labelled = render_labelled()
    usages = {name: Usage() for name in pids}
    begun = time.monotonic()
    next_label = next_swap = next_sample = begun
    numbers, versions = count(), count(1)
    next_word = begun + 60
    while (now := time.monotonic()) < begun + 60 * minutes:
        processes.check()
        listener.check()
        if now >= next_sample:
            next_sample = now + _SAMPLE_SECONDS
            for name, pid in pids.items():
                usages[name].sample(pid, now - begun)
        if now >= next_label:
            next_label = now + LABEL_SECONDS
            number = next(numbers)
            header = Header(stamp=ns_to_stamp(time.time_ns()))
            for task, samples in labelled.items():
                sample = within(samples[number % len(samples)], len(bundle.spec(task).classes))
                labels.publish(labelled_frame_to_msg(f"soak{number}", task, sample, header))
        if now >= next_swap:
            next_swap = now + SWAP_SECONDS
            version = next(versions)
            for task, publisher in sets.items():
                data = random_patch_set(bundle, task, version)
                publisher.publish(patch_set_message(bundle, task, version, data))
        if now >= next_word:
            next_word += 60
            memory = ", ".join(f"{name} {use.memory_mib[-1]:.0f}" for name, use in usages.items())
            console.print(f"{(now - begun) / 60:.0f} min, MiB: {memory}", soft_wrap=True)
        # What the listener hears is of no use here, and must not fill this process.
        listener.forget()
        time.sleep(0.1)
    listener.until(
        f"the last swap, to version {version},",
        lambda: {status.version for status in listener.statuses.values()} == {version},
        _SWAPPED_SECONDS,
    )
    return usages


def _table(usages: Mapping[str, Usage], troubles: Mapping[str, str]) -> Table:
    table = Table(box=None)
    table.add_column("process")
    for name in ("MiB warm", "MiB end", "MiB a minute", "threads", "descriptors"):
        table.add_column(name, justify="right")
    table.add_column("")
    for name, usage in usages.items():
        warm = usage.warm().start
        table.add_row(
            name,
            f"{usage.memory_mib[warm]:.0f}",
            f"{usage.memory_mib[-1]:.0f}",
            f"{usage.growth_mib():+.2f}",
            f"{usage.threads[-1]} ({usage.more(usage.threads):+d})",
            f"{usage.descriptors[-1]} ({usage.more(usage.descriptors):+d})",
            troubles[name] or "holds",
        )
    return table
