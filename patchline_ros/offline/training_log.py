"""Scalars of the trainings for TensorBoard: a run for each task, below one folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from patchline_ros.tasks import Task
from patchline_ros.vision.training import SourceStep

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TrainingLog:
    """What `patchline offline --tensorboard FOLDER` writes.

    A training that goes on after a kill replaces the scalars of the steps that it does again.
    """

    def __init__(self, folder: Path, batch_size: int) -> None:
        """Nothing is written yet.

        Args:
            folder: for TensorBoard's `--logdir`.
            batch_size: of the trainings, over all processes.

        Raises:
            ValueError: tensorboard is not installed.
        """
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ModuleNotFoundError as error:
            raise ValueError(
                "a training log needs tensorboard: pip install 'patchline_ros[offline]', or leave "
                "--tensorboard out"
            ) from error
        self._folder, self._batch_size = folder, batch_size
        self._writers: dict[Task, SummaryWriter] = {}
        self._steps: dict[Task, int] = {}
        self._time = 0.0

    def step(self, task: Task, step: SourceStep) -> None:
        """Loss, learning rate, and pictures a second since the step before."""
        before, self._time = self._time, time.monotonic()
        writer = self._writer(task, step.number)
        writer.add_scalar("loss", float(step.loss), step.number)
        writer.add_scalar("learning_rate", step.learning_rate, step.number)
        if task in self._steps:
            rate = self._batch_size / (self._time - before)
            writer.add_scalar("samples_per_second", rate, step.number)
        self._steps[task] = step.number

    def held_out(self, task: Task, metric: float) -> None:
        """The finished model's metric on held-out source samples."""
        self._writer(task).add_scalar("held_out_metric", metric, self._steps.get(task, 0))

    def close(self) -> None:
        """Brings all of it to the disk."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, task: Task, step: int | None = None) -> SummaryWriter:
        """The task's file; of earlier ones, what lies at `step` or behind it is not shown."""
        from torch.utils.tensorboard import SummaryWriter

        if task not in self._writers:
            self._writers[task] = SummaryWriter(str(self._folder / task), purge_step=step)
        return self._writers[task]
