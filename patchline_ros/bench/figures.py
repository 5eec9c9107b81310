"""Figures of an experiment's results, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from patchline_ros.bench.collected import Collected
from patchline_ros.tasks import Task

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.2,
    "legend.frameon": False,
    "svg.fonttype": "none",
    # The same drawing gives the same bytes.
    "svg.hashsalt": "patchline",
}
_MARKERS = "osD^vP*X<>"
_COLOURS = matplotlib.colormaps["tab20"]


def _look(number: int) -> dict[str, Any]:
    """Colour and marker of the n-th row, the same in all figures."""
    return {"color": _COLOURS(number % 20), "marker": _MARKERS[number % len(_MARKERS)]}


def _panels(results: Collected) -> tuple[Figure, list[tuple[Task, Axes]]]:
    tasks = results.experiment.tasks
    figure = Figure(figsize=(4.2 * len(tasks) + 2.6, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(tasks), squeeze=False)[0]
    for task, axis in zip(tasks, axes, strict=True):
        axis.set_title(f"{task}: {task.traits.metric}, %")
    return figure, list(zip(tasks, axes, strict=True))


def _legend(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)


def accuracy_against_compute(results: Collected) -> Figure:
    """The metric on test frames over the GFLOPs of that task; bars are standard deviations."""
    figure, panels = _panels(results)
    for task, axis in panels:
        smallest = 1.0
        for number, row in enumerate(results.rows):
            figures = results.of_task(row, task, lambda each: each.total_gflops)
            spent = float(np.mean(list(figures.values())))
            smallest = min(smallest, spent or smallest)
            score = results.score(row, task)
            axis.errorbar(
                spent,
                100 * score.mean,
                yerr=100 * (score.deviation or 0.0),
                linestyle="none",
                markersize=7,
                label=results.title(row),
                **_look(number),
            )
        # Rows in which nothing is computed lie at zero.
        axis.set_xscale("symlog", linthresh=smallest)
        axis.set_xlabel("GFLOPs, all that was computed")
    _legend(figure, panels[0][1])
    return figure


def validation_curves(results: Collected) -> Figure:
    """The metric on validation frames after each epoch, mean over seeds."""
    figure, panels = _panels(results)
    for task, axis in panels:
        for number, row in enumerate(results.rows):
            curves = [run.tasks[task].validation for run in results.runs(row).values()]
            length = min(len(curve) for curve in curves)
            mean = 100 * np.mean([curve[:length] for curve in curves], axis=0)
            axis.plot(
                range(length),
                mean,
                markersize=3,
                linewidth=1.2,
                label=results.title(row),
                **_look(number),
            )
        axis.set_xlabel("epoch; 0: before any training")
    _legend(figure, panels[0][1])
    return figure


def draw_all(results: Collected) -> dict[str, Figure]:
    """Every figure by its file name without suffix."""
    with matplotlib.rc_context(STYLE):
        return {
            "accuracy-compute": accuracy_against_compute(results),
            "epochs": validation_curves(results),
        }


def save_all(figures: Mapping[str, Figure], folder: Path) -> None:
    """Writes each figure as PNG and SVG on white."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=130, facecolor="white")
            figure.savefig(folder / f"{name}.svg", facecolor="white", metadata={"Date": None})
