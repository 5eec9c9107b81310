"""What a drift that returns costs: the second visit beside the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.figure import Figure

from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.drawing import look, panels
from patchline_ros.bench.report.entries import Entry, entries
from patchline_ros.bench.report.kinds import Kind
from patchline_ros.bench.report.markdown import NONE, share, table
from patchline_ros.bench.report.section import Section
from patchline_ros.bench.result import Returned, TaskResult
from patchline_ros.tasks import Task

_LOST: Final = 0.5
"""Points by which a second visit must be behind the first to be named."""
_READS: Final = (
    "Score on the second visit beside the first and beside the source model, for each experiment "
    "whose drift comes again. In the table, the score that the first visit's training has on the "
    "same frames stands in brackets; compute and time are shares of the first visit's."
)


@dataclass(frozen=True)
class _Visits:
    """Both visits of a row's runs, for one task."""

    entry: Entry
    task: Task
    pairs: Sequence[tuple[TaskResult, Returned]]

    def mean(self, figure: Callable[[TaskResult, Returned], float]) -> float:
        """A figure's mean over runs."""
        return sum(figure(first, second) for first, second in self.pairs) / len(self.pairs)

    @property
    def lost(self) -> float:
        """Points by which the second visit is behind the first."""
        return 100 * self.mean(lambda _, second: second.first - second.final)

    @property
    def name(self) -> str:
        """The experiment and the task."""
        return f"{self.entry.results.experiment.name}, {self.task}"


def section(experiments: Mapping[str, Collected]) -> Section | None:
    """The section; None where no drift comes again."""
    found = {
        name: visits for name, results in experiments.items() if (visits := _visits_of(results))
    }
    if not found:
        return None
    all_visits = [each for visits in found.values() for each in visits]
    return Section(
        question="What does a drift that returns cost?",
        file="second-visit",
        reads=_READS,
        answer=_answer(all_visits),
        more=_more(all_visits),
        figure=_figure(all_visits),
        table=_table(found),
        entries=[visits[0].entry for visits in found.values()],
    )


def _visits_of(results: Collected) -> list[_Visits]:
    """Of the first row whose drift comes again; others are variations of it."""
    for entry in entries(results):
        visits = []
        for task in results.experiment.tasks:
            runs = [run.tasks[task] for run in results.runs(entry.row).values()]
            pairs = [(run, run.returned) for run in runs if run.returned is not None]
            if pairs:
                visits.append(_Visits(entry, task, pairs))
        if visits:
            return visits
    return []


def _sum(visits: Sequence[_Visits], figure: Callable[[TaskResult, Returned], float]) -> float:
    return sum(each.mean(figure) for each in visits)


def _compute(visits: Sequence[_Visits]) -> str:
    """Compute of the second visit as a share of the first."""
    return share(
        _sum(visits, lambda _, second: second.gflops),
        _sum(visits, lambda first, _: first.total_gflops),
    )


def _counted(visits: Sequence[_Visits], fact: Callable[[Returned], bool]) -> str:
    seconds = [second for each in visits for _, second in each.pairs]
    return f"{sum(map(fact, seconds))} of {len(seconds)}"


def _table(found: Mapping[str, Sequence[_Visits]]) -> str:
    tasks = list(dict.fromkeys(each.task for visits in found.values() for each in visits))
    head = ["", "recognised", "kept set used", *map(str, tasks), "compute", "time"]
    rows = []
    for name, visits in found.items():
        by_task = {each.task: each for each in visits}
        rows.append(
            [
                name,
                _counted(visits, lambda second: second.found),
                _counted(visits, lambda second: second.accepted),
                *(_scores(by_task.get(task)) for task in tasks),
                _compute(visits),
                share(
                    _sum(visits, lambda _, second: second.seconds),
                    _sum(visits, lambda first, _: first.seconds),
                ),
            ]
        )
    return table(head, rows)


def _scores(visits: _Visits | None) -> str:
    if visits is None:
        return NONE
    final = visits.mean(lambda _, second: second.final)
    return f"{100 * final:.1f} ({100 * visits.mean(lambda _, second: second.first):.1f})"


def _answer(visits: Sequence[_Visits]) -> str:
    return (
        f"{_compute(visits)} of the compute of the first visit. The car recognised the drift "
        f"{_counted(visits, lambda second: second.found)} times, scored the patch set that it had "
        "kept on a few labelled frames, and used it "
        f"{_counted(visits, lambda second: second.accepted)} times. "
        f"It refused {_counted(visits, lambda second: second.found and not second.accepted)}."
    )


def _more(visits: Sequence[_Visits]) -> str:
    lost: dict[str, list[str]] = {}
    for each in visits:
        if each.lost > _LOST:
            name = each.entry.results.experiment.name
            lost.setdefault(name, []).append(f"{each.task} {-each.lost:+.1f}")
    if not lost:
        return ""
    said = [f"{name}: {', '.join(parts)}" for name, parts in lost.items()]
    return (
        "Where the kept set is not better than the source model by a margin and one standard error "
        "on those few frames, the source model runs until a new training. The second visit is then "
        f"behind the first, in points: {'; '.join(said)}."
    )


def _figure(visits: Sequence[_Visits]) -> Figure:
    figure, (axis,) = panels(1, 0.27 * len(visits) + 1.3)
    marks: list[tuple[str, Kind, bool, Callable[[TaskResult, Returned], float]]] = [
        ("source model", Kind.SOURCE, False, lambda _, second: second.source),
        ("first visit", Kind.OURS, True, lambda _, second: second.first),
        ("second visit", Kind.OURS, False, lambda _, second: second.final),
    ]
    for height, each in enumerate(visits):
        spots = [100 * each.mean(figure) for *_, figure in marks]
        axis.plot([min(spots), max(spots)], [height, height], color="#bbbbbb", linewidth=1.5)
    for name, kind, hollow, figure_of in marks:
        axis.plot(
            [100 * each.mean(figure_of) for each in visits],
            range(len(visits)),
            linestyle="none",
            markersize=9 if hollow else 6,
            label=name,
            **look(kind, hollow=hollow),
        )
    axis.set_yticks(range(len(visits)), [each.name for each in visits], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("score on the frames of the second visit, %")
    figure.legend(loc="outside upper center", ncols=3)
    return figure
