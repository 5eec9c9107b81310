"""Similarity of feature maps, the table of it, and the order and warm start that follow."""

from __future__ import annotations

import imagehash
import numpy as np
import pytest
import tiny_bundle
import torch
from PIL import Image as PilImage

from patchline_ros.adaptation.affinity import affinity_table, most_similar, training_order
from patchline_ros.adaptation.similarity import MEASURES, linear_cka
from patchline_ros.bundle import Bundle
from patchline_ros.tasks import Task
from patchline_ros.vision.inputs import image_tensor, resize_image
from patchline_ros.vision.model import ModelSpec, TaskModel


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle.make_bundle(tmp_path_factory.mktemp("affinity") / "b")


IMAGES = [tiny_bundle.picture(i, 40, 50) for i in range(6)]


@pytest.mark.parametrize("measure", MEASURES)
def test_equal_models_have_affinity_one_and_others_less(bundle: Bundle, measure: str) -> None:
    lanes = bundle.model(Task.SEGMENTATION)
    same = affinity_table({Task.SEGMENTATION: lanes, Task.DETECTION: lanes}, IMAGES, measure)
    assert same == {"detection segmentation": pytest.approx([1.0] * 7, abs=1e-12)}
    models = {Task.SEGMENTATION: lanes, Task.DETECTION: bundle.model(Task.DETECTION)}
    other = affinity_table(models, IMAGES, measure)["detection segmentation"]
    assert all(0 <= value <= 1 for value in other)
    assert other[0] < 1


@pytest.mark.parametrize(
    ("measure", "hashed"),
    [("perceptual_hash", imagehash.phash), ("mean_hash", imagehash.average_hash)],
)
def test_hashes_are_imagehashs(bundle: Bundle, measure: str, hashed) -> None:
    models = {task: bundle.model(task) for task in (Task.SEGMENTATION, Task.DETECTION)}

    def hashes(model: TaskModel, image: np.ndarray) -> list[imagehash.ImageHash]:
        with torch.inference_mode():
            taps = model.backbone(image_tensor(resize_image(image, (32, 32)))[None])[1:]
        pictures = []
        for tap in taps:
            grey = tap[0].mean(dim=0)
            grey = (grey - grey.min()) / (grey.max() - grey.min()).clamp(min=1e-12) * 255
            pictures.append(PilImage.fromarray(grey.to(torch.uint8).numpy()))
        return [hashed(picture) for picture in pictures]

    distances = [
        [a - b for a, b in zip(*(hashes(model, i) for model in models.values()), strict=True)]
        for i in IMAGES
    ]
    expected = 1 - np.mean(distances, axis=0) / 64
    assert affinity_table(models, IMAGES, measure)["detection segmentation"] == pytest.approx(
        expected
    )


def test_the_default_measure_is_the_papers(bundle: Bundle) -> None:
    models = {task: bundle.model(task) for task in Task}
    assert affinity_table(models, IMAGES) == affinity_table(models, IMAGES, "perceptual_hash")


def test_histograms_overlap_by_their_shared_part() -> None:
    describe, compare = MEASURES["histogram"]
    one = torch.zeros(3, 1, 4)
    one[0] = torch.tensor([0.0, 0.0, 0.0, 255.0])
    other = torch.zeros(3, 1, 4)
    other[0] = torch.tensor([0.0, 255.0, 255.0, 255.0])
    rows = [describe(one)[None], describe(other)[None]]
    assert rows[0].sum() == pytest.approx(3)
    # The second and third channels agree; of the first, a quarter is dark and a quarter bright.
    assert compare(*rows) == pytest.approx((0.5 + 1 + 1) / 3)
    # Six channels in three contiguous thirds: the pairs' means are the three channels above.
    doubled = torch.cat([channel.expand(2, 1, 4) for channel in one.split(1)])
    doubled[0] += 40
    doubled[1] -= 40
    assert np.array_equal(describe(doubled), rows[0][0])
    with pytest.raises(ValueError, match="3 channels"):
        describe(torch.zeros(2, 4, 4))


def explicit_cka(x: np.ndarray, y: np.ndarray) -> float:
    """By U-centred Gram matrices (Szekely and Rizzo): another way to the same estimate."""

    def u_centred(features: np.ndarray) -> np.ndarray:
        n = len(features)
        gram = features @ features.T
        np.fill_diagonal(gram, 0)
        rows = gram.sum(axis=1, keepdims=True) / (n - 2)
        centred = gram - rows - rows.T + gram.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(centred, 0)
        return centred

    a, b = u_centred(x), u_centred(y)
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def test_cka_follows_its_definition_and_its_invariances() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 8))
    y = np.hstack([x[:, :4] + 0.3 * rng.normal(size=(20, 4)), rng.normal(size=(20, 5))])
    value = linear_cka(x, y)
    assert 0.1 < value < 0.9
    assert value == pytest.approx(explicit_cka(x, y), rel=1e-9)
    rotation, _ = np.linalg.qr(rng.normal(size=(9, 9)))
    assert linear_cka(x, 7.0 * y @ rotation + 3.0) == pytest.approx(value, rel=1e-9)
    assert linear_cka(y, x) == pytest.approx(value, rel=1e-9)
    # With many examples the debiased and the plain estimate meet; the latter by its definition.
    many = rng.normal(size=(1500, 6))
    mixed = many @ rng.normal(size=(6, 4)) + rng.normal(size=(1500, 4))
    centring = np.eye(1500) - 1 / 1500
    k, other = (centring @ (m @ m.T) @ centring for m in (many, mixed))
    plain = (k * other).sum() / np.sqrt((k * k).sum() * (other * other).sum())
    assert linear_cka(many, mixed) == pytest.approx(plain, abs=5e-3)


def test_cka_of_unrelated_features_is_near_zero_even_with_few_pictures() -> None:
    rng = np.random.default_rng(1)
    assert linear_cka(rng.normal(size=(32, 400)), rng.normal(size=(32, 400))) < 0.1
    still = np.full((5, 3), 0.1)
    moving = rng.normal(size=(5, 3))
    assert linear_cka(still, still) == 1
    assert linear_cka(still, moving) == linear_cka(moving, still) == 0


def test_what_can_not_be_compared_is_named(bundle: Bundle) -> None:
    lanes = bundle.model(Task.SEGMENTATION)
    pair = {Task.SEGMENTATION: lanes, Task.DETECTION: lanes}
    with pytest.raises(ValueError, match="at least one source image"):
        affinity_table(pair, [])
    with pytest.raises(ValueError, match=r"'dhash'; known are perceptual_hash, mean_hash, hist"):
        affinity_table(pair, IMAGES, "dhash")
    with pytest.raises(ValueError, match="at least 4 pictures; 1 came"):
        affinity_table(pair, IMAGES[:1], "cka")
    spec = ModelSpec.named("resnet50", ("a", "b"), (32, 32), width=0.25)
    with pytest.raises(
        ValueError, match="different numbers of them: segmentation 7, classification 4"
    ):
        affinity_table(
            {Task.SEGMENTATION: lanes, Task.CLASSIFICATION: TaskModel(spec).eval()}, IMAGES
        )
    broken = bundle.model(Task.SEGMENTATION)
    with torch.no_grad():
        next(broken.backbone.groups[2].parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="group 3 of the detection model"):
        affinity_table({Task.SEGMENTATION: lanes, Task.DETECTION: broken}, IMAGES)


def test_order_and_warm_start_follow_affinity() -> None:
    table = {
        "detection segmentation": [0.9, 0.9, 0.1],
        "classification segmentation": [0.5, 0.5, 0.9],
        "classification detection": [0.2, 0.4, 0.9],
    }
    tasks = list(Task)
    # Over two groups: segmentation 1.4, detection 1.2, classification 0.8; over all three
    # classification comes first.
    assert training_order(table, tasks, 2) == [
        Task.SEGMENTATION,
        Task.DETECTION,
        Task.CLASSIFICATION,
    ]
    assert (
        most_similar(table, Task.CLASSIFICATION, [Task.SEGMENTATION, Task.DETECTION], 2)
        is Task.SEGMENTATION
    )
    assert most_similar(table, Task.CLASSIFICATION, [], 2) is None
    with pytest.raises(ValueError, match="4 patches asked for"):
        training_order(table, tasks, 4)
    with pytest.raises(ValueError, match="lacks the pair 'classification segmentation'"):
        training_order(
            {"detection segmentation": [1.0]}, [Task.SEGMENTATION, Task.CLASSIFICATION], 1
        )
