"""Counted FLOPs against counts by hand and the paper's, memory, Algorithm 1, `patchline cost`."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from patchline_ros.cli.app import app
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.cost.live_tensors import LiveTensors
from patchline_ros.cost.memory import output_sum, saved_for_backward
from patchline_ros.cost.part_flops import counted_by_part
from patchline_ros.cost.shapes import meta_device
from patchline_ros.cost.step_cost import (
    MethodCost,
    largest_affordable_k,
    method_cost,
    patch_forward,
    source_forward,
)
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.fine_tuned import FineTuneSettings
from patchline_ros.patching.ladder import LadderSettings
from patchline_ros.patching.methods import MethodSettings, adapted
from patchline_ros.patching.patch import PatchDesign
from patchline_ros.patching.patched_model import PatchSettings, Wiring
from patchline_ros.vision.model import ModelSpec, TaskModel
from patchline_ros.vision.torchvision_backbones import BACKBONES

SIX = ("a", "b", "c", "d", "e", "f")
FULL = FineTuneSettings(method="ft_full")


def of_paper(name: str) -> ModelSpec:
    return ModelSpec.named(name, SIX, (350, 350))


def small(name: str) -> ModelSpec:
    return ModelSpec.named(name, SIX, (64, 96), width=0.25)


def groups_of(spec: ModelSpec) -> int:
    with torch.device("meta"):
        return len(TaskModel(spec).backbone.specs)


def on_meta(spec: ModelSpec, settings: MethodSettings) -> AdaptedModel:
    with meta_device():
        return adapted(TaskModel(spec), settings).train()


@pytest.mark.parametrize("groups", [1, 4, 8], ids=["dense", "grouped", "depthwise"])
@pytest.mark.parametrize("input_gradient", [False, True])
def test_a_convolution_is_counted_as_by_hand(groups: int, input_gradient: bool) -> None:
    convolution = nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=groups)
    images = torch.randn(5, 8, 10, 12, requires_grad=input_gradient)
    # 5 images of 5 x 6 outputs in 16 channels, each the sum of 8 / groups inputs at 9 places.
    forward = 2 * 5 * (5 * 6 * 16) * (8 // groups * 9)
    with FlopCounter() as flops:
        loss = convolution(images).sum()
        assert flops.total == forward
        loss.backward()
    assert flops.total == forward * (3 if input_gradient else 2)


def test_a_transposed_convolution_and_a_product_are_counted_as_by_hand() -> None:
    transposed = nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2)
    images = torch.randn(3, 6, 5, 7, requires_grad=True)
    with FlopCounter() as flops:
        transposed(images).sum().backward()
    # Each of the 5 x 7 inputs in 6 channels adds to 4 / 2 channels at 2 x 2 places.
    assert flops.total == 3 * 2 * 3 * (5 * 7 * 6) * (2 * 4)
    linear = nn.Linear(6, 4)
    rows = torch.randn(3, 5, 6, requires_grad=True)
    with FlopCounter() as flops:
        linear(rows).sum().backward()
    assert flops.total == 3 * 2 * (3 * 5) * 6 * 4


def test_pytorchs_own_count_of_mobilenets_backward_is_ten_times_too_large() -> None:
    spec = of_paper("mobilenet_v2")
    model = on_meta(spec, FULL)
    images = torch.empty(2, 3, 350, 350, device="meta")
    theirs, ours = FlopCounterMode(display=False), FlopCounter()
    for counter in (theirs, ours):
        with meta_device():
            loss = output_sum(model(images))
            with counter:
                loss.backward()
    # As much for each layer's weights and inputs as forward, but for the picture's gradient.
    first_layer = 2 * 175 * 175 * 32 * (3 * 9)
    assert ours.total == 2 * (2 * source_forward(spec) - first_layer)
    assert ours.total / 2e9 == pytest.approx(2.9, abs=0.05)
    assert theirs.get_total_flops() / 2e9 == pytest.approx(28.8, abs=0.05)


@pytest.mark.parametrize(("name", "gflops"), [("vgg16", 73.6), ("mobilenet_v2", 1.5)])
def test_source_models_cost_what_the_paper_says(name: str, gflops: float) -> None:
    assert source_forward(of_paper(name)) / 1e9 == pytest.approx(gflops, abs=0.05)


@pytest.mark.parametrize(
    ("name", "k", "gflops"),
    [
        ("resnet50", 1, 0.2538),  # paper, Table 7: 0.254
        ("resnet50", 3, 1.2688),  # 1.269
        ("resnet50", 4, 1.7763),  # 1.776
        ("mobilenet_v2", 7, 0.0643),  # 0.065
    ],
)
def test_patches_cost_what_the_paper_says(name: str, k: int, gflops: float) -> None:
    counted = patch_forward(of_paper(name), PatchSettings(k=k, wiring="inline"))
    assert counted / 1e9 == pytest.approx(gflops, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "wiring"),
    [
        ("vgg16", "side"),
        ("unet_resnet50", "inline"),
        ("yolov4_mobilenet_v2", "inline"),
        ("deeplabv3plus_swin_t", "side"),
    ],
)
def test_each_part_costs_what_it_costs_alone(name: str, wiring: Wiring) -> None:
    spec = small(name)
    settings, batch = PatchSettings(k=groups_of(spec), wiring=wiring), 2
    cost = method_cost(spec, settings, batch)
    model = adapted(TaskModel(spec), settings).train()
    with torch.no_grad():
        taps = model.backbone(torch.zeros(batch, 3, *spec.input_size))
        with FlopCounter() as flops:
            summands = [p(tap) for p, tap in zip(model.patches, taps, strict=False)]
    patches, first = flops.total // batch, 2 * summands[0].numel() * taps[0].shape[1] // batch
    assert cost.parts["adapter"].forward == patches
    # The first patch reads the stem, which needs no gradient.
    assert cost.parts["adapter"].backward == 2 * patches - first
    leaves = [tap.requires_grad_(i > 0) for i, tap in enumerate(taps)]
    with FlopCounter() as flops:
        loss = output_sum(model.head(leaves))
        assert flops.total // batch == cost.parts["head"].forward
        before = flops.total
        loss.backward()
    assert (flops.total - before) // batch == cost.parts["head"].backward
    frozen = method_cost(spec, settings.model_copy(update={"head": "frozen"}), batch)
    assert cost.head_input_gradient == frozen.parts["head"].backward
    assert frozen.head_input_gradient == frozen.parts["head"].backward


def real_step(spec: ModelSpec, settings: MethodSettings) -> tuple[int, int]:
    """FLOPs of a whole step of two images, and the bytes saved for its backward pass."""
    torch.manual_seed(0)
    model = adapted(TaskModel(spec), settings).train()
    images = torch.randn(2, 3, *spec.input_size)
    with FlopCounter() as flops:
        with saved_for_backward(model) as saved:
            loss = output_sum(model(images))
        loss.backward()
    return flops.total, saved.bytes


@pytest.mark.parametrize("name", ["resnet50", "fpn_mobilenet_v2", "swin_t"])
@pytest.mark.parametrize(
    "settings",
    [FULL, PatchSettings(k=2, wiring="inline"), PatchSettings(k=2), LadderSettings()],
    ids=["ft_full", "inline", "side", "lst"],
)
def test_a_real_step_costs_what_was_counted_without_one(
    name: str, settings: MethodSettings
) -> None:
    spec = small(name)
    cost = method_cost(spec, settings, 2)
    flops, saved = real_step(spec, settings)
    assert flops == 2 * cost.uncached
    # Without data, a batch norm that evaluates also keeps two numbers a channel.
    assert saved == pytest.approx(cost.saved_bytes, rel=0.02)


@pytest.mark.parametrize("name", BACKBONES)
def test_side_costs_no_more_than_detached_than_inline_than_everything(name: str) -> None:
    spec = of_paper(name)
    k = groups_of(spec)
    side, detached, inline, full = (
        method_cost(spec, settings, 2)
        for settings in (
            *(PatchSettings(k=k, wiring=w) for w in ("side", "detached", "inline")),
            FULL,
        )
    )

    def backward(cost: MethodCost) -> int:
        return sum(part.backward for part in cost.parts.values())

    assert backward(side) <= backward(detached) < backward(inline) < backward(full)
    assert side.cached < detached.cached < inline.cached < full.cached
    assert side.saved_bytes <= detached.saved_bytes < inline.saved_bytes
    assert detached.saved_bytes < full.saved_bytes
    # Below FT-full by these shares of a step.
    assert 0.28 < 1 - inline.uncached / full.uncached < 0.38
    assert 0.57 < 1 - detached.uncached / full.uncached < 0.67
    assert 0.57 < 1 - side.paper / full.paper < 0.67
    if name != "vgg16":  # Whose first patch works on as many pixels as the picture has.
        assert 0.08 < 1 - inline.saved_bytes / full.saved_bytes < 0.62
        assert 0.77 < 1 - side.saved_bytes / full.saved_bytes < 0.98


def test_both_accountings_are_sums_of_parts() -> None:
    spec = of_paper("resnet50")
    side, inline, full = (
        method_cost(spec, settings, 2)
        for settings in (PatchSettings(k=4), PatchSettings(k=4, wiring="inline"), FULL)
    )
    stem = 2 * 175 * 175 * 64 * (3 * 49)
    classifier = 2 * 2048 * 6
    whole = source_forward(spec)
    first = 2 * 88 * 88 * 64 * 256
    patches = 7 * first  # The others double the channels at a quarter of the pixels.
    assert side.source_forward == whole
    # Forward once, then weights and inputs of every patch but the first, whose input is frozen.
    assert side.paper == inline.paper == whole + 3 * patches - first
    assert full.paper == full.uncached == full.cached == 3 * whole - stem
    assert side.uncached == side.paper + 2 * classifier
    assert side.cached == side.uncached - (whole - classifier)
    assert side.mean_of(1) == side.uncached
    assert side.mean_of(4) == side.cached + (whole - classifier) / 4
    # Inline, what lies before the first patch's sum can be cached, and the gradient crosses the
    # groups behind it.
    group_1 = inline.parts["backbone"].frozen_forward - stem
    crossed = whole - classifier - stem - group_1
    assert inline.parts["backbone"].backward == crossed
    assert inline.uncached == side.uncached + crossed


def test_a_views_gradient_does_not_confuse_the_counter() -> None:
    # Swin's groups begin with a view, which in detached wiring is made without a gradient.
    cost = method_cost(small("swin_t"), PatchSettings(k=4, wiring="detached"), 2)
    assert cost.parts["backbone"].backward == 0 < cost.parts["adapter"].backward


def test_parts_are_told_apart_where_a_module_gives_back_what_it_got() -> None:
    # ResNet50's head begins with such a module; the group before it is not the head's.
    model = on_meta(small("resnet50"), FULL)
    with counted_by_part(model) as counted:
        loss = output_sum(model(torch.empty(2, 3, 64, 96, device="meta")))
        counted.take()
        loss.backward()
        assert counted.take()["head"] == 2 * 2 * (2 * 2048 // 4 * 6)


def test_saved_bytes_count_each_storage_once_and_no_weight() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    rows = torch.randn(16, 4)
    with saved_for_backward(model) as saved:
        loss = model(rows).sum()
    # The rows, and the ReLU's result, which the ReLU and the layer behind it share.
    assert saved.bytes == 4 * (16 * 4 + 16 * 8)
    loss.backward()
    assert model[0].weight.grad is not None


def test_algorithm_1_takes_the_most_patches_that_two_thirds_pay_for() -> None:
    spec = of_paper("resnet50")
    assert largest_affordable_k(spec) == 4
    # Four convolutions a patch: 1.7763 GFLOPs as before, and in each group three more from and to
    # 256, 512, 1024, 2048 channels at 88, 44, 22, 11 squared: 3.0450 GFLOPs a group, together
    # 13.9561 of 20.1789, more than 13.4526. Without the fourth group: 1.2688 + 9.1349.
    deep = PatchDesign(convolutions=4)
    extra = 3 * 2 * 256 * 256 * 88 * 88
    assert patch_forward(spec, PatchSettings(k=4, wiring="inline", design=deep)) == (
        7 * (2 * 88 * 88 * 64 * 256) + 4 * extra
    )
    assert largest_affordable_k(spec, "inline", deep) == 3
    # 0.2538 of 20.1789 are 1.258%.
    assert largest_affordable_k(spec, "inline", affordable=Fraction(126, 10_000)) == 1
    with pytest.raises(ValueError, match=r"one patch already takes 1\.3%.* more than the 1\.2%"):
        largest_affordable_k(spec, "inline", affordable=Fraction(125, 10_000))


def test_an_exit_counts_as_a_patch() -> None:
    spec = of_paper("resnet50")
    inline, side = (patch_forward(spec, PatchSettings(k=3, wiring=w)) for w in ("inline", "side"))
    assert side - inline == 2 * 11 * 11 * 1024 * 2048


def cost(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["cost", *arguments])
    return result.exit_code, result.output


def test_the_command_prints_both_accountings_and_writes_the_figures(tmp_path) -> None:
    path = tmp_path / "cost.json"
    code, text = cost(
        *("--model", "resnet50", "--patches", "4", "--epochs", "10", "--json", str(path))
    )
    assert code == 0
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    for row in ("PatchLine, k=4, side", "FT-full", "LST, stage, r=4", "FT-norm", "FT-last"):
        assert sum(line.strip().startswith(row) for line in text.splitlines()) == 4
    assert "the paper's accounting" in text and "the actual accounting" in text
    found = json.loads(path.read_text())
    asked, full = found["methods"][:2]
    assert found["affordable_patches"] == 4 and found["versions"]["torch"] == torch.__version__
    assert asked["settings"]["wiring"] == "side"
    assert asked["trained_parameters"] == 2_768_896 + 3_840 + 2048 * 6 + 6  # A scale a channel.
    flops = asked["flops"]
    assert flops["actual_mean"] == pytest.approx(
        0.9 * flops["actual_cached"] + 0.1 * flops["actual_uncached"]
    )
    assert full["flops"]["paper"] == full["flops"]["actual_mean"]


@pytest.mark.parametrize("method", ["ft_affine", "ft_norm", "lst"])
def test_any_method_may_be_asked_for(method: str) -> None:
    code, text = cost("--model", "mobilenet_v2", "--size", "64", "--method", method)
    assert code == 0, text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "alexnet"], "there is no model 'alexnet'; known are vgg16, ssd_vgg16"),
        (
            ["--method", "sgd"],
            "no method 'sgd'; known are patchline, ft_full, ft_norm, ft_affine, ft_last, lst",
        ),
        (["--patches", "8"], "8 patches asked for; the backbone mobilenet_v2 takes 1 to 7"),
        (["--size", "31"], "input_size (31, 31) is too small"),
        (["--size", "20x"], "--size '20x' is neither one number nor height and width"),
        (["--wiring", "outside"], "no wiring 'outside'; known are inline, detached, side"),
        (["--head", "half"], "no head 'half'; known are trained, frozen"),
        (["--method", "lst", "--patches", "2"], "--patches is for patches, and lst has none"),
        (["--method", "ft_full", "--wiring", "side"], "--wiring is for patches"),
        (["--method", "ft_norm", "--head", "frozen"], "--head is for patchline and lst"),
        (
            ["--model", "vgg16", "--size", "64", "--json", "/nowhere/x.json"],
            "can't write /nowhere/x.json: No such file",
        ),
    ],
)
def test_a_bad_option_is_refused_with_a_sentence(arguments: list[str], sentence: str) -> None:
    code, text = cost("--model", "mobilenet_v2", *arguments)
    assert code == 2
    assert sentence in text.splitlines()[-1]


def test_the_command_line_starts_without_anything_heavy() -> None:
    heavy = "{'torch', 'torchvision', 'rich.table', 'rclpy', 'numpy'}"
    program = f"import sys, patchline_ros.cli.app; sys.exit(str({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stderr.strip() == "set()"


def test_live_tensors_are_counted_until_they_are_freed_whoever_keeps_them() -> None:
    mib = 2**20 // 4
    with LiveTensors() as live:
        one = torch.zeros(mib)
        same = one.view(-1, 4)[1:]
        assert live.bytes == 2**20
        del one
        assert live.bytes == 2**20, "a view keeps it"
        weight = torch.zeros(mib, requires_grad=True)
        # The exponentials are kept by autograd alone.
        loss = (2 * weight).exp().sum()
        assert live.bytes == 3 * 2**20 + 4
        loss.backward()  # type: ignore[no-untyped-call]
        assert live.bytes == 3 * 2**20 + 4, "the gradient is there in their place"
        del same, weight, loss
        assert live.bytes == 0
        torch.zeros(2 * mib)
        assert live.bytes == 0
    assert live.peak >= 4 * 2**20


def test_the_peak_of_a_step_is_what_is_kept_for_it_and_less_than_twice_that() -> None:
    spec = small("fpn_mobilenet_v2")
    model = adapted(TaskModel(spec), FULL).train()
    _, saved = real_step(spec, FULL)
    with LiveTensors() as live:
        output_sum(model(torch.randn(2, 3, *spec.input_size))).backward()
    weights = sum(parameter.nbytes for parameter in model.parameters())
    assert saved < live.peak < 2 * saved
    assert live.bytes == weights, "the gradients"
