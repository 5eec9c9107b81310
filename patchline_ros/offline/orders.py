"""The order of training for each number of patches, and where the measures disagree about it."""

from __future__ import annotations

from dataclasses import dataclass

from patchline_ros.adaptation.affinity import similarity, training_order
from patchline_ros.manifest import Affinity, Manifest
from patchline_ros.tasks import Task


@dataclass(frozen=True)
class OrderRow:
    """One number of patches.

    Attributes:
        patches: so many.
        words: the order by the bundle's measure, with the affinity to the most similar before.
        others: another order and the measures that give it, in words; none where all agree.
    """

    patches: int
    words: str
    others: list[str]


def order_rows(manifest: Manifest) -> list[OrderRow]:
    """A row for each number of patches; none for a single model, which has no order."""
    tasks = sorted(manifest.models)
    groups = min(map(len, manifest.training_affinity.values()), default=0)
    return [
        OrderRow(
            patches,
            _in_words(manifest.training_affinity, tasks, patches),
            _others(manifest, tasks, patches),
        )
        for patches in range(1, groups + 1)
    ]


def _in_words(table: Affinity, tasks: list[Task], patches: int) -> str:
    order = training_order(table, tasks, patches)
    words = [str(order[0])]
    for place, task in enumerate(order[1:], start=1):
        like = max(similarity(table, task, other, patches) for other in order[:place])
        words.append(f"{task} ({like:.3f})")
    return ", ".join(words)


def _others(manifest: Manifest, tasks: list[Task], patches: int) -> list[str]:
    own = training_order(manifest.training_affinity, tasks, patches)
    measures: dict[tuple[Task, ...], list[str]] = {}
    for measure, table in manifest.affinity.items():
        order = training_order(table, tasks, patches)
        if order != own:
            measures.setdefault(tuple(order), []).append(measure)
    return [f"{', '.join(order)} by {' and '.join(by)}" for order, by in measures.items()]
