"""Patches, their wiring and patch sets."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch

from patchline_ros.adaptation.trainer import train_adapted
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.patching.methods import adapted
from patchline_ros.patching.patch import Patch, PatchDesign
from patchline_ros.patching.patch_set import (
    PatchSetError,
    PatchSetMetadata,
    apply,
    checked_metadata,
    read_metadata,
    to_bytes,
)
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.backbone import GroupSpec
from patchline_ros.vision.model import ModelSpec, TaskModel, fingerprint
from patchline_ros.vision.torchvision_backbones import BACKBONES, cut_backbone


def model_of(task: Task, seed: int = 0) -> TaskModel:
    torch.manual_seed(seed)
    spec = ModelSpec(task=task, classes=("a", "b", "c"), input_size=(64, 64), width=0.25)
    return TaskModel(spec).eval()


def metadata(model: TaskModel, **changes: object) -> PatchSetMetadata:
    facts = {
        "task": model.spec.task,
        "version": 1,
        "base_fingerprint": fingerprint(model),
        "method": PatchSettings(k=3),
        "norm": "reestimated",
        "seed": 0,
    }
    return PatchSetMetadata.model_validate(facts | changes)


def patched(source: TaskModel, k: int = 3, **settings: object) -> PatchedModel:
    return PatchedModel(source, PatchSettings.model_validate({"k": k, **settings}))


def trained(source: TaskModel, k: int = 3, seed: int = 0) -> PatchedModel:
    torch.manual_seed(seed)
    rng = np.random.default_rng(0)
    samples = [Sample(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), i % 3) for i in range(6)]
    model = patched(source, k)
    scene = [sample.image for sample in samples]
    train_adapted(model, samples, [], scene, TrainingSettings(epochs=8), seed)
    return model


PAPERS_COUNTS = {  # backbone: channels of the taps, patch weights, and with batch norm
    "vgg16": ((3, 64, 128, 256, 512, 512), 434_368, None),
    "resnet50": ((64, 256, 512, 1024, 2048), 2_768_896, 2_776_576),
    "mobilenet_v2": ((32, 16, 24, 32, 64, 96, 160, 320), 76_416, 77_840),
    "swin_t": ((96, 192, 384, 768, 768), 976_896, None),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_patch_weights_are_the_papers_count(name: str) -> None:
    channels, weights, with_norm = PAPERS_COUNTS[name]
    with torch.device("meta"):
        backbone = cut_backbone(name).backbone
        plain = [Patch(spec, PatchDesign(init="xavier")) for spec in backbone.specs]
        normed = [Patch(spec, PatchDesign(init="xavier", norm=True)) for spec in backbone.specs]
    assert backbone.channels == channels
    assert sum(p.numel() for patch in plain for p in patch.parameters()) == weights
    if with_norm is not None:
        assert sum(p.numel() for patch in normed for p in patch.parameters()) == with_norm


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("size", [(64, 64), (75, 98)])
def test_a_patch_has_the_shape_of_its_group(name: str, size: tuple[int, int]) -> None:
    backbone = cut_backbone(name, 0.25).backbone.eval()
    with torch.no_grad():
        taps = backbone(torch.randn(1, 3, *size))
        for spec, below, above in zip(backbone.specs, taps, taps[1:], strict=False):
            assert Patch(spec)(below).shape == above.shape


def test_a_patch_is_made_as_designed() -> None:
    spec = GroupSpec(64, 64, 2)
    three = Patch(spec, PatchDesign(convolutions=3, norm=True))
    kinds = [type(layer).__name__ for layer in three.layers]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * 3
    assert [layer.stride[0] for layer in three.layers if hasattr(layer, "stride")] == [2, 1, 1]
    around = Patch(spec, PatchDesign(depthwise=True))
    assert [layer.groups for layer in around.layers if hasattr(layer, "groups")] == [1, 64]
    assert around(torch.randn(2, 64, 9, 9)).shape == (2, 64, 5, 5)
    spread = {
        init: Patch(spec, PatchDesign(init=init)).layers[0].weight.std().item()
        for init in ("normal", "xavier", "uniform")
    }
    # Deviations by their definitions: sqrt(2 / (in + out)) and bound / sqrt(3).
    assert spread["normal"] == pytest.approx(0.01, rel=0.1)
    assert spread["xavier"] == pytest.approx((2 / 128) ** 0.5, rel=0.1)
    assert spread["uniform"] == pytest.approx(64**-0.5 / 3**0.5, rel=0.1)


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("k", [1, 4, 7])
@pytest.mark.parametrize("wiring", ["inline", "detached", "side"])
def test_fresh_patches_change_nothing(task: Task, k: int, wiring: str) -> None:
    source = model_of(task)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before, after = source(images), patched(source, k, wiring=wiring).eval()(images)
    if task is Task.DETECTION:
        before, after = before.maps["cls_logits"], after.maps["cls_logits"]
    assert torch.equal(before, after)


class _Still(torch.nn.Module):
    """A frozen group as a detached wiring's gradient sees it: the values of one pass, constant."""

    def __init__(self, values: torch.Tensor) -> None:
        super().__init__()
        self.values = values

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.values


def smooth_model(wiring: str, **settings: object) -> PatchedModel:
    """In float64, with patches that do something."""
    model = patched(
        model_of(Task.CLASSIFICATION), 3, wiring=wiring, head="frozen", **settings
    ).double()
    with torch.no_grad():
        for parameter in model.patches.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


def by_definition(model: PatchedModel, images: torch.Tensor) -> list[torch.Tensor]:
    """Taps of three patches, written out from the equations."""
    groups, (one, two, three, *exits) = model.backbone.groups, model.patches
    x0 = model.backbone.stem(images)
    frozen = [x0]
    for group in groups:
        frozen.append(group(frozen[-1]))
    side = model.settings.wiring == "side"
    x1 = groups[0](x0) + one(x0)
    x2 = (frozen[2] if side else groups[1](x1)) + two(x1)
    x3 = (frozen[3] if side else groups[2](x2)) + three(x2)
    taps = [x0, x1, x2, x3]
    for i in range(3, 7):
        taps.append(frozen[i + 1] if side else groups[i](taps[-1]))
    for leaving in exits:
        taps[7] = taps[7] + leaving(x3)
    return taps


@pytest.mark.parametrize("wiring", ["inline", "detached", "side"])
def test_each_wiring_is_its_definition(wiring: str) -> None:
    model = smooth_model(wiring)
    assert len(model.patches) == (3 if wiring == "inline" else 4)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = by_definition(model, images)
        found = model.patched_taps(model.frozen_part(images))
    for one, other in zip(expected, found, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("wiring", ["inline", "detached", "side"])
def test_each_wiring_has_the_gradient_of_its_definition(wiring: str) -> None:
    model = smooth_model(wiring)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    targets = torch.tensor([0, 2])
    frozen = model.frozen_part(images)
    model.head.loss(model.trained_part(frozen), targets).backward()
    gradients = [p.grad.clone() for p in model.patches.parameters()]
    if wiring == "detached":
        # Its definition holds the frozen path constant: finite differences do so too.
        with torch.no_grad():
            taps = model.patched_taps(frozen)
            held = torch.nn.ModuleList(
                _Still(group(tap)) for group, tap in zip(model.backbone.groups, taps, strict=False)
            )
        model.backbone.groups = held

    def loss() -> float:
        with torch.no_grad():
            return model.head.loss(model.trained_part(frozen), targets).item()

    generator = torch.Generator().manual_seed(1)
    for parameter, gradient in zip(model.patches.parameters(), gradients, strict=True):
        flat = parameter.data.view(-1)
        index = int(torch.randint(len(flat), (1,), generator=generator))
        value, step = float(flat[index]), 1e-6
        flat[index] = value + step
        above = loss()
        flat[index] = value - step
        below = loss()
        flat[index] = value
        numeric = (above - below) / (2 * step)
        assert float(gradient.view(-1)[index]) == pytest.approx(numeric, abs=1e-7, rel=1e-4)


def test_detached_and_side_gradients_never_cross_a_frozen_group() -> None:
    images = torch.randn(1, 3, 64, 64)
    for wiring, crosses in (("inline", True), ("detached", False), ("side", False)):
        model = patched(model_of(Task.CLASSIFICATION), 3, wiring=wiring)
        with torch.no_grad():
            for patch in model.patches:
                patch.scale.fill_(0.5)
        seen: list[bool] = []
        deepest = model.backbone.groups[-1]
        deepest.register_forward_hook(lambda *a, s=seen: s.append(a[2].requires_grad))
        model(images)
        assert seen == [crosses]


def test_a_skipped_group_has_no_patch_and_is_spanned() -> None:
    source = model_of(Task.CLASSIFICATION)
    inline = patched(source, 3, wiring="inline", skip={2})
    assert [patch.spec for patch in inline.patches] == [
        source.backbone.specs[0],
        source.backbone.specs[2],
    ]
    side = patched(source, 3, skip={2})
    first, second, leaving = (patch.spec for patch in side.patches)
    channels = source.backbone.channels
    assert (first.in_channels, first.out_channels) == channels[:2]
    assert (second.in_channels, second.out_channels, second.stride) == (channels[1], channels[3], 4)
    assert (leaving.in_channels, leaving.out_channels, leaving.stride) == (
        channels[3],
        channels[7],
        4,
    )
    with pytest.raises(ValueError, match="at least one must be patched"):
        PatchSettings(k=2, skip=frozenset({1, 2}))
    with pytest.raises(ValueError, match="can't be skipped"):
        PatchSettings(k=2, skip=frozenset({3}))


def test_a_number_of_patches_that_comes_from_outside_takes_no_memory() -> None:
    tracemalloc.start()
    try:
        settings = PatchSettings(k=10**7)
        with pytest.raises(ValueError, match="10000000 patches asked for"):
            adapted(model_of(Task.CLASSIFICATION), settings)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_training_moves_patches_and_leaves_the_source_alone() -> None:
    source = model_of(Task.CLASSIFICATION)
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
    source = model_of(Task.CLASSIFICATION)
    first, second = (to_bytes(trained(source), metadata(source)) for _ in range(2))
    assert first == second
    assert to_bytes(trained(source, seed=1), metadata(source)) != first


def test_warm_start_takes_the_patches_over() -> None:
    one, other = patched(model_of(Task.CLASSIFICATION)), patched(model_of(Task.SEGMENTATION, 1))
    with torch.no_grad():
        for parameter in one.patches.parameters():
            parameter.normal_()
    other.warm_start(one)
    for a, b in zip(one.patches.parameters(), other.patches.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="do not fit"):
        other.warm_start(patched(model_of(Task.CLASSIFICATION), 4))
    with pytest.raises(ValueError, match="do not fit"):
        other.warm_start(patched(model_of(Task.CLASSIFICATION), 3, wiring="inline"))
    with pytest.raises(ValueError, match="1 to 7"):
        patched(model_of(Task.CLASSIFICATION), 8)


def _rewrite(data: bytes, change) -> bytes:
    """The file with another header."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _deep(data: bytes) -> bytes:
    """The file with a header of more brackets than Python's JSON reader bears."""
    length = int.from_bytes(data[:8], "little")
    return (100_000).to_bytes(8, "little") + b"[" * 100_000 + data[8 + length :]


def _with_nan(source: TaskModel) -> bytes:
    model = patched(source)
    with torch.no_grad():
        model.patches[0].layers[0].weight[0, 0] = float("nan")
    return to_bytes(model, metadata(source))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s, d: d[:-10], "can't be read"),
        (lambda s, d: b"nonsense", "header does not fit"),
        (lambda s, d: b"", "header does not fit"),
        (lambda s, d: b"\xff" * 64, "header does not fit"),
        (lambda s, d: _deep(d), "no patch set metadata"),
        (lambda s, d: _with_nan(s), "not finite"),
        (lambda s, d: to_bytes(patched(s).double(), metadata(s)), r"is torch\.float64"),
        (lambda s, d: to_bytes(patched(s, 2), metadata(s)), "lacks"),
        (lambda s, d: to_bytes(patched(s, 4), metadata(s)), "unknown tensors"),
        (
            lambda s, d: to_bytes(patched(s), metadata(s, task=Task.SEGMENTATION)),
            "for segmentation",
        ),
        (lambda s, d: to_bytes(patched(s), metadata(s, base_fingerprint="0")), "another"),
        (lambda s, d: to_bytes(patched(s), metadata(s, method=PatchSettings(k=9))), "9 patches"),
        (lambda s, d: _rewrite(d, lambda h: h.pop("__metadata__")), "no patch set metadata"),
        (lambda s, d: _rewrite(d, lambda h: h["__metadata__"].update(patchline="{}")), "task"),
        (lambda s, d: _rewrite(d, lambda h: h.pop("patches.0.scale")), "can't be read"),
        (lambda s, d: d[:-1] + bytes([d[-1] ^ 1]), "is damaged"),
    ],
)
def test_a_bad_patch_set_is_refused_with_a_sentence(damage, message: str) -> None:
    source = model_of(Task.CLASSIFICATION)
    good = to_bytes(patched(source), metadata(source))
    assert read_metadata(good).method.k == 3
    with pytest.raises(PatchSetError, match=message):
        apply(source, fingerprint(source), damage(source, good))


def test_a_damaged_patch_set_is_known_without_its_model() -> None:
    source = model_of(Task.CLASSIFICATION)
    good = to_bytes(patched(source), metadata(source))
    assert checked_metadata(good) == read_metadata(good)
    for damaged in (good[:-10], good[:-1] + bytes([good[-1] ^ 1])):
        with pytest.raises(PatchSetError, match="is damaged"):
            checked_metadata(damaged)


@pytest.mark.parametrize("task", list(Task))
def test_a_fresh_side_head_changes_nothing_and_computes_no_decoder(task: Task) -> None:
    source = model_of(task)
    model = patched(source, 2, head="side")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before, frozen = source(images), model.eval().frozen_part(images)
    ran: list[bool] = []
    last = {id(m) for layer in model.head.last_layers() for m in layer.modules()}
    for module in model.head.modules():
        if id(module) not in last and next(module.parameters(recurse=False), None) is not None:
            module.register_forward_hook(lambda *_: ran.append(True))
    after = model.trained_part(frozen)
    if task is Task.DETECTION:
        before, after = before.maps["cls_logits"], after.maps["cls_logits"]
    assert torch.equal(before, after)
    assert ran == []
    with pytest.raises(ValueError, match="use side wiring"):
        PatchSettings(k=1, wiring="inline", head="side")


def test_a_strided_patch_of_few_channels_trains_with_channels_last() -> None:
    """In a process of its own: what goes wrong there is memory, and it ends the process."""
    script = """
import torch
from patchline_ros.patching.patch import Patch, PatchDesign
from patchline_ros.vision.backbone import GroupSpec

torch.set_num_threads(1)
patch = Patch(GroupSpec(8, 16, 2), PatchDesign(init="normal"))
for _ in range(60):
    tap = torch.randn(4, 8, 96, 128).to(memory_format=torch.channels_last)
    patch.zero_grad()
    out = patch(tap)
    out.sum().backward()
    seen = torch.einsum("nohw,nihw->oi", (out > 0).float(), tap[:, :, ::2, ::2])
    gradient = patch.layers[0].weight.grad[:, :, 0, 0]
    torch.testing.assert_close(gradient, seen, rtol=1e-3, atol=1e-2)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
