"""How many labels it takes: our patches over the number of labelled frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.drawing import Line, Note, look, name_fills, panels, place
from patchline_ros.bench.report.entries import Entry, entries, full_of, verdict
from patchline_ros.bench.report.kinds import WITH_OUR_PATCHES, Kind
from patchline_ros.bench.report.markdown import listed, table
from patchline_ros.bench.report.section import Section
from patchline_ros.bench.report.series import series_of
from patchline_ros.bench.report.splits import (
    Split,
    columns,
    heads,
    of_others,
    score,
    splits_with,
)
from patchline_ros.tasks import Task

_MOST: Final = 0.8
"""Of what full fine-tuning gains with all labels: what counts as having nearly got there."""
_APART: Final = 1.2
"""Factor between two numbers of frames from which on both have room on an axis."""
_READS: Final = (
    "Score over the number of labelled frames, for each task (logarithmic). The rightmost point "
    "has the labels of all frames."
)


def section(experiments: Mapping[str, Collected]) -> Section | None:
    """The section; None where no row is given only a few labels."""
    splits = splits_with(experiments, _is_of_few)
    if not splits:
        return None
    lead = splits[0].results
    full = full_of(lead)
    shown = [*_by_labels(lead), *([full] if full else [])]
    across = columns(splits, [entry.row for entry in shown])
    rows = [
        [
            entry.title,
            _frames_of_all(entry),
            *(score(split, entry.row, task) for task, split in across),
        ]
        for entry in shown
    ]
    return Section(
        question="How many labels does it take?",
        file="accuracy-over-labels",
        reads=_READS,
        answer=_answer(splits),
        more=_more(splits),
        figure=_figure(splits),
        table=table(["", "labelled frames", *heads(across)], rows),
        entries=[*shown, *of_others(splits, [entry.row for entry in shown])],
    )


def _is_of_few(entry: Entry) -> bool:
    """Whether our patches are trained on only a few labels."""
    return entry.settings.most_labelled is not None and entry.kind in WITH_OUR_PATCHES


def _by_labels(results: Collected) -> list[Entry]:
    """What needs no label, then the rows with few labels by their number, then all labels."""
    few = list(filter(_is_of_few, entries(results)))
    if not few:
        return []
    kind = few[0].kind
    few = [entry for entry in few if entry.kind is kind]
    few.sort(key=lambda entry: entry.settings.most_labelled or 0)
    start = Kind.PREPARED if kind is Kind.PREPARED_LABELLED else Kind.SOURCE
    none = [entry for entry in entries(results) if entry.kind is start][:1]
    whole = [one.main for one in series_of(results) if one.main.kind is kind][:1]
    return [*none, *few, *whole]


def _frames(entry: Entry, task: Task) -> int:
    """Labelled frames of a task; those that are held out are labelled, too."""
    if entry.kind in {Kind.PREPARED, Kind.SOURCE}:
        return 0
    return round(entry.mean(task, lambda result: result.collected + result.validated))


def _frames_of_all(entry: Entry) -> str:
    numbers = dict.fromkeys(_frames(entry, task) for task in entry.tasks)
    return " / ".join(map(str, numbers))


def _won(entry: Entry, full: Entry, task: Task) -> float:
    """Which part of full fine-tuning's gain over the source model a row has."""
    source = full.mean(task, lambda result: result.test.source)
    gain = full.score(task).mean - source
    return (entry.score(task).mean - source) / gain if gain > 0 else 1.0


def _answer(splits: Sequence[Split]) -> str:
    said = []
    for split in splits:
        full, shown = full_of(split.results), _by_labels(split.results)
        if full is not None and shown:
            needed = [f"{_needed(shown, full, task)} for {task}" for task in full.tasks]
            where = f" (split *{split.name}*)" if split.name else ""
            said.append(f"{listed(needed)}{where}")
    if not said:
        return ""
    return (
        f"To gain {100 * _MOST:.0f}% of what full fine-tuning gains with the labels of all frames, "
        f"our patches need so many labelled frames: {'; '.join(said)}."
    )


def _needed(shown: Sequence[Entry], full: Entry, task: Task) -> str:
    """The fewest labelled frames from which on, with more, that much is won."""
    enough = None
    for entry in reversed(shown):
        if _won(entry, full, task) < _MOST:
            break
        enough = _frames(entry, task)
    if enough is None:
        every = " all" if shown[-1].settings.most_labelled is None else ""
        return f"more than{every} {_frames(shown[-1], task)}"
    return str(enough or "none")


def _more(splits: Sequence[Split]) -> str:
    """Where a few labels are worse than none, and how all labels stand beside full fine-tuning."""
    worse, whole = [], []
    for split in splits:
        shown, full = _by_labels(split.results), full_of(split.results)
        where = f" ({split.name})" if split.name else ""
        if shown and shown[0].kind is Kind.PREPARED:
            harms = [_harm(shown, task) for task in shown[0].tasks]
            worse += [f"{text}{where}" for text in harms if text]
        if shown and full is not None and shown[-1].settings.most_labelled is None:
            whole.append(
                f"With all labels{where} *{shown[-1].title}* is {verdict(shown[-1], full)}, beside "
                "full fine-tuning."
            )
    said = [f"Too few labels can do harm: beside none they cost {listed(worse)}."] if worse else []
    return " ".join([*said, *whole])


def _harm(shown: Sequence[Entry], task: Task) -> str:
    """What the worst number of labels loses to none; empty where that is at most a point."""
    least = min(shown[1:], key=lambda each: each.score(task).mean)
    lost = 100 * (shown[0].score(task).mean - least.score(task).mean)
    return f"{lost:.1f} points on {task} with {_frames(least, task)}" if lost > 1 else ""


def _figure(splits: Sequence[Split]) -> Figure:
    tasks = splits[0].results.experiment.tasks
    figure, axes = panels(len(tasks), 2.3 * len(tasks) + 0.5)
    axes[-1].set_xlabel("labelled frames")
    name_fills(figure, [split.name for split in splits])
    for task, axis in zip(tasks, axes, strict=True):
        axis.set_title(f"{task}: {task.traits.metric}, %")
        notes: list[Note] = []
        lines: list[Line] = []
        for number, split in enumerate(splits):
            full = full_of(split.results)
            shown = _by_labels(split.results)
            for name, drawn in (("our patches", shown), ("FT-full", [full] if full else [])):
                if drawn:
                    lines.append(_draw(axis, drawn, task, hollow=number > 0))
                    x, y = lines[-1][len(drawn) // 2]
                    notes += [Note(x, y, name, drawn[-1].kind)] if number == 0 else []
        _label_axis(axis, sorted({round(x) for line in lines for x, _ in line}))
        axis.margins(y=0.25)
        place(figure, axis, notes, lines)
    return figure


def _draw(axis: Axes, shown: Sequence[Entry], task: Task, hollow: bool) -> Line:
    spots = [(float(_frames(each, task)), 100 * each.score(task).mean) for each in shown]
    spread = [100 * (each.score(task).deviation or 0.0) for each in shown]
    axis.errorbar(
        [x for x, _ in spots],
        [y for _, y in spots],
        yerr=spread,
        linewidth=1.2,
        linestyle="--" if hollow else "-",
        markersize=6,
        **look(shown[-1].kind, hollow=hollow),
    )
    return spots


def _label_axis(axis: Axes, frames: Sequence[int]) -> None:
    axis.set_xscale("symlog", base=2, linthresh=1)
    apart = [
        count
        for count, following in zip(frames, [*frames[1:], math.inf], strict=True)
        if following > _APART * count
    ]
    axis.set_xticks(apart, [str(count) for count in apart])
    axis.set_xlim(-0.4, max(frames) * 1.5)
    axis.minorticks_off()
