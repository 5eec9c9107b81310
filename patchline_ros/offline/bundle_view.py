"""What a bundle holds, whether all of it loads, and in what two of them differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from rich.table import Table

from patchline_ros.adaptation.patch_choice import load_predictor
from patchline_ros.bundle import Bundle
from patchline_ros.manifest import Manifest
from patchline_ros.offline.gate_record import GateRecord
from patchline_ros.offline.orders import OrderRow, order_rows
from patchline_ros.patching.patch_set import apply
from patchline_ros.terminal import terminal

_MISSING: Final = "(missing)"


def show_bundle(bundle: Bundle) -> None:
    """Prints models, affinities, the order of training for each number of patches, the drift."""
    console = terminal()
    manifest = bundle.manifest
    console.print(f"{manifest.name}: source {manifest.source}, seed {manifest.seed}")
    console.print(_models(bundle))
    for task, entry in manifest.models.items():
        console.print(f"{task}: {', '.join(entry.spec.classes)}", soft_wrap=True)
    rows = order_rows(manifest)
    if rows:
        console.print(_orders(rows, manifest.affinity_measure))
    drift, steps = manifest.drift, manifest.patch_table
    console.print(
        f"drift: MMD^2 of the {drift.task} model's tap {drift.tap} over {drift.window} frames, "
        f"above {drift.threshold:.4f}",
        soft_wrap=True,
    )
    table = ", ".join(f"{step.patches} from {step.mmd2:.4f} on" for step in steps)
    console.print(f"patches by MMD^2: {table or '1 for every drift'}", soft_wrap=True)
    labels = manifest.drift_labels
    if labels:
        right = sum(label.predicted == label.patches for label in labels)
        console.print(
            f"learnt from {len(labels)} drifts, of which {right} would get what they need from a "
            "table that was learnt without them",
            soft_wrap=True,
        )
    for sentence in prepared_words(manifest):
        console.print(sentence, soft_wrap=True)
    if manifest.patch_predictor is not None:
        console.print(f"on the car {predictor_words(manifest)}", soft_wrap=True)
    console.print(f"made with {_listed(manifest.versions)}", soft_wrap=True)
    console.print(f"configuration: {_listed(dict(facts(manifest.config)))}", soft_wrap=True)


def prepared_words(manifest: Manifest) -> list[str]:
    """What the prepared patches of each task are worth, and how well their gate predicts that."""
    return [
        f"prepared patches for {task}: {task.traits.metric} {100 * entry.source_metric:.1f} -> "
        f"{100 * entry.prepared_metric:.1f} on held-out frames of other drifts, trained on "
        f"{len(entry.drifts)} drifts with {entry.gflops:,.0f} GFLOPs; "
        f"{GateRecord.of_entry(entry).words}"
        for task, entry in manifest.prepared.items()
    ]


def predictor_words(manifest: Manifest) -> str:
    """What the learnt predictor is, and how it did on drifts that it was trained without."""
    entry = manifest.patch_predictor
    assert entry is not None
    reads = f"VGG16 ({entry.vgg16})" if entry.vgg16 else "the drift of each tap"
    right = sum(
        said == label.patches
        for said, label in zip(entry.predicted, manifest.drift_labels, strict=True)
    )
    return (
        f"the {entry.kind} predictor counts the patches: it reads {reads}, was trained on the same "
        f"{len(entry.predicted)} drifts, and on drifts that were left out as a whole it was right "
        f"on {right} of them ({100 * entry.accuracy:.0f}%) and {entry.mean_absolute_error:.2f} "
        "patches off on average"
    )


def check_bundle(bundle: Bundle) -> str:
    """Loads every model, the drift reference and the predictor; what was found, in a sentence.

    Raises:
        ValueError: something does not load, or does not fit the others.
    """
    sizes, drift = [], bundle.manifest.drift
    for task in bundle.manifest.models:
        model = bundle.model(task)
        count = sum(parameter.numel() for parameter in model.parameters())
        sizes.append(f"{task} {count / 1e6:.2f} M parameters")
        if task in bundle.manifest.prepared:
            apply(model, bundle.fingerprint(task), bundle.prepared(task))
        if task is drift.task and drift.tap > len(model.backbone.specs):
            raise ValueError(
                f"bundle {bundle.path} watches tap {drift.tap} of the {task} model, which has the "
                f"taps 0 to {len(model.backbone.specs)}; make it again"
            )
        if task is drift.task and bundle.manifest.patch_predictor is not None:
            load_predictor(bundle, model)
    width = bundle.drift_reference.width
    pictures = {
        "trained on": sum(map(len, bundle.trained_on.values())),
        "measured on": sum(map(len, bundle.held_out.values())),
        "shown on its card": sum(map(len, bundle.examples.values())),
        "kept with their labels": sum(map(len, bundle.source_frames.values())),
    }
    counts = ", ".join(f"{count} {what}" for what, count in pictures.items() if count)
    predictor = bundle.manifest.patch_predictor
    learnt = f"; the {predictor.kind} patch predictor" if predictor else ""
    prepared = ", ".join(map(str, bundle.manifest.prepared))
    learnt += f"; prepared patches for {prepared}" if prepared else ""
    return (
        f"{bundle.path} is whole: {', '.join(sizes)}; {width} drift features{learnt}; pictures: "
        f"{counts or 'none'}"
    )


def differences(one: Manifest, other: Manifest) -> list[str]:
    """A line for each fact that differs, with both values."""
    found = [dict(facts(manifest.model_dump(mode="json"))) for manifest in (one, other)]
    names = sorted({*found[0], *found[1]})
    pairs = [(name, *(each.get(name, _MISSING) for each in found)) for name in names]
    return [f"{name}: {before} | {after}" for name, before, after in pairs if before != after]


def facts(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each fact with its place, such as models.detection.width; a list of plain values is one."""
    inner: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        inner = enumerate(value)
    else:
        yield name, value
        return
    for key, each in inner:
        yield from facts(each, f"{name}.{key}" if name else str(key))


def _models(bundle: Bundle) -> Table:
    table = Table("task", "model", "input", "classes", "held-out source data", "entropy")
    for task, entry in bundle.manifest.models.items():
        height, width = entry.spec.input_size
        table.add_row(
            str(task),
            f"{entry.spec.head} on {entry.spec.backbone} x {entry.spec.width:g}",
            f"{width}x{height}",
            str(len(entry.spec.classes)),
            f"{task.traits.metric} {100 * entry.source_metric:.1f}",
            f"{entry.source_entropy:.3f} nats",
        )
    return table


def _orders(rows: Sequence[OrderRow], measure: str) -> Table:
    """The order of training, and where another measure gives another one."""
    order = f"order of training by {measure}, with the affinity to the most similar before"
    table = Table("patches", order)
    disagree = any(row.others for row in rows)
    if disagree:
        table.add_column("other measures disagree")
    for row in rows:
        table.add_row(str(row.patches), row.words, *(["; ".join(row.others)] if disagree else []))
    return table


def _listed(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())
