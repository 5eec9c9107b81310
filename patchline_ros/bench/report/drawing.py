"""What all figures share: style, looks of methods, and labels that stand beside what they name."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from patchline_ros.bench.report.kinds import Kind

WIDTH: Final = 5.0
"""Inches of every figure. On a page of 390 pixels a letter of 9 points is then 10 pixels high."""

STYLE: Final[dict[Any, Any]] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
    # The same drawing gives the same bytes.
    "svg.hashsalt": "patchline",
}


def panels(count: int, height: float, across: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure with panels below each other, or side by side with one vertical axis.

    Args:
        count: of panels.
        height: inches of the whole figure.
        across: side by side.
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    shape = (1, count) if across else (count, 1)
    axes = figure.subplots(*shape, squeeze=False, sharey="row" if across else False)
    return figure, list(axes.ravel())


def look(kind: Kind, hollow: bool = False) -> dict[str, Any]:
    """Colour and marker of a kind of methods, the same in every figure."""
    traits = kind.traits
    face = "white" if hollow else traits.colour
    return {"color": traits.colour, "marker": traits.marker, "markerfacecolor": face}


def ink(kind: Kind) -> tuple[float, float, float]:
    """The colour of a kind, darker: letters are thinner than markers."""
    red, green, blue = to_rgb(kind.traits.colour)
    return _DARKER * red, _DARKER * green, _DARKER * blue


_DARKER: Final = 0.72


def name_fills(figure: Figure, names: Sequence[str]) -> None:
    """Says below a figure what filled and hollow markers are; nothing where there is but one."""
    if len(names) < 2:
        return
    marks = [
        Line2D([], [], linestyle="none", label=name, **look(Kind.SOURCE, hollow=number > 0))
        for number, name in enumerate(names)
    ]
    figure.legend(handles=marks, loc="outside lower right", ncols=len(names))


@dataclass(frozen=True)
class Note:
    """A label at a point of an axis, in the colour of a kind of methods."""

    x: float
    y: float
    text: str
    kind: Kind


Boxes = NDArray[np.float64]
Side = Literal["left", "center", "right"]
_ANGLES: Final = (0, 180, 90, 270, 45, 315, 135, 225, 20, 340, 160, 200, 65, 295, 115, 245)
_RADII: Final = (7, 13, 20, 28, 38, 50, 64)
_LEAD: Final = tuple(step / 10 for step in range(1, 10))
"""Where a line that leads to a label is looked at."""


Line = Sequence[tuple[float, float]]
"""Points in an axis's units that are joined."""


def place(figure: Figure, axis: Axes, notes: Sequence[Note], lines: Sequence[Line] = ()) -> None:
    """Writes each label as near to its point as it covers neither a label, a line nor the frame.

    Args:
        figure: of the axis.
        axis: whose limits are final.
        notes: the labels.
        lines: what is drawn, which no label may cover.
    """
    figure.draw_without_rendering()
    blocked = [_around(axis.transData.transform((note.x, note.y)), 6.0) for note in notes]
    blocked += [_around(spot, 2.0) for line in lines for spot in _along(axis, line)]
    room = _Room(axis.get_window_extent(), np.array(blocked).reshape(-1, 4))
    for note in notes:
        _place_one(figure, axis, note, room)


@dataclass
class _Room:
    """What a label must stay in, and what it must not cover; boxes of (left, bottom, right, top)
    in pixels."""

    frame: Bbox
    blocked: Boxes
    labels: Boxes = field(default_factory=lambda: np.empty((0, 4)))

    def covered(self, box: Boxes, lead: Boxes) -> int:
        """How many things a label and the line that leads to it would cover; the outside of the
        frame counts as many."""
        low, high = self.frame.min, self.frame.max
        outside = bool(np.any(box[:2] < low) or np.any(box[2:] > high))
        crossed = sum(_overlapping(part, self.labels) for part in lead)
        covered = _overlapping(box, self.blocked) + _overlapping(box, self.labels)
        return 5 * outside + crossed + covered


def _overlapping(box: Boxes, others: Boxes) -> int:
    """How many of the others a box overlaps."""
    apart = (others[:, 0] > box[2]) | (others[:, 2] < box[0])
    apart |= (others[:, 1] > box[3]) | (others[:, 3] < box[1])
    return int(np.count_nonzero(~apart))


def _along(axis: Axes, line: Line) -> list[Boxes]:
    """Spots on a line, some pixels from each other."""
    corners = [axis.transData.transform(spot) for spot in line]
    spots = list(corners)
    for start, end in itertools.pairwise(corners):
        count = max(2, int(np.hypot(*(end - start)) / 6))
        spots += [start + (end - start) * part for part in np.linspace(0, 1, count)]
    return spots


def _around(spot: Boxes, radius: float) -> Boxes:
    return np.concatenate([spot - radius, spot + radius])


def _place_one(figure: Figure, axis: Axes, note: Note, room: _Room) -> None:
    """Writes a label, and adds what it covers to what the next ones must not."""
    text = axis.annotate(
        note.text,
        (note.x, note.y),
        xytext=(0, 0),
        textcoords="offset points",
        color=ink(note.kind),
        fontsize=8,
        va="center",
        arrowprops={"arrowstyle": "-", "color": ink(note.kind), "linewidth": 0.6, "shrinkB": 3},
    )
    text.set_in_layout(False)
    size = Text.get_window_extent(text)
    anchor = axis.transData.transform((note.x, note.y))
    pixels = figure.dpi / 72
    choices = []
    for number, radius in enumerate(_RADII):
        for turn, angle in enumerate(_ANGLES):
            offset, side = _offset(radius, angle)
            away = pixels * np.array(offset)
            box = _box(anchor + away, side, size)
            lead = np.array([_around(anchor + part * away, 2.0) for part in _LEAD if number > 1])
            cost = 1000 * room.covered(box, lead) + 10 * number + turn / 10
            choices.append((cost, box, lead, offset, side))
    _, box, lead, offset, side = min(choices, key=lambda choice: choice[0])
    text.set_position(offset)
    text.set_horizontalalignment(side)
    if text.arrow_patch is not None:
        text.arrow_patch.set_visible(len(lead) > 0)
    room.labels = np.vstack([room.labels, box])
    room.blocked = np.vstack([room.blocked, lead.reshape(-1, 4)])


def _box(spot: Boxes, side: Side, size: Bbox) -> Boxes:
    """Where a text of that size lies whose side stands at a spot."""
    left = spot[0] - size.width * {"left": 0.0, "center": 0.5, "right": 1.0}[side]
    bottom = spot[1] - size.height / 2
    return np.array([left, bottom, left + size.width, bottom + size.height])


def _offset(radius: float, angle: float) -> tuple[tuple[float, float], Side]:
    x = radius * math.cos(math.radians(angle))
    y = radius * math.sin(math.radians(angle))
    return (x, y), "center" if abs(x) < radius / 4 else "left" if x > 0 else "right"


def save_all(figures: Mapping[str, Figure], folder: Path) -> None:
    """Writes each figure as PNG and SVG on white."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=150, facecolor="white")
            figure.savefig(folder / f"{name}.svg", facecolor="white", metadata={"Date": None})
