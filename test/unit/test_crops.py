"""Training on crops: what is cut belongs together; a location learns what it would learn whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from patchline_ros.adaptation.crops import (
    Window,
    crop_batch,
    crop_map,
    crop_share,
    crop_size,
    crop_target,
    draw_window,
)
from patchline_ros.adaptation.trainer import TrainingError, train_adapted
from patchline_ros.adaptation.training_settings import TrainingRecord, TrainingSettings
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.tasks import Boxes, Sample, Task
from patchline_ros.vision.heads.detection import DetectionOutput
from patchline_ros.vision.model import ModelSpec, TaskModel


def source(task: Task, size: tuple[int, int], **changes: object) -> TaskModel:
    """A small model with random weights."""
    torch.manual_seed(0)
    facts = {"task": task, "classes": ("a", "b", "c", "d"), "input_size": size, "width": 0.25}
    return TaskModel(ModelSpec.model_validate(facts | changes)).eval()


def sample(task: Task, seed: int, size: tuple[int, int] = (96, 128)) -> Sample:
    """Pictures whose brightness tells the label, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    label = seed % 3
    image = rng.integers(0, 60, (*size, 3), dtype=np.uint8) + np.uint8(80 * label)
    if task is Task.CLASSIFICATION:
        return Sample(image, label)
    if task is Task.DETECTION:
        return Sample(image, Boxes.truth([[4, 4, 60, 50]], [label % 2]))
    return Sample(image, np.full(size, label, np.uint8))


@pytest.mark.parametrize("size", [(192, 256), (100, 150), (96, 40)])
def test_a_map_is_cut_where_its_picture_is(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, *size, generator=generator)
    for _ in range(20):
        window = draw_window(size, 32, generator)
        assert (window.height, window.width) == crop_size(size, 32)
        part = crop_map(picture, window, size)
        for stride in (2, 4, 8, 16, 32):
            whole = functional.avg_pool2d(picture, stride, ceil_mode=True)
            assert torch.equal(
                crop_map(whole, window, size), functional.avg_pool2d(part, stride, ceil_mode=True)
            )
    assert crop_share((192, 256), 32) == 0.25


def test_each_location_is_matched_as_in_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    size = (192, 256)
    head = source(Task.DETECTION, size).head
    boxes = torch.tensor(
        [[5, 5, 40, 60], [70, 60, 180, 150], [10, 80, 250, 190], [200, 1, 240, 30]]
    )
    targets = [{"boxes": boxes.float(), "labels": torch.arange(4)}]
    levels = [(24, 32), (12, 16), (6, 8)]
    seen: list[Tensor] = []

    def matched(targets: list[dict[str, Tensor]], *rest: object) -> dict[str, Tensor]:
        labels = torch.cat([targets[0]["labels"], torch.tensor([-1])])
        seen.append(labels[rest[-1][0]])  # type: ignore[index]
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(head.fcos.head, "compute_loss", matched)  # type: ignore[union-attr]

    def labels_of(levels: list[tuple[int, int]], targets: list[dict[str, Tensor]]) -> list[Tensor]:
        count = sum(height * width for height, width in levels)
        maps = {"cls_logits": torch.zeros(1, count, 4)}
        head.loss(DetectionOutput(maps=maps, levels=levels), targets)
        parts = seen.pop().split([height * width for height, width in levels])
        return [part.reshape(1, *level) for part, level in zip(parts, levels, strict=True)]

    whole = labels_of(levels, targets)
    assert all((level >= 0).any() for level in whole)
    for window in (Window(0, 0, 96, 128), Window(32, 64, 96, 128), Window(96, 128, 96, 128)):
        halved = [(height // 2, width // 2) for height, width in levels]
        part = labels_of(halved, [crop_target(targets[0], window)])
        for cut, level in zip(part, whole, strict=True):
            assert torch.equal(cut, crop_map(level, window, size))


def test_a_batch_is_cut_view_by_view() -> None:
    size, windows = (64, 64), [Window(0, 32, 32, 32), Window(32, 0, 32, 32)]
    rows = torch.arange(64).repeat(2, 1, 1).mT.expand(2, 64, 64)
    maps, vectors = rows[:, None, ::2, ::2].float(), torch.ones(2, 5)
    (part, vector), classes = crop_batch([maps, vectors], rows, windows, size)
    assert torch.equal(part[1, 0, :, 0], torch.arange(32, 64, 2).float())
    assert torch.equal(vector, vectors)
    assert torch.equal(classes[:, :, 0], torch.stack([torch.arange(32), torch.arange(32, 64)]))


def train(task: Task, crops: int) -> tuple[dict[str, Tensor], TrainingRecord]:
    model = PatchedModel(source(task, (96, 128)), PatchSettings(k=7))
    samples = [sample(task, i) for i in range(8)]
    settings = TrainingSettings(epochs=4, crops=crops)
    record = train_adapted(model, samples, [], [s.image for s in samples], settings, 0)
    return model.adapted_state("reestimated"), record


@pytest.mark.parametrize("task", [Task.DETECTION, Task.SEGMENTATION])
def test_a_crop_costs_its_share_of_a_view(task: Task) -> None:
    _, whole = train(task, 0)
    _, crops = train(task, 3)
    assert crops.losses[-1] < crops.losses[0]
    assert crops.stage_gflops["frozen"] == whole.stage_gflops["frozen"]
    share = crops.stage_gflops["training"] / whole.stage_gflops["training"]
    assert share == pytest.approx(3 * crop_share((96, 128), 32), rel=0.02)


def test_signs_are_seen_whole() -> None:
    whole, _ = train(Task.CLASSIFICATION, 0)
    crops, _ = train(Task.CLASSIFICATION, 3)
    assert all(torch.equal(whole[name], value) for name, value in crops.items())


def test_heads_that_need_the_whole_picture_say_so() -> None:
    model = PatchedModel(source(Task.DETECTION, (128, 128), head="ssd"), PatchSettings(k=1))
    samples = [sample(Task.DETECTION, i) for i in range(4)]
    with pytest.raises(TrainingError, match="the head ssd of detection can't be trained on crops"):
        train_adapted(model, samples, [], [], TrainingSettings(crops=2), 0)
