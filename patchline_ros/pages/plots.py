"""How plots look, and how they come into a page.

In the page ink and grid take the colour of its text, so that they read on light and dark.
"""

from __future__ import annotations

import io
from typing import Any

import matplotlib
from matplotlib.figure import Figure

INK = "#1b2733"
SOURCE, BEFORE, ANSWERED, AFTER = "#0072b2", "#d55e00", "#a3487a", "#009e73"
PAGE_COLOURS = {
    INK: "currentColor",
    SOURCE: "var(--source)",
    BEFORE: "var(--before)",
    ANSWERED: "var(--answered)",
    AFTER: "var(--after)",
}
"""What stands for these colours in the page, which has lighter ones on a dark ground."""

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "patchline",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "legend.frameon": False,
}


def to_svg(figure: Figure) -> str:
    """The plot as an SVG element in the colours of the page it will stand in."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for colour, name in PAGE_COLOURS.items():
        svg = svg.replace(colour, name)
    return svg
