"""The plots of a bundle's card: small ones, which stand beside each other or below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from patchline_ros.adaptation.gain_predictor import GainPredictor
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.manifest import Affinity, DriftLabel, PreparedEntry
from patchline_ros.pages.plots import INK, SOURCE, STYLE, to_svg
from patchline_ros.tasks import Task

_WIDTH: Final = 4.9
_HEAT: Final = matplotlib.colormaps["cividis"]
_COLOURS: Final = (
    "#56b4e9",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#d55e00",
    "#0072b2",
    "#8c8c8c",
    "#b8a800",
)
"""Okabe and Ito's, with yellow and black replaced: they have to show on light and dark."""
_MARKERS: Final = "osD^vP*X"
_DASHED: Final[dict[str, Any]] = {"color": INK, "linewidth": 1.1, "linestyle": (0, (5, 3))}
"""A threshold."""


def affinity_svg(measure: str, table: Affinity) -> str:
    """Heat map of the similarity of each pair of models, by convolution group."""
    values = np.array(list(table.values()))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, 0.95 + 0.42 * len(values)), layout="constrained")
        axis = figure.subplots()
        _draw_cells(axis, values, [f"{value:.2f}" for value in values.ravel()], 0.0, 1.0)
        axis.set_yticks(range(len(table)), [pair.replace(" ", ", ") for pair in table])
        axis.set_xticks(range(values.shape[1]), [str(i + 1) for i in range(values.shape[1])])
        axis.set_xlabel("convolution group")
        axis.set_title(measure.replace("_", " "))
    return to_svg(figure)


def null_svg(reference: DriftReference) -> str:
    """MMD^2 of windows of the source against the rest of it, and the threshold of a drift."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, 3.0), layout="constrained")
        axis = figure.subplots()
        axis.hist(reference.null, bins=30, color=SOURCE, alpha=0.85)
        axis.axvline(reference.threshold, **_DASHED)
        axis.set_xlabel("MMD²")
        axis.set_ylabel("windows")
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_title("Windows of the source (dashed: threshold)")
    return to_svg(figure)


def drifts_svg(labels: Sequence[DriftLabel], threshold: float) -> str:
    """MMD^2 of each labelled drift over its severity, a line for each corruption."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, 3.0), layout="constrained")
        axis = figure.subplots()
        for number, corruption in enumerate(dict.fromkeys(label.corruption for label in labels)):
            points = sorted((o.severity, o.mmd2) for o in labels if o.corruption == corruption)
            severities, values = zip(*points, strict=True)
            axis.plot(
                severities,
                values,
                color=_COLOURS[number % len(_COLOURS)],
                marker=_MARKERS[number % len(_MARKERS)],
                markersize=5,
                linewidth=1.6,
                label=corruption,
            )
        axis.axhline(threshold, **_DASHED)
        axis.set_xlim(0, 1.05)
        axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
        axis.set_xlabel("severity")
        axis.set_ylabel("MMD²")
        axis.set_title("Drifts made of the source")
        axis.legend(fontsize=8, ncols=2)
    return to_svg(figure)


def confusion_svg(labels: Sequence[DriftLabel]) -> str:
    """How many drifts need so many patches, and how many the table asks for; framed: as many."""
    most = max(max(label.patches, label.predicted) for label in labels)
    counts = np.zeros((most + 1, most + 1))
    for label in labels:
        counts[label.patches, label.predicted] += 1
    with matplotlib.rc_context(STYLE):
        side = 1.1 + 0.42 * (most + 1)
        figure = Figure(figsize=(max(_WIDTH, side), side), layout="constrained")
        axis = figure.subplots()
        words = [f"{count:.0f}" if count else "" for count in counts.ravel()]
        _draw_cells(axis, np.where(counts, counts, np.nan), words, 0.0, counts.max())
        for right in range(most + 1):
            corner = (right - 0.5, right - 0.5)
            axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=INK, linewidth=0.8))
        axis.set_aspect("equal")
        axis.set_xticks(range(most + 1))
        axis.set_yticks(range(most + 1))
        axis.set_xlabel("asked for by the table")
        axis.set_ylabel("needed")
    return to_svg(figure)


def gate_svg(entries: Mapping[Task, PreparedEntry]) -> str:
    """Predicted gain over true gain of each candidate, each by a fit without its corruption."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, 3.6), layout="constrained")
        axis = figure.subplots()
        for number, (task, entry) in enumerate(entries.items()):
            gate = GainPredictor(entry.gate)
            axis.scatter(
                100 * gate.true,
                100 * gate.held_out,
                s=16,
                alpha=0.7,
                color=_COLOURS[number],
                marker=_MARKERS[number],
                label=str(task),
            )
        axis.axline((0, 0), slope=1, **_DASHED)
        axis.set_xlabel("true gain, points")
        axis.set_ylabel("predicted without labels")
        axis.set_title("The label-free gate on corruptions left out")
        axis.legend(fontsize=8)
    return to_svg(figure)


def _draw_cells(
    axis: Axes, values: NDArray[np.float64], words: Sequence[str], low: float, high: float
) -> None:
    """A coloured cell with words for each value, none for NaN; the first row is above."""
    rows, columns = values.shape
    edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    axis.pcolormesh(*edges, values, cmap=_HEAT, vmin=low, vmax=high, edgecolors="none")
    for place, word in enumerate(words):
        row, column = divmod(place, columns)
        dark = values[row, column] < (low + high) / 2
        ink = "#ffffff" if dark else "#000000"
        axis.text(column, row, word, ha="center", va="center", fontsize=8, color=ink)
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
