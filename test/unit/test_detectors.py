"""SSD, RetinaNet and YOLOv4: geometry, targets and losses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

# Before torchvision, which does not import beside every PyTorch without it.
import patchline_ros.vision  # noqa: F401

# isort: split
import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy
from torch import Tensor
from torchvision.ops import box_convert, box_iou

from patchline_ros.vision.heads.detection import DetectionOutput
from patchline_ros.vision.heads.yolov4_boxes import (
    SIDE_RANGE,
    AnchorGrid,
    anchor_grid,
    assigned,
    decoded,
    detection_loss,
)
from patchline_ros.vision.model import ModelSpec, TaskModel
from patchline_ros.vision.torchvision_backbones import BACKBONES
from tools.count_parameters import PAPER, table

NAMES = ("ssd_vgg16", "retinanet_resnet50", "retinanet_swin_t", "yolov4_mobilenet_v2")
SIZES = ((64, 64), (96, 80), (101, 77), (350, 350))
NOTHING = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}


def model(name: str, size: tuple[int, int], classes: int = 3) -> TaskModel:
    torch.manual_seed(0)
    return TaskModel(ModelSpec.named(name, tuple("abc")[:classes], size, width=0.25))


def yolov4_offsets(boxes: Tensor, grid: AnchorGrid) -> Tensor:
    """Raw outputs (N, 4) with which each anchor gives its box (N, 4): the inverse of `decoded`."""
    center, sides = box_convert(boxes, "xyxy", "cxcywh").split(2, dim=1)
    moves = torch.cat(
        [(center - grid.centers) / grid.strides, (sides / grid.sides).log() / math.log(SIDE_RANGE)],
        dim=1,
    )
    return torch.logit((moves + 1) / 2)


def perfect(
    detector: TaskModel, raw: DetectionOutput, target: dict[str, Tensor]
) -> DetectionOutput:
    """Raw outputs in which one of the anchors that are nearest to the box says what it is."""
    head: Any = detector.head
    (box,), (label,) = target["boxes"], target["labels"]
    maps = {name: torch.full_like(values, -20) for name, values in raw.maps.items()}
    name = detector.spec.head
    if name == "yolov4":
        grid = head.grid(raw)
        answers = assigned(target["boxes"], grid)
        anchor = int((answers == 0).nonzero()[0])
        one = AnchorGrid(*(part[anchor : anchor + 1] for part in grid))
        maps["bbox_regression"][:, anchor] = yolov4_offsets(target["boxes"], one)
        maps["objectness"][:, anchor] = 20
        maps["cls_logits"][:, anchor, label] = 20
        return DetectionOutput(maps, raw.levels)
    if name == "ssd":
        anchors, coder = head.default_boxes(raw), head.ssd.box_coder
        maps["cls_logits"][:, :, 0] = 0
    else:
        anchors, coder = torch.cat(head.anchors(raw)), head.retinanet.box_coder
    anchor = int(box_iou(target["boxes"], anchors).argmax())
    maps["bbox_regression"][:, anchor] = coder.encode_single(box[None], anchors[anchor][None])
    maps["cls_logits"][:, anchor, label + (name == "ssd")] = 20
    return DetectionOutput(maps, raw.levels)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_perfect_outputs_decode_to_the_box(name: str, size: tuple[int, int]) -> None:
    detector = model(name, size).eval()
    height, width = size
    with torch.no_grad():
        raw = detector(torch.zeros(1, 3, *size))
    for box in (
        [3.0, 5, 40, 30],
        [width - 6.0, height - 8, width, height],
        [0.0, 0, 5, 5],
        [1.0, 1, width - 1, height - 1],
    ):
        target = {"boxes": torch.tensor([box]), "labels": torch.tensor([2])}
        (found,) = detector.head.decode(perfect(detector, raw, target))
        assert found.labels.tolist() == [2]
        assert np.allclose(found.boxes, [box], atol=0.05)
        assert found.scores[0] > 0.99


def test_default_boxes_lie_on_the_cells_they_belong_to() -> None:
    detector = model("ssd_vgg16", (350, 350)).eval()
    head: Any = detector.head
    with torch.no_grad():
        raw = detector(torch.zeros(1, 3, 350, 350))
    assert raw.levels == [(43, 43), (21, 21), (11, 11), (6, 6), (4, 4), (2, 2)]
    centers = box_convert(head.default_boxes(raw), "xyxy", "cxcywh")[:, :2]
    start = 0
    # Each level's first centre and the distance of the next; unpadded maps begin a cell later.
    for (side, _), boxes, first, stride in zip(
        raw.levels,
        (4, 6, 6, 6, 4, 4),
        (4, 8, 16, 32, 96, 160),
        (8, 16, 32, 64, 64, 64),
        strict=True,
    ):
        level = centers[start : start + side * side * boxes]
        expected = first + stride * torch.arange(side).float()
        assert torch.allclose(level[:, 0].round(decimals=2).unique(), expected, atol=1e-3)
        assert torch.allclose(level[:, 1].round(decimals=2).unique(), expected, atol=1e-3)
        start += len(level)
    assert start == len(centers)


def test_ssd_leaves_out_the_levels_that_a_picture_has_no_room_for() -> None:
    for size, levels in (((32, 32), 3), ((64, 64), 4), ((271, 900), 5), ((272, 272), 6)):
        detector = model("ssd_vgg16", size).eval()
        with torch.no_grad():
            raw = detector(torch.zeros(1, 3, *size))
        assert len(raw.levels) == levels
        # No level but the last has a single cell.
        assert min(min(level) for level in raw.levels[:-1]) > 1


def test_yolov4_targets_by_hand() -> None:
    # Anchors are an eighth of YOLOv4's; 192 of them at stride 8, 48 at 16, 12 at 32.
    grid = anchor_grid([(8, 8), (4, 4), (2, 2)], (64, 64), torch.zeros(()))
    middle = [14.0, 17, 30, 33]
    # Stride 8: every anchor has a side less than a quarter of the box's. Stride 16: the three of
    # the cell at row 1, column 1. Stride 32: those of rows 0 and 1 in column 0.
    answers = assigned(torch.tensor([middle]), grid)
    assert (answers == 0).nonzero().flatten().tolist() == [
        *(192 + 15, 192 + 16, 192 + 17),
        *(240, 241, 242, 246, 247, 248),
    ]
    # A larger box takes the largest anchors, which it overlaps more; one that is far too small for
    # every anchor gets the smallest of its cell, row 4, column 4 at stride 8.
    large, tiny = [2.0, 5, 42, 45], [35.9, 35.9, 36.1, 36.1]
    answers = assigned(torch.tensor([middle, large, tiny]), grid)
    assert answers[[207, 208, 209]].tolist() == [0, 0, 0]
    assert answers[[242, 248]].tolist() == [1, 1]
    assert (answers == 2).nonzero().flatten().tolist() == [(4 * 8 + 4) * 3]
    assert (assigned(torch.zeros(0, 4), grid) == -1).all()


def test_yolov4_loss_by_hand() -> None:
    grid = anchor_grid([(4, 4), (2, 2), (1, 1)], (32, 32), torch.zeros(()))
    box = torch.tensor([[4.0, 6, 20, 20]])
    answers = assigned(box, grid)
    positive = answers >= 0
    count, total = int(positive.sum()), len(answers)
    offsets = torch.zeros(1, total, 4)
    one = AnchorGrid(*(part[positive] for part in grid))
    offsets[0, positive] = yolov4_offsets(box.expand(count, 4), one)
    assert torch.allclose(decoded(offsets, grid)[0, positive], box.expand(count, 4), atol=1e-4)
    # Probability 1/2 everywhere: no box loss, log 2 for every objectness and every class score.
    overlaps = box_iou(decoded(offsets, grid)[0], box)[:, 0]
    ignored = int((~positive & (overlaps > 0.7)).sum())
    target = {"boxes": box, "labels": torch.tensor([1])}
    zeros = torch.zeros(1, total)
    loss = detection_loss(offsets, zeros, torch.zeros(1, total, 2), grid, [target])
    expected = math.log(2) * (total - ignored + 2 * count) / count
    assert float(loss) == pytest.approx(expected, abs=1e-4)
    empty = detection_loss(offsets, zeros, torch.zeros(1, total, 2), grid, [NOTHING])
    assert float(empty) == pytest.approx(math.log(2) * total, rel=1e-5)


def test_yolov4_loss_has_the_gradient_of_finite_differences() -> None:
    torch.manual_seed(0)
    grid = anchor_grid([(4, 4), (2, 2), (1, 1)], (32, 32), torch.zeros((), dtype=torch.float64))
    box = torch.tensor([[4.0, 6, 20, 20]], dtype=torch.float64)
    targets = [{"boxes": box, "labels": torch.tensor([1])}, NOTHING]
    # The library holds the weight of CIoU's aspect ratio constant, so that its gradient is the
    # loss's only where predicted boxes have the ratio of the true one.
    center, sides = box_convert(box, "xyxy", "cxcywh").split(2, dim=1)
    total = len(grid.sides)
    shape = [total, 2]
    near = torch.cat(
        [
            torch.where((center - grid.centers).abs() < grid.strides, center, grid.centers)
            + grid.strides * 0.05 * torch.rand(shape, dtype=torch.float64),
            sides * (0.8 + 0.2 * torch.rand(total, 1, dtype=torch.float64)),
        ],
        dim=1,
    )
    offsets = yolov4_offsets(box_convert(near, "cxcywh", "xyxy"), grid).clamp(-4, 4)
    inputs = [
        offsets.nan_to_num().repeat(2, 1, 1),
        torch.randn(2, total, dtype=torch.float64),
        torch.randn(2, total, 2, dtype=torch.float64),
    ]
    assert torch.autograd.gradcheck(
        lambda *raw: detection_loss(*raw, grid, targets),
        [x.requires_grad_() for x in inputs],
        fast_mode=True,  # One random direction tells as much as hundreds of single numbers.
    )


@pytest.mark.parametrize("extreme", [-300.0, 300.0])
def test_yolov4_loss_is_finite_whatever_comes_out(extreme: float) -> None:
    grid = anchor_grid([(4, 4), (2, 2), (1, 1)], (32, 32), torch.zeros(()))
    total = len(grid.sides)
    target = {"boxes": torch.tensor([[4.0, 6, 20, 20]]), "labels": torch.tensor([0])}
    raw = [
        torch.full(shape, extreme, requires_grad=True)
        for shape in ((1, total, 4), (1, total), (1, total, 1))
    ]
    loss = detection_loss(*raw, grid, [target])
    loss.backward()
    assert all(values.isfinite().all() for values in (loss, *(x.grad for x in raw)))


@pytest.mark.parametrize("name", NAMES)
def test_pictures_without_boxes_one_class_and_doubles(name: str) -> None:
    detector = model(name, (101, 77), classes=1)
    images = torch.randn(2, 3, 101, 77)
    box = {"boxes": torch.tensor([[70.0, 80, 77, 101]]), "labels": torch.tensor([0])}
    detector.eval()
    for targets in ([NOTHING, NOTHING], [box, NOTHING]):
        with torch.no_grad():
            single = detector.float().head.loss(detector(images), targets)
        double = detector.double().head.loss(detector(images.double()), targets)
        double.backward()
        assert double.dtype == torch.float64
        assert float(single) == pytest.approx(double.item(), rel=1e-3)
        assert all(p.grad.isfinite().all() for p in detector.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_the_tail_holds_the_last_layers_and_nothing_else(name: str) -> None:
    detector = model(name, (64, 64))
    head: Any = detector.head
    taps = detector.backbone(torch.randn(2, 3, 64, 64))
    features = [feature.detach() for feature in head.body(taps)]
    assert {len(feature) for feature in features} == {2}
    raw = head.tail(features)
    sum(values.sum() for values in raw.maps.values()).backward()
    trained = {id(p) for p in detector.parameters() if p.grad is not None}
    assert trained == {id(p) for layer in head.last_layers() for p in layer.parameters()}


@pytest.mark.parametrize("name", ["ssd_vgg16", "yolov4_mobilenet_v2"])
def test_entropy_and_confidence_equal_the_definition(name: str) -> None:
    detector = model(name, (64, 64)).double().eval()
    head: Any = detector.head
    with torch.no_grad():
        raw = detector(torch.randn(2, 3, 64, 64, dtype=torch.float64))
    maps = {key: torch.randn_like(values) for key, values in raw.maps.items()}
    raw = DetectionOutput(maps, raw.levels)
    if name == "ssd_vgg16":
        p = maps["cls_logits"].softmax(2).numpy()
        expected, best = scipy_entropy(p, axis=2).mean(1), p[:, :, 1:].max((1, 2))
    else:
        p = (maps["objectness"].sigmoid()[:, :, None] * maps["cls_logits"].sigmoid()).numpy()
        expected, best = scipy_entropy([p, 1 - p]).mean((1, 2)), p.max((1, 2))
    assert np.allclose(head.entropy(raw).numpy(), expected)
    assert np.allclose(head.confidence(raw).numpy(), best)
    sure = DetectionOutput({key: values * 1e3 for key, values in maps.items()}, raw.levels)
    assert head.entropy(sure).isfinite().all()


def test_a_backbone_without_the_strides_is_named() -> None:
    spec = ModelSpec(
        task="detection", classes=("a",), input_size=(64, 64), backbone="vgg16", head="retinanet"
    )
    with pytest.raises(ValueError, match=r"RetinaNet reads taps at the strides 8, 16, 32.*at 32;"):
        TaskModel(spec.model_copy(update={"width": 0.25}))


def test_the_documented_parameter_counts_are_those_of_the_models() -> None:
    pytest.importorskip("segmentation_models_pytorch")
    printed = table()
    docs = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    assert printed in docs
    # Of the rest, docs/models.md gives the reason.
    tolerance = {"swin_t": 0.03, "deeplabv3plus_mobilenet_v2": 0.2}
    for (name, paper), row in zip(PAPER.items(), printed.split("\n")[2:], strict=True):
        ratio = float(row.split("|")[4]) / paper
        assert abs(ratio - 1) < tolerance.get(name, 0.005 if name in BACKBONES else 0.1), name
