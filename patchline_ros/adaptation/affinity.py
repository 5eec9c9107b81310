"""How alike models see the same pictures, and the order of training that follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import torch

from patchline_ros.adaptation.similarity import MEASURES, Descriptions
from patchline_ros.tasks import TRAINING_ORDER, Image, Task
from patchline_ros.vision.inputs import image_tensor, resize_image
from patchline_ros.vision.model import TaskModel

Affinity = Mapping[str, Sequence[float]]


def pair_key(first: Task, second: Task) -> str:
    """The table's key of two models, the same for both orders."""
    return " ".join(sorted((str(first), str(second))))


def _described(
    task: Task, model: TaskModel, images: Sequence[Image], measures: Sequence[str]
) -> dict[str, list[Descriptions]]:
    """What each measure keeps of each group's feature maps: [measure][group] (pictures, values)."""
    rows: dict[str, list[list[Descriptions]]] = {measure: [] for measure in measures}
    for image in images:
        picture = image_tensor(resize_image(image, model.spec.input_size))[None]
        with torch.inference_mode():
            taps = model.backbone(picture)[1:]
        for group, tap in enumerate(taps, start=1):
            if not torch.isfinite(tap).all():
                raise ValueError(
                    f"group {group} of the {task} model gives features that are not finite; its "
                    "weights are damaged or its training went wrong"
                )
        for measure, described in rows.items():
            described.append([MEASURES[measure].describe(tap[0]) for tap in taps])
    return {
        measure: [np.stack(group) for group in zip(*described, strict=True)]
        for measure, described in rows.items()
    }


def affinity_tables(
    models: Mapping[Task, TaskModel], images: Sequence[Image], measures: Sequence[str]
) -> dict[str, dict[str, list[float]]]:
    """Similarity of each pair of models for each group, in 0..1, by each measure.

    Source: paper, section 4.4.

    Args:
        models: with equally many convolution groups each.
        images: the same source pictures for all models, of any size.
        measures: keys of MEASURES.

    Raises:
        ValueError: no images, or too few for CKA; an unknown measure; models with different
            numbers of groups; features that are not finite.
    """
    if not images:
        raise ValueError("an affinity table needs at least one source image")
    unknown = [measure for measure in measures if measure not in MEASURES]
    if unknown:
        raise ValueError(f"there is no similarity {unknown[0]!r}; known are {', '.join(MEASURES)}")
    groups = {task: len(model.backbone.specs) for task, model in models.items()}
    if len(set(groups.values())) > 1:
        counts = ", ".join(f"{task} {count}" for task, count in groups.items())
        raise ValueError(
            f"models are compared group by group, but they have different numbers of them: {counts}"
        )
    described = {task: _described(task, model, images, measures) for task, model in models.items()}
    return {
        measure: {
            pair_key(first, second): [
                MEASURES[measure].compare(a, b)
                for a, b in zip(described[first][measure], described[second][measure], strict=True)
            ]
            for first, second in combinations(sorted(models, key=str), 2)
        }
        for measure in measures
    }


def affinity_table(
    models: Mapping[Task, TaskModel], images: Sequence[Image], measure: str = "perceptual_hash"
) -> dict[str, list[float]]:
    """`affinity_tables` by one measure.

    Raises:
        ValueError: as `affinity_tables` raises it.
    """
    return affinity_tables(models, images, [measure])[measure]


def similarity(table: Affinity, first: Task, second: Task, patches: int) -> float:
    """Mean similarity of two models over the first `patches` groups.

    Raises:
        ValueError: the table has no such pair, or not so many groups.
    """
    key = pair_key(first, second)
    if key not in table:
        raise ValueError(f"the affinity table lacks the pair {key!r}; it has {sorted(table)}")
    if not 1 <= patches <= len(table[key]):
        raise ValueError(
            f"{patches} patches asked for; the affinity table has {len(table[key])} groups"
        )
    return float(np.mean(table[key][:patches]))


def training_order(table: Affinity, tasks: Sequence[Task], patches: int) -> list[Task]:
    """Tasks by falling total affinity to the others (paper, section 4.4), then TRAINING_ORDER."""

    def total(task: Task) -> float:
        return sum(similarity(table, task, other, patches) for other in tasks if other is not task)

    return sorted(tasks, key=lambda task: (-total(task), TRAINING_ORDER.index(task)))


def most_similar(table: Affinity, task: Task, trained: Sequence[Task], patches: int) -> Task | None:
    """The model already trained that is most like `task`; None when there is none."""
    if not trained:
        return None
    return max(
        trained,
        key=lambda other: (similarity(table, task, other, patches), TRAINING_ORDER.index(other)),
    )
