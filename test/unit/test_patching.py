"""Patches, their wiring and patch sets."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from patchline_ros.adaptation.trainer import TrainingSettings, train_patches
from patchline_ros.patching.patch import Patch
from patchline_ros.patching.patch_set import (
    PatchSetError,
    PatchSetMetadata,
    apply,
    read_metadata,
    to_bytes,
)
from patchline_ros.patching.patched_model import PatchedModel
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.model import ModelSpec, TaskModel, fingerprint
from patchline_ros.vision.torchvision_backbones import cut_backbone


def model_of(task: Task, seed: int = 0) -> TaskModel:
    torch.manual_seed(seed)
    spec = ModelSpec(task=task, classes=("a", "b", "c"), input_size=(64, 64), width=0.25)
    return TaskModel(spec).eval()


def metadata(model: TaskModel, **changes: object) -> PatchSetMetadata:
    facts = {
        "task": model.spec.task,
        "version": 1,
        "base_fingerprint": fingerprint(model),
        "k": 3,
        "norm": "reestimated",
        "seed": 0,
    }
    return PatchSetMetadata.model_validate(facts | changes)


def trained(source: TaskModel, k: int = 3, seed: int = 0) -> PatchedModel:
    torch.manual_seed(seed)
    rng = np.random.default_rng(0)
    samples = [Sample(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), i % 3) for i in range(6)]
    model = PatchedModel(source, k)
    scene = [sample.image for sample in samples]
    train_patches(model, samples, [], scene, None, TrainingSettings(epochs=8), seed, lambda _: None)
    return model


def test_patch_weights_are_the_papers_count() -> None:
    patches = [Patch(spec) for spec in cut_backbone("mobilenet_v2").backbone.specs]
    assert sum(patch.conv.weight.numel() for patch in patches) == 76_416


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("k", [1, 4, 7])
def test_fresh_patches_change_nothing(task: Task, k: int) -> None:
    source = model_of(task)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before, after = source(images), PatchedModel(source, k).eval()(images)
    if task is Task.OBJECTS:
        before, after = before.maps["cls_logits"], after.maps["cls_logits"]
    assert torch.equal(before, after)


def test_side_wiring_has_the_gradient_of_its_definition() -> None:
    source = model_of(Task.SIGNS).double()
    model = PatchedModel(source, 3).double().eval()
    with torch.no_grad():
        for parameter in model.patch_parameters():
            parameter.normal_(std=0.3)
    frozen = model.frozen_taps(torch.randn(2, 3, 64, 64, dtype=torch.float64))
    targets = torch.tensor([0, 2])

    def loss() -> torch.Tensor:
        return model.head.loss(model.from_taps(frozen), targets)

    loss().backward()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.patch_parameters():
        flat = parameter.data.view(-1)
        index = int(torch.randint(len(flat), (1,), generator=generator))
        value, step = float(flat[index]), 1e-6
        with torch.no_grad():
            flat[index] = value + step
            above = loss().item()
            flat[index] = value - step
            below = loss().item()
            flat[index] = value
        numeric = (above - below) / (2 * step)
        assert float(parameter.grad.view(-1)[index]) == pytest.approx(numeric, abs=1e-7, rel=1e-4)


def test_training_moves_patches_and_leaves_the_source_alone() -> None:
    source = model_of(Task.SIGNS)
    before = copy.deepcopy(source.state_dict())
    model = trained(source)
    assert all(torch.equal(before[name], value) for name, value in source.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in model.backbone.parameters())
    frozen = {name: value for name, value in before.items() if name.startswith("backbone.")}
    own = model.state_dict()
    weights = [n for n in frozen if "running" not in n and "num_batches" not in n]
    assert all(torch.equal(frozen[name], own[name]) for name in weights)
    assert all(patch.scale.abs().sum().item() > 0 for patch in model.patches)


def test_one_seed_gives_one_patch_set() -> None:
    source = model_of(Task.SIGNS)
    first, second = (to_bytes(trained(source), metadata(source)) for _ in range(2))
    assert first == second
    assert to_bytes(trained(source, seed=1), metadata(source)) != first


@pytest.mark.parametrize("task", list(Task))
def test_a_patch_set_gives_the_adapted_model_back(task: Task) -> None:
    source = model_of(task)
    model = PatchedModel(source, 3).eval()
    with torch.no_grad():
        for parameter in [*model.patch_parameters(), *model.head.parameters()]:
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for name, buffer in model.backbone.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.1)
    again = apply(source, fingerprint(source), to_bytes(model, metadata(source)))
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        one, two = model(images), again(images)
    if task is Task.OBJECTS:
        one, two = one.maps["bbox_regression"], two.maps["bbox_regression"]
    assert torch.equal(one, two)


def test_warm_start_takes_the_patches_over() -> None:
    one, other = PatchedModel(model_of(Task.SIGNS), 3), PatchedModel(model_of(Task.LANES, 1), 3)
    with torch.no_grad():
        for parameter in one.patch_parameters():
            parameter.normal_()
    other.warm_start(one)
    for a, b in zip(one.patch_parameters(), other.patch_parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="do not fit"):
        other.warm_start(PatchedModel(model_of(Task.SIGNS), 4))
    with pytest.raises(ValueError, match="1 to 7"):
        PatchedModel(model_of(Task.SIGNS), 8)


def _rewrite(data: bytes, change) -> bytes:
    """The file with another header."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _with_nan(source: TaskModel) -> bytes:
    model = PatchedModel(source, 3)
    with torch.no_grad():
        model.patches[0].conv.weight[0, 0] = float("nan")
    return to_bytes(model, metadata(source))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s, d: d[:-10], "can't be read"),
        (lambda s, d: b"nonsense", "header does not fit"),
        (lambda s, d: b"", "header does not fit"),
        (lambda s, d: b"\xff" * 64, "header does not fit"),
        (lambda s, d: _with_nan(s), "not finite"),
        (lambda s, d: to_bytes(PatchedModel(s, 2), metadata(s)), "lacks"),
        (lambda s, d: to_bytes(PatchedModel(s, 4), metadata(s)), "unknown tensors"),
        (lambda s, d: to_bytes(PatchedModel(s, 3), metadata(s, task=Task.LANES)), "for lanes"),
        (lambda s, d: to_bytes(PatchedModel(s, 3), metadata(s, base_fingerprint="0")), "another"),
        (lambda s, d: to_bytes(PatchedModel(s, 3), metadata(s, k=9)), "9 patches"),
        (lambda s, d: _rewrite(d, lambda h: h.pop("__metadata__")), "no patch set metadata"),
        (lambda s, d: _rewrite(d, lambda h: h["__metadata__"].update(patchline="{}")), "task"),
        (lambda s, d: _rewrite(d, lambda h: h.pop("patches.0.scale")), "can't be read"),
    ],
)
def test_a_bad_patch_set_is_refused_with_a_sentence(damage, message: str) -> None:
    source = model_of(Task.SIGNS)
    good = to_bytes(PatchedModel(source, 3), metadata(source))
    assert read_metadata(good).k == 3
    with pytest.raises(PatchSetError, match=message):
        apply(source, fingerprint(source), damage(source, good))
