"""Rows that differ only in the length of their training, and which of them stand for a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from patchline_ros.bench.report.collected import Collected
from patchline_ros.bench.report.entries import Entry, entries, full_of
from patchline_ros.bench.report.kinds import LABELLED, WITH_OUR_PATCHES, Kind
from patchline_ros.patching.patched_model import PatchSettings

_LENGTH: Final = ("epochs", "batch_size")
_NO_OTHER_METHOD: Final = (*_LENGTH, "cache", "reestimate_norm", "norm_prior", "cache_memory_mib")
"""Training settings that a method may have of its own without being a variation of it."""


_PREPARED: Final = frozenset({Kind.PREPARED_LABELLED, Kind.PREPARED_LADDER})


@dataclass(frozen=True)
class Series:
    """A method with its trainings of different lengths, the shortest first."""

    entries: tuple[Entry, ...]
    main: Entry
    """The one that is as long as the experiment's trainings, or else the first."""

    @property
    def ends(self) -> list[Entry]:
        """What stands in a table: the main one and, where it is full fine-tuning or begins from
        prepared patches, the shortest; of full fine-tuning the longest, too."""
        full = self.main.kind is Kind.FULL
        shortest = full or self.main.kind in _PREPARED
        first, last = self.entries[:1] * shortest, self.entries[-1:] * full
        return list(dict.fromkeys([*first, self.main, *last]))

    @property
    def method(self) -> tuple[Kind, bool]:
        """What tells it from other methods: its kind, and whether it has a side head."""
        return self.main.kind, self.side_head

    @property
    def side_head(self) -> bool:
        """Whether the patches leave the head frozen and have some beside it."""
        method = self.main.settings.method
        return isinstance(method, PatchSettings) and method.head == "side"


def series_of(results: Collected) -> list[Series]:
    """The methods that use labels of all frames, the source model and norm statistics.

    Of each kind the first one stands, of our patches one with each head; of two that are trained
    the same, one with a cache, that which computes less. What differs otherwise from the training
    of the experiment (crops, views, fewer labels, ...) is a variation and is left out.
    """
    found: dict[str, dict[tuple[int, int], Entry]] = {}
    for entry in entries(results):
        if entry.kind in LABELLED | {Kind.SOURCE, Kind.NORM} and _plain(entry):
            lengths = found.setdefault(_method_key(entry), {})
            length = _length(entry)
            if length not in lengths or entry.gflops() < lengths[length].gflops():
                lengths[length] = entry
    first: dict[object, Series] = {}
    usual = results.experiment.training
    for lengths in found.values():
        ordered = tuple(lengths[length] for length in sorted(lengths))
        main = lengths.get((usual.epochs, usual.batch_size), ordered[0])
        one = Series(ordered, main)
        first.setdefault((one.method, main.settings.product), one)
    return list(first.values())


def _length(entry: Entry) -> tuple[int, int]:
    training = entry.settings.training
    return training.epochs, training.batch_size


def _plain(entry: Entry) -> bool:
    settings = entry.settings
    if settings.product:
        return True
    own, usual = settings.training.model_dump(), entry.results.experiment.training.model_dump()
    varied = any(own[name] != usual[name] for name in own if name not in _NO_OTHER_METHOD)
    few = settings.most_labelled is not None
    return not (varied or few or settings.leave_out or settings.predict_patches)


def _method_key(entry: Entry) -> str:
    """All settings but the length, the cache and what follows the training."""
    settings = entry.settings
    same = {"epochs": 1, "batch_size": 2, "cache": "none"}
    training = settings.training.model_copy(update=same)
    return settings.model_copy(
        update={"training": training, "drift_returns": False}
    ).model_dump_json()


@dataclass(frozen=True)
class Comparison:
    """What stands beside full fine-tuning on one scene.

    Attributes:
        lead: the experiment that compares most kinds of methods there.
        series: of the lead, then of other experiments on the scene what the lead has none of.
    """

    lead: Collected
    series: tuple[Series, ...]

    @property
    def tables(self) -> list[Entry]:
        """The entries that stand in tables, in order."""
        return [entry for one in self.series for entry in one.ends]

    @property
    def mains(self) -> list[Entry]:
        """One entry for each method."""
        return [one.main for one in self.series]

    @property
    def guests(self) -> dict[str, list[Entry]]:
        """The entries of other experiments, by experiment."""
        found: dict[str, list[Entry]] = {}
        for entry in self.tables:
            if entry.results is not self.lead:
                found.setdefault(entry.results.experiment.name, []).append(entry)
        return found


def compare(experiments: Mapping[str, Collected]) -> Comparison | None:
    """The scene on which most kinds of methods stand beside full fine-tuning; None: on none.

    An experiment whose reference is another row than a full fine-tuning asks something else.
    """
    scenes: dict[str, list[Collected]] = {}
    for results in experiments.values():
        if _compares(results):
            scenes.setdefault(results.experiment.scene, []).append(results)
    compared = [_joined(group) for group in scenes.values()]
    return max(compared, key=_breadth, default=None)


def _compares(results: Collected) -> bool:
    reference = results.experiment.reference
    other = reference in results.rows and results.kind(reference) is not Kind.FULL
    labelled = _kinds(series_of(results)) & LABELLED
    return not other and Kind.FULL in labelled and len(labelled) > 1


def _joined(group: Sequence[Collected]) -> Comparison:
    lead, *others = sorted(group, key=lambda results: -len(_kinds(series_of(results))))
    series = series_of(lead)
    for results in others:
        known = {one.method for one in series}
        if results.experiment.tasks == lead.experiment.tasks:
            series += [
                one
                for one in series_of(results)
                if one.main.kind in LABELLED and one.method not in known
            ]
    return Comparison(lead, tuple(filter(_is_paired, series)))


def _is_paired(series: Series) -> bool:
    """Whether each of its trainings shares a seed with full fine-tuning."""
    task = series.main.tasks[0]
    return all(each.less(full_beside(each), task) is not None for each in series.entries)


def _kinds(series: Sequence[Series]) -> set[Kind]:
    return {one.main.kind for one in series}


def _breadth(compared: Comparison) -> tuple[int, int, int]:
    lead = compared.lead
    return len(_kinds(compared.series)), len(lead.experiment.tasks), len(lead.seeds())


def full_beside(entry: Entry) -> Entry:
    """The full fine-tuning of the entry's own experiment.

    Raises:
        ValueError: it has none.
    """
    full = full_of(entry.results)
    if full is None:
        raise ValueError(f"experiment {entry.results.experiment.name} fine-tunes nothing in full")
    return full


def ours_in(results: Collected) -> Entry | None:
    """Our method in an experiment, trained on labels: the first row that is plain."""
    ours = [one.main for one in series_of(results) if one.main.kind in WITH_OUR_PATCHES]
    return next(iter(ours), None)
