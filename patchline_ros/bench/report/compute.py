"""How much accuracy for how much compute: labelled methods beside full fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.drawing import Line, Note, look, panels, place
from patchline_ros.bench.report.entries import Entry, not_surely_different, sure, verdict
from patchline_ros.bench.report.kinds import WITH_OUR_PATCHES, Kind
from patchline_ros.bench.report.markdown import NONE, listed, share, table
from patchline_ros.bench.report.section import Section
from patchline_ros.bench.report.series import Comparison, Series, compare, full_beside
from patchline_ros.bench.report.statistics import Difference
from patchline_ros.bench.report.tables import saved_mib, seconds
from patchline_ros.tasks import Task

_READS = (
    "Points above {full} over compute, for each task. Left is cheaper, up is better; a line joins "
    "shorter and longer trainings of one method, thin bars are 95% intervals. The "
    "axis of each task is of that task's own compute; table and text are of all tasks together. In "
    "the table, points above {full} stand in brackets, with a star where they are surely not zero. "
    "Compute, memory and time are shares of those of {full}."
)


def section(experiments: Mapping[str, Collected]) -> Section | None:
    """The section; None where nothing stands beside full fine-tuning."""
    compared = compare(experiments)
    if compared is None:
        return None
    full = full_beside(compared.mains[0])
    return Section(
        question="How much accuracy for how much compute?",
        file="accuracy-over-compute",
        reads=_READS.format(full=full.title) + _guests(compared),
        answer=_answer(compared),
        more=_more(compared),
        figure=_figure(compared),
        table=_table(compared),
        entries=compared.mains,
    )


def _costs(entry: Entry, other: Entry) -> list[str]:
    """Compute, memory and time as shares of another row's."""
    figures: list[Callable[[Entry], float]] = [
        lambda each: each.gflops(),
        lambda each: saved_mib(each.results, each.row),
        lambda each: seconds(each.results, each.row),
    ]
    return [share(figure(entry), figure(other)) for figure in figures]


def _table(compared: Comparison) -> str:
    tasks = compared.lead.experiment.tasks
    head = ["", *(f"{task}, {task.traits.metric}" for task in tasks)]
    rows = []
    for entry in compared.tables:
        full = full_beside(entry)
        scores = [_score(entry, full, task) for task in tasks]
        rows.append([entry.title, *scores, *_costs(entry, full)])
    return table([*head, "compute", "memory", "time"], rows)


def _score(entry: Entry, full: Entry, task: Task) -> str:
    score = f"{100 * entry.score(task).mean:.1f}"
    found = entry.less(full, task)
    if entry == full or found is None:
        return score
    return f"{score} ({100 * found.mean:+.1f}{'*' if sure(found) else ''})"


def _guests(compared: Comparison) -> str:
    said = []
    for name, shown in compared.guests.items():
        full = full_beside(shown[0])
        scores = ", ".join(f"{100 * full.score(task).mean:.1f}" for task in full.tasks)
        titles = listed([f"*{entry.title}*" for entry in shown])
        said.append(
            f" Of the experiment `{name}` on the same scene are {titles}, which are compared with "
            f"{full.title} there ({scores})."
        )
    return "".join(said)


def _ours(compared: Comparison) -> Entry | None:
    """The first row of our method; None where there is none."""
    return next((each for each in compared.mains if each.kind in WITH_OUR_PATCHES), None)


def _price(entry: Entry) -> str:
    """Compute, memory and time of a row as shares of full fine-tuning's, in words."""
    parts = zip(_costs(entry, full_beside(entry)), ("compute", "memory", "time"), strict=True)
    return listed([f"{part} of the {name}" for part, name in parts if part != NONE])


def _answer(compared: Comparison) -> str:
    ours = _ours(compared)
    if ours is None:
        return ""
    beside = verdict(ours, full_beside(ours), with_intervals=True)
    return f"*{ours.title}* takes {_price(ours)} of full fine-tuning. Its score is {beside}."


def in_short(experiments: Mapping[str, Collected]) -> str:
    """The answer in words that need no explanation; empty where there is none."""
    compared = compare(experiments)
    ours = _ours(compared) if compared else None
    if ours is None:
        return ""
    said = (
        f"**In short:** this project's method takes {_price(ours)} that it takes to train the "
        "whole network on the same labelled frames (*full fine-tuning*). Beside that its score, in "
        f"points of 100, is {verdict(ours, full_beside(ours))}."
    )
    _, by_norm = _gained_by_norm(compared, ours) if compared else (None, [])
    if not by_norm:
        return said
    return (
        f"{said} On {listed([str(task) for task, _ in by_norm])} it is not surely different from "
        "new norm statistics alone either, for which nothing is trained and no label is used."
    )


def _gained_by_norm(
    compared: Comparison, ours: Entry
) -> tuple[Entry | None, list[tuple[Task, Difference]]]:
    """The row of norm statistics alone, and the tasks on which ours is not surely different."""
    norm = next(
        (
            each
            for each in compared.mains
            if each.kind is Kind.NORM and each.results is ours.results
        ),
        None,
    )
    return norm, not_surely_different(ours, norm) if norm else []


def _more(compared: Comparison) -> str:
    """The other points of our method, and what a shorter full fine-tuning would do."""
    ours = [each for each in compared.tables if each.kind in WITH_OUR_PATCHES]
    if not ours:
        return ""
    main, *others = sorted(ours, key=lambda each: each not in compared.mains)
    norm, by_norm = _gained_by_norm(compared, main)
    said = [
        f"On {task} *{main.title}* is not surely different from *{norm.title}* "
        f"({100 * less.mean:+.1f}), which trains nothing: what is gained there is theirs."
        for task, less in by_norm
        if norm
    ]
    said += [
        f"*{entry.title}* takes {share(entry.gflops(), full_beside(entry).gflops())} of the "
        f"compute and is {verdict(entry, full_beside(entry))}."
        for entry in others
    ]
    said += [
        f"To train in full for a shorter time saves, too: *{short.title}* takes "
        f"{share(short.gflops(), full_beside(short).gflops())} of the compute; beside it "
        f"*{main.title}* is {verdict(main, short)}."
        for short in _shorter(compared)
        if main.results is short.results
    ]
    return "\n".join(f"- {each}" for each in said)


def _shorter(compared: Comparison) -> list[Entry]:
    """The shortest full fine-tuning, where one is shorter than the usual."""
    full = next(one for one in compared.series if one.main.kind is Kind.FULL)
    first = full.entries[0]
    return [first] if first != full.main else []


def _figure(compared: Comparison) -> Figure:
    tasks = compared.lead.experiment.tasks
    figure, axes = panels(len(tasks), 2.7 * len(tasks) + 0.3)
    all_entries = [entry for one in compared.series for entry in one.entries]
    shares = [_spot(entry, task)[0] for entry in all_entries for task in tasks]
    for task, axis in zip(tasks, axes, strict=True):
        axis.set_title(f"{task}: {task.traits.metric}")
        axis.set_ylabel("points above FT-full")
        axis.axhline(0, color=Kind.FULL.traits.colour, linewidth=0.8, zorder=1)
        _percent_axis(axis, shares)
        lines: list[Line] = [[(x, 0.0) for x in axis.get_xlim()]]
        for one in compared.series:
            lines += _draw(axis, one, task)
        axis.margins(y=0.2)
        notes = [
            Note(*_spot(one.main, task), one.main.title, one.main.kind) for one in compared.series
        ]
        place(figure, axis, notes, lines)
    axes[-1].set_xlabel("compute of the task, % of FT-full (logarithmic)")
    return figure


def _spot(entry: Entry, task: Task) -> tuple[float, float]:
    """Share of full fine-tuning's compute in percent, and points beside it."""
    full = full_beside(entry)
    found = entry.less(full, task)
    base = full.gflops(task)
    return (
        100 * entry.gflops(task) / base if base else 0.0,
        100 * found.mean if found else 0.0,
    )


def _draw(axis: Axes, one: Series, task: Task) -> list[Line]:
    """Draws a method's trainings and the interval of its main one; returns what was drawn."""
    spots = [_spot(entry, task) for entry in one.entries]
    style = look(one.main.kind, hollow=one.side_head)
    axis.plot(*zip(*spots, strict=True), linewidth=1, markersize=4, alpha=0.7, **style)
    found = one.main.less(full_beside(one.main), task)
    x, y = _spot(one.main, task)
    axis.plot(x, y, markersize=8, linestyle="none", zorder=3, **style)
    if found is None or found.interval is None:
        return [spots]
    interval = [(x, 100 * bound) for bound in found.interval]
    axis.plot(*zip(*interval, strict=True), color=style["color"], linewidth=0.9)
    return [spots, interval]


def _percent_axis(axis: Axes, shares: list[float]) -> None:
    """Logarithmic, with a zero for what computes nothing."""
    positive = [value for value in shares if value > 0] or [100.0]
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500) if tick >= min(positive) / 2]
    axis.set_xscale("symlog", linthresh=ticks[0], linscale=0.6)
    axis.set_xlim(-ticks[0] * 0.35, max(positive) * 1.5)
    axis.set_xticks([0, *ticks], [str(tick) for tick in (0, *ticks)])
    axis.set_xlim(-ticks[0] * 0.35, max(positive) * 1.5)
    axis.minorticks_off()
