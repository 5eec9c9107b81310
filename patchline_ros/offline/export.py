"""Exports a bundle's models to ONNX, and compares ONNX Runtime with PyTorch on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from patchline_ros.bundle import Bundle
from patchline_ros.files import sha256, write_file
from patchline_ros.offline.bundle_writing import list_files
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.runtime.backend import Backend
from patchline_ros.runtime.backend_pass import Engine, Run, graph_path, listed_as, runnable
from patchline_ros.runtime.model_pass import ModelPass
from patchline_ros.runtime.onnx_graph import export_graph
from patchline_ros.tasks import Task
from patchline_ros.vision.heads.base import tensors_in

TOLERANCE = 1e-4
"""Most that the outputs of the two may differ, of the largest output or of 1."""
_PICTURES = 10
"""Pictures that each backend is timed on, in turn."""


@dataclass(frozen=True)
class Exported:
    """One graph, and how it compares.

    Attributes:
        task: of the model.
        patches: of the product's method; 0: the source model.
        kib: size of the graph, which has no weights.
        difference: of the outputs, at most.
        pytorch_ms, onnx_ms: for a picture, median, with the same number of threads.
    """

    task: Task
    patches: int
    kib: float
    difference: float
    pytorch_ms: float
    onnx_ms: float

    @property
    def faster(self) -> float:
        """Speed of ONNX Runtime, as a multiple of PyTorch's."""
        return self.pytorch_ms / self.onnx_ms


def export_bundle(bundle: Bundle, threads: int) -> Iterator[Exported]:
    """Writes a graph for each source model and for each number of patches on it.

    A graph is moved into place once its outputs were found to be those of PyTorch.

    Args:
        bundle: whose models; the graphs go into its folder.
        threads: of both backends in the comparison.

    Raises:
        ValueError: outputs that differ by more than TOLERANCE.
        ModuleNotFoundError: `onnxscript` or `onnxruntime` is not installed.
        OSError: a graph can't be written.
    """
    torch.set_num_threads(threads)
    digests: dict[str, str] = {}
    for task in bundle.manifest.models:
        source = bundle.model(task).requires_grad_(False)
        for patches in range(len(source.backbone.specs) + 1):
            method = PatchSettings(k=patches) if patches else None
            torch.manual_seed(patches)
            adapted = PatchedModel(source, method).eval() if method else None
            tap = bundle.manifest.drift.tap
            run = ModelPass(source, adapted, tap).eval().requires_grad_(False)
            path = graph_path(bundle.path, source.spec, method, tap)
            path.parent.mkdir(exist_ok=True)
            graph = export_graph(run, source.spec)
            picture = torch.randn((1, 3, *source.spec.input_size))
            aside = path.with_suffix(".new")
            try:
                write_file(aside, graph)
                engine, digest = Engine(Backend.ONNX), sha256(graph)
                onnx, _ = runnable(engine, run, source.spec, aside, digest)
                difference = _difference(run, onnx, picture)
                if not difference <= TOLERANCE:
                    raise ValueError(
                        f"the {task} model with {patches} patches gives other outputs by ONNX "
                        f"Runtime than by PyTorch: they differ by {difference:.2g}, {TOLERANCE:g} "
                        "is allowed"
                    )
                aside.replace(path)
                digests[listed_as(path)] = sha256(graph)
            finally:
                aside.unlink(missing_ok=True)
            pytorch_ms, onnx_ms = _milliseconds([run, onnx], picture)
            yield Exported(task, patches, len(graph) / 1024, difference, pytorch_ms, onnx_ms)
    list_files(bundle, digests)


def _outputs(run: Run, picture: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        raw, features = run(picture)
    return [*tensors_in(raw), features]


def _difference(one: Run, other: Run, picture: Tensor) -> float:
    pairs = zip(_outputs(one, picture), _outputs(other, picture), strict=True)
    return max(float((a - b).abs().max() / max(1.0, float(a.abs().max()))) for a, b in pairs)


def _milliseconds(runs: list[Run], picture: Tensor) -> list[float]:
    """Median of each, taken in turn, so that both meet what else the machine does."""

    def once(run: Run) -> float:
        started = time.perf_counter()
        _outputs(run, picture)
        return 1000 * (time.perf_counter() - started)

    times = [[once(run) for run in runs] for _ in range(_PICTURES)]
    return [median(column) for column in zip(*times, strict=True)]
