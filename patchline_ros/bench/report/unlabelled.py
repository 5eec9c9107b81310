"""What is gained without any label of the drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.drawing import look, name_fills, panels
from patchline_ros.bench.report.entries import Entry, entries, full_of, said_of, tasks_with
from patchline_ros.bench.report.kinds import LABELLED, Kind
from patchline_ros.bench.report.markdown import listed, table
from patchline_ros.bench.report.section import Section
from patchline_ros.bench.report.splits import (
    Split,
    columns,
    heads,
    of_others,
    score,
    splits_with,
)
from patchline_ros.tasks import Task

_ASKED: Final = frozenset(
    {Kind.PREPARED, Kind.CAR, Kind.UNLABELLED, Kind.PREPARED_UNLABELLED},
)
_CHOICES: Final = frozenset({Kind.PREPARED, Kind.NORM})
"""What a car without labels may take."""
_READS: Final = (
    "Score of each method without labels, for each task{ceiling}. The dotted line is the source "
    "model."
)


def section(experiments: Mapping[str, Collected]) -> Section | None:
    """The section; None where no row answers or learns without labels."""
    splits = splits_with(experiments, lambda entry: entry.kind in _ASKED)
    if not splits:
        return None
    lead = splits[0].results
    full = full_of(lead)
    shown = [entry for entry in entries(lead) if entry.kind not in LABELLED]
    shown += [full] if full else []
    rows = [entry.row for entry in shown]
    across = columns(splits, rows)
    ceiling = f", with {full.title} and its labels as the ceiling" if full else ""
    return Section(
        question="What does it gain without any label?",
        file="without-labels",
        reads=_READS.format(ceiling=ceiling),
        answer=_answer(splits),
        more=_more(splits),
        figure=_figure(splits, shown),
        table=table(
            ["", *heads(across)],
            [
                [entry.title, *(score(split, entry.row, task) for task, split in across)]
                for entry in shown
            ],
        ),
        entries=[*shown, *of_others(splits, rows)],
    )


def _ours(results: Collected) -> Entry | None:
    """What a car does, or else the first row of prepared patches."""
    row = results.first_of(Kind.CAR) or results.first_of(Kind.PREPARED)
    return None if row is None else Entry(results, row)


def _gain(entry: Entry, task: Task) -> float:
    """Points above the source model."""
    gain = entry.score(task).mean - entry.mean(task, lambda result: result.test.source)
    return 100 * gain


def _answer(splits: Sequence[Split]) -> str:
    """What a car gains on each task, of what full fine-tuning gains."""
    ours, full = _ours(splits[0].results), full_of(splits[0].results)
    if ours is None:
        return ""
    gains = "; ".join(
        f"{task} {listed([_gained(split, task) for split in splits])}" for task in ours.tasks
    )
    if full is None:
        return f"*{ours.title}* gains, in points above the source model: {gains}."
    return (
        f"Of the points above the source model that {full.title} gains with labels, "
        f"*{ours.title}* gains without any: {gains}."
    )


def _gained(split: Split, task: Task) -> str:
    ours, full = _ours(split.results), full_of(split.results)
    where = f" ({split.name})" if split.name else ""
    if ours is None:
        return f"not run{where}"
    of = f" of {_gain(full, task):.1f}" if full else ""
    return f"{_gain(ours, task):.1f}{of}{where}"


def _more(splits: Sequence[Split]) -> str:
    """How our answer stands beside the best method of others on each task, by split."""
    said = []
    for split in splits:
        ours = _ours(split.results)
        peers = [each for each in entries(split.results) if each.kind is Kind.UNLABELLED]
        if ours is not None and peers:
            best = [(task, _best(peers, task)) for task in ours.tasks]
            gains = [(task, f"*{peer.title}* ({_gain(peer, task):+.1f})") for task, peer in best]
            beside = said_of([(task, ours.less(peer, task)) for task, peer in best])
            where = f"Split *{split.name}*: the" if split.name else "The"
            said.append(
                f"{where} best of the others is {tasks_with(gains)}. Beside it *{ours.title}* is "
                f"{beside}."
            )
    return " ".join([*said, *_turned_down(splits), *_seeds(splits)])


def _seeds(splits: Sequence[Split]) -> list[str]:
    """How many seeds stand behind our answer and those of others, and where they say nothing."""
    where: dict[str, list[str]] = {}
    for split in splits:
        if ours := _ours(split.results):
            where.setdefault(_seeds_of(split.results, ours), []).append(f"*{split.name}*")
    one = len(where) == 1
    return [said if one else f"Split {listed(names)}: {said}" for said, names in where.items()]


def _seeds_of(results: Collected, ours: Entry) -> str:
    said = f"Seeds: {len(results.runs(ours.row))} of *{ours.title}*"
    peers = [each for each in entries(results) if each.kind is Kind.UNLABELLED]
    if peers:
        fewest = min(len(results.runs(each.row)) for each in peers)
        said += f" and {fewest} of each of the others"
    same = results.undrawn(ours.row)
    if not same:
        return f"{said}."
    return (
        f"{said}. On {listed([str(task) for task in same])} nothing is drawn at random for "
        f"*{ours.title}*, so all of its seeds give one score and count as one."
    )


def _best(shown: Sequence[Entry], task: Task) -> Entry:
    return max(shown, key=lambda each: each.score(task).mean)


def _turned_down(splits: Sequence[Split]) -> list[str]:
    """Where the gate kept the car from what would have been better by more than a point."""
    lost: dict[str, list[str]] = {}
    for split in splits:
        row = split.results.first_of(Kind.CAR)
        shown = [each for each in entries(split.results) if each.kind in _CHOICES]
        if row is None or not shown:
            continue
        for task in split.results.experiment.tasks:
            best = _best(shown, task)
            points = 100 * (best.score(task).mean - split.results.score(row, task).mean)
            if points > 1:
                where = f" ({split.name})" if split.name else ""
                lost.setdefault(best.title, []).append(f"{points:.1f} points on {task}{where}")
    said = [f"{listed(parts)} that *{title}* would have won" for title, parts in lost.items()]
    return [f"The gate's caution leaves {listed(said)}."] if said else []


def _figure(splits: Sequence[Split], shown: Sequence[Entry]) -> Figure:
    tasks = splits[0].results.experiment.tasks
    figure, axes = panels(len(tasks), 0.27 * len(shown) + 1.5, across=True)
    for task, axis in zip(tasks, axes, strict=True):
        axis.set_title(str(task), fontsize=8)
        axis.set_xlabel(f"{task.traits.metric}, %", fontsize=7)
        _draw(axis, splits, shown, task)
    axes[0].set_yticks(range(len(shown)), [each.title for each in shown], fontsize=8)
    axes[0].invert_yaxis()
    name_fills(figure, [split.name for split in splits])
    return figure


def _draw(axis: Axes, splits: Sequence[Split], shown: Sequence[Entry], task: Task) -> None:
    for number, split in enumerate(splits):
        for height, each in enumerate(shown):
            entry = split.entry(each.row)
            if entry is None:
                continue
            value = entry.score(task)
            axis.errorbar(
                100 * value.mean,
                height + 0.26 * (number - (len(splits) - 1) / 2),
                xerr=100 * (value.deviation or 0.0),
                linewidth=0.9,
                markersize=6,
                **look(entry.kind, hollow=number > 0),
            )
    first = Entry(splits[0].results, shown[0].row)
    source = 100 * first.mean(task, lambda result: result.test.source)
    axis.axvline(source, color=Kind.SOURCE.traits.colour, linestyle=":", linewidth=1)
    axis.margins(x=0.12)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    axis.tick_params(axis="x", labelsize=8)
    axis.tick_params(axis="y", length=0)
