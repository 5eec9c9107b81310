"""The command `patchline bundle hold-out`: source frames with their labels, for a car's gate."""

from __future__ import annotations

from pathlib import Path

from patchline_ros.bundle import CARD, Bundle
from patchline_ros.offline.bundle_making import frames_to_keep
from patchline_ros.offline.bundle_preparation import check_source
from patchline_ros.offline.bundle_writing import add_source_frames
from patchline_ros.offline.card import write_card
from patchline_ros.offline.offline_run import OfflineOptions, data_folder, resolve_config
from patchline_ros.offline.sources import load_source
from patchline_ros.tasks import Sample, Task


def keep_frames(path: Path, options: OfflineOptions) -> dict[Task, list[Sample]]:
    """Adds them to a bundle that is whole already; what it kept is replaced.

    Args:
        path: folder of the bundle.
        options: the configuration that it was made with, and the data.

    Raises:
        ValueError: bundle, configuration or data are missing, broken, or do not belong together.
        OSError: the disk refuses it.
    """
    bundle, made_from = Bundle.load(path), resolve_config(options)
    source = load_source(
        made_from.sources, data_folder(options), made_from.input_sizes, made_from.workers
    )
    for task, entry in bundle.manifest.models.items():
        check_source(bundle, task, entry, source)
    kept = {task: frames_to_keep(task, source.tasks[task]) for task in bundle.manifest.models}
    write_card(add_source_frames(bundle, kept), path / CARD)
    return kept
