"""What a bundle holds, whether all of it loads, and in what two of them differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from patchline_ros.adaptation.affinity import similarity, training_order
from patchline_ros.bundle import Bundle, Manifest
from patchline_ros.vision.metrics import METRIC_NAMES

_MISSING: Final = "(missing)"


def show_bundle(bundle: Bundle, console: Console | None = None) -> None:
    """Prints models, affinities, the order of training for each number of patches, the drift."""
    console = console or Console(highlight=False)
    manifest = bundle.manifest
    console.print(f"{manifest.name}: source {manifest.source}, seed {manifest.seed}")
    console.print(_models(bundle))
    for task, entry in manifest.models.items():
        console.print(f"{task}: {', '.join(entry.spec.classes)}", soft_wrap=True)
    console.print(_orders(manifest))
    drift, steps = manifest.drift, manifest.patch_table
    console.print(
        f"drift: MMD^2 of the {drift.task} model's tap {drift.tap} over {drift.window} frames, "
        f"above {drift.threshold:.4f}",
        soft_wrap=True,
    )
    table = ", ".join(f"{step.patches} from {step.mmd2:.4f} on" for step in steps)
    console.print(f"patches by MMD^2: {table or '1 for every drift'}", soft_wrap=True)
    console.print(f"made with {_listed(manifest.versions)}", soft_wrap=True)
    console.print(f"recipe: {_listed(manifest.config)}", soft_wrap=True)


def check_bundle(bundle: Bundle) -> str:
    """Loads every model and the drift reference; what was found, in a sentence.

    Raises:
        ValueError: something does not load, or does not fit the others.
    """
    sizes = []
    for task in bundle.manifest.models:
        model = bundle.model(task)
        count = sum(parameter.numel() for parameter in model.parameters())
        sizes.append(f"{task} {count / 1e6:.2f} M parameters")
    width = bundle.drift_reference.mean.size
    names = sum(map(len, bundle.trained_on.values()))
    return (
        f"{bundle.path} is whole: {', '.join(sizes)}; {width} drift features; trained on {names} "
        "pictures"
    )


def differences(one: Manifest, other: Manifest) -> list[str]:
    """A line for each fact that differs, with both values."""
    facts = [dict(_facts(manifest.model_dump(mode="json"), "")) for manifest in (one, other)]
    names = sorted({*facts[0], *facts[1]})
    pairs = [(name, *(found.get(name, _MISSING) for found in facts)) for name in names]
    return [f"{name}: {before} | {after}" for name, before, after in pairs if before != after]


def _facts(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Each fact with its place, such as models.signs.fingerprint; lists are one fact."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _facts(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _models(bundle: Bundle) -> Table:
    table = Table("task", "model", "input", "classes", "held-out source data", "entropy")
    for task, entry in bundle.manifest.models.items():
        height, width = entry.spec.input_size
        table.add_row(
            str(task),
            f"{entry.spec.head} on {entry.spec.backbone} x {entry.spec.width:g}",
            f"{width}x{height}",
            str(len(entry.spec.classes)),
            f"{METRIC_NAMES[task]} {100 * entry.source_metric:.1f}",
            f"{entry.source_entropy:.3f} nats",
        )
    return table


def _orders(manifest: Manifest) -> Table:
    """The order of training, and how much each model is like those before it at most."""
    tasks = sorted(manifest.models)
    table = Table("patches", "order of training, with the affinity to the most similar before")
    groups = min(map(len, manifest.affinity.values()), default=0)
    for patches in range(1, groups + 1):
        order = training_order(manifest.affinity, tasks, patches)
        words = [str(order[0])]
        for place, task in enumerate(order[1:], start=1):
            like = max(similarity(manifest.affinity, task, o, patches) for o in order[:place])
            words.append(f"{task} ({like:.3f})")
        table.add_row(str(patches), ", ".join(words))
    return table


def _listed(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())
