"""Reads what a teacher's bundle has for a car: models that know the car's classes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from patchline_ros.bundle import MANIFEST
from patchline_ros.graph.description import Teacher
from patchline_ros.manifest import Manifest, read_manifest

_RATES: Final = (0.001, 1000.0)
"""What the parameter `max_rate` of the labeller takes."""


def read_teacher(bundle: str, rate: float) -> Teacher:
    """The teacher in the folder `bundle`, to look at `rate` pictures a second.

    Raises:
        ValueError: there is no such bundle, or the rate is none.
    """
    least, most = _RATES
    if not least <= rate <= most:
        raise ValueError(f"teacher_rate:={rate} is none of {least} to {most} pictures a second")
    try:
        manifest = _manifest(bundle)
    except OSError as error:
        raise ValueError(
            f"teacher:={bundle} is no bundle (it has no {MANIFEST}); give the folder that "
            "`patchline offline` made"
        ) from error
    classes = {task: entry.spec.classes for task, entry in manifest.models.items()}
    return Teacher(bundle, classes, bool(manifest.prepared), rate)


def check_classes(teacher: Teacher, car: str) -> None:
    """Class ids are places in a list, so the teacher's have to be those of the car's bundle `car`.

    Raises:
        ValueError: another list, or a task that the car has not; the sentence names both.
        OSError: the car's manifest can't be read.
    """
    models = _manifest(car).models
    for task, classes in teacher.classes.items():
        known = models[task].spec.classes if task in models else ()
        if classes != known:
            raise ValueError(
                f"teacher:={teacher.bundle} has other classes for {task} "
                f"({', '.join(classes)}) than the car's bundle {car} "
                f"({', '.join(known) or 'none'}); a teacher needs the same ones in the same order"
            )


def _manifest(bundle: str) -> Manifest:
    path = Path(bundle).expanduser() / MANIFEST
    return read_manifest(path.read_bytes(), path)
