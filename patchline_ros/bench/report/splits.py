"""Experiments that differ only in how the same scene is split into adapting and testing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.entries import Entry, entries
from patchline_ros.bench.report.markdown import NONE
from patchline_ros.bench.scene_words import SPLITS
from patchline_ros.tasks import Task


@dataclass(frozen=True)
class Split:
    """An experiment on one split of a scene.

    Attributes:
        name: in heads of tables; empty where there is no other split.
        results: of the experiment.
    """

    name: str
    results: Collected

    def entry(self, row: str) -> Entry | None:
        """A row; None where it has no result on this split."""
        return Entry(self.results, row) if row in self.results.rows else None


def splits_with(
    experiments: Mapping[str, Collected], asked: Callable[[Entry], bool]
) -> list[Split]:
    """The experiment with most of the rows that are asked for, and its variants with other splits.

    A variant is called NAME:VARIANT and has tasks and source models of NAME on another split of
    the same drive. Empty where no experiment has such a row.
    """

    def size(results: Collected) -> tuple[int, int, int]:
        rows = sum(asked(entry) for entry in entries(results))
        return rows, len(results.experiment.tasks), len(results.seeds())

    found = [results for results in experiments.values() if any(map(asked, entries(results)))]
    lead = max(found, key=size, default=None)
    if lead is None:
        return []
    others = [each for each in found if each is not lead and _same_but_split(each, lead)]
    if not others:
        return [Split("", lead)]
    return [Split(SPLITS[each.experiment.scene].name, each) for each in (lead, *others)]


def _same_but_split(one: Collected, other: Collected) -> bool:
    first, second = one.experiment, other.experiment
    here, there = SPLITS.get(first.scene), SPLITS.get(second.scene)
    return (
        one.called.split(":")[0] == other.called.split(":")[0]
        and first.tasks == second.tasks
        and first.source == second.source
        and here is not None
        and there is not None
        and here.drive == there.drive
        and here != there
    )


Columns = Sequence[tuple[Task, Split]]


def columns(splits: Sequence[Split], rows: Sequence[str]) -> Columns:
    """Tasks and splits that stand beside each other.

    A task whose scores are the same on each split, since its pictures are, stands there once.
    """
    found: list[tuple[Task, Split]] = []
    for task in splits[0].results.experiment.tasks:
        first = [score(splits[0], row, task) for row in rows]
        found.append((task, splits[0]))
        for split in splits[1:]:
            scores = [score(split, row, task) for row in rows]
            if any(s != NONE and s != f for s, f in zip(scores, first, strict=True)):
                found.append((task, split))
    return found


def of_others(splits: Sequence[Split], rows: Sequence[str]) -> list[Entry]:
    """The rows as they are on all splits but the first."""
    found = [split.entry(row) for split in splits[1:] for row in rows]
    return [entry for entry in found if entry is not None]


def heads(shown: Columns) -> list[str]:
    """Heads of columns: the task with its metric, or with the name of the split."""
    tasks = [task for task, _ in shown]
    return [
        f"{task}, {task.traits.metric}" + (f", {split.name}" if tasks.count(task) > 1 else "")
        for task, split in shown
    ]


def score(split: Split, row: str, task: Task) -> str:
    """The metric in percent; a dash where the row has no result."""
    entry = split.entry(row)
    return NONE if entry is None else f"{100 * entry.score(task).mean:.1f}"
