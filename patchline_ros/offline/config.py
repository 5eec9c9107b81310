"""The configuration of an offline run: one YAML file that says what a bundle is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationInfo, field_validator, model_validator

from patchline_ros.adaptation.readers import LARGEST_SIDE, PAPER_SIZE
from patchline_ros.config_files import ConfigFileError, StrictModel, read_config_file
from patchline_ros.host import all_cores
from patchline_ros.manifest import PatchCount
from patchline_ros.offline.predictor_data import PredictorSettings
from patchline_ros.offline.preparation import PreparationSettings
from patchline_ros.offline.recipe import Recipe
from patchline_ros.offline.source_config import SourceConfig
from patchline_ros.offline.sources import INPUT_SIZES
from patchline_ros.package_share import config_folder
from patchline_ros.patching.ladder import LadderSettings
from patchline_ros.tasks import Task
from patchline_ros.vision.model import SMALLEST_SIDE

CONFIG_FOLDER: Final = "offline"
"""The folder below `config` that holds the configurations of the package."""

RANDOM: Final = "none"
"""Weights that are drawn by chance."""
_Side = Annotated[int, Field(ge=SMALLEST_SIDE)]
_ReadSide = Annotated[int, Field(ge=SMALLEST_SIDE, le=LARGEST_SIDE)]


class Vgg16Settings(StrictModel):
    """The VGG16 by which the paper's patch predictor reads pictures."""

    weights: str = Field(min_length=1)
    """A file of torchvision's VGG16, or none: random ones. Nothing is fetched."""
    size: tuple[_ReadSide, _ReadSide] = PAPER_SIZE
    """Height and width that it reads pictures at."""


class OfflineConfig(StrictModel):
    """What a bundle is made from, and how; it is written into the bundle."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Name of the bundle, and of its folder below `bundles` where --out names no other."""
    sources: dict[Task, SourceConfig] = Field(min_length=1)
    """Labelled pictures by task; the bundle gets a model for each task that is named."""
    input_sizes: dict[Task, tuple[_Side, _Side]] = Field(
        default_factory=dict, validate_default=True
    )
    """Height and width of the models' input in pixels, by task; by default those of the car."""
    weights: str = "auto"
    """Weights that the backbones start from: a file; imagenet (torchvision's); none; or auto, which
    takes a file in DATA/weights, else torchvision's, else none."""
    recipe: Recipe = Field(default_factory=Recipe)
    predictor: PredictorSettings = Field(default_factory=PredictorSettings)
    patch_count: PatchCount = "table"
    """What says on the car how many patches a drift gets: the table from MMD^2, which every bundle
    has, or a predictor that was learnt from the same drifts and looks at the frames."""
    vgg16: Vgg16Settings | None = None
    """Only and always with patch_count: vgg16."""
    preparation: PreparationSettings | None = None
    """How patches are prepared with which a car answers a drift without labels; None: it waits for
    labels."""
    onnx: bool = True
    """Whether `patchline offline` exports the models at its end, as `patchline export` does, where
    the packages for that are installed."""
    workers: int = Field(default_factory=all_cores, ge=1)
    """Number of threads that read pictures, and of processes that make predictor data. It changes
    no result."""

    @field_validator("input_sizes")
    @classmethod
    def _of_each_task(
        cls, given: dict[Task, tuple[int, int]], before: ValidationInfo
    ) -> dict[Task, tuple[int, int]]:
        tasks = before.data.get("sources", given)
        _are_there("input_sizes", list(given), list(tasks))
        return {task: given.get(task, INPUT_SIZES[task]) for task in tasks}

    @field_validator("preparation")
    @classmethod
    def _prepares_patches(cls, given: PreparationSettings | None) -> PreparationSettings | None:
        if given is not None and isinstance(given.method, LadderSettings):
            raise ValueError("method is lst, which no car runs; leave it out, or name patchline")
        return given

    @model_validator(mode="after")
    def _vgg16_is_named(self) -> OfflineConfig:
        if self.patch_count == "vgg16" and self.vgg16 is None:
            raise ValueError(
                "patch_count: vgg16 reads pictures by weights that you name; add "
                "vgg16: {weights: FILE}, or none for random ones"
            )
        if self.patch_count != "vgg16" and self.vgg16 is not None:
            raise ValueError(
                f"vgg16 is for patch_count: vgg16, which is {self.patch_count} here; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _models_can_be_built(self) -> OfflineConfig:
        _are_there("recipe.heads", list(self.recipe.heads), list(self.sources))
        for task, size in self.input_sizes.items():
            self.recipe.spec(task, ("one", "other"), size)
        return self


def _are_there(key: str, named: list[Task], tasks: list[Task]) -> None:
    for task in named:
        if task not in tasks:
            raise ValueError(f"{key} names {task}, but sources has only {', '.join(tasks)}")


def known_configs() -> list[str]:
    """Names of the configurations that come with the package.

    Raises:
        MissingFolderError: their folder is not there.
    """
    return sorted(path.stem for path in config_folder(CONFIG_FOLDER).glob("*.yaml"))


def find_config(name: str) -> OfflineConfig:
    """A configuration that comes with the package, by name, or any by its file, FILE.yaml.

    Raises:
        ConfigFileError: there is none, or its file is wrong.
    """
    if is_file(name):
        return read_config_file(Path(name), OfflineConfig)
    if name not in known_configs():
        raise ConfigFileError(
            f"there is no configuration {name!r}; known are {', '.join(known_configs())}; a file "
            "of your own must end with .yaml"
        )
    return read_config_file(config_folder(CONFIG_FOLDER) / f"{name}.yaml", OfflineConfig)


def is_file(name: str) -> bool:
    """Whether a configuration is named by its file."""
    return name.endswith((".yaml", ".yml"))
