"""A model's pass as an ONNX graph without its weights.

The weights are left open under their names in the model, and are given when a session is made. So
one graph serves every patch set of a method: new weights need a new session, and no export.
"""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from patchline_ros.patching.methods import MethodSettings
from patchline_ros.runtime.model_pass import ModelPass
from patchline_ros.vision.heads.base import tensors_in
from patchline_ros.vision.model import ModelSpec

PICTURE = "images"
"""The graph's only input: float32 (1, 3, H, W)."""
_WEIGHTS = "weights"


class _Flat(nn.Module):
    """The pass with all that it gives in one tuple, the features last."""

    def __init__(self, run: ModelPass) -> None:
        super().__init__()
        self.run = run

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        raw, features = self.run(images)
        return (*tensors_in(raw), features)


def graph_name(spec: ModelSpec, method: MethodSettings | None, drift_tap: int) -> str:
    """Names the graph of a model and a method (None: the source model), whatever its weights."""
    described = f"{spec.model_dump_json()} {method and method.model_dump_json()} {drift_tap}"
    return f"{spec.task}-{hashlib.sha256(described.encode()).hexdigest()[:16]}"


def export_graph(run: ModelPass, spec: ModelSpec) -> bytes:
    """The pass over one picture at the model's input size, as a serialised ONNX model.

    Raises:
        ModuleNotFoundError: `onnxscript` is not installed.
    """
    import onnx_ir
    from onnxscript import optimizer

    picture = torch.zeros((1, 3, *spec.input_size))
    with torch.no_grad(), warnings.catch_warnings():
        # PyTorch's exporter warns of what PyTorch itself does.
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            _Flat(run).eval(),
            (picture,),
            dynamo=True,
            optimize=False,
            verbose=False,
            input_names=[PICTURE],
        )
    assert program is not None
    model = program.model
    weights = _opened(model)
    optimizer.fold_constants(model)
    optimizer.remove_unused_nodes(model)
    _named(model, weights)
    # Where each operation stands in the sources: four fifths of the size, and of no use here.
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
    data: bytes = onnx_ir.serde.serialize_model(model).SerializeToString()
    return data


def _opened(model: Any) -> list[Any]:
    """Makes the weights inputs of the graph, so that nothing is computed from them beforehand."""
    weights = [model.graph.initializers.pop(name) for name in list(model.graph.initializers)]
    model.graph.inputs.extend(weights)
    return weights


def _named(model: Any, weights: list[Any]) -> None:
    """Makes the inputs that are used weights again, which are to be given by name."""
    import onnx_ir

    for value in weights:
        model.graph.inputs.remove(value)
        if not value.uses():
            continue
        tensor = value.const_value
        value.const_value = onnx_ir.ExternalTensor(
            _WEIGHTS, None, None, tensor.dtype, shape=tensor.shape, name=value.name
        )
        model.graph.register_initializer(value)
