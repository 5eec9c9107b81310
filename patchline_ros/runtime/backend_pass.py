"""A model's pass by the backend that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from patchline_ros.files import sha256
from patchline_ros.patching.methods import MethodSettings
from patchline_ros.runtime.backend import Backend
from patchline_ros.runtime.model_pass import ModelPass
from patchline_ros.runtime.onnx_graph import graph_name
from patchline_ros.runtime.onnx_providers import CPU, TENSORRT, name_of, providers_for
from patchline_ros.vision.device import Device, DeviceError, check_precision, chosen_device
from patchline_ros.vision.model import ModelSpec

Run = Callable[[Tensor], tuple[Any, Tensor]]
"""Raw outputs and drift features of pictures (B, 3, H, W); ONNX Runtime takes one at a time."""
GRAPHS = "onnx"
"""The folder of a bundle where `patchline export` puts the graphs."""


class BackendError(ValueError):
    """A model can't be run by the backend that was asked for."""


def graph_path(
    bundle: Path, spec: ModelSpec, method: MethodSettings | None, drift_tap: int
) -> Path:
    """Where a bundle keeps the graph of a method on one of its models."""
    return bundle / GRAPHS / f"{graph_name(spec, method, drift_tap)}.onnx"


@dataclass(frozen=True)
class Engine:
    """What runs the models, and on what.

    Attributes:
        backend: the library.
        device: that was asked for.
        tensorrt: whether ONNX Runtime may use TensorRT.
        half_precision: whether the answers are computed in 16 bits, on a GPU. PyTorch computes the
            drift features in 32 bits all the same, as those of the reference were; TensorRT makes
            one engine of the whole graph, also of the features.
    """

    backend: Backend = Backend.PYTORCH
    device: Device = Device.CPU
    tensorrt: bool = False
    half_precision: bool = False


PYTORCH_ON_CPU: Final = Engine()
AS_IN_A_NODE: Final = Engine(Backend.AUTO, Device.AUTO)
"""What a perception node takes unless its parameters say otherwise."""


def listed_as(graph: Path) -> str:
    """The name by which a bundle's manifest lists a graph."""
    return f"{GRAPHS}/{graph.name}"


def runnable(
    engine: Engine, run: ModelPass, spec: ModelSpec, graph: Path, digest: str | None
) -> tuple[Run, str]:
    """The pass by a backend, and in words where it runs.

    With PyTorch the pass is moved to the device; ONNX Runtime has a copy of its own. With `auto`
    the words also say why.

    Args:
        engine: which.
        run: the pass, in evaluation mode.
        spec: of its model.
        graph: file of the pass's graph; only ONNX Runtime needs it.
        digest: sha256 of that file in the bundle's manifest; None: it is not listed there.

    Raises:
        BackendError: the device is not there or not for half precision, onnxruntime is not
            installed, or the graph is missing or does not fit.
    """
    if engine.tensorrt and engine.backend is not Backend.ONNX:
        raise BackendError("TensorRT runs with the backend onnx only")
    if engine.backend is not Backend.ONNX:
        _check_precision(engine)
    if engine.backend is Backend.AUTO:
        against = _against_onnx(engine, digest)
        if against is None:
            found, where = _on_onnx(engine, run, spec, graph, digest)
            return found, f"{where}, since the bundle has the graph"
        found, where = _on_pytorch(engine, run)
        return found, f"{where}, since {against}"
    if engine.backend is Backend.PYTORCH:
        return _on_pytorch(engine, run)
    return _on_onnx(engine, run, spec, graph, digest)


def _against_onnx(engine: Engine, digest: str | None) -> str | None:
    """Why `auto` is PyTorch; None: it is ONNX Runtime. Raises BackendError as `_device` does."""
    if _device(engine).type == "cuda":
        return "there is a GPU"
    if digest is None:
        return "the bundle has no graph of the model (`patchline export` makes it)"
    try:
        for name in ("onnxruntime", "onnx"):
            import_module(name)
    except ImportError as error:
        return f"ONNX Runtime is not there ({error})"
    return None


def _on_onnx(
    engine: Engine, run: ModelPass, spec: ModelSpec, graph: Path, digest: str | None
) -> tuple[Run, str]:
    if find_spec("onnxruntime") is None:
        raise BackendError(
            "the backend onnx needs onnxruntime: pip install 'patchline_ros[onnx]', or use pytorch"
        )
    again = f"make it again with `patchline export {graph.parents[1]}`"
    if not graph.is_file():
        raise BackendError(
            f"there is no ONNX graph {graph}: make it with `patchline export {graph.parents[1]}`, "
            "or use the backend pytorch"
        )
    import onnxruntime

    from patchline_ros.runtime.onnx_pass import OnnxPass

    data = graph.read_bytes()
    if digest != sha256(data):
        raise BackendError(
            f"the ONNX graph {graph} does not have the sha256 of the bundle's manifest; {again}"
        )
    try:
        available = onnxruntime.get_available_providers()
        providers = providers_for(engine.device, engine.tensorrt, available, engine.half_precision)
    except DeviceError as error:
        raise BackendError(str(error)) from error
    try:
        found = OnnxPass(data, run, spec, providers)
    except ValueError as error:
        raise BackendError(f"the ONNX graph {graph} can't be used ({error}); {again}") from error
    if engine.half_precision and found.provider != TENSORRT:
        raise BackendError(
            f"half_precision needs TensorRT, and ONNX Runtime could not start {TENSORRT}, as its "
            "log says"
        )
    if engine.device is Device.CUDA and found.provider == CPU:
        raise BackendError(
            f"the device is cuda, but ONNX Runtime could not start {name_of(providers[0])}, as its "
            "log says"
        )
    where = f"ONNX Runtime {onnxruntime.__version__}, {found.provider}"
    return found, where + _precision(engine)


def _on_pytorch(engine: Engine, run: ModelPass) -> tuple[Run, str]:
    device = _device(engine)
    moved = run.to(device)

    compute = moved.in_half_precision if engine.half_precision else moved

    def infer(images: Tensor) -> tuple[Any, Tensor]:
        raw, features = compute(images.to(device))
        return raw, features.cpu()

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    where = f"PyTorch {torch.__version__}, {name}{_precision(engine)}"
    # Where nothing has to be moved the pass stays what it is.
    return (run if device.type == "cpu" else infer), where


def _precision(engine: Engine) -> str:
    return ", in half precision" if engine.half_precision else ""


def _check_precision(engine: Engine) -> None:
    """PyTorch's. Raises BackendError where half precision was asked for on a CPU."""
    try:
        check_precision(_device(engine), engine.half_precision)
    except DeviceError as error:
        raise BackendError(str(error)) from error


def _device(engine: Engine) -> torch.device:
    """PyTorch's. Raises BackendError where a GPU was asked for that is not there."""
    try:
        return chosen_device(engine.device)
    except DeviceError as error:
        raise BackendError(str(error)) from error
