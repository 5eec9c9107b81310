"""How the models of a bundle are trained and its drift is measured."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from patchline_ros.vision.processes import Precision


class Recipe(BaseModel):
    """How a bundle is made; it is written into the bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: float = Field(default=1.0, gt=0)
    road_epochs: int = Field(default=10, ge=1)
    """For objects and lanes."""
    sign_epochs: int = Field(default=20, ge=1)
    """For signs, whose pictures are small."""
    batch_size: int = Field(default=16, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of a moving average of the weights, which a bundle takes in their place; 0: none."""
    precision: Precision = "auto"
    drift_tap: int = Field(default=3, ge=0)
    drift_window: int = Field(default=16, ge=2)
    drift_alpha: float = Field(default=0.01, gt=0, lt=1)
    drift_permutations: int = Field(default=500, ge=10)
    threads: int = Field(default=2, ge=1)
    """Of PyTorch; another number rounds differently."""
    seed: int = 0
