"""Where each task's labelled pictures come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Set(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SimConfig(_Set):
    """The simulated road."""

    set: Literal["sim"]


class CamVidConfig(_Set):
    """CamVid."""

    set: Literal["camvid"]


class GtsrbConfig(_Set):
    """GTSRB."""

    set: Literal["gtsrb"]


SourceConfig = Annotated[SimConfig | CamVidConfig | GtsrbConfig, Field(discriminator="set")]
