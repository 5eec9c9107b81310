"""How an adapted model is trained, and what a training cost and how it went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from patchline_ros.config_files import StrictModel
from patchline_ros.tasks import Task

CachePolicy = Literal["float32", "float16", "int8", "none"]
Stage = Literal["norm", "frozen", "training", "validation", "gate"]


class TrainingSettings(StrictModel):
    """How an adapted model is trained; the defaults are the product's."""

    epochs: int = Field(default=7, ge=1)
    batch_size: int = Field(default=4, ge=2)
    reestimate_norm: bool = True
    """Whether to re-estimate the frozen norm statistics on the frames first, without labels. The
    paper does not."""
    norm_prior: int = Field(default=16, ge=0)
    """Number of frames that the source's statistics count as then; 0: they do not count."""
    mirror: bool = True
    """Whether to train on the mirrored frames, too (never where a picture has one label)."""
    augmented_views: int = Field(default=0, ge=0)
    """Number of further views of each frame to train on: zoomed, mirrored at random and differently
    exposed. A picture that has one label is moved instead of zoomed and mirrored. The views are
    drawn once, so that their frozen part can be kept."""
    crops: int = Field(default=0, ge=0)
    """Number of random crops, half as high and half as wide, that an epoch sees of each view (never
    where it has one label); 0: the whole view."""
    patience: int | None = Field(default=None, ge=1)
    """Epochs without a better score on the held-out frames after which to stop; None: never."""
    rate: float = Field(default=1.0, gt=0)
    """Factor on every peak learning rate."""
    cache: CachePolicy = "float32"
    """How the frozen part is kept: as it is, rounded to half or a quarter of the memory, or not at
    all, so that each epoch computes it anew."""
    cache_memory_mib: float | None = Field(default=None, ge=0)
    """A cache that is larger than this is kept in a temporary file; None: never."""

    def crops_of(self, task: Task) -> int:
        """Crops of a view that an epoch sees; 0: the whole view."""
        return 0 if task.traits.one_label else self.crops


@dataclass
class TrainingRecord:
    """What a training cost and how it went."""

    losses: list[float] = field(default_factory=list)
    """Mean training loss of each epoch."""
    metrics: list[float] = field(default_factory=list)
    """The task's metric on the held-out frames: before any training, then after each epoch."""
    best_epoch: int = 0
    """Epoch whose state was kept; 0 is the state before any training."""
    seconds: float = 0.0
    stage_gflops: dict[Stage, float] = field(default_factory=dict)
    """Re-estimated norms; the frozen part, once or each time; steps; scores of held-out frames."""
    samples: int = 0

    @property
    def gflops(self) -> float:
        """All that was computed."""
        return sum(self.stage_gflops.values())

    def spend(self, stage: Stage, gflops: float) -> None:
        """Adds to the cost of a stage."""
        self.stage_gflops[stage] = self.stage_gflops.get(stage, 0.0) + gflops
