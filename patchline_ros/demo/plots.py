"""The plots of the report, drawn from its data.

Each figure is drawn once and saved twice: as SVG for the page, and as PNG on white for elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.demo.episodes import Stage
from patchline_ros.demo.report_text import road_name
from patchline_ros.demo.result import Report, Timeline
from patchline_ros.pages.plots import AFTER, ANSWERED, BEFORE, INK, SOURCE, STYLE
from patchline_ros.tasks import Task

MMD = "#56b4e9"
STAGE_COLOURS: dict[Stage, str] = {
    "source": SOURCE,
    "before": BEFORE,
    "answered": ANSWERED,
    "after": AFTER,
}
STAGE_WORDS: dict[Stage, str] = {
    "source": "clear road",
    "before": "changed, source models",
    "answered": "answered without labels",
    "after": "changed, now",
}
TASK_COLOURS = {
    Task.CLASSIFICATION: "#0072b2",
    Task.DETECTION: "#d55e00",
    Task.SEGMENTATION: "#009e73",
}
"""Okabe and Ito's colours, which people with any kind of colour vision can tell apart."""


def draw_all(report: Report, timeline: Timeline) -> dict[str, Figure]:
    """Every plot by its file name without suffix."""
    with matplotlib.rc_context(STYLE):
        figures = {
            "story": draw_story(report, timeline),
            "tasks": draw_tasks(report),
        }
        if report.adaptation is not None and report.adaptation.collected:
            figures["samples"] = draw_samples(report.adaptation)
        if any(timeline.curves.values()):
            figures["training"] = draw_training(timeline)
    return figures


def save_all(figures: Mapping[str, Figure], folder: Path) -> None:
    """Write each plot as PNG on white into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=130, facecolor="white")


def draw_story(report: Report, timeline: Timeline) -> Figure:
    """MMD^2 and each task's rolling metric over the same time axis, with switch and swaps."""
    tasks = [task for task in Task if task in timeline.metrics]
    figure = Figure(figsize=(9.6, 2.4 + 1.75 * len(tasks)), layout="constrained")
    axes = figure.subplots(
        len(tasks) + 1, 1, sharex=True, height_ratios=[1.15] + [1.0] * len(tasks), squeeze=False
    )[:, 0]
    axes[0].set_xlim(0, timeline.end)
    _draw_mmd(axes[0], timeline)
    for axis, task in zip(axes[1:], tasks, strict=True):
        _draw_metric(axis, timeline, task, report.tasks[task].metric)
    for axis in axes:
        axis.axvline(timeline.switch, color=INK, linewidth=1.2)
        axis.axvspan(timeline.switch, timeline.end, color=INK, alpha=0.05, linewidth=0)
    axes[0].set_xlim(0, timeline.end)
    axes[-1].set_xlabel("seconds since the first frame")
    return figure


def _draw_mmd(axis: Axes, timeline: Timeline) -> None:
    seconds, values = zip(*timeline.mmd2, strict=True) if timeline.mmd2 else ((), ())
    axis.plot(seconds, values, color=MMD, linewidth=2.0)
    if timeline.threshold is not None:
        axis.axhline(timeline.threshold, color=INK, linewidth=1.1, linestyle=(0, (5, 3)))
    axis.set_title("How far the pictures are from what the models know (MMD²; dashed: threshold)")
    axis.set_ylabel("MMD²")
    axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]), top=axis.get_ylim()[1] * 1.35)
    if timeline.detected is not None:
        axis.axvline(timeline.detected, color=INK, linewidth=1.0, linestyle=(0, (1, 2)))
        _mark(axis, timeline.detected, "solid: conditions change, dotted: noticed")


def _draw_metric(axis: Axes, timeline: Timeline, task: Task, metric: str) -> None:
    for segment in timeline.metrics[task]:
        colour = STAGE_COLOURS[segment.stage]
        axis.plot(segment.seconds, segment.values, color=colour, linewidth=2.2)
    axis.set_ylim(0, 105)
    axis.set_yticks([0, 25, 50, 75, 100])
    axis.set_ylabel("%")
    axis.set_title(f"{road_name(task).capitalize()}: {metric}")
    for swap in timeline.swaps.get(task, []):
        colour = STAGE_COLOURS[swap.stage]
        axis.axvline(swap.second, color=colour, linewidth=1.6, linestyle=(0, (5, 2)))
        without = " without labels" if swap.stage == "answered" else ""
        _mark(axis, swap.second, f"patches swapped in{without}", colour=colour)


def _mark(axis: Axes, second: float, words: str, colour: str = INK) -> None:
    """Words beside a vertical line; near the right edge they stand on its left."""
    right = axis.get_xlim()[1]
    left_of_it = second > 0.7 * right
    axis.annotate(
        words,
        (second, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if left_of_it else 4, -3),
        textcoords="offset points",
        ha="right" if left_of_it else "left",
        va="top",
        color=colour,
        fontsize=9,
    )


def draw_tasks(report: Report) -> Figure:
    """The stages side by side for each task."""
    figure = Figure(figsize=(9.6, 3.3), layout="constrained")
    axis = figure.subplots()
    stages = [stage for stage in STAGE_WORDS if report.answer is not None or stage != "answered"]
    tasks, step = list(report.tasks), 0.81 / len(stages)
    for number, stage in enumerate(stages):
        offset = (number - (len(stages) - 1) / 2) * step
        drawn = [
            (place + offset, value)
            for place, task in enumerate(tasks)
            if (value := getattr(report.tasks[task], stage)) is not None
        ]
        positions, values = zip(*drawn, strict=True) if drawn else ((), ())
        container = axis.bar(
            positions,
            values,
            width=0.93 * step,
            color=STAGE_COLOURS[stage],
            label=STAGE_WORDS[stage],
        )
        axis.bar_label(container, fmt="%.1f", padding=2, fontsize=9)
    axis.set_xticks(
        range(len(tasks)), [f"{road_name(task)}\n{report.tasks[task].metric}" for task in tasks]
    )
    axis.set_ylim(0, 112)
    axis.set_yticks([0, 25, 50, 75, 100])
    axis.set_ylabel("%")
    axis.grid(axis="x", visible=False)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 1.17), ncols=len(stages))
    return figure


def draw_samples(adaptation: EpisodeReport) -> Figure:
    """Labelled frames collected and kept by the entropy filter, per task."""
    tasks = [task for task in Task if task in adaptation.collected]
    bars = (
        ("collected", adaptation.collected, "#56b4e9"),
        ("kept", adaptation.kept, "#0072b2"),
    )
    figure = Figure(figsize=(4.7, 2.6), layout="constrained")
    axis = figure.subplots()
    for offset, (field, frames, colour) in enumerate(bars):
        positions = [place + (offset - 0.5) * 0.38 for place in range(len(tasks))]
        values = [frames.get(task, 0) for task in tasks]
        container = axis.barh(positions, values, height=0.36, color=colour, label=field)
        axis.bar_label(container, padding=3, fontsize=9)
    axis.set_yticks(range(len(tasks)), [road_name(task) for task in tasks])
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.grid(axis="y", visible=False)
    axis.set_title("Labelled frames")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, -0.42), ncols=2)
    return figure


def draw_training(timeline: Timeline) -> Figure:
    """Loss of each epoch, each task scaled to its first epoch so that they share an axis."""
    figure = Figure(figsize=(4.7, 2.6), layout="constrained")
    axis = figure.subplots()
    for task, points in timeline.curves.items():
        if not points or points[0].loss <= 0:
            continue
        epochs = [point.epoch for point in points]
        losses = [100 * point.loss / points[0].loss for point in points]
        axis.plot(epochs, losses, color=TASK_COLOURS[task], linewidth=2.0, label=road_name(task))
    axis.set_ylim(bottom=0)
    axis.set_xlabel("epoch")
    axis.set_ylabel("% of the first epoch's")
    axis.set_title("Training loss")
    axis.legend()
    return figure
