"""How the models of a bundle are built and trained, and how its drift is measured."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError

from patchline_ros.config_files import StrictModel, first_mistake
from patchline_ros.host import all_cores
from patchline_ros.tasks import Task
from patchline_ros.vision.fabric import Precision
from patchline_ros.vision.model import HeadName, ModelSpec
from patchline_ros.vision.torchvision_backbones import BackboneName

DriftedShares = dict[Task, Annotated[float, Field(gt=0, le=1)]]


class Recipe(StrictModel):
    """How a bundle is made; it is written into the bundle."""

    model_config = ConfigDict(allow_inf_nan=False)

    backbone: BackboneName = "mobilenet_v2"
    heads: dict[Task, HeadName] = Field(default_factory=dict)
    """Head by task; a task that is not named has the light head of the car."""
    width: float = Field(default=1.0, gt=0, le=2)
    epochs: dict[Task, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Passes over the source pictures, by task; a task that is not named has its own number."""
    batch_size: int = Field(default=16, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of a moving average of the weights, which a bundle takes in their place; 0: none."""
    drifted_views: DriftedShares = Field(default_factory=dict, exclude_if=lambda shares: not shares)
    """Share of the source pictures that are trained on under a made drift, by task: a source model
    that knows weather; a task that is not named has the paper's, which knows none."""
    precision: Precision = "auto"
    drift_tap: int = Field(default=3, ge=0)
    drift_window: int = Field(default=8, ge=2)
    drift_false_alarm: int = Field(default=1000, ge=8)
    """Source frames on which the drift monitor is expected to raise one false alarm."""
    threads: int = Field(default_factory=all_cores, ge=1)
    """Number of PyTorch's threads, all cores by default; the processes of torchrun on a machine
    share them. Another number rounds differently."""
    seed: int = Field(default=0, ge=0)
    """Seed of everything that is drawn at random."""

    def epochs_of(self, task: Task) -> int:
        """Passes over the source pictures of a task."""
        return self.epochs.get(task, task.traits.source_epochs)

    def spec(self, task: Task, classes: tuple[str, ...], size: tuple[int, int]) -> ModelSpec:
        """The model of a task, for pictures of this (height, width).

        Raises:
            ValueError: the head is not one of the task, the pictures are too small, or the classes
                too few.
        """
        head: dict[str, Any] = {"head": self.heads[task]} if task in self.heads else {}
        try:
            return ModelSpec(
                task=task,
                classes=classes,
                input_size=size,
                backbone=self.backbone,
                width=self.width,
                **head,
            )
        except ValidationError as error:
            reason = first_mistake(error, ModelSpec, whole="")
            raise ValueError(f"the model for {task} can't be built: {reason}") from error
