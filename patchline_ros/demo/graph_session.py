"""Runs the graph for one drive: starts its processes, follows their logs, stops them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from patchline_ros.adaptation.label_policy import LabelPolicy
from patchline_ros.bundle import Bundle
from patchline_ros.demo.drive import Shots
from patchline_ros.demo.failure import DemoFailedError
from patchline_ros.demo.options import DemoOptions
from patchline_ros.demo.progress import Plan, Progress
from patchline_ros.demo.records import CAMERA_LOG, RECORDS_LOG, CameraLine, Kind, LineReader, Record
from patchline_ros.demo.view import View, current_step
from patchline_ros.graph.description import (
    NODE_OF_TASK,
    ROAD_IMAGE_TOPIC,
    SIGN_IMAGE_TOPIC,
    GraphSettings,
    NodeDescription,
    Parameters,
    command,
    describe,
)
from patchline_ros.graph.processes import (
    Processes,
    free_domain,
    installed_prefix,
    local_environment,
)

DRIVE_FILE = "drive.json"
LOGS = "logs"
STORE = "store"
POLL_SECONDS = 0.2
START_SECONDS = 120.0
SILENCE_SECONDS = 300.0
"""Seconds that the graph may take to start, and that a training may go without a word."""
EPISODES = f"{STORE}/episodes"
"""Where the adapter keeps its patch sets."""
ENOUGH_LABELS = 0.9
"""Share of the drive's labels with which the training starts."""
QUEUE_DEPTH = 20
"""Pictures that wait for a busy model: the demo measures every frame, a car wants the latest."""


@dataclass(frozen=True)
class GraphRun:
    """What a drive that came to its end has left.

    Attributes:
        camera: lines of the camera's log.
        records: lines of the recorder's log.
        domain: ROS domain id.
        seconds: how long it took, from the start of the first process.
    """

    camera: list[CameraLine]
    records: list[Record]
    domain: int
    seconds: float


def run_graph(
    shots: Shots, options: DemoOptions, bundle: Bundle, profile: Path, console: Console
) -> GraphRun:
    """Plays the drive in `options.out` to the graph until the adaptation is over and measured.

    All processes are gone when this returns or raises.

    Args:
        shots: what the drive shows.
        options: its `out` gets the logs and the adapter's store.
        bundle: of the models.
        profile: the Fast DDS profile for large pictures.
        console: where the progress is shown.

    Raises:
        DemoFailedError: the demo cannot end well.
        ProcessDiedError: a process ended by itself.
        OSError: a process cannot be started.
    """
    domain, out = free_domain(), options.out
    console.print(
        f"ROS domain {domain}, reachable from this machine only; logs in {out / LOGS}",
        soft_wrap=True,
    )
    settings = GraphSettings(
        bundle=str(bundle.path),
        store=str(out / STORE),
        image_topic=ROAD_IMAGE_TOPIC,
        sign_image_topic=SIGN_IMAGE_TOPIC,
    )
    prefix = installed_prefix()
    camera = _camera(options)
    plan = Plan(
        source_frames=shots.source_frames,
        drift_frames=shots.drift_frames,
        test_shots=shots.test_indices(),
        tasks=tuple(sorted(shots.tasks)),
        answers=bool(bundle.manifest.prepared),
        trains=not options.no_labels,
    )
    follower = _LogFollower(out, plan)
    began = time.monotonic()
    with (
        Processes(out / LOGS, local_environment(domain, profile)) as processes,
        View(console) as view,
    ):
        for node in [_recorder(options), *_car(settings, shots, options)]:
            processes.start(node.name, command(node, settings, prefix))
        follower.wait_until_ready(processes, view)
        # The camera comes last: whatever it publishes is heard and recorded.
        processes.start(camera.name, command(camera, settings, prefix))
        follower.follow(processes, view)
    return GraphRun(
        camera=follower.camera,
        records=follower.records,
        domain=domain,
        seconds=time.monotonic() - began,
    )


def _car(settings: GraphSettings, shots: Shots, options: DemoOptions) -> list[NodeDescription]:
    """The nodes of a car, with the parameters that a demo sets otherwise."""
    adapter: Parameters = {"seed": options.seed}
    if options.no_labels:
        adapter["labels"] = str(LabelPolicy.NONE)
    else:
        adapter["min_frames"] = round(ENOUGH_LABELS * shots.labelled_frames())
    changes: dict[str, Parameters] = {
        "adapter": adapter,
        **{node: {"queue_depth": QUEUE_DEPTH} for node in NODE_OF_TASK.values()},
    }
    return describe(settings, changes)


def _camera(options: DemoOptions) -> NodeDescription:
    """The node that publishes the drive's pictures and labels."""
    return NodeDescription(
        "camera",
        "camera",
        {
            "drive": str(options.out / DRIVE_FILE),
            "out": str(options.out),
            "rate_hz": float(options.rate_hz),
            "labels": not options.no_labels,
        },
        module="demo.drive_camera",
    )


def _recorder(options: DemoOptions) -> NodeDescription:
    """The node that writes down what the graph publishes."""
    return NodeDescription(
        "recorder", "recorder", {"out": str(options.out)}, module="demo.recorder"
    )


class _LogFollower:
    """Reads both logs as they grow and keeps every line."""

    def __init__(self, out: Path, plan: Plan) -> None:
        self._camera_log = LineReader(out / CAMERA_LOG, CameraLine)
        self._records_log = LineReader(out / RECORDS_LOG, Record)
        self.camera: list[CameraLine] = []
        self.records: list[Record] = []
        self._heard_adapter = time.monotonic()
        self._progress = Progress(plan)

    def wait_until_ready(self, processes: Processes, view: View) -> None:
        """Waits until the recorder hears every node."""
        deadline = time.monotonic() + START_SECONDS
        while not self._progress.ready:
            if time.monotonic() > deadline:
                raise DemoFailedError(
                    f"The nodes did not all come up within {START_SECONDS:.0f} s; see their logs."
                )
            self._step(processes, view)

    def follow(self, processes: Processes, view: View) -> None:
        """Follows both logs until the demo is over."""
        while not self._progress.finished():
            self._step(processes, view)
            self._progress.check()
            silent = time.monotonic() - self._heard_adapter
            if current_step(self._progress) == "train" and silent > SILENCE_SECONDS:
                raise DemoFailedError(
                    f"The training has not said a word for {SILENCE_SECONDS:.0f} s; see the log of "
                    "the adapter."
                )

    def _step(self, processes: Processes, view: View) -> None:
        """Waits a moment, then takes in the new lines."""
        time.sleep(POLL_SECONDS)
        processes.check()
        # Records first: the line of a picture is written before any answer to it can come.
        records = self._records_log.new_lines()
        camera = self._camera_log.new_lines()
        self.camera += camera
        self.records += records
        self._progress.feed(camera, records)
        view.show(self._progress)
        if any(record.kind is Kind.ADAPTATION for record in records):
            self._heard_adapter = time.monotonic()
