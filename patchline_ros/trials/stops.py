"""`patchline trial stops`: the whole graph is started and stopped, again and again."""

from __future__ import annotations

import signal
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from rich.table import Table

from patchline_ros.adaptation.store import FrameStore
from patchline_ros.graph.processes import Processes
from patchline_ros.msg import AdaptationStatus
from patchline_ros.trials.own_time import OwnTime
from patchline_ros.trials.probe import RATE_HZ, Probe
from patchline_ros.trials.trial_graph import ADAPTER, NEVER, START_SECONDS
from patchline_ros.trials.trial_logs import crashed
from patchline_ros.trials.trial_pictures import TrialPictures, render_pictures
from patchline_ros.trials.trial_setup import TrialSetup, wide_console

MOMENTS: Final = ("starting", "running", "training")
LIMIT_SECONDS: Final = 3.0
"""Most seconds from the first signal until the last process is gone."""
_GIVE_UP_SECONDS: Final = 15.0
_STARTING_SECONDS: Final = 6.0
"""Over so long the signals that come while the graph starts are spread, until a start was timed."""
_EARLIEST_SECONDS: Final = 0.5
"""Before that Python itself starts, and prints a traceback of its own when it is interrupted."""
_SECOND_SIGNAL_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 0.05
_CAPACITY_MIB: Final = 512
_GOLDEN: Final = 0.618034
_EPOCHS: Final = 1000
"""Enough for a training to be under way whenever the signal comes."""


@dataclass
class Stop:
    """One start and stop.

    Attributes:
        moment: one of MOMENTS.
        signals: SIGINTs that each process got.
        after: seconds from the start of the first process to the first signal.
        seconds: from that to the end of the last process; None if it had to be killed.
        own_seconds: what it would have been without other programs on the machine, about.
        codes: exit code of each process, negative for a signal.
        tracebacks: logs that hold one, or another sign of a crash.
        left: processes that were still there afterwards.
        trouble: why the stop does not hold; empty if it does.
    """

    moment: str
    signals: int
    after: float = 0.0
    seconds: float | None = None
    own_seconds: float = 0.0
    codes: dict[str, int] = field(default_factory=dict)
    tracebacks: list[str] = field(default_factory=list)
    left: int = 0
    trouble: str = ""


def try_stops(setup: TrialSetup, times: int) -> int:
    """Runs it, writes the result, and returns how many stops did not hold."""
    console = wide_console()
    rendered = render_pictures()
    _fill_store(setup, rendered)
    commands = setup.nodes({ADAPTER: {"min_frames": NEVER, "epochs": _EPOCHS}})
    console.print(f"ROS domain {setup.domain}, this machine only; logs in {setup.out}")
    probe = Probe(setup.domain, rendered)
    probe.start()
    stops: list[Stop] = []
    try:
        for number in range(times):
            starts = [stop.after for stop in stops if stop.moment == "running" and stop.codes]
            spread = starts[-1] if starts else _STARTING_SECONDS
            stop = _start_and_stop(setup, commands, probe, number, spread)
            stops.append(stop)
            console.print(_line(number, times, stop))
    finally:
        probe.close()
    failed = sum(bool(stop.trouble) for stop in stops)
    result = {"stops": [asdict(stop) for stop in stops], "failed": failed}
    settings = {
        "times": times,
        "limit_seconds": LIMIT_SECONDS,
        "rate_hz": RATE_HZ,
    }
    path = setup.write_result(settings, result)
    console.print(_table(stops))
    console.print(f"{times - failed} of {times} stops hold; {path}")
    return failed


def _fill_store(setup: TrialSetup, rendered: TrialPictures) -> None:
    """Stores labelled frames, so that there is something to train on."""
    store = FrameStore(setup.store / "frames", NEVER, _CAPACITY_MIB)
    # So they are of the drift, whenever the monitor will say that it began.
    tomorrow = time.time_ns() + 86_400 * 10**9
    for task, samples in rendered.labelled.items():
        for number, sample in enumerate(samples[:12]):
            store.add(f"stored{number:02d}", task, tomorrow + number, sample)


def _start_and_stop(
    setup: TrialSetup, commands: dict[str, list[str]], probe: Probe, number: int, spread: float
) -> Stop:
    stop = Stop(MOMENTS[number % len(MOMENTS)], 1 + number % 2)
    logs = setup.out / "logs" / f"{number:03d}"
    probe.diagnoses.clear()
    probe.adaptation.clear()
    with Processes(logs, setup.environment) as processes:
        began, began_ns = time.monotonic(), time.time_ns()
        running = {name: processes.start(name, command) for name, command in commands.items()}
        try:
            if stop.moment == "starting":
                time.sleep(_EARLIEST_SECONDS + spread * (number * _GOLDEN % 1))
            else:
                _wait_for(stop.moment, probe, number, list(running), began_ns)
        except TimeoutError as error:
            stop.trouble = str(error)
            return stop
        stop.after = time.monotonic() - began
        _interrupt(setup, running, stop)
        stop.codes = {name: process.poll() or 0 for name, process in running.items()}
        stop.left = len(setup.left())
    stop.tracebacks = [
        log.name for log in sorted(logs.glob("*.log")) if crashed(log.read_text(errors="replace"))
    ]
    stop.trouble = _trouble(stop, logs)
    return stop


def _wait_for(moment: str, probe: Probe, number: int, names: list[str], began_ns: int) -> None:
    """Waits until the moment has come. Raises TimeoutError."""
    deadline = time.monotonic() + START_SECONDS

    def wait(ready: str) -> None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{ready}: not within {START_SECONDS:.0f} s")
        time.sleep(0.05)

    def up() -> bool:
        said = {name: probe.diagnoses.get(name) for name in names}
        return all(found is not None and found.stamp_ns > began_ns for found in said.values())

    while not up():
        wait("all nodes report")
    if moment == "running":
        return
    answer = probe.call("adapt_now")
    if not answer.success:
        raise TimeoutError(f"no training starts: {answer.message}")
    # Every other time the worker has only just been started and still imports.
    least = 0.0 if number % 4 < 2 else 1e-6
    while not any(
        status.state == AdaptationStatus.TRAINING and status.progress >= least
        for status in probe.adaptation
    ):
        wait("the training is under way")


def _interrupt(setup: TrialSetup, running: dict[str, subprocess.Popen[bytes]], stop: Stop) -> None:
    """SIGINT to all, as Ctrl-C does; notes how long the last one takes."""
    own = OwnTime(setup.left())
    began = time.monotonic()
    for process in running.values():
        process.send_signal(signal.SIGINT)
    if stop.signals == 2:
        time.sleep(_SECOND_SIGNAL_SECONDS)
        for process in running.values():
            process.send_signal(signal.SIGINT)
    while any([process.poll() is None for process in running.values()]):
        if time.monotonic() - began > _GIVE_UP_SECONDS:
            return
        own.look(setup.left())
        time.sleep(_LOOK_SECONDS)
    stop.seconds, stop.own_seconds = time.monotonic() - began, own.seconds


def _trouble(stop: Stop, logs: Path) -> str:
    fine = {0, -signal.SIGINT} if stop.moment == "starting" else {0}
    codes = {name: code for name, code in stop.codes.items() if code not in fine}
    found = []
    if stop.seconds is None:
        found.append(f"not ended after {_GIVE_UP_SECONDS:.0f} s")
    elif stop.seconds > LIMIT_SECONDS:
        found.append(f"it took {stop.seconds:.1f} s")
    if codes and stop.seconds is not None:
        found.append(f"exit codes {codes}")
    if stop.tracebacks:
        found.append(f"tracebacks in {', '.join(stop.tracebacks)} of {logs}")
    if stop.left:
        found.append(f"{stop.left} processes left")
    return "; ".join(found)


def _line(number: int, times: int, stop: Stop) -> str:
    took = "-" if stop.seconds is None else f"{stop.seconds:.2f} s"
    verdict = stop.trouble or "ok"
    return (
        f"{number + 1:3d}/{times} {stop.moment}, SIGINT x{stop.signals} after {stop.after:.1f} s: "
        f"ended in {took}, {verdict}"
    )


def _table(stops: list[Stop]) -> Table:
    table = Table(title="Starts and stops of the whole graph")
    for name in ("moment", "SIGINTs"):
        table.add_column(name)
    for name in ("stops", "tracebacks", "left", "median s", "longest s", "do not hold"):
        table.add_column(name, justify="right")
    for moment in MOMENTS:
        for signals in (1, 2):
            rows = [stop for stop in stops if (stop.moment, stop.signals) == (moment, signals)]
            if not rows:
                continue
            took = sorted(stop.seconds or _GIVE_UP_SECONDS for stop in rows)
            table.add_row(
                moment,
                str(signals),
                str(len(rows)),
                str(sum(len(stop.tracebacks) for stop in rows)),
                str(sum(stop.left for stop in rows)),
                f"{took[len(took) // 2]:.2f}",
                f"{took[-1]:.2f}",
                str(sum(bool(stop.trouble) for stop in rows)),
            )
    return table
