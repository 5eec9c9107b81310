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
from patchline_ros.demo.drive import Drive, Shots, SimRoad, open_drive
from patchline_ros.demo.graph_session import DRIVE_FILE, EPISODES, QUEUE_DEPTH, GraphRun, run_graph
from patchline_ros.demo.logs import ended_episodes, sort_logs
from patchline_ros.demo.options import DemoOptions, OptionError, prepare_out
from patchline_ros.demo.planning import find_signs, plan_drive
from patchline_ros.demo.report import print_summary, write_report
from patchline_ros.demo.report_text import headline
from patchline_ros.demo.result import Report, SourceReport
from patchline_ros.demo.score import (
    Scorer,
    draw_timeline,
    score_answer,
    score_drift,
    score_frames,
)
from patchline_ros.demo.second_look import look_again, models_to_ask
from patchline_ros.demo.strip import make_strip
from patchline_ros.package_share import bundle_folder
from patchline_ros.tasks import Task

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
    if options.no_labels and not bundle.manifest.prepared:
        raise OptionError(
            f"--labels none needs patches that were prepared before the drive, and the bundle "
            f"{bundle.path} has none; name another with --bundle"
        )
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
    graph_run = run_graph(shots, options, bundle, profile, console)
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
    episodes = ended_episodes(logs)
    models = models_to_ask(bundle, options.out / EPISODES, episodes.versions)
    seen = look_again(shots, models)
    classes = {task: entry.spec.classes for task, entry in bundle.manifest.models.items()}
    counts = {task: len(names) for task, names in classes.items()}
    scorer = Scorer(logs, episodes, seen.truth, seen.said, counts)
    measured = [task for task in Task if any(task in labels for labels in seen.truth.values())]
    source = SourceReport(
        kind=drive.road.kind,
        frames=shots.source_frames,
        condition=str(drive.road.condition),
        drift_frames=shots.drift_frames,
    )
    tasks = {task: scorer.task(task) for task in measured}
    drift, frames = score_drift(logs), score_frames(logs)
    answer, training = score_answer(logs, episodes, tasks), episodes.training
    report = Report(
        headline=headline(source, drift, tasks, answer, training, frames),
        source=source,
        drift=drift,
        tasks=tasks,
        answer=answer,
        adaptation=training,
        frames=frames,
        seed=options.seed,
        versions=_versions(),
        config=_config(options, drive, bundle, graph_run),
        seconds=graph_run.seconds,
    )
    timeline = draw_timeline(logs, episodes, scorer, measured)
    strip = make_strip(scorer, seen.clear, seen.tests, classes)
    write_report(report, timeline, strip, classes[Task.SEGMENTATION], command, options.out)
    print_summary(report, options.out, console)
    return report


def _config(
    options: DemoOptions, drive: Drive, bundle: Bundle, graph_run: GraphRun
) -> dict[str, Any]:
    road: dict[str, Any] = {"severity": drive.road.severity}
    if isinstance(drive.road, SimRoad):
        road |= {"road_seed": drive.road.seed, "size": list(drive.road.size)}
    return {
        "rate_hz": options.rate_hz,
        "queue_depth": QUEUE_DEPTH,
        "labels": "none" if options.no_labels else "from the second lap on",
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
