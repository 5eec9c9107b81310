"""The methods by name: PatchLine and what it is compared with."""

from __future__ import annotations

from typing import Annotated, Final, get_args

from pydantic import Field

from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.fine_tuned import FineTunedModel, FineTuneSettings
from patchline_ros.patching.ladder import LadderModel, LadderSettings
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.vision.model import TaskModel

MethodSettings = Annotated[
    PatchSettings | FineTuneSettings | LadderSettings, Field(discriminator="method")
]
NAMES: Final[tuple[str, ...]] = tuple(
    name
    for settings in get_args(get_args(MethodSettings)[0])
    for name in get_args(settings.model_fields["method"].annotation)
)
"""What settings may say under `method`."""


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
