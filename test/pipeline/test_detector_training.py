"""Detectors learn: from two pictures, in a few dozen steps."""

from __future__ import annotations

# Before torchvision, which does not import beside every PyTorch without it.
import patchline_ros.vision  # noqa: F401

# isort: split
import pytest
import torch
from torchvision.ops import box_iou

from patchline_ros.vision.model import ModelSpec, TaskModel


def small(name: str) -> TaskModel:
    torch.manual_seed(0)
    return TaskModel(ModelSpec.named(name, tuple("abc"), (64, 64), width=0.25))


@pytest.mark.parametrize(
    ("name", "learning_rate", "steps"),
    [("ssd_vgg16", 5e-4, 25), ("retinanet_resnet50", 5e-4, 20), ("yolov4_mobilenet_v2", 1e-3, 40)],
)
def test_a_detector_learns_to_find_two_boxes(name: str, learning_rate: float, steps: int) -> None:
    detector = small(name)
    images = 0.3 * torch.randn(2, 3, 64, 64)
    images[:, 0, 20:52, 4:34] += 3
    images[:, 2, 2:30, 34:62] += 3
    boxes, labels = torch.tensor([[4.0, 20, 34, 52], [34.0, 2, 62, 30]]), torch.tensor([1, 0])
    targets = [{"boxes": boxes, "labels": labels}] * 2
    optimiser = torch.optim.Adam(detector.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1, 0.1, steps)
    losses = []
    for _ in range(steps):
        loss = detector.head.loss(detector(images), targets)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    # Still in training mode: so few steps leave batch norm's running statistics behind.
    with torch.no_grad():
        results = detector.head.decode(detector(images))
    for found in results:
        for box, label in zip(boxes, labels, strict=True):
            best = torch.from_numpy(found.boxes[found.labels == int(label)][:1])
            assert float(box_iou(best, box[None])) > 0.5
