"""Prepared patches as files: trained once, and gone on with after a kill.

    PLACE.safetensors    patches and head, as a patch set
    PLACE.json           what their training cost and how it went, written after it
    PLACE.gate.json      the points that the label-free gate is fitted to
    PLACE.checkpoint     the state of a training that is under way

PLACE is a path without a suffix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from patchline_ros.adaptation.training_settings import TrainingRecord
from patchline_ros.files import write_file
from patchline_ros.host import library_versions
from patchline_ros.manifest import GatePoint
from patchline_ros.offline.gate_points import gate_points
from patchline_ros.offline.preparation import PreparationSettings, prepare
from patchline_ros.patching.patch_set import PatchSetMetadata, apply, to_bytes
from patchline_ros.tasks import Sample
from patchline_ros.vision.model import TaskModel, fingerprint

_RECORD = TypeAdapter(TrainingRecord)
_POINTS = TypeAdapter(list[GatePoint])


class PreparedPatches(NamedTuple):
    """What one training gave."""

    data: bytes
    """The patch set, with the source's own norm statistics."""
    record: TrainingRecord
    """Its metrics are those of held-out frames of other drifts, first those of the source model."""


def patches_at(place: Path) -> Path:
    """The file of the patch set."""
    return place.with_name(f"{place.name}.safetensors")


def _record_at(place: Path) -> Path:
    return place.with_name(f"{place.name}.json")


def _points_at(place: Path) -> Path:
    return place.with_name(f"{place.name}.gate.json")


def is_prepared(place: Path) -> bool:
    """Whether patches and gate points are there, and nothing is left to do."""
    return _record_at(place).is_file() and _points_at(place).is_file()


def read_patches(place: Path) -> PreparedPatches:
    """The patches of a training that is over.

    Raises:
        ValueError: a file that is damaged.
        OSError: they are not there.
    """
    path = _record_at(place)
    try:
        record = _RECORD.validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} is damaged; delete it to make it again") from error
    return PreparedPatches(patches_at(place).read_bytes(), record)


def read_gate_points(place: Path) -> list[GatePoint]:
    """What the gate is fitted to.

    Raises:
        ValueError: a file that is damaged.
        OSError: it is not there.
    """
    path = _points_at(place)
    try:
        return _POINTS.validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} is damaged; delete it to make it again") from error


def prepare_once(
    place: Path,
    source: TaskModel,
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    settings: PreparationSettings,
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
) -> PreparedPatches:
    """Trains the patches, or reads them where they are there already.

    Args:
        place: of the files, without their suffixes.
        source, train, held_out, settings, seed, progress: as for `prepare`.

    Raises:
        TrainingError: a loss that is not finite.
        ValueError: a file that is damaged, or a checkpoint of another training.
    """
    if _record_at(place).is_file():
        return read_patches(place)
    checkpoint = place.with_name(f"{place.name}.checkpoint")
    found = prepare(source, train, held_out, settings, seed, checkpoint, progress)
    metadata = PatchSetMetadata(
        task=source.spec.task,
        version=1,
        base_fingerprint=fingerprint(source),
        method=settings.method_of(source),
        norm="source",
        seed=seed,
        versions=library_versions(),
    )
    data = to_bytes(found.model, metadata)
    write_file(patches_at(place), data)
    write_file(_record_at(place), _RECORD.dump_json(found.record, indent=1))
    checkpoint.unlink(missing_ok=True)
    return PreparedPatches(data, found.record)


def gate_points_once(
    place: Path,
    source: TaskModel,
    held_out: Sequence[Sample],
    settings: PreparationSettings,
    source_entropy: float,
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
) -> list[GatePoint]:
    """Measures what the gate is fitted to, or reads it where it is there already.

    Args:
        place: of the files; the patches have to be there.
        source, held_out, source_entropy, seed, progress: as for `gate_points`.
        settings: how many frames.

    Raises:
        ValueError: a file that is damaged.
        OSError: the patches are not there.
    """
    if _points_at(place).is_file():
        return read_gate_points(place)
    prepared = apply(source, fingerprint(source), patches_at(place).read_bytes())
    points = gate_points(source, prepared, held_out, settings, source_entropy, seed, progress)
    write_file(_points_at(place), _POINTS.dump_json(points, indent=1))
    return points
