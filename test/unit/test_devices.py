"""Where models run is chosen in one place, and a pass computes where its weights are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_bundle import make_bundle, make_patch_set

from patchline_ros.adaptation.source_model import SourceModel
from patchline_ros.bundle import Bundle
from patchline_ros.package_share import bundle_folder, share_folder
from patchline_ros.patching.patch_set import apply
from patchline_ros.runtime.backend import Backend
from patchline_ros.runtime.backend_pass import BackendError, Engine
from patchline_ros.runtime.model_pass import ModelPass
from patchline_ros.runtime.model_runner import ModelRunner
from patchline_ros.runtime.onnx_providers import CPU, CUDA, TENSORRT, providers_for
from patchline_ros.sim import Condition
from patchline_ros.tasks import Task
from patchline_ros.vision.agreement import agreement
from patchline_ros.vision.device import Device, DeviceError, check_precision, chosen_device
from patchline_ros.vision.heads.base import tensors_in
from patchline_ros.vision.inputs import image_tensor, resized
from tools.half_precision import road, said

GPU = ["NVIDIA Orin"]


@pytest.mark.parametrize(
    ("asked", "seen", "chosen"),
    [
        (Device.AUTO, GPU, "cuda"),
        (Device.AUTO, [], "cpu"),
        (Device.CPU, GPU, "cpu"),
        (Device.CUDA, GPU, "cuda"),
    ],
)
def test_auto_takes_a_gpu_where_there_is_one(asked: Device, seen: list[str], chosen: str) -> None:
    assert chosen_device(asked, seen) == torch.device(chosen)


def test_a_gpu_that_is_not_there_is_an_error_and_no_slow_car() -> None:
    with pytest.raises(DeviceError, match=r"the device is cuda, but PyTorch .*; take auto or cpu"):
        chosen_device(Device.CUDA, [])
    with pytest.raises(DeviceError, match="onnxruntime has only CPUExecutionProvider; take auto"):
        providers_for(Device.CUDA, False, [CPU])


@pytest.mark.parametrize(
    ("device", "tensorrt", "available", "tried"),
    [
        (Device.AUTO, False, [TENSORRT, CUDA, CPU], (CUDA, CPU)),
        (Device.AUTO, True, [TENSORRT, CUDA, CPU], (TENSORRT, CUDA, CPU)),
        (Device.CUDA, True, [CUDA, CPU], (CUDA, CPU)),
        (Device.AUTO, True, [CPU], (CPU,)),
        (Device.CPU, True, [TENSORRT, CUDA, CPU], (CPU,)),
    ],
)
def test_providers_fall_back_from_the_best_to_the_cpu(
    device: Device, tensorrt: bool, available: list[str], tried: tuple[str, ...]
) -> None:
    assert providers_for(device, tensorrt, available) == tried


def test_half_precision_is_asked_of_tensorrt_and_never_claimed_of_another() -> None:
    half = (TENSORRT, {"trt_fp16_enable": True})
    assert providers_for(Device.AUTO, True, [TENSORRT, CUDA, CPU], True) == (half, CUDA, CPU)
    assert providers_for(Device.CUDA, True, [TENSORRT, CPU], True) == (half, CPU)
    for device, tensorrt, available, sentence in (
        (Device.CPU, True, [TENSORRT, CUDA, CPU], "for a GPU, and the device is the CPU; take"),
        (Device.CUDA, False, [TENSORRT, CUDA, CPU], "the CUDA provider does not; give tensorrt"),
        (Device.AUTO, True, [CUDA, CPU], "has only CPUExecutionProvider, CUDAExecutionProvider;"),
    ):
        with pytest.raises(DeviceError, match=sentence):
            providers_for(device, tensorrt, available, True)


@pytest.mark.parametrize("backend", [Backend.AUTO, Backend.PYTORCH])
def test_half_precision_on_a_cpu_is_refused(backend: Backend, tmp_path: Path) -> None:
    check_precision(torch.device("cuda"), half=True)
    bundle = make_bundle(tmp_path / "bundle")
    with pytest.raises(BackendError, match="half_precision is for a GPU, and the device is the"):
        ModelRunner(bundle, Task.SEGMENTATION, Engine(backend, Device.CPU, half_precision=True))


@pytest.mark.parametrize("task", list(Task))
def test_half_precision_moves_answers_little_and_features_not_at_all(task: Task) -> None:
    """The limits are some three times what `tools/half_precision.py` measures on more pictures."""
    bundle = Bundle.load(bundle_folder(share_folder(), recorded=False))
    source, tap = SourceModel.of_bundle(bundle, task), bundle.manifest.drift.tap
    assert source.prepared is not None
    samples = [resized(s, bundle.spec(task).input_size) for s in road(task, Condition.FOG, 2)]
    picture, watched = image_tensor(samples[0].image)[None], []
    for adapted in (None, source.prepared.model):
        run = ModelPass(source.model, adapted, tap).eval()
        with torch.inference_mode():
            raw, features = run(picture)
            half_raw, half_features = run.in_half_precision(picture)
        assert torch.equal(features, half_features)
        watched.append(half_features)
        pairs = list(zip(tensors_in(raw), tensors_in(half_raw), strict=True))
        assert all(half.dtype is torch.float32 for _, half in pairs)
        assert not any(torch.equal(*pair) for pair in pairs)
        single, half = said(run, source, samples), said(run.in_half_precision, source, samples)
        alike = [agreement(*pair) for pair in zip(single.labels, half.labels, strict=True)]
        assert np.mean(alike) > (0.9 if task is Task.DETECTION else 0.998)
        assert abs(half.scores - single.scores).max() < 3e-3
        assert abs(half.entropies - single.entropies).max() < 3e-3
    # A swap does not look like a change of scene.
    assert torch.equal(*watched)


@pytest.mark.parametrize("task", list(Task))
def test_no_tensor_of_a_pass_is_made_elsewhere(task: Task, tmp_path: Path) -> None:
    """On a device that only knows shapes, which refuses to mix with the CPU as a GPU does."""
    bundle = make_bundle(tmp_path / "bundle")
    source = bundle.model(task)
    patched = apply(source, bundle.fingerprint(task), make_patch_set(bundle, task, 1))
    for adapted in (None, patched):
        run = ModelPass(source, adapted, bundle.manifest.drift.tap).eval().to("meta")
        picture = torch.empty((1, 3, *source.spec.input_size), device="meta")
        raw, features = run(picture)
        found = [features, *tensors_in(raw), source.head.entropy(raw), source.head.confidence(raw)]
        assert {tensor.device.type for tensor in found} == {"meta"}


def test_a_runner_says_where_it_runs(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    runner = ModelRunner(bundle, Task.SEGMENTATION, Engine(device=Device.CPU))
    assert runner.runs_on == f"PyTorch {torch.__version__}, CPU"
    with pytest.raises(BackendError, match="TensorRT runs with the backend onnx only"):
        ModelRunner(bundle, Task.SEGMENTATION, Engine(tensorrt=True))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("backend", list(Backend))
def test_cuda_without_a_gpu_is_refused(backend: Backend, tmp_path: Path) -> None:
    if backend is Backend.ONNX:
        pytest.importorskip("onnxruntime")
    bundle = make_bundle(tmp_path / "bundle")
    with pytest.raises(BackendError, match=r"the device is cuda|no ONNX graph"):
        ModelRunner(bundle, Task.SEGMENTATION, Engine(backend, Device.CUDA))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("task", list(Task))
def test_a_gpu_says_the_same(task: Task, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    picture = torch.randint(0, 255, (32, 48, 3), dtype=torch.uint8).numpy()
    answers = [
        ModelRunner(bundle, task, Engine(device=device)).infer(picture)
        for device in (Device.CPU, Device.CUDA)
    ]
    assert answers[0].features == pytest.approx(answers[1].features, rel=1e-3, abs=1e-4)
    assert answers[0].entropy == pytest.approx(answers[1].entropy, rel=1e-3)
    half = ModelRunner(bundle, task, Engine(device=Device.CUDA, half_precision=True))
    assert half.runs_on.endswith("in half precision")
    answer = half.infer(picture)
    assert answer.features == pytest.approx(answers[1].features, rel=1e-5)
    assert answer.entropy == pytest.approx(answers[0].entropy, rel=1e-2)
