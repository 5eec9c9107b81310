"""A model's pass by the backend that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from patchline_ros.files import sha256
from patchline_ros.patching.methods import MethodSettings
from patchline_ros.runtime.backend import Backend
from patchline_ros.runtime.model_pass import ModelPass
from patchline_ros.runtime.onnx_graph import graph_name
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


def listed_as(graph: Path) -> str:
    """The name by which a bundle's manifest lists a graph."""
    return f"{GRAPHS}/{graph.name}"


def runnable(
    backend: Backend, run: ModelPass, spec: ModelSpec, graph: Path, digest: str | None
) -> Run:
    """The pass by a backend.

    Args:
        backend: which.
        run: the pass, in evaluation mode.
        spec: of its model.
        graph: file of the pass's graph; only ONNX Runtime needs it.
        digest: sha256 of that file in the bundle's manifest; None: it is not listed there.

    Raises:
        BackendError: onnxruntime is not installed, or the graph is missing or does not fit.
    """
    if backend is Backend.PYTORCH:
        return run
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
    from patchline_ros.runtime.onnx_pass import OnnxPass

    data = graph.read_bytes()
    if digest != sha256(data):
        raise BackendError(
            f"the ONNX graph {graph} does not have the sha256 of the bundle's manifest; {again}"
        )
    try:
        return OnnxPass(data, run, spec)
    except ValueError as error:
        raise BackendError(f"the ONNX graph {graph} can't be used ({error}); {again}") from error
