"""How many patches drifts of the source data need."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PredictorSettings(BaseModel):
    """Which drifts are labelled, and how surely."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    margin: float = Field(default=0.01, ge=0)
