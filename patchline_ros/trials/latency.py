"""`patchline trial latency`: from a picture to its results; alone, in a training, through swaps."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Final

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from patchline_ros.bundle import Bundle
from patchline_ros.graph.description import NODE_OF_TASK, Parameters
from patchline_ros.graph.processes import Processes
from patchline_ros.msg import AdaptationStatus, PatchStatus
from patchline_ros.nodes.conversions import labelled_frame_to_msg, ns_to_stamp
from patchline_ros.nodes.stage_times import STAGES
from patchline_ros.runtime.backend import Backend
from patchline_ros.tasks import Task
from patchline_ros.trials.listener import Listener
from patchline_ros.trials.node_cost import NodeCost, cost_table, measure_node_costs
from patchline_ros.trials.random_patches import (
    answers_by_version,
    patch_set_message,
    random_patch_set,
)
from patchline_ros.trials.trial_camera import PLACES, SIZE
from patchline_ros.trials.trial_pictures import render_fixed, render_labelled, within
from patchline_ros.trials.trial_setup import TrialSetup, wide_console

PHASES: Final = ("alone", "training", "swaps")
MOST_LOST: Final = 0.001
"""Share of the pictures that transport may lose."""
MOST_SLOWER: Final = 2.0
"""Factor by which the 95th percentile of the latency may grow in a training and in swaps."""
_EPOCHS: Final = 10_000
_NEVER: Final = 100_000
_SENT: Final = re.compile(r"sent (\d+)")


@dataclass
class Measured:
    """One task in one phase.

    Attributes:
        sent, received: pictures that the camera sent, and those that the node heard.
        superseded: pictures that a newer one replaced while the model was busy, by design.
        processed, heard: pictures that the model answered, and answers that came.
        wrong: answers that the version which the node named does not give.
        latency_ms: 50th and 95th percentile, from the camera's stamp to the answer's arrival.
        stages_ms: the same of each stage inside the node, over its last 200 pictures.
        swap_ms: the longest time that a swap held up the next picture.
    """

    sent: int
    received: int
    superseded: int
    processed: int
    heard: int
    wrong: int
    latency_ms: tuple[float, float]
    stages_ms: dict[str, tuple[float, float]]
    swap_ms: float = 0.0

    @property
    def lost(self) -> float:
        """Share of the pictures that transport lost."""
        return 1 - self.received / self.sent


@dataclass
class _Trial:
    setup: TrialSetup
    bundle: Bundle
    listener: Listener
    processes: Processes
    seconds: float
    rate_hz: float
    answers: dict[Task, dict[int, list[str]]]
    patch_sets: dict[Task, dict[int, bytes]]
    measured: dict[str, dict[Task, Measured]] = field(default_factory=dict)
    costs: dict[Task, NodeCost] = field(default_factory=dict)


def measure_latency(
    setup: TrialSetup,
    seconds: float,
    rate_hz: float,
    swaps: int,
    backend: Backend,
) -> int:
    """Runs the three phases, writes the result, and returns how many limits were missed.

    Args:
        setup: where it runs.
        seconds: of each phase.
        rate_hz: of the camera, whose pictures have 640x480 pixels.
        swaps: of each model in the third phase.
        backend: that runs the models.

    Raises:
        ValueError: the backend can't run the bundle's models.
        TimeoutError: the graph does not do what it should in time.
    """
    console = wide_console()
    console.print(f"ROS domain {setup.domain}, this machine only; logs in {setup.out}")
    trial = _run_phases(setup, seconds, rate_hz, swaps, backend, console)
    measured = trial.measured
    missed = _missed(measured)
    settings = {
        "seconds": seconds,
        "rate_hz": rate_hz,
        "size": SIZE,
        "swaps": swaps,
        "backend": str(backend),
    }
    result = {
        "phases": {
            phase: {str(task): asdict(found) for task, found in tasks.items()}
            for phase, tasks in measured.items()
        },
        "costs": {str(task): asdict(cost) for task, cost in trial.costs.items()},
        "missed": missed,
    }
    path = setup.write_result(settings, result)
    console.print(_table(measured))
    for sentence in missed:
        console.print(sentence, soft_wrap=True)
    console.print(f"{path}")
    return len(missed)


def _run_phases(
    setup: TrialSetup,
    seconds: float,
    rate_hz: float,
    swaps: int,
    backend: Backend,
    console: Console,
) -> _Trial:
    """Starts the graph, and measures each node by itself and the graph in every phase."""
    bundle = Bundle.load(setup.bundle)
    # As in the nodes: another number of threads gives other rounding.
    torch.set_num_threads(1)
    pictures = render_fixed(SIZE)[Task.SEGMENTATION]
    patch_sets = {
        task: {v: random_patch_set(bundle, task, v) for v in range(1, swaps + 1)} for task in Task
    }
    answers = {
        task: answers_by_version(bundle, task, sets, pictures, backend)
        for task, sets in patch_sets.items()
    }
    perception: Parameters = {"backend": str(backend)}
    changes = {name: perception for name in NODE_OF_TASK.values()}
    # The few pictures look like a drift, whose answer without labels would be one more swap.
    adapter: Parameters = {"min_frames": _NEVER, "epochs": _EPOCHS, "labels": "required"}
    commands = setup.nodes({**changes, "adapter": adapter})
    listener = Listener(setup.domain)
    try:
        with Processes(setup.out / "logs", setup.environment) as processes:
            pids = {name: processes.start(name, command).pid for name, command in commands.items()}
            listener.until_started(processes, commands)
            trial = _Trial(
                setup, bundle, listener, processes, seconds, rate_hz, answers, patch_sets
            )
            console.print("each node by itself")
            trial.costs = measure_node_costs(
                bundle, backend, listener, pids, setup.environment, setup.out / "logs" / "single"
            )
            console.print(cost_table(trial.costs))
            for phase in PHASES:
                console.print(f"{phase}: {seconds:.0f} s at {rate_hz:g} Hz")
                trial.measured[phase] = _PHASES[phase](trial)
    finally:
        listener.close()
    return trial


def _counts(listener: Listener) -> dict[Task, dict[str, int]]:
    """Counters of the perception nodes, as they are now."""
    # Long enough for what is on its way.
    time.sleep(1.0)
    asked_ns = time.time_ns()
    listener.until(
        "a diagnosis of each node",
        lambda: all(listener.diagnoses[n].stamp_ns > asked_ns for n in NODE_OF_TASK.values()),
        10.0,
    )
    names = ("received", "superseded", "processed", "unreadable")
    return {
        task: {name: int(listener.diagnoses[node].values[name]) for name in names}
        for task, node in NODE_OF_TASK.items()
    }


def _drive(
    trial: _Trial, phase: str, beside: Callable[[float], None] | None = None
) -> dict[Task, Measured]:
    """Runs the camera once, and calls `beside` meanwhile, again and again, with the time."""
    before = _counts(trial.listener)
    trial.listener.forget()
    command = [sys.executable, "-m", "patchline_ros.trials.trial_camera"]
    logs = trial.setup.out / "logs" / phase
    with Processes(logs, trial.setup.environment) as cameras:
        camera = cameras.start("camera", [*command, str(trial.seconds), str(trial.rate_hz)])
        begun = time.monotonic()
        while camera.poll() is None:
            trial.processes.check()
            trial.listener.check()
            if beside is not None and any(trial.listener.heard.values()):
                beside(time.monotonic() - begun)
            time.sleep(0.05)
    log = (logs / "camera.log").read_text(encoding="utf-8")
    found = _SENT.search(log)
    if found is None:
        raise TimeoutError(f"the camera ended without its pictures: {log.strip()}")
    after = _counts(trial.listener)
    return {task: _measured(trial, task, int(found[1]), before[task], after[task]) for task in Task}


def _measured(
    trial: _Trial, task: Task, sent: int, before: dict[str, int], after: dict[str, int]
) -> Measured:
    heard = trial.listener.heard[task]
    versions, answers = trial.listener.versions[task], trial.answers[task]
    wrong = sum(
        answers[versions[answer.stamp_ns]][answer.stamp_ns % PLACES] != answer.sha256
        for answer in heard
    )
    middle, high = np.percentile([answer.latency_ms for answer in heard], [50, 95])
    values = trial.listener.diagnoses[NODE_OF_TASK[task]].values
    return Measured(
        sent=sent,
        received=after["received"] - before["received"],
        superseded=after["superseded"] - before["superseded"],
        processed=after["processed"] - before["processed"],
        heard=len(heard),
        wrong=wrong,
        latency_ms=(float(middle), float(high)),
        stages_ms={
            stage: (float(values[f"{stage}_ms_p50"]), float(values[f"{stage}_ms_p95"]))
            for stage in STAGES
        },
    )


def _alone(trial: _Trial) -> dict[Task, Measured]:
    return _drive(trial, "alone")


def _training(trial: _Trial) -> dict[Task, Measured]:
    """Lets the adapter train all the time; what a training comes to is thrown away."""
    listener = trial.listener
    labels = listener.labelled_frames()
    listener.until("the adapter's listening", lambda: labels.get_subscription_count() > 0, 30.0)
    now, count = time.time_ns(), 0
    for task, samples in render_labelled().items():
        for number, sample in enumerate(samples):
            header = Header(stamp=ns_to_stamp(now + number))
            known = within(sample, len(trial.bundle.spec(task).classes))
            labels.publish(labelled_frame_to_msg(f"trial{number}", task, known, header))
            count += 1
            time.sleep(0.02)
    stored = partial(lambda: int(listener.diagnoses["adapter"].values["stored"]) >= count)
    listener.until("the storing of labelled frames", stored, 60.0)
    answer = listener.call("adapt_now")
    if not answer.success:
        raise TimeoutError(f"no training started: {answer.message}")
    training = AdaptationStatus.TRAINING
    listener.until(
        "the training",
        lambda: listener.adaptation.state == training and listener.adaptation.progress > 0,
        120.0,
    )
    try:
        measured = _drive(trial, "training")
    finally:
        listener.call("pause", SetBool, data=True)
    return measured


def _swaps(trial: _Trial) -> dict[Task, Measured]:
    """Sends each node a new patch set so many times, evenly over the drive."""
    publishers = trial.listener.patch_sets()
    swaps = max(trial.patch_sets[Task.SEGMENTATION])
    begun: list[float] = []
    held: dict[Task, float] = dict.fromkeys(Task, 0.0)

    def active(task: Task, version: int) -> bool:
        status = trial.listener.statuses[task]
        if status.version == version:
            held[task] = max(held[task], 1e3 * status.swap_seconds)
        return (status.version, status.state) == (version, PatchStatus.ACTIVE)

    def beside(seconds: float) -> None:
        begun.append(seconds)
        due = int(swaps * (seconds - begun[0]) / (0.9 * trial.seconds)) + 1
        for task, publisher in publishers.items():
            version = trial.listener.statuses[task].version + 1
            if version <= min(due, swaps):
                data = trial.patch_sets[task][version]
                publisher.publish(patch_set_message(trial.bundle, task, version, data))
                arrived = partial(active, task, version)
                trial.listener.until(f"patch set {version} for {task}", arrived, 30.0)

    measured = _drive(trial, "swaps", beside)
    for task, found in measured.items():
        found.swap_ms = held[task]
        if trial.listener.statuses[task].version != swaps:
            raise TimeoutError(
                f"not all {swaps} swaps of {task} fitted into {trial.seconds:g} s; give more "
                "--seconds"
            )
    return measured


_PHASES: Final = {"alone": _alone, "training": _training, "swaps": _swaps}


def _missed(measured: dict[str, dict[Task, Measured]]) -> list[str]:
    """A sentence for each limit that does not hold."""
    missed = []
    for phase, tasks in measured.items():
        for task, found in tasks.items():
            if found.lost >= MOST_LOST:
                missed.append(
                    f"{phase}, {task}: transport lost {found.sent - found.received} of "
                    f"{found.sent} pictures, more than {MOST_LOST:.1%}"
                )
            gone = found.received - found.superseded - found.processed
            if gone or found.heard != found.processed:
                missed.append(
                    f"{phase}, {task}: of {found.received} pictures {found.superseded} were "
                    f"superseded and {found.processed} processed, {found.heard} answers came"
                )
            if found.wrong:
                missed.append(f"{phase}, {task}: {found.wrong} answers are of no known weights")
            slower = found.latency_ms[1] / measured["alone"][task].latency_ms[1]
            if slower > MOST_SLOWER:
                missed.append(
                    f"{phase}, {task}: the 95th percentile of the latency is {slower:.1f} times "
                    f"that of the graph alone, more than {MOST_SLOWER:g}"
                )
    return missed


def _table(measured: dict[str, dict[Task, Measured]]) -> Table:
    table = Table(box=None, caption="ms: median, 95th percentile; wait, model: last 200 pictures")
    table.add_column("", no_wrap=True)
    for name in ("lost", "skipped", "answers", "wrong", "latency", "wait", "model", "swap"):
        table.add_column(name, justify="right")
    for phase, tasks in measured.items():
        for task, found in tasks.items():
            table.add_row(
                f"{phase} {task}",
                str(found.sent - found.received),
                str(found.superseded),
                str(found.heard),
                str(found.wrong),
                *map(_pair, (found.latency_ms, found.stages_ms["wait"], found.stages_ms["model"])),
                f"{found.swap_ms:.2f}" if found.swap_ms else "",
            )
    return table


def _pair(values: tuple[float, float]) -> str:
    return f"{values[0]:.0f}, {values[1]:.0f}"
