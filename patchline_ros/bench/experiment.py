"""An experiment, as its YAML file says: which methods are compared on which data, how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    field_serializer,
    model_validator,
)

from patchline_ros.adaptation.frame_choice import EntropyFilter
from patchline_ros.adaptation.label_free_training import UnlabelledSettings
from patchline_ros.adaptation.similarity import MEASURES
from patchline_ros.adaptation.task_adaptation import Order, Start, WarmStart, car_settings
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.config_files import StrictModel
from patchline_ros.drift.corruptions import Family
from patchline_ros.offline.predictor_data import PredictorSettings
from patchline_ros.offline.preparation import PreparationSettings
from patchline_ros.offline.recipe import DriftedShares, Recipe
from patchline_ros.patching.fine_tuned import FineTuneSettings
from patchline_ros.patching.methods import MethodSettings
from patchline_ros.patching.patched_model import PatchSettings
from patchline_ros.tasks import Task
from patchline_ros.vision.model import HeadName, ModelSpec
from patchline_ros.vision.torchvision_backbones import BackboneName

Preparation = PreparationSettings | Literal["bundle"]
"""How patches are prepared, or whose they are."""


class ExperimentError(ValueError):
    """An experiment can't be run as its file says; the message says why."""


class SourceRecipe(StrictModel):
    """How the source models are trained, where they do not come from a bundle."""

    start: Literal["imagenet", "random"] = "imagenet"
    epochs: dict[Task, Annotated[int, Field(ge=1)]] = Field(
        default_factory=lambda: {
            Task.CLASSIFICATION: 10,
            Task.DETECTION: 8,
            Task.SEGMENTATION: 8,
        }
    )
    """Passes over the source pictures, by task; a task that is not named has its own number."""
    batch_size: int = Field(default=16, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    drifted_views: DriftedShares = Field(default_factory=dict, exclude_if=lambda shares: not shares)
    """Share of the source pictures that are trained on under a made drift, by task; as in a
    recipe."""
    seed: int | None = None
    """Seed of one set of source models that all runs share; None: each seed has its own set."""


class Row(StrictModel):
    """One method with everything that its loop does; baselines and ours have the same fields."""

    title: str = ""
    """Title of the row in tables; its name when empty."""
    method: MethodSettings | None = None
    """Method that is trained; None: nothing is trained."""
    training: TrainingSettings = TrainingSettings()
    """Training settings in which the row differs from the experiment; others are ignored."""
    entropy_filter: EntropyFilter = "none"
    """Which of the frames that are not held out are trained on."""
    order: Order | tuple[Task, ...] = "affinity"
    """Order in which the tasks are trained; `random` draws by the run's seed."""
    affinity: str = "perceptual_hash"
    """The measure that order and warm start go by."""
    warm_start: WarmStart = "none"
    """The trained patches that a task's training begins from."""
    start: Start = "source"
    """What is adapted: the source model, or that with the patches prepared before the car left."""
    leave_out: tuple[Family, ...] = Field(default=(), exclude_if=lambda families: not families)
    """Families of corruptions that the preparation of what is started from does not see, beside
    those that the experiment leaves out."""
    predict_patches: bool = False
    """Whether the bundle's predictor chooses `k`, from the scene's drift; the selection's cost has
    what that takes."""
    label_free: bool = False
    """Whether no label is used: what is prepared answers, as on a car without labels."""
    answers_first: bool = Field(default=False, exclude_if=lambda first: not first)
    """Whether what is prepared answers before there are labels, as on a car: what is trained then
    runs where it is better than that at the gate."""
    unlabelled: UnlabelledSettings | None = None
    """What a row that trains learns from where it uses no label of the road; None: the labels."""
    most_labelled: int | None = Field(default=None, ge=1, exclude_if=lambda most: most is None)
    """Of so many of a task's frames to adapt on the labels are used, and of the others the norm
    statistics alone; None: the labels of all."""
    drift_returns: bool = False
    """Whether the drift comes again at the end, and the bank of earlier patch sets is asked."""
    product: bool = False
    """Whether the row is what a car does: all else that a row may say is taken from there."""
    rates_of: str = ""
    """Name of another row whose tuned learning rates this one uses; empty: its own."""

    @model_validator(mode="after")
    def _fits(self) -> Row:
        if self.affinity not in MEASURES:
            raise ValueError(
                f"there is no similarity {self.affinity!r}; known are {', '.join(MEASURES)}"
            )
        patches = self.product or isinstance(self.method, PatchSettings)
        if self.warm_start != "none" and not patches:
            raise ValueError("warm_start is for patches; leave it out for other methods")
        if self.predict_patches and not patches:
            raise ValueError("predict_patches is for patches; leave it out for other methods")
        if self.start == "prepared" and isinstance(self.method, FineTuneSettings):
            raise ValueError(
                "only patches and ladders are prepared; start other methods from source"
            )
        if self.unlabelled is not None and self.method is None:
            raise ValueError("unlabelled is for rows that train; this one has no method")
        if self.most_labelled is not None and (self.method is None or self.unlabelled is not None):
            raise ValueError("most_labelled is for rows that train on labels")
        if self.unlabelled is not None and self.warm_start != "none":
            raise ValueError("a training without labels takes no warm start; leave it out")
        if self.leave_out and not _is_prepared(self):
            raise ValueError("leave_out is for rows that start from prepared patches")
        if self.answers_first and self.method is None and not self.product:
            raise ValueError("answers_first is for rows that train; this one has no method")
        if self.drift_returns and self.method is None and not self.product:
            raise ValueError("drift_returns is for rows that train; this one has no method")
        return self


class Tuning(StrictModel):
    """The search for learning rates: the same for every row, on the frames to adapt on only."""

    rates: tuple[Annotated[float, Field(gt=0)], ...] = (1 / 3, 1.0, 3.0)
    """Factors on every peak learning rate."""
    seeds: tuple[int, ...] = Field(default=(100,), min_length=1)
    """Seeds of the search; no run may have one of them."""


class Experiment(StrictModel):
    """What is compared on which data, and how often."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    about: str = ""
    scene: str
    """Name of a scene in `patchline_ros.bench.scenes.SCENES`."""
    backbone: BackboneName = "mobilenet_v2"
    heads: dict[Task, HeadName] = Field(default_factory=dict)
    """Head by task; a task that is not named has the light head of the car."""
    width: float = Field(default=1.0, gt=0, le=2)
    tasks: tuple[Task, ...] = Field(default=tuple(Task), min_length=1)
    source: SourceRecipe = SourceRecipe()
    training: TrainingSettings = TrainingSettings()
    """Training settings of every row; a row may say otherwise."""
    rows: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_+.-]*$")], Row] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(default=(0, 1, 2, 3, 4), min_length=1)
    tuning: Tuning = Tuning()
    predictor: PredictorSettings = PredictorSettings()
    """How the product's patch table is learnt where there is no bundle; as for a bundle."""
    preparation: Preparation | None = None
    """How the patches are prepared that rows, and the product, start from, each seed's anew; or
    `bundle`: all take those of the bundle. None: there are none."""
    reference: str = ""
    """Row that the others are compared with; empty: for each task the better one of those that
    fine-tune everything."""

    @field_serializer("rows")
    def _as_said(self, rows: dict[str, Row]) -> dict[str, Any]:
        """Of a product row only what was said, since it may say no more when it is read again."""
        return {
            name: row.model_dump(mode="json", exclude_unset=row.product)
            for name, row in rows.items()
        }

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        for name, row in self.rows.items():
            if row.rates_of and row.rates_of not in self.rows:
                raise ValueError(f"row {name}: rates_of names {row.rates_of!r}, which is no row")
            if row.product and row.model_fields_set - {"product", "title", "drift_returns"}:
                raise ValueError(f"row {name}: the product is what a car does; name only its title")
            if _is_prepared(row) and self.preparation is None:
                raise ValueError(
                    f"row {name} needs prepared patches; say under preparation how they are made"
                )
            if row.leave_out and self.preparation == "bundle":
                raise ValueError(
                    f"row {name} leaves families out, which a bundle's patches have seen; say "
                    "under preparation how they are made"
                )
            if isinstance(row.order, tuple) and set(row.order) != set(self.tasks):
                raise ValueError(f"row {name}: its order does not name each task once")
        if self.reference and self.reference not in self.rows:
            raise ValueError(f"reference names {self.reference!r}, which is no row")
        both = set(self.seeds) & set(self.tuning.seeds)
        if both:
            raise ValueError(f"seed {min(both)} is tuned on and run; tuning needs other seeds")
        return self

    def row(self, name: str) -> Row:
        """A row by name.

        Raises:
            ExperimentError: there is none; the message lists those that are.
        """
        if name not in self.rows:
            raise ExperimentError(
                f"experiment {self.name} has no row {name!r}; it has {', '.join(self.rows)}"
            )
        return self.rows[name]

    def training_of(self, name: str) -> TrainingSettings:
        """The experiment's training settings with what a row says otherwise."""
        own = self.row(name).training
        changes = {field: getattr(own, field) for field in own.model_fields_set}
        return self.training.model_copy(update=changes)

    def preparation_of(self, row: Row) -> Preparation | None:
        """How the patches are prepared that a row starts from; None: it starts from none."""
        if not (row.product or _is_prepared(row)):
            return None
        if not isinstance(self.preparation, PreparationSettings):
            return self.preparation
        families = dict.fromkeys((*self.preparation.leave_out, *row.leave_out))
        return self.preparation.model_copy(update={"leave_out": tuple(families)})

    def preparations(self, rows: Sequence[str]) -> list[PreparationSettings]:
        """All that is prepared for these rows, each once."""
        found = [self.preparation_of(self.row(name)) for name in rows]
        return list(dict.fromkeys(s for s in found if isinstance(s, PreparationSettings)))

    def source_seed(self, seed: int) -> int:
        """Seed of the source models that a run with this seed starts from."""
        return seed if self.source.seed is None else self.source.seed

    def recipe(self, seed: int) -> Recipe:
        """How the source models that a run with this seed starts from are built and trained."""
        return Recipe(
            backbone=self.backbone,
            heads=self.heads,
            width=self.width,
            epochs=self.source.epochs,
            batch_size=self.source.batch_size,
            learning_rate=self.source.learning_rate,
            drifted_views=self.source.drifted_views,
            seed=self.source_seed(seed),
        )

    def spec(self, task: Task, classes: tuple[str, ...], input_size: tuple[int, int]) -> ModelSpec:
        """The model of a task.

        Raises:
            ExperimentError: the head does not go with the task, or the size is too small.
        """
        try:
            return self.recipe(0).spec(task, classes, input_size)
        except ValueError as error:
            raise ExperimentError(f"experiment {self.name}: {error}") from error


class RunConfig(StrictModel):
    """All that decides what a run gives; it is kept in the run's result."""

    experiment: str
    scene: str
    backbone: BackboneName
    heads: dict[Task, HeadName]
    width: float
    tasks: tuple[Task, ...]
    source: SourceRecipe
    origin: str
    """What the source models started from: weights, or a bundle."""
    row: str
    settings: Row
    """The row, with all of its training settings filled in."""
    seed: int
    rates: dict[Task, float]
    """Tuned factor on the learning rates; of the product that of its task."""
    predictor: PredictorSettings | None = None
    """How the product's patch table is learnt where there is no bundle; None in other rows."""
    preparation: Preparation | None = None
    """How the patches are prepared that the row starts from, or `bundle`; None in other rows."""


def run_config(
    experiment: Experiment, row: str, seed: int, rates: Mapping[Task, float], origin: str
) -> RunConfig:
    """The configuration of one run: a row of the experiment with one seed."""
    said = experiment.row(row)
    settings = said.model_copy(
        update={"training": experiment.training_of(row), "title": "", "rates_of": ""}
    )
    predictor = None
    if said.product:
        settings, rates = _of_car(said)
        predictor = experiment.predictor
    return RunConfig(
        experiment=experiment.name,
        scene=experiment.scene,
        backbone=experiment.backbone,
        heads=experiment.heads,
        width=experiment.width,
        tasks=experiment.tasks,
        source=experiment.source,
        origin=origin,
        row=row,
        settings=settings,
        seed=seed,
        rates={task: rates.get(task, 1.0) for task in experiment.tasks},
        predictor=predictor,
        preparation=experiment.preparation_of(settings),
    )


def _is_prepared(row: Row) -> bool:
    return row.start == "prepared" or row.label_free or row.answers_first


def _of_car(row: Row) -> tuple[Row, Mapping[Task, float]]:
    """A product row that says what a car does today, so that a result of yesterday's is known.

    Not the method, whose number of patches the drift decides: the result says it.
    """
    car = car_settings(patches=1, seed=0)
    names = ("training", "entropy_filter", "order", "warm_start", "start")
    said = {name: getattr(car, name) for name in names}
    said = {**said, "answers_first": True, "title": ""}
    return row.model_copy(update=said), car.rate_factors
