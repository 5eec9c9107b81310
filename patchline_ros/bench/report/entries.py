"""A row of an experiment beside others: its figures, and sentences on how it compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from patchline_ros.bench.experiment import Row
from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.kinds import Kind
from patchline_ros.bench.report.markdown import interval, listed
from patchline_ros.bench.report.statistics import Difference, Summary, difference
from patchline_ros.bench.result import TaskResult
from patchline_ros.tasks import Task


@dataclass(frozen=True)
class Entry:
    """A row of an experiment with its results."""

    results: Collected
    row: str

    @property
    def title(self) -> str:
        """How pages call it."""
        return self.results.title(self.row)

    @property
    def kind(self) -> Kind:
        """The kind of its method."""
        return self.results.kind(self.row)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of its experiment."""
        return self.results.experiment.tasks

    @property
    def settings(self) -> Row:
        """All of its settings."""
        return self.results.settings(self.row)

    def score(self, task: Task) -> Summary:
        """The metric on test frames, 0..1, over seeds."""
        return self.results.score(self.row, task)

    def mean(self, task: Task, figure: Callable[[TaskResult], float]) -> float:
        """The mean of a figure of one task over seeds."""
        values = self.results.of_task(self.row, task, figure)
        return sum(values.values()) / len(values)

    def gflops(self, task: Task | None = None) -> float:
        """All that was computed online, of a task or of all tasks."""
        tasks = self.tasks if task is None else (task,)
        return sum(self.mean(each, lambda result: result.total_gflops) for each in tasks)

    def less(self, other: Entry, task: Task) -> Difference | None:
        """Its metric less that of another row of the same experiment, paired by seed."""
        return _less(self, other, task)


@cache
def _less(entry: Entry, other: Entry, task: Task) -> Difference | None:
    """Kept, since figures, tables and sentences ask for the same differences."""
    return difference(
        entry.results.of_task(entry.row, task, lambda result: result.test.final),
        other.results.of_task(other.row, task, lambda result: result.test.final),
    )


def entries(results: Collected) -> list[Entry]:
    """All rows that have results."""
    return [Entry(results, row) for row in results.rows]


def full_of(results: Collected) -> Entry | None:
    """The row that fine-tunes everything; None where there is none."""
    row = results.full()
    return None if row is None else Entry(results, row)


def sure(found: Difference) -> bool:
    """Whether the 95% interval excludes zero; of one seed there is none."""
    return found.interval is not None and found.interval[0] * found.interval[1] > 0


def verdict(entry: Entry, other: Entry, with_intervals: bool = False) -> str:
    """On which tasks a row is better, not surely different and worse than another one.

    Empty where they share no seed.
    """
    tasks = entry.tasks
    return said_of([(task, entry.less(other, task)) for task in tasks], with_intervals)


def not_surely_different(entry: Entry, other: Entry) -> list[tuple[Task, Difference]]:
    """Tasks on which several seeds do not tell a row from another one, with the difference."""
    found = [(task, entry.less(other, task)) for task in entry.tasks]
    return [
        (task, less)
        for task, less in found
        if less is not None and less.interval and not sure(less)
    ]


_VERDICTS: Final = (
    "better on",
    "not surely different on",
    "worse on",
    "higher (one seed each) on",
    "lower (one seed each) on",
    "the same (one seed each) on",
)


def said_of(found: Sequence[tuple[Task, Difference | None]], with_intervals: bool = False) -> str:
    """Differences by task in words: better, not surely different, worse."""
    parts: dict[str, list[str]] = {words: [] for words in _VERDICTS}
    for task, less in found:
        if less is not None:
            behind = f", {interval(less.interval)}" if with_intervals and less.interval else ""
            parts[_words(less)].append(f"{task} ({100 * less.mean:+.1f}{behind})")
    return "; ".join(f"{words} {listed(said)}" for words, said in parts.items() if said)


def _words(found: Difference) -> str:
    if found.interval is None:
        return _VERDICTS[3 if found.mean > 0 else 4 if found.mean < 0 else 5]
    if not sure(found):
        return _VERDICTS[1]
    return _VERDICTS[0 if found.mean > 0 else 2]


def tasks_with(parts: Sequence[tuple[Task, str]]) -> str:
    """Tasks, each with what is said of it: `81 on classification and 12 on detection`."""
    return listed([f"{text} on {task}" for task, text in parts])
