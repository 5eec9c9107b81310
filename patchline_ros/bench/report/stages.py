"""Where the compute goes: what is computed online, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import matplotlib
from matplotlib.figure import Figure

from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.drawing import panels
from patchline_ros.bench.report.entries import Entry
from patchline_ros.bench.report.kinds import WITH_OUR_PATCHES, Kind
from patchline_ros.bench.report.markdown import listed, share, table
from patchline_ros.bench.report.section import Section
from patchline_ros.bench.report.series import compare, full_beside
from patchline_ros.bench.report.tables import STAGES

_NAMES: Final = {
    "selection": "selection",
    "norm": "norm statistics",
    "frozen": "frozen part",
    "training": "training steps",
    "validation": "validation",
    "gate": "gate",
}
_READS: Final = (
    "Compute by part, as a share of all that {full} computes. *Selection* chooses which frames to "
    "train on, or how many patches. The *frozen part* is what is not trained but must be computed "
    "before what is; kept in a cache, it is computed once. *Training steps* are the rest of "
    "forward and backward passes. *Validation* scores held-out frames after each epoch, and the "
    "*gate* scores source and final model before one is let onto the road."
)
_SHOWN: Final = frozenset({Kind.FULL, Kind.LADDER, Kind.PUBLISHED, Kind.OURS})
_LABELLED_FROM: Final = 7.0
"""Percent from which on a part is wide enough for its number."""


def section(experiments: Mapping[str, Collected]) -> Section | None:
    """The section; None where nothing stands beside full fine-tuning."""
    compared = compare(experiments)
    if compared is None:
        return None
    shown = [each for each in compared.mains if each.kind in _SHOWN]
    shown.sort(key=lambda each: -each.gflops() / full_beside(each).gflops())
    return Section(
        question="Where does the compute go?",
        file="compute-by-part",
        reads=_READS.format(full=full_beside(shown[0]).title),
        answer=_answer(shown),
        more="",
        figure=_figure(shown),
        table=_table(shown),
        entries=shown,
    )


def _spent(entry: Entry, stage: str) -> float:
    tasks = entry.tasks
    return sum(entry.mean(task, lambda result: result.gflops.get(stage, 0.0)) for task in tasks)


def _percent(entry: Entry, stage: str) -> float:
    """Of all that full fine-tuning computes."""
    return 100 * _spent(entry, stage) / full_beside(entry).gflops()


def _table(shown: list[Entry]) -> str:
    rows = []
    for entry in shown:
        base = full_beside(entry).gflops()
        parts = [share(_spent(entry, stage), base) for stage in STAGES]
        rows.append([entry.title, *parts, share(entry.gflops(), base)])
    return table(["", *(_NAMES[stage] for stage in STAGES), "all"], rows)


def _answer(shown: list[Entry]) -> str:
    full = next(each for each in shown if each.kind is Kind.FULL)
    ours = next((each for each in shown if each.kind in WITH_OUR_PATCHES), None)
    steps = share(_spent(full, "training"), full.gflops())
    said = f"Of what {full.title} computes, {steps} are training steps"
    if ours is None:
        return f"{said}."
    rest = [
        f"{_NAMES[stage]} {share(_spent(ours, stage), ours.gflops())}"
        for stage in sorted(STAGES, key=lambda stage: -_spent(ours, stage))
        if _spent(ours, stage) > 0
    ]
    own = share(_spent(ours, "training"), _spent(full, "training"))
    return (
        f"{said}; those of *{ours.title}* cost {own} as much. Its own compute is made up of "
        f"{listed(rest)}."
    )


def _figure(shown: list[Entry]) -> Figure:
    figure, (axis,) = panels(1, 0.36 * len(shown) + 1.4)
    colours = matplotlib.colormaps["viridis"]
    left = [0.0] * len(shown)
    spent = [stage for stage in STAGES if any(_spent(each, stage) for each in shown)]
    for number, stage in enumerate(spent):
        shade = 0.05 + 0.9 * number / max(1, len(spent) - 1)
        widths = [_percent(each, stage) for each in shown]
        bars = axis.barh(
            range(len(shown)),
            widths,
            left=left,
            color=colours(shade),
            edgecolor="white",
            label=_NAMES[stage],
        )
        axis.bar_label(
            bars,
            [f"{width:.0f}" if width >= _LABELLED_FROM else "" for width in widths],
            label_type="center",
            color="white" if shade < 0.6 else "black",
            fontsize=8,
        )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axis.set_yticks(range(len(shown)), [each.title for each in shown])
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("compute, % of all that FT-full computes")
    figure.legend(loc="outside upper center", ncols=3)
    return figure
