"""`patchline demo` from its options to its report."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console

from patchline_ros import __version__
from patchline_ros.bundle import Bundle
from patchline_ros.demo.drive import Drive, Shot, Shots, SimRoad, open_drive
from patchline_ros.demo.graph_session import DRIVE_FILE, QUEUE_DEPTH, GraphRun, run_graph
from patchline_ros.demo.options import DemoOptions, prepare_out
from patchline_ros.demo.planning import find_signs, plan_drive
from patchline_ros.demo.progress import finished_episode
from patchline_ros.demo.report import print_summary, write_report
from patchline_ros.demo.report_text import headline
from patchline_ros.demo.result import Report, SourceReport
from patchline_ros.demo.score import Scorer, draw_timeline, score_drift, score_frames, sort_logs
from patchline_ros.demo.strip import make_strip
from patchline_ros.package_share import bundle_folder
from patchline_ros.tasks import Label, Task

LIBRARIES = ("torch", "torchvision", "numpy", "opencv-python-headless", "ros-rclpy")


def run_demo(options: DemoOptions, share: Path, command: str, console: Console) -> Report:
    """Plans the drive, runs it, scores it and writes the report; returns `report.json`.

    Args:
        options: checked by `check_options`.
        share: the package's share folder.
        command: the command line, for the report.
        console: where the progress and the summary are shown.

    Raises:
        ValueError: OptionError, MissingFolderError, DriveError or BundleError, for what the user
            can mend.
        DemoFailedError: the drive does not come to its end.
        ProcessDiedError: a process ended by itself.
    """
    recorded = options.frames is not None
    bundle = Bundle.load(options.bundle or bundle_folder(share, recorded))
    drive = plan_drive(options, bundle)
    if recorded and find_signs(options) is None:
        console.print(
            "No sign pictures: none were given with --signs, and there is no folder gtsrb beside "
            "that of --frames. The sign classifier will see nothing and is left out of the report."
        )
    prepare_out(options.out)
    drive.save(options.out / DRIVE_FILE)
    shots = open_drive(options.out / DRIVE_FILE)
    profile = share / "config" / "fastdds.xml"
    graph_run = run_graph(shots, options, bundle.path, profile, console)
    console.print("Measuring and writing the report")
    return _report(options, drive, shots, bundle, graph_run, command, console)


def _report(
    options: DemoOptions,
    drive: Drive,
    shots: Shots,
    bundle: Bundle,
    graph_run: GraphRun,
    command: str,
    console: Console,
) -> Report:
    logs = sort_logs(graph_run.camera, graph_run.records, options.out)
    truth, clear, changed = _look_again(shots)
    classes = {task: entry.spec.classes for task, entry in bundle.manifest.models.items()}
    scorer = Scorer(logs, truth, {task: len(names) for task, names in classes.items()})
    measured = [task for task in Task if any(task in labels for labels in truth.values())]
    episode = finished_episode(logs.adaptation)
    source = SourceReport(
        kind=drive.road.kind,
        frames=shots.source_frames,
        condition=str(drive.road.condition),
        drift_frames=shots.drift_frames,
    )
    tasks = {task: scorer.task(task) for task in measured}
    drift, frames = score_drift(logs), score_frames(logs)
    report = Report(
        headline=headline(source, drift, tasks, episode, frames),
        source=source,
        drift=drift,
        tasks=tasks,
        adaptation=episode,
        frames=frames,
        seed=options.seed,
        versions=_versions(),
        config=_config(options, drive, bundle, graph_run),
        seconds=graph_run.seconds,
    )
    timeline = draw_timeline(logs, scorer, measured, episode.curves)
    strip = make_strip(scorer, clear, changed, classes, options.out)
    write_report(report, timeline, strip, classes[Task.SEGMENTATION], command, options.out)
    print_summary(report, options.out, console)
    return report


def _look_again(shots: Shots) -> tuple[dict[int, dict[Task, Label]], Shot, Shot]:
    """The labels of all measured shots by their place, and two shots to show.

    Those are the middle one before the change and the middle test frame.
    """
    tests = sorted(shots.test_indices())
    shown = {shots.source_frames // 2, tests[len(tests) // 2]}
    truth: dict[int, dict[Task, Label]] = {}
    kept: dict[int, Shot] = {}
    for shot in shots.measured():
        truth[shot.index] = {task: sample.label for task, sample in shot.frame.samples.items()}
        if shot.index in shown:
            kept[shot.index] = shot
    clear, changed = (kept[index] for index in sorted(shown))
    return truth, clear, changed


def _config(
    options: DemoOptions, drive: Drive, bundle: Bundle, graph_run: GraphRun
) -> dict[str, Any]:
    road: dict[str, Any] = {"severity": drive.road.severity}
    if isinstance(drive.road, SimRoad):
        road |= {"road_seed": drive.road.seed, "size": list(drive.road.size)}
    return {
        "rate_hz": options.rate_hz,
        "queue_depth": QUEUE_DEPTH,
        "bundle": bundle.manifest.name,
        "bundle_seed": bundle.manifest.seed,
        "ros_domain_id": graph_run.domain,
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        **road,
    }


def _versions() -> dict[str, str]:
    found = {"patchline_ros": __version__, "Python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if "ROS_DISTRO" in os.environ:
        found["ROS"] = os.environ["ROS_DISTRO"]
    return found
