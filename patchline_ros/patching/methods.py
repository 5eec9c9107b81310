"""The methods by name: PatchLine and what it is compared with."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.fine_tuned import FineTunedModel, FineTuneSettings
from patchline_ros.patching.ladder import LadderModel, LadderSettings
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.vision.model import TaskModel

MethodSettings = Annotated[
    PatchSettings | LadderSettings | FineTuneSettings, Field(discriminator="method")
]


def adapted(source: TaskModel, settings: MethodSettings) -> AdaptedModel:
    """A fresh adapted model; `source` is left untouched.

    Raises:
        ValueError: the settings do not fit the model.
    """
    if isinstance(settings, PatchSettings):
        return PatchedModel(source, settings)
    if isinstance(settings, LadderSettings):
        return LadderModel(source, settings)
    return FineTunedModel(source, settings)
