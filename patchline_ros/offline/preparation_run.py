"""The command `patchline bundle prepare`: configuration, data, the progress, a summary."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from patchline_ros.bundle import Bundle
from patchline_ros.jobs.executors import executor_at
from patchline_ros.offline.bundle_preparation import prepare_bundle
from patchline_ros.offline.offline_run import OfflineOptions, data_folder, resolve_config
from patchline_ros.offline.preparation import PreparationSettings
from patchline_ros.offline.sources import load_source
from patchline_ros.tasks import Task


def run_preparation(path: Path, options: OfflineOptions, console: Console) -> Bundle:
    """Adds prepared patches to the bundle at `path` and prints what they are worth.

    Args:
        path: folder of the bundle.
        options: the configuration that it was made with, the data, and who does the work.
        console: where the progress is shown.

    Raises:
        ValueError: bundle, configuration or data are missing, broken, or do not belong together; or
            a task that can't be prepared.
    """
    bundle = Bundle.load(path)
    made_from = resolve_config(options)
    executor = executor_at(options.ray_address, made_from.workers)
    with console.status("reading the source data"):
        source = load_source(
            made_from.sources, data_folder(options), made_from.input_sizes, made_from.workers
        )
    # Of the answers that the card shows; each job has one.
    torch.set_num_threads(made_from.recipe.threads)
    settings = made_from.preparation or PreparationSettings()
    with Progress(console=console) as progress, closing(executor):
        bars: dict[Task, TaskID] = {}

        def show(task: Task, share: float) -> None:
            if task not in bars:
                bars[task] = progress.add_task(f"prepare {task}", total=1.0)
            progress.update(bars[task], completed=share)

        prepared = prepare_bundle(bundle, source, settings, executor, show)
    console.print(_summary(prepared))
    console.print(f"prepared patches written to {path}")
    return prepared


def _summary(bundle: Bundle) -> Table:
    table = Table("task", "metric on drifts not trained on", "source model", "prepared")
    for task, entry in bundle.manifest.prepared.items():
        table.add_row(
            str(task),
            task.traits.metric,
            f"{100 * entry.source_metric:.1f}",
            f"{100 * entry.prepared_metric:.1f}",
        )
    return table
