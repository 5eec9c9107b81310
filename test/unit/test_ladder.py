"""Ladder-Side-Tuning, and the pruning that its side path starts from."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from patchline_ros.patching.ladder import LadderModel, LadderSettings
from patchline_ros.patching.methods import adapted
from patchline_ros.patching.patch_set import PatchSetMetadata, apply, to_bytes
from patchline_ros.patching.pruning import chosen_channels, thinned
from patchline_ros.tasks import Task
from patchline_ros.vision.backbone import GroupSpec, reestimate_norm
from patchline_ros.vision.model import ModelSpec, TaskModel, fingerprint
from patchline_ros.vision.torchvision_backbones import BACKBONES, cut_backbone

HEADS = {Task.CLASSIFICATION: "classifier", Task.SEGMENTATION: "fpn"}
TARGETS = {
    Task.CLASSIFICATION: torch.tensor([0, 1, 2, 1]),
    Task.SEGMENTATION: torch.arange(4 * 64 * 64).view(4, 64, 64) // 700 % 3,
}


def model_of(backbone: str, task: Task = Task.CLASSIFICATION) -> TaskModel:
    source = untrained(backbone, task)
    torch.manual_seed(0)
    return source


@cache
def untrained(backbone: str, task: Task) -> TaskModel:
    torch.manual_seed(0)
    size, classes = (64, 64), ("a", "b", "c")
    spec = ModelSpec(
        task=task, classes=classes, input_size=size, backbone=backbone, head=HEADS[task], width=0.25
    )
    model = TaskModel(spec).eval()
    # Activations of a random network grow from block to block, until a step of any size is a leap.
    reestimate_norm(model.backbone, [pictures()])
    return model


def pictures(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)).to(dtype)


def stirred(settings: LadderSettings, backbone: str) -> LadderModel:
    """A ladder that does something, in float64, and without kinks."""
    model = adapted(model_of(backbone), settings).double()
    for parent in list(model.ladder.modules()):
        for name, child in parent.named_children():
            if isinstance(child, (nn.ReLU, nn.ReLU6)):
                setattr(parent, name, nn.GELU())
            elif isinstance(child, nn.MaxPool2d):
                setattr(parent, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    with torch.no_grad():
        for parameter in [model.ladder.alpha, *model.ladder.ups.parameters()]:
            parameter.normal_(std=0.1)
    return model.eval()


def randomised(backbone: nn.Module) -> nn.Module:
    """In float64, with norms that do something."""
    with torch.no_grad():
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
            if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
                module.weight.normal_()
                module.bias.normal_()
            elif isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                module.bias.normal_()
    return backbone.double().eval()


def rest_of(width: int, kept: Tensor) -> Tensor:
    rest = torch.ones(width, dtype=torch.bool)
    rest[kept] = False
    return rest


@pytest.mark.parametrize("reduction", [4, 8])
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "mobilenet_v2"])
def test_a_thin_group_computes_what_the_group_does_when_nothing_else_is_in_it(
    name: str, reduction: int
) -> None:
    torch.manual_seed(0)
    backbone = randomised(cut_backbone(name, 0.25).backbone)
    given: dict[int, Tensor] = {}
    with torch.no_grad():
        for group, spec in zip(backbone.groups, backbone.specs, strict=True):
            convolutions = [m for m in group.modules() if isinstance(m, nn.Conv2d)]
            widths = {spec.in_channels, *(c.out_channels for c in convolutions)}
            keep = {w: torch.randperm(w)[: -(-w // reduction)].sort().values for w in widths}
            keep[3] = torch.arange(3)
            keep[spec.in_channels] = given.get(spec.in_channels, keep[spec.in_channels])
            for module in group.modules():
                if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
                    rest = rest_of(len(module.weight), keep[len(module.weight)])
                    for values in (module.weight, module.bias):
                        if values is not None:
                            values[rest] = 0
            read, written = keep[spec.in_channels], keep[spec.out_channels]
            chosen = chosen_channels(group, spec, reduction, {spec.in_channels: read})
            assert all(torch.equal(chosen[width], keep[width]) for width in widths)

            inside = torch.randn(2, len(read), 16, 16, dtype=torch.float64)
            picture = inside.new_zeros(2, spec.in_channels, 16, 16)
            picture[:, read] = inside
            before = copy.deepcopy(group.state_dict())
            found, expected = thinned(group, chosen)(inside.clone()), group(picture)
            assert torch.allclose(found, expected[:, written], rtol=1e-10, atol=1e-12)
            assert not expected[:, rest_of(spec.out_channels, written)].any()
            assert all(torch.equal(before[k], v) for k, v in group.state_dict().items())
            given = {spec.out_channels: written}


@pytest.mark.parametrize("reduction", [4, 8])
def test_a_thin_swin_group_computes_what_the_group_does_when_the_rest_repeats_it(
    reduction: int,
) -> None:
    """A layer norm takes mean and deviation of all channels: zeros would change them.

    So each channel between the blocks repeats a kept one, and within the blocks the rest is zero.
    """
    torch.manual_seed(0)
    backbone = randomised(cut_backbone("swin_t", 0.25).backbone)
    group, spec = backbone.groups[0], backbone.specs[0]
    heads, per_head, width = 3, 8 // reduction, 24
    read = torch.cat([torch.randperm(8)[:per_head].sort().values + 8 * h for h in range(heads)])
    written = torch.cat([torch.randperm(8)[:per_head].sort().values + 8 * h for h in range(6)])
    repeats = torch.randperm(width) % len(read)
    repeats[read] = torch.arange(len(read))
    # Each kept channel is there equally often.
    others = rest_of(width, read).nonzero().flatten()
    repeats[others] = torch.arange(len(others)) % len(read)
    source = read[repeats]
    rest = rest_of(width, read)
    with torch.no_grad():
        for layer in group.modules():
            if isinstance(layer, nn.LayerNorm):
                parts = layer.weight.shape[0] // width
                index = torch.cat([source + width * part for part in range(parts)])
                layer.weight.copy_(layer.weight[index])
                layer.bias.copy_(layer.bias[index])
            if isinstance(layer, nn.Linear):
                layer.weight[:, rest.repeat(layer.in_features // width)] = 0
                if layer.out_features == width:
                    layer.weight.copy_(layer.weight[source])
                    layer.bias.copy_(layer.bias[source])
                elif layer.out_features == spec.out_channels:
                    layer.weight[rest_of(spec.out_channels, written)] = 0
                else:
                    inner = rest.repeat(layer.out_features // width)
                    layer.weight[inner] = 0
                    layer.bias[inner] = 0
        chosen = chosen_channels(group, spec, reduction, {})
        assert torch.equal(chosen[width], read)
        assert torch.equal(chosen[spec.out_channels], written)
        thin = thinned(group, chosen)
        # The one difference: attention divides by the square root of its own head width.
        for layer in thin.modules():
            if isinstance(layer, nn.Linear) and layer.out_features == 3 * len(read):
                layer.weight[: len(read)] /= reduction**0.5
                layer.bias[: len(read)] /= reduction**0.5
        inside = torch.randn(2, len(read), 16, 18, dtype=torch.float64)
        found, expected = thin(inside), group(inside[:, repeats])
    assert torch.allclose(found, expected[:, written], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", BACKBONES)
def test_thin_weights_are_slices_of_the_largest(name: str) -> None:
    torch.manual_seed(0)
    backbone = cut_backbone(name, 0.25).backbone
    group, spec = backbone.groups[-2], backbone.specs[-2]
    first = torch.arange(0, spec.in_channels, 4)
    chosen = chosen_channels(group, spec, 4, {spec.in_channels: first})
    thin = thinned(group, chosen)
    assert torch.equal(chosen[spec.in_channels], first)
    compared = 0
    for wide, narrow in zip(group.modules(), thin.modules(), strict=True):
        if isinstance(wide, (nn.Conv2d, nn.Linear)):
            rows = chosen[wide.weight.shape[0]].numpy()
            depthwise = getattr(wide, "groups", 1) > 1
            columns = np.arange(1) if depthwise else chosen[wide.weight.shape[1]].numpy()
            expected = wide.weight.detach().numpy()[np.ix_(rows, columns)]
            assert np.array_equal(narrow.weight.detach().numpy(), expected)
            assert getattr(narrow, "groups", 1) == (len(rows) if depthwise else 1)
            compared += 1
    assert compared >= 3


def test_a_width_that_nothing_writes_has_to_be_given() -> None:
    group, spec = nn.Sequential(nn.Conv2d(8, 16, 1)), GroupSpec(8, 16, 1)
    with pytest.raises(ValueError, match="nothing in the group writes its 8 channels"):
        chosen_channels(group, spec, 4, {})
    with pytest.raises(ValueError, match="GroupNorm can't be thinned"):
        chosen_channels(nn.Sequential(nn.GroupNorm(2, 8)), spec, 4, {})
    with pytest.raises(ValueError, match="in 2 groups can't be thinned"):
        chosen_channels(nn.Sequential(nn.Conv2d(8, 16, 1, groups=2)), spec, 4, {})


@pytest.mark.parametrize("task", HEADS)
@pytest.mark.parametrize(("rungs", "reduction"), [("stage", 4), ("block", 8)])
@pytest.mark.parametrize("name", BACKBONES)
def test_a_fresh_ladder_changes_nothing(name: str, reduction: int, rungs: str, task: Task) -> None:
    source = model_of(name, task)
    model = adapted(source, LadderSettings(reduction=reduction, rungs=rungs)).eval()
    with torch.no_grad():
        assert torch.equal(source(pictures()), model(pictures()))


def by_definition(model: LadderModel, images: Tensor) -> list[Tensor]:
    """The taps, written out from the equations of the module."""
    ladder, backbone = model.ladder, model.backbone
    h = backbone.stem(images)
    s = ladder.downs[0](h)
    taps, i = [h], 0
    for j, group in enumerate(backbone.groups, start=1):
        for block in group if model.settings.rungs == "block" else [group]:
            i += 1
            h = block(h)
            mu = 1 / (1 + torch.exp(-ladder.alpha[i - 1] / 0.1))
            s = mu * ladder.steps[i - 1](s) + (1 - mu) * ladder.downs[i](h)
        taps.append(h + ladder.ups[str(j)](s) if str(j) in ladder.ups else h)
    return taps


@pytest.mark.parametrize("rungs", ["stage", "block"])
@pytest.mark.parametrize("name", BACKBONES)
def test_a_ladder_is_its_definition_and_has_its_gradient(name: str, rungs: str) -> None:
    model = stirred(LadderSettings(rungs=rungs, head="frozen"), name)
    images, targets = pictures(torch.float64), TARGETS[Task.CLASSIFICATION]
    frozen = model.frozen_part(images)
    with torch.no_grad():
        for found, expected in zip(model.ladder(frozen), by_definition(model, images), strict=True):
            assert torch.allclose(found, expected, rtol=1e-10, atol=1e-12)
    model.head.loss(model.trained_part(frozen), targets).backward()
    parameters = [p for p in model.ladder.parameters() if p.grad is not None]
    assert len(parameters) == len(list(model.ladder.parameters()))

    def loss(directions: list[Tensor], step: float) -> float:
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter += step * direction
            value = model.head.loss(model.head(by_definition(model, images)), targets).item()
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter -= step * direction
        return value

    step = 1e-5
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        directions = [
            torch.randn(p.shape, dtype=p.dtype, generator=generator) * p.grad.norm()
            for p in parameters
        ]
        length = torch.stack([direction.square().sum() for direction in directions]).sum().sqrt()
        directions = [direction / length for direction in directions]
        slope = sum(
            float((parameter.grad * direction).sum())
            for parameter, direction in zip(parameters, directions, strict=True)
        )
        numeric = (loss(directions, step) - loss(directions, -step)) / (2 * step)
        assert slope == pytest.approx(numeric, rel=1e-5)


def test_only_taps_that_the_head_reads_get_an_up() -> None:
    of_classifier = adapted(model_of("mobilenet_v2"), LadderSettings())
    assert list(of_classifier.ladder.ups) == ["7"]
    # The pyramid reads the deepest tap of each of the strides 4, 8, 16 and 32.
    of_pyramid = adapted(model_of("mobilenet_v2", Task.SEGMENTATION), LadderSettings())
    assert list(of_pyramid.ladder.ups) == ["2", "3", "5", "7"]


@pytest.mark.parametrize(
    ("rungs", "reduction", "task"),
    [("stage", 8, Task.CLASSIFICATION), ("block", 4, Task.SEGMENTATION)],
)
@pytest.mark.parametrize("name", BACKBONES)
def test_a_ladder_trains_without_touching_the_backbone_and_survives_saving(
    name: str, rungs: str, reduction: int, task: Task
) -> None:
    source = model_of(name, task)
    base = fingerprint(source)
    settings = LadderSettings(rungs=rungs, reduction=reduction, head="frozen")
    model = adapted(source, settings)
    parts = model.trained_parameters()
    assert list(parts) == ["adapter"]
    optimiser = torch.optim.Adam(parts["adapter"], lr=3e-3)
    model.train()
    crossed: list[bool] = []
    for module in model.backbone.modules():
        module.register_forward_hook(lambda *a: crossed.append(a[2].requires_grad))
    frozen = model.frozen_part(pictures())
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        loss = model.head.loss(model.trained_part(frozen), TARGETS[task])
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < losses[0] - 0.01
    assert crossed and not any(crossed)
    assert all(p.grad is None for p in [*model.backbone.parameters(), *model.head.parameters()])
    assert all(p.grad is not None and p.grad.any() for p in model.ladder.downs.parameters())
    for part in ("backbone", "head"):
        own = getattr(model, part).state_dict()
        assert all(torch.equal(own[k], v) for k, v in getattr(source, part).state_dict().items())
    facts = PatchSetMetadata(
        task=task, version=1, base_fingerprint=base, method=settings, norm="source", seed=0
    )
    again = apply(source, base, to_bytes(model, facts))
    assert fingerprint(source) == base
    model.eval()
    with torch.no_grad():
        assert torch.equal(again(pictures()), model(pictures()))
        assert not torch.equal(model(pictures()), source(pictures()))
