"""The results of one experiment, as tables and figures ask for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from patchline_ros.bench.experiment import Experiment, Row
from patchline_ros.bench.report.kinds import Kind, kind_of
from patchline_ros.bench.report.statistics import Summary, summary
from patchline_ros.bench.result import RunResult, TaskResult, read_record, read_results, record_path
from patchline_ros.tasks import Task


class Collected:
    """All results of an experiment that are of a row of the experiment's file."""

    def __init__(self, experiment: Experiment, called: str, results: list[RunResult]) -> None:
        self.experiment = experiment
        self.called = called
        self._runs: dict[str, dict[int, RunResult]] = {}
        for result in results:
            seeds = self._runs.setdefault(result.config.row, {})
            seeds[result.config.seed] = result
        self.rows = [row for row in experiment.rows if row in self._runs]

    @classmethod
    def read(cls, folder: Path) -> Collected:
        """Reads the folder of an experiment, as `patchline bench run` leaves it.

        Raises:
            ResultError: it is none, it has no result, or a file is broken.
        """
        kept = read_record(record_path(folder.parent, folder.name))
        return cls(kept.experiment, kept.called, read_results(folder))

    def title(self, row: str) -> str:
        """How tables call a row."""
        return self.experiment.rows[row].title or row

    def settings(self, row: str) -> Row:
        """The row with all settings filled in, as its first run had them."""
        return next(iter(self._runs[row].values())).config.settings

    def kind(self, row: str) -> Kind:
        """The kind of a row's method."""
        return kind_of(self.settings(row))

    def runs(self, row: str) -> dict[int, RunResult]:
        """The results of a row by seed."""
        return self._runs[row]

    def seeds(self) -> list[int]:
        """All seeds that occur."""
        return sorted({seed for row in self.rows for seed in self._runs[row]})

    def of_task(
        self, row: str, task: Task, figure: Callable[[TaskResult], float]
    ) -> dict[int, float]:
        """A figure of one task by seed."""
        return {seed: figure(run.tasks[task]) for seed, run in self._runs[row].items()}

    def over_tasks(
        self,
        row: str,
        figure: Callable[[TaskResult], float],
        join: Callable[[list[float]], float] = sum,
    ) -> Summary:
        """A figure of all tasks, joined, over seeds."""
        return summary(
            [
                join([figure(result) for result in run.tasks.values()])
                for run in self._runs[row].values()
            ]
        )

    def score(self, row: str, task: Task) -> Summary:
        """The metric on test frames over seeds."""
        return summary(list(self.of_task(row, task, lambda result: result.test.final).values()))

    def undrawn(self, row: str) -> list[Task]:
        """Tasks on which several seeds all have one score, to the last digit.

        Nothing of such a run is drawn at random: the seeds are one measurement made again.
        """
        scores = {
            task: list(self.of_task(row, task, lambda result: result.test.final).values())
            for task in self.experiment.tasks
        }
        return [task for task, found in scores.items() if len(found) > 1 and len(set(found)) == 1]

    def reference(self, task: Task) -> str | None:
        """The row that the others are compared with: the reference, or the better FT-full.

        None where it has no result.
        """
        reference = self.experiment.reference
        if reference:
            return reference if reference in self.rows else None
        full = [row for row in self.rows if self.kind(row) is Kind.FULL]
        return max(full, key=lambda row: self.score(row, task).mean, default=None)

    def full(self) -> str | None:
        """The first row that fine-tunes everything: what cost is compared with."""
        return self.first_of(Kind.FULL)

    def ladder(self) -> str | None:
        """The first row with a ladder: the other one that cost is compared with."""
        return self.first_of(Kind.LADDER)

    def first_of(self, kind: Kind) -> str | None:
        """The first row of a kind; None where there is none."""
        return next((row for row in self.rows if self.kind(row) is kind), None)

    def origins(self) -> list[str]:
        """Where the source models of the runs come from: what was trained, or which bundle."""
        return sorted({run.config.origin for runs in self._runs.values() for run in runs.values()})

    def as_source(self, task: Task) -> float:
        """The mean score of the source models as they are, on test frames, by the first row."""
        scores = self.of_task(self.rows[0], task, lambda result: result.test.source)
        return sum(scores.values()) / len(scores)

    def cached(self, row: str) -> bool:
        """Whether the row keeps the frozen part."""
        return self.settings(row).training.cache != "none"
