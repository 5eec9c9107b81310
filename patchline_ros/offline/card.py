"""A bundle's card: one page that shows people what is in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from patchline_ros.bundle import Bundle
from patchline_ros.files import write_file
from patchline_ros.manifest import DriftLabel, Manifest
from patchline_ros.offline import card_plots
from patchline_ros.offline.bundle_view import predictor_words, prepared_words
from patchline_ros.offline.orders import order_rows
from patchline_ros.pages.page import render, to_data_uri
from patchline_ros.palette import PALETTE
from patchline_ros.runtime.model_runner import ModelRunner
from patchline_ros.tasks import Image, Task
from patchline_ros.vision.drawing import draw_answer
from patchline_ros.vision.inputs import to_picture

TEMPLATE: Final = "card.html.jinja"
_LEAST_WIDTH: Final = 256
"""Least width of an example in pixels, so that what is drawn on it can be read."""
UNKNOWN: Final = "—"


@dataclass(frozen=True)
class _Model:
    """A row of the table of models."""

    task: str
    built: str
    input_size: str
    parameters: str
    trained_on: str
    held_out: str
    metric: str
    value: str
    entropy: str
    classes: str


@dataclass(frozen=True)
class _Example:
    """A picture with the answer on it; `address` is a `data:` address, `words` its caption."""

    address: str
    words: str


def write_card(bundle: Bundle, path: Path) -> None:
    """Writes the page.

    Raises:
        BundleError: a model or the examples do not load.
        OSError: the disk refuses it.
    """
    write_file(path, render_card(bundle).encode())


def render_card(bundle: Bundle) -> str:
    """The page, with everything it shows inside it; what the bundle lacks is left out.

    Raises:
        BundleError: a model or the examples do not load.
    """
    manifest, reference = bundle.manifest, bundle.drift_reference
    labels = manifest.drift_labels
    tables = manifest.affinity if len(manifest.models) > 1 else {}
    rows = order_rows(manifest)
    return render(
        Path(__file__).with_name(TEMPLATE),
        {"percent": _percent},
        manifest=manifest,
        models=[_model(bundle, task) for task in manifest.models],
        examples={task: _examples(bundle, task) for task in bundle.examples},
        legend=_legend(bundle),
        rows=rows,
        disagree=any(row.others for row in rows),
        affinities=[Markup(card_plots.affinity_svg(name, table)) for name, table in tables.items()],
        null=Markup(card_plots.null_svg(reference)),
        alpha=_share_above(reference.null, reference.threshold),
        drifts=Markup(card_plots.drifts_svg(labels, reference.threshold)) if labels else "",
        confusion=Markup(card_plots.confusion_svg(labels)) if labels else "",
        right=sum(label.predicted == label.patches for label in labels),
        counts=sorted({count for label in labels for count in label.metrics}),
        prepared=prepared_words(manifest),
        gate=Markup(card_plots.gate_svg(manifest.prepared)) if manifest.prepared else "",
        learnt=predictor_words(manifest) if manifest.patch_predictor else "",
        kind=manifest.patch_predictor.kind if manifest.patch_predictor else "",
        labels=list(zip(labels, map(_means, labels), _said(manifest), strict=True)),
        watched_metric=manifest.drift.task.traits.metric,
        config=json.dumps(manifest.config, indent=1),
    )


def _model(bundle: Bundle, task: Task) -> _Model:
    entry = bundle.manifest.models[task]
    spec = entry.spec
    height, width = spec.input_size
    parameters = sum(parameter.numel() for parameter in bundle.model(task).parameters())
    names = bundle.held_out.get(task)
    return _Model(
        task=str(task),
        built=f"{spec.head} on {spec.backbone} x {spec.width:g}",
        input_size=f"{width}x{height}",
        parameters=f"{parameters / 1e6:.2f} M",
        trained_on=str(len(bundle.trained_on.get(task, []))),
        held_out=UNKNOWN if names is None else str(len(names)),
        metric=task.traits.metric,
        value=_percent(entry.source_metric),
        entropy=f"{entry.source_entropy:.3f}",
        classes=", ".join(_plain(name) for name in spec.classes),
    )


def _examples(bundle: Bundle, task: Task) -> list[_Example]:
    runner = ModelRunner(bundle, task)
    names = bundle.spec(task).classes
    examples = []
    for picture in bundle.examples[task]:
        found = runner.infer(picture)
        answer, shown, words = found.prediction, _enlarged(picture), ""
        if isinstance(answer, int):
            words = f"{_plain(names[answer])} ({_percent(found.confidence)}%)"
        else:
            in_it = to_picture(answer, shown.shape[:2], picture.shape[:2])
            shown = draw_answer(shown, in_it, names, found.confidence)
        examples.append(_Example(to_data_uri(shown), words))
    return examples


def _enlarged(image: Image) -> Image:
    """At least so wide that what is drawn on it can be read."""
    scale = max(1, round(_LEAST_WIDTH / image.shape[1]))
    size = (image.shape[1] * scale, image.shape[0] * scale)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _legend(bundle: Bundle) -> list[tuple[str, str]]:
    """Names and colours of the classes that are painted over the pictures."""
    if Task.SEGMENTATION not in bundle.examples:
        return []
    return [
        (_plain(name), f"rgb{PALETTE[i % len(PALETTE)]}")
        for i, name in enumerate(bundle.spec(Task.SEGMENTATION).classes)
    ]


def _means(label: DriftLabel) -> dict[int, str]:
    """The mean metric over the trainings, in percent, by number of patches."""
    return {count: _percent(float(np.mean(found))) for count, found in label.metrics.items()}


def _said(manifest: Manifest) -> Sequence[int | str]:
    """What the learnt predictor says of each labelled drift; nothing where there is none."""
    entry = manifest.patch_predictor
    return [""] * len(manifest.drift_labels) if entry is None else entry.predicted


def _share_above(null: NDArray[np.float64], threshold: float) -> str:
    return _percent(float((null > threshold).mean()))


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
