"""Figures of one experiment with every row: what it reached, and how it got there."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.drawing import STYLE, ink, look, panels
from patchline_ros.bench.report.entries import Entry, entries, full_of
from patchline_ros.tasks import Task

FIGURES = {
    "accuracy-compute": "Score and compute of every row.",
    "epochs": "Score on validation frames over epochs.",
}
"""What each figure shows, by file."""
_WRAP = 30
"""Letters of a row's title in a line."""


def draw_all(results: Collected) -> dict[str, Figure]:
    """Every figure by its file name without suffix; what there is nothing of is left out."""
    with matplotlib.rc_context(STYLE):
        figures = {"accuracy-compute": _scores_and_compute(results)}
        if any(_curve(entry, task) for entry in entries(results) for task in entry.tasks):
            figures["epochs"] = _epochs(results)
        return figures


def _scores_and_compute(results: Collected) -> Figure:
    """A line for each row: the metric of each task, with its deviation, and the compute of all."""
    shown, tasks = entries(results), results.experiment.tasks
    figure, axes = panels(len(tasks) + 1, 0.29 * len(shown) + 1.0, across=True)
    for task, axis in zip(tasks, axes[:-1], strict=True):
        axis.set_title(str(task), fontsize=7)
        axis.set_xlabel(f"{task.traits.metric}, %", fontsize=6)
        for height, entry in enumerate(shown):
            score = entry.score(task)
            spread = 100 * (score.deviation or 0.0)
            axis.errorbar(100 * score.mean, height, xerr=spread, markersize=5, **look(entry.kind))
        axis.margins(x=0.12)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    _draw_compute(axes[-1], results, shown)
    titles = [textwrap.fill(entry.title, _WRAP) for entry in shown]
    axes[0].set_yticks(range(len(shown)), titles, fontsize=7)
    axes[0].set_ylim(len(shown) - 0.4, -0.6)
    for axis in axes:
        axis.tick_params(axis="x", labelsize=7)
        axis.tick_params(axis="y", length=0)
    return figure


def _draw_compute(axis: Axes, results: Collected, shown: Sequence[Entry]) -> None:
    """A bar for each row, as a share of full fine-tuning's where there is such a row."""
    full = full_of(results)
    base = full.gflops() if full else 0.0
    unit = "% of FT-full" if base else "GFLOPs"
    axis.set_title("compute", fontsize=7)
    axis.set_xlabel(unit, fontsize=6)
    for height, entry in enumerate(shown):
        value = entry.gflops() * (100 / base if base else 1.0)
        axis.barh(height, value, height=0.5, color=entry.kind.traits.colour)
        axis.text(value, height, f" {value:.0f}", va="center", fontsize=6)
    axis.margins(x=0.3)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))


def _curve(entry: Entry, task: Task) -> list[float]:
    """The metric on validation frames in percent, mean over seeds; empty where none were held out
    or nothing was trained."""
    curves = [run.tasks[task].validation for run in entry.results.runs(entry.row).values()]
    length = min(len(curve) for curve in curves)
    if length < 2:
        return []
    return [float(v) for v in 100 * np.mean([curve[:length] for curve in curves], axis=0)]


def _epochs(results: Collected) -> Figure:
    """A panel for each task, with the rows named at its right edge in the order of their ends."""
    tasks = results.experiment.tasks
    curves = {
        task: [(entry, curve) for entry in entries(results) if (curve := _curve(entry, task))]
        for task in tasks
    }
    most = max(map(len, curves.values()))
    figure, axes = panels(len(tasks), len(tasks) * max(2.0, 0.14 * most + 0.6))
    for task, axis in zip(tasks, axes, strict=True):
        axis.set_title(f"{task}: {task.traits.metric} on validation frames, %")
        for entry, curve in curves[task]:
            axis.plot(range(len(curve)), curve, linewidth=1.1, markersize=3, **look(entry.kind))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        _name_ends(axis, curves[task])
    axes[-1].set_xlabel("epoch; 0: before any training")
    return figure


def _name_ends(axis: Axes, curves: Sequence[tuple[Entry, list[float]]]) -> None:
    ordered = sorted(curves, key=lambda pair: pair[1][-1])
    for number, (entry, curve) in enumerate(ordered):
        axis.annotate(
            entry.title,
            (len(curve) - 1, curve[-1]),
            xytext=(1.06, (number + 0.5) / len(ordered)),
            textcoords="axes fraction",
            fontsize=6.5,
            va="center",
            color=ink(entry.kind),
            arrowprops={
                "arrowstyle": "-",
                "color": ink(entry.kind),
                "linewidth": 0.5,
                "relpos": (0, 0.5),
            },
        )
