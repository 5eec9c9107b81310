"""The sentences of the report, from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.demo.result import DriftReport, FramesReport, SourceReport, TaskReport
from patchline_ros.graph.description import ROAD_NAME_OF_TASK
from patchline_ros.tasks import Task

BEGINNINGS = {
    "night": "Night fell",
    "dusk": "Dusk fell",
    "fog": "Fog came down",
    "rain": "Rain set in",
    "snow": "Snow set in",
}
UNKNOWN = "—"


def headline(
    source: SourceReport,
    drift: DriftReport,
    tasks: Mapping[Task, TaskReport],
    adaptation: EpisodeReport,
    frames: FramesReport,
) -> str:
    """The outcome in a sentence or two, good or bad."""
    beginning = BEGINNINGS.get(source.condition, f"The road changed to {source.condition}")
    noticed = f"the car noticed within {drift.frames_to_detect} frames"
    seconds = sum(adaptation.seconds.values())
    changed = {task: row for task, row in tasks.items() if row.swapped}
    if not changed:
        return (
            f"{beginning}, {noticed}, but {seconds:.0f} s of training made no model better on "
            "held-out frames, so all were left as they were."
        )
    moves = listing(
        [
            f"{road_name(task)} {percent(r.before)}\u00a0→\u00a0{percent(r.after)}%"
            for task, r in changed.items()
        ]
    )
    kept = [road_name(task) for task in tasks if task not in changed]
    left = f" {listing(kept).capitalize()} kept the source model." if kept else ""
    lost = frames.lost_during_swap
    loss = (
        "No frame was lost" if lost == 0 else f"{lost} frame{'s were' if lost > 1 else ' was'} lost"
    )
    return (
        f"{beginning}, {noticed}, and {seconds:.0f} s of training moved {moves}. "
        f"{loss} during the swap.{left}"
    )


def facts(source: SourceReport, config: Mapping[str, Any], seconds: float, seed: int) -> str:
    """What was driven, in a line."""
    road = {"sim": "Simulated road", "frames": "Recorded road"}[source.kind]
    return (
        f"{road}: {source.frames} clear frames, then {source.drift_frames} in {source.condition}, "
        f"played over and over at {config['rate_hz']:g} Hz. Seed {seed}. "
        f"{seconds:.0f} s from start to end, on {config['cpus']} CPU cores."
    )


def drift_sentence(drift: DriftReport) -> str:
    """What the drift monitor measured."""
    alarms = {0: "no false alarm", 1: "one false alarm"}.get(
        drift.false_alarms, f"{drift.false_alarms} false alarms"
    )
    return (
        f"MMD² between the last frames' features and the source's was {number(drift.mmd2_source)} "
        f"on the clear road and {number(drift.mmd2_drift)} after the change; the threshold, "
        f"{number(drift.threshold)}, comes from a permutation test on source data. The change was "
        f"noticed {drift.frames_to_detect} frames after it, with {alarms} before it."
    )


def adaptation_sentence(adaptation: EpisodeReport) -> str:
    """What was trained, in which order."""
    patches = adaptation.patches
    return (
        f"The size of the drift asked for {patches} patch{'es' if patches != 1 else ''} in each "
        f"model, trained in the order {listing(list(map(road_name, adaptation.order)))}, in "
        f"{sum(adaptation.seconds.values()):.0f} s and "
        f"{sum(adaptation.train_gflops.values()):,.0f} GFLOP in all."
    )


def cost_rows(adaptation: EpisodeReport) -> list[dict[str, str]]:
    """The table of costs, a row a task, as text."""
    rows = []
    for task in adaptation.order:
        gate = adaptation.gate.get(task)
        teacher = adaptation.warm_start.get(task)
        rows.append(
            {
                "task": road_name(task),
                "collected": str(adaptation.collected.get(task, UNKNOWN)),
                "kept": str(adaptation.kept.get(task, UNKNOWN)),
                "seconds": _fixed(adaptation.seconds.get(task), 1),
                "gflops": _fixed(adaptation.train_gflops.get(task), 0),
                "teacher": road_name(teacher) if teacher else "zero",
                "gate_before": percent(_hundred(gate.before if gate else None)),
                "gate_after": percent(_hundred(gate.after if gate else None)),
                "verdict": "accepted" if adaptation.accepted.get(task) else "refused",
            }
        )
    return rows


def won_back(row: TaskReport) -> str:
    """The share of what the change took that came back; unknown where it took nothing."""
    if row.source is None or row.before is None or row.after is None or row.source <= row.before:
        return UNKNOWN
    share = 100 * (row.after - row.before) / (row.source - row.before)
    return "all, and more" if round(share) > 100 else f"{share:.0f}%"


def road_name(task: Task | str) -> str:
    """What people call a task, or the task of this name: signs, objects or lanes."""
    return ROAD_NAME_OF_TASK[Task(task)]


def percent(value: float | None) -> str:
    """One decimal, or a dash."""
    return _fixed(value, 1)


def number(value: float | None) -> str:
    """Three significant digits, or a dash."""
    return UNKNOWN if value is None else f"{value:.3g}"


def listing(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _fixed(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def _hundred(value: float | None) -> float | None:
    return None if value is None else 100 * value
