"""The short page on all experiments: a section for each question that they answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import matplotlib

from patchline_ros.bench.report import compute, few_labels, returning, stages, targets, unlabelled
from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.drawing import STYLE
from patchline_ros.bench.report.entries import Entry, full_of, sure, tasks_with
from patchline_ros.bench.report.kinds import Kind
from patchline_ros.bench.report.markdown import NONE, listed, share, table
from patchline_ros.bench.report.section import Section
from patchline_ros.bench.report.series import ours_in
from patchline_ros.bench.scene_words import SPLITS, in_words, split_in_words
from patchline_ros.tasks import Task

_QUESTIONS: Final[tuple[Callable[[Mapping[str, Collected]], Section | None], ...]] = (
    compute.section,
    unlabelled.section,
    few_labels.section,
    stages.section,
    returning.section,
)

_WHAT: Final = (
    "# Results\n\nWritten by `patchline bench report` from result files; not by hand.\n\n"
    "A car's networks are trained on pictures of one kind, the *source*, such as a clear day. "
    "Where the road looks different, at dusk or in fog, they get worse: this is a *drift*. The "
    "methods here adapt the networks to it, from few frames that the car takes there. This page "
    "says what that gains, and what it costs."
)

_TASKS: Final = {
    Task.CLASSIFICATION: "*Classification* says what a picture shows; its score, accuracy, is the "
    "share of right answers.",
    Task.DETECTION: "*Detection* finds objects; its score, mAP at IoU 0.5, is 100% where each is "
    "found, overlapping its true box by half at least, and nothing else.",
    Task.SEGMENTATION: "*Segmentation* says what each pixel shows; its score, mean IoU, is how far "
    "said and true areas overlap.",
}

_NUMBERS: Final = (
    "**What a number means.** A *score* is in percent, on *test frames* of the drift: nothing was "
    "trained or chosen on them. It is the mean over *seeds*, which are repetitions with other "
    "random draws. Differences are in *points*. Where two more numbers stand behind one, as in "
    "(-1.8, -2.2 to -1.3), they are its 95% interval, by the paired t-test over seeds. If it "
    "includes zero, the two are called *not surely different*, which is not the same as equal. One "
    "seed has no interval, and says little.\n\n"
    "**How cost is counted.** *Compute* is every multiplication and addition of the adaptation, "
    "checks and choices included. *Memory* is what a training step must keep for its backward "
    "pass. *Time* is what choices and training last, by the fastest seed. All three "
    "are shares of what full fine-tuning takes."
)

_PATCHES: Final = (
    " *Patches* are small layers that correct what a network computes; the network itself is "
    "frozen, that is, not trained."
)
_WITH_PATCHES: Final = frozenset(
    {Kind.PUBLISHED, Kind.OURS, Kind.PREPARED, Kind.PREPARED_UNLABELLED, Kind.PREPARED_LABELLED}
)
_TITLES: Final = 4
"""Rows that are named in front of what their kind means."""


def sections_of(experiments: Mapping[str, Collected]) -> list[Section]:
    """A section for each question that the experiments answer, with its figure."""
    with matplotlib.rc_context(STYLE):
        found = [question(experiments) for question in _QUESTIONS]
    return [section for section in found if section is not None]


def page_text(
    experiments: Mapping[str, Collected], sections: Sequence[Section], folder: str
) -> str:
    """The page, in Markdown; `folder`: of the results, as seen from the page."""
    shown = list(dict.fromkeys(entry for section in sections for entry in section.entries))
    parts = [
        _WHAT,
        compute.in_short(experiments),
        _tasks(experiments),
        _NUMBERS,
        _scenes(shown),
        _methods(shown),
        *(section.text(folder) for section in sections),
        targets.in_short(experiments, folder),
        "## All experiments",
        "Each has a page with every row, the command that gives it, seeds, machine and versions. "
        "The last columns say how our patches, trained on labels, stand beside full fine-tuning, "
        "with a star where the difference is surely not zero, and at which share of its compute.",
        _experiments(experiments, folder),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _tasks(experiments: Mapping[str, Collected]) -> str:
    there = {task for results in experiments.values() for task in results.experiment.tasks}
    return f"**The tasks.** {' '.join(text for task, text in _TASKS.items() if task in there)}"


def _scenes(shown: Sequence[Entry]) -> str:
    """What happens in the scenes of the sections, each once, and how its drive is split."""
    names: dict[str, dict[str, None]] = {}
    splits: dict[str, dict[str, None]] = {}
    shared: dict[str, dict[str, Collected]] = {}
    for entry in shown:
        experiment = entry.results.experiment
        meaning = in_words(experiment.scene, experiment.about)
        names.setdefault(meaning, {})[_with_split(experiment.name, experiment.scene)] = None
        splits.setdefault(meaning, {})[split_in_words(experiment.scene)] = None
        shared.setdefault(meaning, {})[experiment.name] = entry.results
    lines = [
        f"- {listed(list(names[meaning]))}: "
        + " ".join([meaning, *splits[meaning], _sources(shared[meaning].values())]).strip()
        for meaning in names
    ]
    return "\n".join(["**The scenes**, by experiment:", "", *lines]) if lines else ""


def _sources(shown: Iterable[Collected]) -> str:
    """That experiments on a scene begin from different source models; empty where they do not."""
    first: dict[str, Collected] = {}
    for results in shown:
        first.setdefault("; ".join(results.origins()), results)
    if len(first) < 2:
        return ""
    said = [
        tasks_with([(task, f"{100 * each.as_source(task):.1f}") for task in each.experiment.tasks])
        + f" in `{each.experiment.name}` ({origin})"
        for origin, each in first.items()
    ]
    return (
        "The source models are not the same. Before anything is adapted they have "
        f"{'; '.join(said)}. Models that were trained under made weather, too, lose less to a "
        "drift and leave less to win. So compare scores within one experiment alone. "
        "`docs/benchmarks.md` says how each kind is made."
    )


def _with_split(name: str, scene: str) -> str:
    split = SPLITS.get(scene)
    return f"`{name}` ({split.name})" if split else f"`{name}`"


def _methods(shown: Sequence[Entry]) -> str:
    """What each kind of method that is shown does, behind the titles of its rows."""
    titles: dict[Kind, dict[str, None]] = {}
    for entry in shown:
        titles.setdefault(entry.kind, {})[entry.title] = None
    if not titles:
        return ""
    lines = [
        f"- {_titles(list(titles[kind]))}: {kind.traits.meaning}" for kind in Kind if kind in titles
    ]
    patches = _PATCHES if titles.keys() & _WITH_PATCHES else ""
    return "\n".join([f"**The methods**, by the titles of their rows.{patches}", "", *lines])


def _titles(titles: Sequence[str]) -> str:
    shown = [f"*{title}*" for title in titles[:_TITLES]]
    return "; ".join([*shown, *(["..."] if len(titles) > _TITLES else [])])


def _experiments(experiments: Mapping[str, Collected], folder: str) -> str:
    rows = [
        [_named(name, results, folder), str(len(results.seeds())), *_ours_beside_full(results)]
        for name, results in experiments.items()
    ]
    return table(["experiment", "seeds", "points above full fine-tuning", "compute"], rows)


def _named(name: str, results: Collected, folder: str) -> str:
    """An experiment's name with its link, and the first sentence on it."""
    experiment = results.experiment
    what = re.split(r"(?<=[.!?])\s", experiment.about, maxsplit=1)[0].rstrip(".")
    split = SPLITS.get(experiment.scene)
    behind = f" ({split.name})" if split else ""
    link = f"[{name}]({folder}/{name}/README.md)"
    return f"{link}: {what}{behind}" if what else link


def _ours_beside_full(results: Collected) -> tuple[str, str]:
    ours, full = ours_in(results), full_of(results)
    if ours is None or full is None:
        return NONE, NONE
    parts = []
    for task in ours.tasks:
        found = ours.less(full, task)
        if found is not None:
            parts.append(f"{task} {100 * found.mean:+.1f}{'*' if sure(found) else ''}")
    beside = f"{ours.title}: {', '.join(parts)}" if parts else NONE
    return beside, share(ours.gflops(), full.gflops())
