"""Backbone, heads, inputs and metrics against hand counts and other people's values."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy

from patchline_ros.messages.label_check import check_label
from patchline_ros.tasks import IGNORE, Boxes, Sample, Task
from patchline_ros.vision.augmentation import augmented
from patchline_ros.vision.backbone import reestimate_norm
from patchline_ros.vision.heads.base import sigmoid_entropy, softmax_entropy
from patchline_ros.vision.inputs import flipped, image_tensor, resized
from patchline_ros.vision.metrics import mean_average_precision, mean_iou
from patchline_ros.vision.model import ModelSpec, TaskModel, fingerprint
from patchline_ros.vision.torchvision_backbones import (
    BACKBONES,
    cut_backbone,
    imagenet_weights,
    read_weights,
)
from patchline_ros.vision.torchvision_ops import nms_cpu


def spec(task: Task, **fields: object) -> ModelSpec:
    facts = {"task": task, "classes": ("a", "b", "c"), "input_size": (64, 96), "width": 0.25}
    return ModelSpec.model_validate(facts | fields)


def test_mobilenet_v2_is_cut_as_in_the_paper() -> None:
    backbone = cut_backbone("mobilenet_v2").backbone
    assert backbone.channels == (32, 16, 24, 32, 64, 96, 160, 320)
    assert backbone.reductions == (2, 2, 4, 8, 16, 16, 32, 32)
    classifier = TaskModel(spec(Task.CLASSIFICATION, classes=tuple("abcdef"), width=1.0))
    assert sum(p.numel() for p in classifier.parameters()) == 2_231_558


@pytest.mark.parametrize("name", BACKBONES)
def test_a_cut_backbone_computes_what_torchvisions_does(name: str) -> None:
    # Not at the top: beside a CPU-only PyTorch torchvision loads only after vision.torchvision_ops.
    from torchvision import models

    torch.manual_seed(0)
    whole = models.get_model(name, weights=None, num_classes=5).eval()
    cut = cut_backbone(name, 1.0, whole.state_dict())
    images = torch.randn(1, 3, 75, 98)
    with torch.no_grad():
        taps = cut.backbone.eval()(images)
        pooled_map = cut.classifier_neck().eval()(taps[-1]).mean(dim=(2, 3))
        last = list(whole.children())[-1]
        linear = last[-1] if isinstance(last, torch.nn.Sequential) else last
        assert torch.equal(linear(pooled_map), whole(images))
    assert [tap.shape[1] for tap in taps] == list(cut.backbone.channels)


def test_a_tap_alone_equals_that_of_the_whole_pass() -> None:
    backbone = cut_backbone("mobilenet_v2", 0.25).backbone.eval()
    images = torch.randn(2, 3, 65, 97)
    with torch.no_grad():
        taps = backbone(images)
        assert torch.equal(backbone.tap(images, 3), taps[3])


@pytest.mark.parametrize("task", list(Task))
def test_a_model_learns_one_batch(task: Task) -> None:
    torch.manual_seed(0)
    model = TaskModel(spec(task))
    images = torch.randn(2, 3, 64, 96)
    images[:, :, :, 48:] += 2
    targets = {
        Task.CLASSIFICATION: torch.tensor([0, 2]),
        Task.SEGMENTATION: torch.tensor([0, 2]).repeat_interleave(48).expand(2, 64, 96),
        Task.DETECTION: [
            {"boxes": torch.tensor([[8.0, 8, 40, 40]]), "labels": torch.tensor([1])},
            {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
        ],
    }[task]
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = model.head.loss(model(images), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_entropies_equal_scipys() -> None:
    logits = torch.randn(5, 7)
    expected = scipy_entropy(logits.softmax(1).numpy(), axis=1)
    assert np.allclose(softmax_entropy(logits).numpy(), expected, atol=1e-6)
    p = logits.sigmoid().numpy()
    assert np.allclose(sigmoid_entropy(logits).numpy(), scipy_entropy([p, 1 - p]), atol=1e-6)
    assert float(sigmoid_entropy(torch.tensor(200.0))) == 0.0
    # Of a class map the mean over its pixels, so that it does not grow with the size.
    maps = torch.randn(2, 7, 4, 6)
    head = TaskModel(spec(Task.SEGMENTATION, classes=tuple("abcdefg"))).head
    expected = scipy_entropy(maps.softmax(1).numpy(), axis=1).mean((1, 2))
    assert np.allclose(head.entropy(maps).numpy(), expected, atol=1e-6)


def test_nms_equals_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(150, 2, generator=generator) * 80
    boxes = torch.cat([corners, corners + 5 + torch.rand(150, 2, generator=generator) * 20], dim=1)
    boxes[140:] = boxes[0]
    scores = torch.rand(150, generator=generator)

    def iou(a: torch.Tensor, b: torch.Tensor) -> float:
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        inside = max(width, torch.tensor(0.0)) * max(height, torch.tensor(0.0))
        area = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
        return float(inside / (area[0] + area[1] - inside))

    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        if all(iou(boxes[i], boxes[j]) <= 0.4 for j in kept):
            kept.append(i)
    assert nms_cpu(boxes, scores, 0.4).tolist() == kept
    assert nms_cpu(boxes[:0], scores[:0], 0.4).tolist() == []


def test_mean_iou_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, IGNORE]], dtype=np.uint8)
    predicted = np.array([[0, 0, 0, 1], [0, 0, 1, 2]], dtype=np.uint8)
    # Class 0: 4 of 5 pixels; class 1: 2 of 3; class 2 occurs in no label.
    assert mean_iou([predicted], [truth], 3) == pytest.approx((4 / 5 + 2 / 3) / 2)
    with pytest.raises(ValueError, match="class id 2 in a class map of 2 classes"):
        mean_iou([predicted + np.uint8(1)], [truth], 2)


def test_mean_average_precision_by_hand() -> None:
    truth = Boxes.truth([[0, 0, 10, 10], [20, 20, 30, 30]], [0, 0])
    found = Boxes(
        np.array([[0, 0, 10, 10], [50, 50, 60, 60], [20, 20, 30, 30]], dtype=np.float32),
        np.array([0, 0, 0]),
        np.array([0.9, 0.8, 0.7], dtype=np.float32),
    )
    # COCO reads precision at 101 recalls: 1 up to one half, 2/3 from there on.
    assert mean_average_precision([found], [truth]) == pytest.approx((51 + 50 * 2 / 3) / 101)
    nothing = Boxes.truth([], [])
    assert mean_average_precision([nothing], [truth]) == 0


def test_labels_move_with_the_picture() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 5:25] = 255
    box = Boxes.truth([[5, 10, 25, 20]], [0])
    for view in (flipped(Sample(image, box)), resized(Sample(image, box), (80, 120))):
        x1, y1, x2, y2 = view.label.boxes[0].astype(int)
        inside = np.zeros(view.image.shape[:2], bool)
        inside[y1:y2, x1:x2] = True
        assert np.array_equal(view.image[:, :, 0] > 127, inside)
    classes = image[:, :, 0] // 255
    for seed in range(20):
        view = augmented(Task.SEGMENTATION, Sample(image, classes), np.random.default_rng(seed))
        agree = (view.image[:, :, 0] > 120) == (view.label == 1)
        assert agree.mean() > 0.95
    with pytest.raises(ValueError, match="mirrored"):
        flipped(Sample(image, 3))


@pytest.mark.parametrize(
    ("task", "label", "message"),
    [
        (Task.CLASSIFICATION, 3, "class id 3 is not one of the model's 3 classes"),
        (Task.CLASSIFICATION, -1, "class id -1"),
        (Task.DETECTION, 1, "type int is not one for detection"),
        (Task.DETECTION, Boxes.truth([[0, 0, 1, 1]], [5]), "class id 5"),
        (Task.DETECTION, Boxes.truth([[0, 0, float("nan"), 1]], [0]), "not a finite"),
        (Task.DETECTION, Boxes.truth([[5, 5, 5, 9]], [0]), "no width"),
        (Task.SEGMENTATION, np.zeros((8, 9), np.uint8), "shape"),
        (Task.SEGMENTATION, np.full((8, 8), 7, np.uint8), "class id 7"),
    ],
)
def test_impossible_labels_are_named(task: Task, label: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_label(task, ("a", "b", "c"), Sample(np.zeros((8, 8, 3), np.uint8), label))


def test_norm_statistics_become_those_of_the_batches() -> None:
    torch.manual_seed(0)
    backbone = cut_backbone("mobilenet_v2", 0.25).backbone.eval()
    images = torch.randn(8, 3, 64, 64) * 3 + 1
    reestimate_norm(backbone, [images])
    first_norm = backbone.stem[1]
    with torch.no_grad():
        before_norm = backbone.stem[0](images)
    assert torch.allclose(first_norm.running_mean, before_norm.mean((0, 2, 3)), atol=1e-5)
    assert not backbone.training
    # Beside 24 more images' worth of what was there before, these 8 count a quarter.
    first_norm.running_mean.fill_(2.0)
    reestimate_norm(backbone, [images], prior=24)
    blended = 0.25 * before_norm.mean((0, 2, 3)) + 0.75 * 2.0
    assert torch.allclose(first_norm.running_mean, blended, atol=1e-5)


def test_fingerprint_sees_one_bit() -> None:
    model = TaskModel(spec(Task.CLASSIFICATION))
    before = fingerprint(model)
    assert fingerprint(model) == before
    with torch.no_grad():
        next(iter(model.parameters())).view(-1)[0] += 1e-7
    assert fingerprint(model) != before


def test_bad_specs_and_weights_are_named(tmp_path) -> None:
    with pytest.raises(ValueError, match="too small"):
        spec(Task.SEGMENTATION, input_size=(100, 31))
    with pytest.raises(ValueError, match="one class, 'a', is too few for classification"):
        spec(Task.CLASSIFICATION, classes=("a",))
    with pytest.raises(ValueError, match="fcos is not a head for segmentation"):
        spec(Task.SEGMENTATION, head="fcos")
    with pytest.raises(ValueError, match=r"no model 'alexnet'; known are vgg16, ssd_vgg16, .*swin"):
        ModelSpec.named("alexnet", ("a", "b"), (64, 64))
    with pytest.raises(ValueError, match=r"no backbone 'alexnet'; known are vgg16, resnet50"):
        cut_backbone("alexnet")
    with pytest.raises(ValueError, match="does not exist"):
        read_weights(tmp_path / "none.npz")
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"\.npz"):
        read_weights(tmp_path / "x.bin")
    with pytest.raises(ValueError, match=r"width 0\.5"):
        cut_backbone("mobilenet_v2", 0.5, {"features.0.0.weight": torch.zeros(1)})


def saved(save: Callable[[io.BytesIO], None]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def state(content: object) -> bytes:
    return saved(partial(torch.save, content))


CHECKPOINT = {"state_dict": {"a": torch.zeros(3)}, "epoch": 3}
DAMAGED = "is damaged or something else"
NUMPY = r"it should be a whole \.npz with an array for each name of a state dict"
TORCH = "it should be a whole state dict: a tensor for each name"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.npz", b"", f"{DAMAGED}; {NUMPY}"),
        ("cut.npz", saved(partial(np.savez, a=np.zeros(9)))[:-30], f"{DAMAGED}; {NUMPY}"),
        ("array.npz", saved(partial(np.save, arr=np.zeros(3))), f"{DAMAGED}; {NUMPY}"),
        ("words.npz", saved(partial(np.savez, a=np.array("a"))), f"{DAMAGED}; {NUMPY}"),
        ("text.npz", b"version https://git-lfs", f"{DAMAGED}; {NUMPY}"),
        ("empty.pth", b"", f"{DAMAGED}; {TORCH}"),
        ("cut.pth", state({"a": torch.zeros(9)})[:-30], f"{DAMAGED}; {TORCH}"),
        ("text.pth", b"version https://git-lfs", f"{DAMAGED}; {TORCH}"),
        ("text.pt", b"epoch,loss", f"{DAMAGED}; {TORCH}"),
        ("tensor.pth", state(torch.zeros(3)), f"holds no names; {TORCH}"),
        ("checkpoint.pth", state(CHECKPOINT), f"holds 'state_dict', which is no tensor; {TORCH}"),
    ],
)
def test_files_that_are_no_weights_are_named(
    name: str, content: bytes, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"^weights file .*/{name} {sentence}$"):
        read_weights(tmp_path / name)


def test_a_weights_file_that_can_t_be_read_is_named(tmp_path: Path) -> None:
    # It may be opened, but not even root can read its first byte.
    (tmp_path / "a.npz").symlink_to("/proc/self/mem")
    with pytest.raises(
        ValueError, match=r"^weights file .*/a\.npz can't be read: Input/output err"
    ):
        read_weights(tmp_path / "a.npz")


def test_what_is_fetched_and_is_no_weights_can_t_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    page.write_text("<html>Log in to the network</html>")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", lambda _: urlopen(page.as_uri()))
    with pytest.raises(OSError, match=r"^what was fetched as weights of mobilenet_v2 is not them"):
        imagenet_weights("mobilenet_v2")


def test_imagenet_weights_load_whole(data_root) -> None:
    weights = read_weights(data_root / "weights" / "mobilenet_v2_imagenet.npz")
    cut = cut_backbone("mobilenet_v2", 1.0, weights)
    assert torch.equal(cut.backbone.stem[0].weight, weights["features.0.0.weight"])
    assert torch.equal(cut.classifier_neck()[0].weight, weights["features.18.0.weight"])


def test_torchvision_comes_without_the_compiler_and_finds_it_when_asked() -> None:
    asked = (
        "import sys, patchline_ros.vision.model\n"
        "from torchvision.ops import roi_align as _, poolers\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "from torchvision.ops.roi_align import is_compile_supported\n"
        "said = is_compile_supported('cpu')\n"
        "from torch._dynamo.utils import is_compile_supported as theirs\n"
        "assert said is theirs('cpu')\n"
    )
    subprocess.run([sys.executable, "-c", asked], check=True)


def test_a_pixel_has_its_likeliest_class_and_of_equal_ones_the_first() -> None:
    classes = ("sky", "road", "car")
    spec = ModelSpec(task=Task.SEGMENTATION, classes=classes, input_size=(32, 32), width=0.25)
    head = TaskModel(spec).head
    raw = torch.randint(0, 3, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float()
    for labels in (head.decode(raw), head.read(raw).labels):
        found = np.stack([np.asarray(label) for label in labels])
        assert found.dtype == np.uint8 and np.array_equal(found, raw.numpy().argmax(axis=1))


def test_what_is_read_of_class_maps_at_once_is_what_is_read_one_by_one() -> None:
    head = TaskModel(spec(Task.SEGMENTATION)).head
    # Up to logits whose exponentials no float32 holds.
    raw = torch.randn(3, 3, 64, 96) * torch.tensor([1.0, 20.0, 1000.0])[:, None, None, None]
    read = head.read(raw)
    np.testing.assert_array_equal(np.stack(read.labels), np.stack(head.decode(raw)))
    np.testing.assert_allclose(read.confidences, head.confidence(raw), atol=1e-6)
    np.testing.assert_allclose(read.entropies, head.entropy(raw), atol=1e-6)


def test_a_picture_is_normalised_bit_for_bit_as_by_the_formula() -> None:
    picture = np.arange(3 * 256, dtype=np.uint8).reshape(16, 16, 3)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    scaled = (picture - np.float32(mean) * 255) / (np.float32(std) * 255)
    for seen, expected in ((picture, scaled), (picture[:, ::-1], scaled[:, ::-1])):
        found = image_tensor(seen)
        assert found.is_contiguous()
        np.testing.assert_array_equal(found.numpy(), expected.transpose(2, 0, 1))
