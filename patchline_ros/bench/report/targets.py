"""Which targets are met: our prepared patches beside full fine-tuning, a row for each target.

The targets are those that the project set itself before it measured. A scene counts where
experiments have both, full fine-tuning from a source model that knows no weather (*plain*) and
labelled training from prepared patches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.entries import Entry, entries, full_of
from patchline_ros.bench.report.kinds import Kind
from patchline_ros.bench.report.markdown import NONE, listed, share, table
from patchline_ros.bench.report.statistics import difference
from patchline_ros.bench.report.tables import saved_mib, seconds
from patchline_ros.bench.scene_words import SPLITS
from patchline_ros.tasks import Task

FILE: Final = "targets.md"
"""Of the page, in the folder of the results."""
_WITHIN: Final = 0.005
"""By how much a score may be below full fine-tuning from a source that knows weather."""
_WORTH_WINNING: Final = 0.03
"""What full fine-tuning must win on a task, for the share of it that needs no label."""
_OF_WIN: Final = {"future": 0.8}
"""Share of full fine-tuning's gain that is to be had without labels, by split."""
_OF_WIN_ELSEWHERE: Final = 0.6
_BELOW_SOURCE: Final = 0.005
_UNSURE: Final = "*"
_SEEDS: Final = 5
"""From which on an interval says something."""


@dataclass(frozen=True)
class _Reached:
    """What a row reaches of a target: the figure, and whether that is enough."""

    said: str
    met: bool

    def text(self) -> str:
        """As a cell of the table."""
        return f"**{self.said}**" if self.met else self.said


@dataclass(frozen=True)
class _Rivals:
    """A scene on which our rows stand beside full fine-tuning.

    Attributes:
        name: of the scene, with its split.
        split: its name; empty where there is no other.
        plain: the rows of full fine-tuning from the plain source model.
        robust: full fine-tuning from the source model that our rows begin from; None: not run.
        ladder: Ladder-Side-Tuning from the plain source model; None: not run.
        ours: labelled training from prepared patches, and the product.
        unlabelled: what our car does without labels.
    """

    name: str
    split: str
    plain: Sequence[Entry]
    robust: Entry | None
    ladder: Entry | None
    ours: Sequence[Entry]
    unlabelled: Sequence[Entry]

    @property
    def tasks(self) -> Sequence[Task]:
        """Of the scene."""
        return (*self.ours, *self.unlabelled)[0].tasks

    @property
    def scene(self) -> str:
        """For tables: the experiment, and the split where there is another."""
        return f"{self.name} ({self.split})" if self.split else self.name


_Measure = Callable[[_Rivals, Entry], _Reached | None]


@dataclass(frozen=True)
class _Target:
    """What was aimed at.

    Attributes:
        aim: in words.
        reached: what a row reaches; None where what it is compared with was not run.
    """

    aim: str
    reached: _Measure


def page_text(experiments: Mapping[str, Collected], short_page: str) -> str:
    """The page on targets, in Markdown; empty where nothing begins from prepared patches.

    Args:
        experiments: all, by name.
        short_page: path of the page on all experiments, as seen from this one.
    """
    found = _rivals(experiments)
    if not found:
        return ""
    parts = [
        "# Targets",
        "Written by `patchline bench report` from result files; not by hand. What methods and "
        f"scenes are: [results.md]({short_page}).",
        "Before it measured, this project set itself targets. A figure that meets its target is "
        "bold. A dash stands where the rival was not run, or where FT-full gains less than 3 "
        "points. Our rows begin from patches that were prepared before the car left, and from the "
        "bundle's source model (*our own source*). The *plain source* is a model that knows no "
        f"weather. Scores are in points, for {_tasks(found)}; one with a star may be zero, by its "
        "95% interval. From five seeds on that meets a target, too. The better FT-full is, "
        "for each task, the row with the best test score. Costs are shares of the first FT- "
        "full. Time is a share of the FT-full that ran in the same experiment, where one did, "
        "since other work on the machine made both longer.",
    ]
    titles = _titles(found)
    if titles:
        parts.append(table(["target, with labels", "experiment", *titles], _with_labels(found)))
    if any(rivals.unlabelled for rivals in found):
        head = ["target, without labels", "experiment", "reached"]
        parts.append(table(head, _without_labels(found)))
    parts.append(_not_run(found))
    return "\n\n".join(part for part in parts if part) + "\n"


def in_short(experiments: Mapping[str, Collected], folder: str) -> str:
    """How many targets are met, for the page on all experiments; empty where there are none.

    Args:
        experiments: all, by name.
        folder: of the results, as seen from that page.
    """
    found = _rivals(experiments)
    counted = []
    for rows, labels in ((_with_labels(found), "With"), (_without_labels(found), "Without")):
        if rows:
            met = sum(any(cell.startswith("**") for cell in row[2:]) for row in rows)
            counted.append(f"{labels} labels {met} of {len(rows)} are met")
    if not counted:
        return ""
    return (
        "## Which targets are met?\n\nThis project set itself targets before it measured, and asks "
        "each of every scene in which the method it compares with was run. "
        f"{'. '.join(counted)}, each by one row at least. "
        f"[All targets, by how much, and what was not run]({folder}/{FILE})."
    )


def _titles(found: Sequence[_Rivals]) -> list[str]:
    return list(dict.fromkeys(entry.title for rivals in found for entry in rivals.ours))


def _with_labels(found: Sequence[_Rivals]) -> list[list[str]]:
    titles = _titles(found)
    return _measured(
        [
            [target.aim, rivals.scene, *_cells(target, rivals, titles)]
            for target in _WITH_LABELS
            for rivals in found
        ]
    )


def _without_labels(found: Sequence[_Rivals]) -> list[list[str]]:
    return _measured(
        [
            [target.aim, rivals.scene, _cell(target.reached(rivals, rivals.unlabelled[0]))]
            for target in _WITHOUT_LABELS
            for rivals in found
            if rivals.unlabelled
        ]
    )


def _tasks(found: Sequence[_Rivals]) -> str:
    return listed(list(dict.fromkeys(str(task) for rivals in found for task in rivals.tasks)))


def _cells(target: _Target, rivals: _Rivals, titles: Sequence[str]) -> list[str]:
    by_title = {entry.title: target.reached(rivals, entry) for entry in rivals.ours}
    return [_cell(by_title.get(title)) for title in titles]


def _measured(rows: Sequence[list[str]]) -> list[list[str]]:
    """The rows with a figure; of the others `_not_run` says why they have none."""
    return [row for row in rows if set(row[2:]) != {NONE}]


def _not_run(found: Sequence[_Rivals]) -> str:
    """Which rivals are missing, so that no target of an experiment is missing in silence."""
    lacking = {
        "FT-full from the plain source": [each.scene for each in found if not each.plain],
        "FT-full from our own source": [each.scene for each in found if each.robust is None],
        "our rows with labels": [each.scene for each in found if not each.ours],
    }
    said = [f"{rival} on {listed(scenes)}" for rival, scenes in lacking.items() if scenes]
    return f"Not run, so that targets beside it are open: {'; '.join(said)}." if said else ""


def _cell(reached: _Reached | None) -> str:
    return reached.text() if reached else NONE


def _rivals(experiments: Mapping[str, Collected]) -> list[_Rivals]:
    """The scenes on which both were run, in the order of the experiments."""
    scenes: dict[str, list[Collected]] = {}
    for results in experiments.values():
        scenes.setdefault(results.experiment.scene, []).append(results)
    found = [_of_scene(scene, group) for scene, group in scenes.items()]
    return [rivals for rivals in found if rivals is not None]


def _of_scene(scene: str, group: Sequence[Collected]) -> _Rivals | None:
    prepared = next((results for results in group if _begins_prepared(results)), None)
    if prepared is None:
        return None
    rows = entries(prepared)
    others = [
        entry
        for results in group
        if not _begins_prepared(results)
        for entry in entries(results)
        if entry.tasks == prepared.experiment.tasks
    ]
    split = SPLITS.get(scene)
    return _Rivals(
        name=prepared.experiment.name,
        split=split.name if split else "",
        plain=[entry for entry in others if entry.kind is Kind.FULL],
        robust=full_of(prepared),
        ladder=next((entry for entry in others if entry.kind is Kind.LADDER), None),
        ours=[entry for entry in rows if _is_ours(entry)],
        unlabelled=[entry for entry in rows if entry.kind is Kind.CAR],
    )


def _is_ours(entry: Entry) -> bool:
    """Trained on the labels of all frames from prepared patches on, as a car does or in a row."""
    prepared = entry.kind is Kind.PREPARED_LABELLED and entry.settings.most_labelled is None
    return prepared or entry.settings.product


def _begins_prepared(results: Collected) -> bool:
    return any(_is_ours(entry) or entry.kind is Kind.CAR for entry in entries(results))


def _accuracy(
    entry: Entry, other: Callable[[Task], Entry], tasks: Sequence[Task], least: float
) -> _Reached:
    """Points beside another row, for each task; met where none is below `least`.

    From five seeds on, one that is not surely below it will do. Of fewer the interval is so wide
    that it would pass anything.
    """
    said, met = [], True
    for task in tasks:
        found = difference(
            entry.results.of_task(entry.row, task, lambda result: result.test.final),
            other(task).results.of_task(other(task).row, task, lambda result: result.test.final),
        )
        if found is None:
            return _Reached(NONE, met=False)
        unsure = found.interval is None or found.interval[0] <= 0 <= found.interval[1]
        few = found.interval is None or found.seeds < _SEEDS
        high = found.mean if few or found.interval is None else found.interval[1]
        met = met and max(found.mean, high) >= least
        said.append(f"{100 * found.mean:+.1f}{_UNSURE if unsure else ''}")
    return _Reached(" / ".join(said), met)


def _beside_plain(rivals: _Rivals, entry: Entry) -> _Reached | None:
    if not rivals.plain:
        return None
    return _accuracy(entry, lambda task: _best(rivals.plain, task), rivals.tasks, 0.0)


def _best(rows: Sequence[Entry], task: Task) -> Entry:
    return max(rows, key=lambda entry: entry.score(task).mean)


def _beside_robust(rivals: _Rivals, entry: Entry) -> _Reached | None:
    robust = rivals.robust
    return _accuracy(entry, lambda _: robust, rivals.tasks, -_WITHIN) if robust else None


def _part(value: float, base: float, most: float) -> _Reached:
    return _Reached(share(value, base), met=base > 0 and value / base <= most)


def _of_full(figure: Callable[[Entry], float], most: float) -> _Measure:
    """A cost as a share of full fine-tuning's: from the plain source, or else from our own."""

    def reached(rivals: _Rivals, entry: Entry) -> _Reached | None:
        full = next(iter(rivals.plain), rivals.robust)
        return _part(figure(entry), figure(full), most) if full else None

    return reached


def _time(rivals: _Rivals, entry: Entry) -> _Reached | None:
    full = rivals.robust or next(iter(rivals.plain), None)
    if full is None:
        return None
    own, base = (seconds(each.results, each.row) for each in (entry, full))
    return _part(own, base, 0.15)


def _of_ladder(rivals: _Rivals, entry: Entry) -> _Reached | None:
    ladder = rivals.ladder
    return _part(entry.gflops(), ladder.gflops(), 0.20) if ladder else None


def _classifier(rivals: _Rivals, entry: Entry) -> _Reached | None:
    task = Task.CLASSIFICATION
    if task not in rivals.tasks:
        return None
    return _of_full(lambda each: each.gflops(task), 0.05)(rivals, entry)


def _of_plain_win(rivals: _Rivals, entry: Entry) -> _Reached | None:
    if not rivals.plain:
        return None
    return _of_win(rivals, entry, lambda task: _best(rivals.plain, task))


def _of_own_win(rivals: _Rivals, entry: Entry) -> _Reached | None:
    robust = rivals.robust
    return _of_win(rivals, entry, lambda _: robust) if robust else None


def _of_win(rivals: _Rivals, entry: Entry, full: Callable[[Task], Entry]) -> _Reached:
    """The share of what a full fine-tuning wins, for each task on which it wins enough."""
    said, met = [], True
    least = _OF_WIN.get(rivals.split, _OF_WIN_ELSEWHERE)
    for task in rivals.tasks:
        source = full(task).mean(task, lambda result: result.test.source)
        win = full(task).score(task).mean - source
        if win <= _WORTH_WINNING:
            said.append(NONE)
            continue
        part = (entry.score(task).mean - source) / win
        met = met and part >= least
        said.append(f"{100 * part:.0f}%")
    return _Reached(" / ".join(said), met)


def _not_below_source(rivals: _Rivals, entry: Entry) -> _Reached:
    gains = [
        entry.score(task).mean - entry.mean(task, lambda result: result.test.source)
        for task in rivals.tasks
    ]
    said = " / ".join(f"{100 * gain:+.1f}" for gain in gains)
    return _Reached(said, met=min(gains) >= -_BELOW_SOURCE)


_WITH_LABELS: Final = (
    _Target("score: at least the better FT-full from the plain source", _beside_plain),
    _Target("score: within 0.5 points of FT-full from our own source", _beside_robust),
    _Target("compute: at most 12% of FT-full", _of_full(lambda each: each.gflops(), 0.12)),
    _Target("compute: at most 20% of LST", _of_ladder),
    _Target("compute of classification: at most 5% of FT-full", _classifier),
    _Target("time: at most 15% of FT-full", _time),
    _Target(
        "saved for backward: at most 10% of FT-full",
        _of_full(lambda each: saved_mib(each.results, each.row), 0.10),
    ),
)
_WITHOUT_LABELS: Final = (
    _Target(
        "60% of what the better FT-full gains from the plain source (future split: 80%)",
        _of_plain_win,
    ),
    _Target("the same of FT-full from our own source", _of_own_win),
    _Target("no more than 0.5 points below the source", _not_below_source),
)
