"""Where models run is chosen in one place, and a pass computes where its weights are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_bundle import make_bundle, make_patch_set

from patchline_ros.patching.patch_set import apply
from patchline_ros.runtime.backend import Backend
from patchline_ros.runtime.backend_pass import BackendError, Engine
from patchline_ros.runtime.model_pass import ModelPass
from patchline_ros.runtime.model_runner import ModelRunner
from patchline_ros.runtime.onnx_providers import CPU, CUDA, TENSORRT, providers_for
from patchline_ros.tasks import Task
from patchline_ros.vision.device import Device, DeviceError, chosen_device
from patchline_ros.vision.heads.base import tensors_in

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
