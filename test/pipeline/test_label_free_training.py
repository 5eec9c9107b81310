"""Trainings that use no label of the road: TENT, EATA, CoTTA, own labels."""

from __future__ import annotations

import copy

import cv2
import numpy as np
import pytest
import tiny_bundle
import torch
from scipy.special import softmax

from patchline_ros.adaptation.entropy_objectives import EataSettings, SureEntropy, TentSettings
from patchline_ros.adaptation.label_free_training import (
    SelfLabelSettings,
    UnlabelledSettings,
    train_without_labels,
)
from patchline_ros.adaptation.mean_teacher import CottaSettings, MeanTeacher
from patchline_ros.adaptation.pseudo_labels import pseudo_labelled
from patchline_ros.adaptation.restyling import restyled
from patchline_ros.adaptation.source_model import SourceModel
from patchline_ros.adaptation.task_adaptation import Adaptation, AdaptationSettings
from patchline_ros.adaptation.trainer import TrainingError
from patchline_ros.adaptation.training_settings import TrainingRecord, TrainingSettings
from patchline_ros.manifest import Affinity
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.fine_tuned import FineTunedModel, FineTuneSettings
from patchline_ros.tasks import IGNORE, Boxes, Image, Label, Sample, Task
from patchline_ros.vision.evaluation import answers
from patchline_ros.vision.inputs import image_batches
from patchline_ros.vision.model import TaskModel

TENT, COTTA = TentSettings(learner="tent"), CottaSettings(learner="cotta")
SETTINGS = TrainingSettings(epochs=3, batch_size=4, rate=30)
LABELS: dict[Task, Label] = {
    Task.CLASSIFICATION: 1,
    Task.DETECTION: Boxes.truth([[4, 4, 20, 20]], [0]),
    Task.SEGMENTATION: np.ones((32, 32), dtype=np.uint8),
}


def fresh(task: Task, method: str = "ft_affine") -> FineTunedModel:
    torch.manual_seed(0)
    source = TaskModel(tiny_bundle.spec_of(task)).eval()
    return FineTunedModel(source, FineTuneSettings.model_validate({"method": method}))


def pictures(count: int = 8, seed: int = 0) -> list[Image]:
    rng = np.random.default_rng(seed)
    return list(rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))


def of_source(task: Task) -> list[Sample]:
    """Labelled pictures of the source, signs of two classes."""
    return [
        Sample(image, row % 2 if task.traits.one_label else LABELS[task])
        for row, image in enumerate(pictures(seed=1))
    ]


def trained(
    task: Task, learning: UnlabelledSettings, method: str = "ft_affine"
) -> tuple[AdaptedModel, TrainingRecord]:
    model = fresh(task, method)
    record = train_without_labels(model, pictures(), of_source(task), learning, SETTINGS, seed=0)
    return model, record


def entropy(model: AdaptedModel, images: list[Image]) -> float:
    return float(np.mean(answers(model, images).entropies))


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize(
    "learning", [TENT, EataSettings(learner="eata", source_pictures=4)], ids=["tent", "eata"]
)
def test_entropy_falls_and_only_norms_change(task: Task, learning: UnlabelledSettings) -> None:
    model, record = trained(task, learning)
    start = fresh(task)
    for name, value in model.named_parameters():
        changed = not torch.equal(value, dict(start.named_parameters())[name])
        assert not changed or value.requires_grad, name
    assert len(record.losses) == 3 and record.best_epoch == 3
    assert record.stage_gflops["training"] > 0
    if learning is TENT:
        assert record.losses[-1] < record.losses[0]


def test_eatas_spring_holds_the_weights() -> None:
    def moved(near: float) -> float:
        model, _ = trained(Task.SEGMENTATION, EataSettings(learner="eata", sure=1.0, near=near))
        start = dict(fresh(Task.SEGMENTATION).named_parameters())
        return sum(float((p - start[n]).detach().abs().sum()) for n, p in model.named_parameters())

    assert moved(near=1e9) < 0.5 * moved(near=0.0)


def test_eata_leaves_out_what_is_unsure_and_what_it_has_seen() -> None:
    model = fresh(Task.CLASSIFICATION)
    [batch] = image_batches(model.spec, pictures())
    frozen = model.frozen_part(batch)
    # An untrained classifier is unsure of everything.
    unsure = SureEntropy(model, EataSettings(learner="eata", sure=0.01, near=0.0), pictures(2))
    assert float(unsure.loss(model, frozen, None)) == 0.0
    one = [part[:1].repeat(3, 1, 1, 1) for part in frozen]
    alike = SureEntropy(model, EataSettings(learner="eata", sure=1.0, near=0.0), pictures(2))
    alone = SureEntropy(model, EataSettings(learner="eata", sure=1.0, near=0.0), pictures(2))
    # Of three equal pictures one counts.
    expected = float(alone.loss(model, [one[0][:1]], None))
    assert expected > 0 and float(alike.loss(model, one, None)) == pytest.approx(expected)


def test_cottas_teacher_follows_and_weights_return() -> None:
    model = fresh(Task.SEGMENTATION, "ft_full")
    before = copy.deepcopy(model.state_dict())
    objective = MeanTeacher(model, CottaSettings(learner="cotta", momentum=0.75), seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    objective.stepped(model)
    names = dict(model.named_parameters())
    back = torch.cat([(p == before[name]).flatten() for name, p in names.items()])
    assert 0.005 < float(back.float().mean()) < 0.02
    objective.ended(model)
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter, before[name] + 0.25), name


@pytest.mark.parametrize("task", list(Task))
def test_cotta_and_own_labels_train_every_task(task: Task) -> None:
    own = SelfLabelSettings(learner="self_labels", share=1.0, least_score=0.0, source_pictures=4)
    for learning in (COTTA, own):
        model, record = trained(task, learning, "ft_full")
        assert np.isfinite(record.losses).all()
        assert entropy(model, pictures()) != entropy(fresh(task, "ft_full"), pictures())


@pytest.mark.parametrize("task", list(Task))
def test_labels_of_the_road_are_not_read(task: Task) -> None:
    torch.manual_seed(0)
    source = SourceModel(TaskModel(tiny_bundle.spec_of(task)).eval(), 0.5)
    other: dict[Task, Label] = {
        Task.CLASSIFICATION: 0,
        Task.DETECTION: Boxes.truth([], []),
        Task.SEGMENTATION: np.full((32, 32), IGNORE, dtype=np.uint8),
    }

    def adapted(labels: dict[Task, Label]) -> dict[str, torch.Tensor]:
        settings = AdaptationSettings(
            method=FineTuneSettings(method="ft_affine"),
            training=SETTINGS,
            rate_factors={task: 1.0},
            seed=0,
            hold_out_every=None,
            unlabelled=TENT,
        )
        road = [Sample(image, labels[task]) for image in pictures()]
        one = Adaptation({task: source}, {task: road}, Affinity(matrix={}), settings).adapt(task)
        return one.model.state_dict()

    first, second = adapted(LABELS), adapted(other)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_surest_of_each_class_are_labels() -> None:
    model = fresh(Task.SEGMENTATION).eval()
    images = pictures(4)
    found = pseudo_labelled(model, images, share=0.25, least_score=0.0)
    with torch.no_grad():
        [batch] = image_batches(model.spec, images)
        straight = softmax(model(batch).numpy(), axis=1)
        mirrored = softmax(model(batch.flip(-1)).numpy(), axis=1)[..., ::-1]
    probabilities = (straight + mirrored) / 2
    labels, confidence = probabilities.argmax(1), probabilities.max(1)
    maps = np.stack([np.asarray(sample.label) for sample in found])
    sure = maps != IGNORE
    assert (maps[sure] == labels[sure]).all()
    for label in np.unique(labels):
        of_class = labels == label
        assert (sure & of_class).sum() == pytest.approx(0.25 * of_class.sum(), abs=2)
        assert confidence[sure & of_class].min() >= confidence[~sure & of_class].max() - 1e-6


def test_restyled_pictures_have_the_roads_colours_and_their_own_labels() -> None:
    rng = np.random.default_rng(0)
    source = [Sample(rng.integers(60, 200, (32, 32, 3), dtype=np.uint8), i) for i in range(5)]
    road = [rng.integers(100, 130, (32, 32, 3), dtype=np.uint8)]
    found = restyled(source, road, 3, seed=0)
    assert len(found) == 3 and len({sample.label for sample in found}) == 3

    def lab(image: Image) -> np.ndarray:
        return cv2.cvtColor(image, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(float)

    for sample in found:
        assert np.allclose(lab(sample.image).mean(0), lab(road[0]).mean(0), atol=1.5)
        assert np.allclose(lab(sample.image).std(0), lab(road[0]).std(0), atol=1.5)


def test_eata_without_source_pictures_is_refused() -> None:
    with pytest.raises(TrainingError, match="source pictures"):
        train_without_labels(
            fresh(Task.SEGMENTATION), pictures(), [], EataSettings(learner="eata"), SETTINGS, 0
        )


@pytest.mark.parametrize("task", list(Task))
def test_a_soft_loss_with_sure_probabilities_is_that_of_labels(task: Task) -> None:
    head = fresh(task).head.eval()
    [batch] = image_batches(fresh(task).spec, pictures(2))
    raw = fresh(task).eval()(batch)
    logits = head.class_logits(raw)
    hard = torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
    log = torch.log_softmax(logits, 1) if head.exclusive else torch.nn.functional.logsigmoid(logits)
    other = 0 if head.exclusive else torch.nn.functional.logsigmoid(-logits)
    expected = -(hard * log + (1 - hard) * other)
    expected = expected.sum(1).mean() if head.exclusive else expected.mean()
    assert torch.allclose(head.soft_loss(raw, hard), expected, atol=1e-6)
