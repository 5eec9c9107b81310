"""A model's pass on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph
from torch import Tensor

from patchline_ros.runtime.model_pass import ModelPass
from patchline_ros.runtime.onnx_graph import PICTURE
from patchline_ros.runtime.onnx_providers import CPU, Provider
from patchline_ros.vision.heads.base import nested_like, tensors_in
from patchline_ros.vision.model import ModelSpec

_PREFIX = "run."
"""Before the names of the weights in the graph, which is that of a module around the pass."""


class OnnxPass:
    """The same as a `ModelPass`, one picture at a time, by ONNX Runtime.

    Attributes:
        provider: of ONNX Runtime that runs it, such as CPUExecutionProvider.
    """

    def __init__(
        self,
        graph: bytes,
        run: ModelPass,
        spec: ModelSpec,
        providers: Sequence[Provider] = (CPU,),
    ) -> None:
        """Makes the session, with the weights that the pass has now.

        Args:
            graph: of `export_graph`, of a pass that is built like this one.
            run: whose weights are taken, and which says how the outputs are nested.
            spec: of the model.
            providers: of ONNX Runtime to try, the best first.

        Raises:
            ValueError: the graph does not fit the pass.
        """
        with torch.inference_mode():
            self._like, _ = run(torch.zeros((1, 3, *spec.input_size)))
        state = run.state_dict()
        names = _weights_of(graph)
        unknown = sorted(name for name in names if name.removeprefix(_PREFIX) not in state)
        if unknown:
            raise ValueError(f"the model has no weights {unknown[0]}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        arrays = [np.ascontiguousarray(state[name.removeprefix(_PREFIX)].numpy()) for name in names]
        # The session reads from these as long as it lives.
        self._weights = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays]
        options.add_external_initializers(names, self._weights)
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=list(providers))
        except (Fail, InvalidArgument, InvalidGraph) as error:
            raise ValueError(str(error)) from error
        self.provider: str = self._session.get_providers()[0]
        found = len(self._session.get_outputs())
        if found != len(list(tensors_in(self._like))) + 1:
            raise ValueError(f"it has {found} outputs, the model another number")

    def __call__(self, images: Tensor) -> tuple[Any, Tensor]:
        """Raw outputs of the head for one picture (1, 3, H, W), and features (1, 2 C)."""
        *raw, features = map(
            torch.from_numpy, self._session.run(None, {PICTURE: images.contiguous().numpy()})
        )
        return nested_like(self._like, iter(raw)), features


def _weights_of(graph: bytes) -> list[str]:
    """Names of the weights that a graph leaves open. Raises ValueError where it is none."""
    try:
        model = onnx.load_model_from_string(graph)
    except DecodeError as error:
        raise ValueError(f"it is no ONNX model: {error}") from error
    tensors = model.graph.initializer
    return [t.name for t in tensors if t.data_location == onnx.TensorProto.EXTERNAL]
