"""`patchline trial weathers`: the same weathers come again, and nothing may be forgotten."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rich.table import Table

from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.adaptation.planner import settled_since
from patchline_ros.bundle import Bundle
from patchline_ros.graph.description import (
    GraphSettings,
    NodeDescription,
    Parameters,
    command,
    patch_set_topic,
)
from patchline_ros.graph.processes import Processes, installed_prefix
from patchline_ros.msg import DriftStatus, PatchSet
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import stamp_to_ns
from patchline_ros.patching.patch_set import apply
from patchline_ros.sim import Condition, RoadSimulator
from patchline_ros.sim.defaults import PICTURE_SIZE, PICTURE_STEP, SEVERITIES
from patchline_ros.tasks import Sample, Task
from patchline_ros.trials.listener import Listener
from patchline_ros.trials.trial_setup import TrialSetup, wide_console
from patchline_ros.vision.evaluation import evaluate

MOST_LOST: Final = 0.005
"""Of a metric, 0..1, that a later visit of a weather may be worse than the first one."""
MOST_GROWTH_MIB: Final = 100.0
"""Of a process's memory and of the adapter's folder, from the end of the first round to the last.
What is kept is bounded by the adapter's `capacity` and the bank's; this is a round trip's share."""
_TEST_WORLDS: Final = (4000, 4001, 4002)
_TEST_FRAMES: Final = 20
"""Of each world and weather: the road that is scored on, which no camera has shown."""
_VISIT_SECONDS: Final = 900.0
_CLEAR_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Visit:
    """One stay in one weather.

    Attributes:
        round: from 1.
        weather: its name.
        seconds: from the change of the weather until nothing more was to be done for it.
        by: what the decisions rested on, one after the other: `prediction`, `bank`, `training`.
        source: the source models' metrics on test frames of the weather, 0..1.
        metrics: those of the models that ran at the end.
        memory_mib: resident, of each process, after it.
        store_mib: of the adapter's folder.
    """

    round: int
    weather: str
    seconds: float
    by: list[str]
    source: dict[Task, float]
    metrics: dict[Task, float]
    memory_mib: dict[str, float]
    store_mib: float


class _Road(Listener):
    """Hears drifts and patch sets as well, and changes the weather."""

    def __init__(self, domain: int) -> None:
        self.drift = DriftStatus()
        self.sets: dict[Task, PatchSet] = {}
        super().__init__(domain)
        self._weather: Any = self.node.create_client(SetParameters, "camera/set_parameters")

    def _listen(self) -> None:
        super()._listen()
        self.hear(DriftStatus, "drift_status", self._on_drift, qos.RESULTS)
        for task in Task:
            self.hear(PatchSet, patch_set_topic(task), self._on_patch_set, qos.LATCHED)

    def _on_drift(self, msg: DriftStatus) -> None:
        self.drift = msg

    def _on_patch_set(self, msg: PatchSet) -> None:
        self.sets[Task(msg.task)] = msg

    def change_weather(self, condition: Condition) -> None:
        """Raises TimeoutError where the camera does not answer."""
        self.until("the start of the camera", self._weather.service_is_ready, 30.0)
        value = Parameter("condition", value=str(condition)).to_parameter_msg()
        future = self._weather.call_async(SetParameters.Request(parameters=[value]))
        self.until("the change of the weather", future.done, 10.0)

    def report(self) -> EpisodeReport | None:
        """Of the episode that ended last, if it was of the drift of now."""
        text = self.adaptation.episode_json
        if not text or not self.drift.drifting:
            return None
        report = EpisodeReport.model_validate_json(text)
        return report if report.since_ns == stamp_to_ns(self.drift.since) else None

    def swapped(self) -> bool:
        """Every node runs what was published last."""
        return all(self.statuses[task].version == self.running(task) for task in self.statuses)

    def running(self, task: Task) -> int:
        """Version that is to run; 0 for the source model."""
        newest = self.sets.get(task)
        return newest.version if newest is not None and newest.data else 0


def visit_weathers(setup: TrialSetup, rounds: int, labels: bool, rate_hz: float) -> int:
    """Drives through each weather, with clear roads between, so many times.

    Args:
        setup: where it runs.
        rounds: how often each weather comes.
        labels: whether the camera publishes labels; without, the prepared patches answer alone.
        rate_hz: of the camera.

    Returns:
        How many visits and processes did not hold.

    Raises:
        TimeoutError: the graph does not start, or a visit comes to no end.
    """
    console = wide_console()
    console.print(f"ROS domain {setup.domain}, this machine only; logs in {setup.out}")
    bundle = Bundle.load(setup.bundle)
    visits: list[Visit] = []
    commands = {
        **setup.nodes({"adapter": {"labels": "welcome" if labels else "none"}}),
        "camera": _camera(setup, labels, rate_hz),
    }
    road = _Road(setup.domain)
    try:
        with Processes(setup.out / "logs", setup.environment) as processes:
            pids = {name: processes.start(name, line).pid for name, line in commands.items()}
            road.until_started(processes, setup.nodes({}))
            for number in range(1, rounds + 1):
                for weather in SEVERITIES:
                    visit = _visit(road, processes, setup, bundle, number, weather, labels, pids)
                    visits.append(visit)
                    console.print(_said(visit))
    finally:
        road.close()
    troubles = troubles_of(visits)
    settings = {"rounds": rounds, "labels": labels, "rate_hz": rate_hz}
    whole = {"visits": [asdict(visit) for visit in visits], "troubles": troubles}
    path = setup.write_result(settings, whole)
    console.print(_table(visits))
    for trouble in troubles:
        console.print(trouble)
    console.print(f"{path}")
    return len(troubles)


def _camera(setup: TrialSetup, labels: bool, rate_hz: float) -> list[str]:
    """The command line of the simulated camera, in clear weather."""
    parameters: Parameters = {
        "condition": str(Condition.CLEAR),
        "change_after": 0.0,
        "labels": labels,
        "rate_hz": rate_hz,
    }
    settings = GraphSettings(str(setup.bundle), str(setup.store))
    camera = NodeDescription("sim_camera", "camera", parameters)
    return command(camera, settings, installed_prefix())


def _visit(
    road: _Road,
    processes: Processes,
    setup: TrialSetup,
    bundle: Bundle,
    number: int,
    weather: Condition,
    labels: bool,
    pids: Mapping[str, int],
) -> Visit:
    """Stays in a weather until it is settled, scores what runs, and goes back to clear roads."""
    started = time.monotonic()
    by: list[str] = []

    def settled() -> bool:
        processes.check()
        report = road.report()
        if report is None:
            return False
        basis = _basis(report)
        if not by or by[-1] != basis:
            by.append(basis)
        ended = settled_since(report) is not None if labels else basis == "prediction"
        return ended and road.swapped()

    road.change_weather(weather)
    road.until(f"the end of visit {number} to {weather}", settled, _VISIT_SECONDS)
    seconds = time.monotonic() - started
    source, metrics = _scores(road, bundle, weather)
    road.change_weather(Condition.CLEAR)

    def back() -> bool:
        processes.check()
        return not road.drift.drifting and not any(s.version for s in road.statuses.values())

    road.until(f"the return to the source models after {weather}", back, _CLEAR_SECONDS)
    return Visit(
        number,
        str(weather),
        seconds,
        by,
        source,
        metrics,
        {name: psutil.Process(pid).memory_info().rss / 2**20 for name, pid in pids.items()},
        _size_mib(setup.store),
    )


def _basis(report: EpisodeReport) -> str:
    """What an episode's decisions rest on."""
    if report.basis == "prediction":
        return "prediction"
    return "bank" if report.bank_entry else "training"


def _scores(
    road: _Road, bundle: Bundle, weather: Condition
) -> tuple[dict[Task, float], dict[Task, float]]:
    """The metrics of the source models and of what runs, on test frames of the weather."""
    source, metrics = {}, {}
    for task, samples in _test_samples(weather).items():
        model = bundle.model(task)
        source[task] = metrics[task] = evaluate(model, samples)
        if road.running(task):
            patched = apply(model, bundle.fingerprint(task), bytes(road.sets[task].data))
            metrics[task] = evaluate(patched, samples)
    return source, metrics


def _test_samples(weather: Condition) -> dict[Task, list[Sample]]:
    found: dict[Task, list[Sample]] = {task: [] for task in Task}
    for world in _TEST_WORLDS:
        simulator = RoadSimulator(world, PICTURE_SIZE)
        for number in range(_TEST_FRAMES):
            frame = simulator.frame(2 * PICTURE_STEP * number, weather, SEVERITIES[weather])
            for task in Task:
                found[task].append(frame.samples[task])
    return found


def _size_mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def troubles_of(visits: Sequence[Visit]) -> list[str]:
    """What was forgotten, what fell below the source models, and what grew, in sentences."""
    found = []
    first = {visit.weather: visit for visit in visits if visit.round == 1}
    for visit in visits:
        for task, metric in visit.metrics.items():
            at = f"{task} in visit {visit.round} to {visit.weather}: {metric:.1%}"
            if metric < visit.source[task] - MOST_LOST:
                found.append(f"{at}, worse than the source model's {visit.source[task]:.1%}")
            before = first[visit.weather].metrics[task]
            if metric < before - MOST_LOST:
                found.append(f"{at}, worse than the first visit's {before:.1%}")
    early = [visit for visit in visits if visit.round == 1][-1]
    last = visits[-1]
    for name, now in {**last.memory_mib, "the adapter's folder": last.store_mib}.items():
        grown = now - {**early.memory_mib, "the adapter's folder": early.store_mib}[name]
        if grown > MOST_GROWTH_MIB:
            found.append(f"{name} grew by {grown:.0f} MiB after the first round")
    return found


def _said(visit: Visit) -> str:
    metrics = ", ".join(
        f"{task} {visit.source[task]:.1%} -> {metric:.1%}" for task, metric in visit.metrics.items()
    )
    by = " then ".join(visit.by)
    return f"round {visit.round}, {visit.weather}: {metrics}; {by}, {visit.seconds:.0f} s"


def _table(visits: Sequence[Visit]) -> Table:
    table = Table(title="metric on test frames, source -> what ran, by visit")
    rounds = sorted({visit.round for visit in visits})
    for title in ("weather", "task", "source", *(f"visit {number}" for number in rounds)):
        table.add_column(title)
    found: dict[tuple[str, Task], dict[int, Visit]] = {}
    for visit in visits:
        for task in visit.metrics:
            found.setdefault((visit.weather, task), {})[visit.round] = visit
    for (weather, task), by_round in found.items():
        cells: list[Any] = [weather, str(task), f"{by_round[1].source[task]:.1%}"]
        cells += [f"{by_round[number].metrics[task]:.1%}" for number in rounds]
        table.add_row(*cells)
    return table
