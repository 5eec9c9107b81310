"""A bundle with untrained models, and patch sets for it: made in a second, enough for the nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from patchline_ros.adaptation.predictor import NetworkPredictor, Reader
from patchline_ros.adaptation.predictor_file import to_bytes as to_file
from patchline_ros.adaptation.readers import ImageReader, TapReader, tap_features
from patchline_ros.bundle import Bundle
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.files import sha256, write_file
from patchline_ros.manifest import (
    DriftEntry,
    DriftLabel,
    GatePoint,
    LearntKind,
    Manifest,
    ModelEntry,
    PatchStep,
    PredictorEntry,
    PreparedEntry,
)
from patchline_ros.offline.bundle_writing import PictureRecord, list_files, save_bundle
from patchline_ros.offline.classifier_training import train_classifier
from patchline_ros.patching.patch import PatchDesign
from patchline_ros.patching.patch_set import PatchSetMetadata, to_bytes
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.runtime.backend_pass import graph_path, listed_as
from patchline_ros.runtime.model_pass import ModelPass
from patchline_ros.tasks import Task
from patchline_ros.vision.backbone import pooled
from patchline_ros.vision.evidence import Evidence
from patchline_ros.vision.inputs import image_tensor
from patchline_ros.vision.model import ModelSpec, TaskModel, fingerprint
from patchline_ros.vision.torchvision_backbones import BackboneName

SIDE = 32
CLASSES = {
    Task.CLASSIFICATION: ("stop", "yield", "limit"),
    Task.DETECTION: ("car", "person"),
    Task.SEGMENTATION: ("sky", "road", "car"),
}
TAP = 2
LEARNT_PATCHES = 2
"""What a learnt predictor says of every drift; the table says 1."""


def picture(seed: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """A random uint8 RGB picture."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def spec_of(task: Task) -> ModelSpec:
    """How the model of a task is built."""
    return ModelSpec(task=task, classes=CLASSES[task], input_size=(SIDE, SIDE), width=0.25)


def predictor(watched: TaskModel, kind: LearntKind) -> NetworkPredictor:
    """A learnt patch predictor that says `LEARNT_PATCHES`, whatever it reads."""
    reader: Reader
    if kind == "light":
        raw = tap_features(watched, [picture(seed) for seed in range(8)])
        reader = TapReader.from_source(watched.backbone.channels, raw)
    else:
        reader = ImageReader(None, (SIDE, SIDE), vgg16_width=1 / 16)
    rows = torch.zeros(2, reader.width)
    outputs = len(watched.backbone.specs) + 1
    classifier = train_classifier([rows], [LEARNT_PATCHES], outputs, reader.hidden, seed=0)
    return NetworkPredictor(reader, classifier)


def make_bundle(
    path: Path,
    source_entropy: float = 0.0,
    tasks: tuple[Task, ...] = tuple(Task),
    learnt: LearntKind | None = None,
    backbone: BackboneName | None = None,
    promised_gain: float | None = None,
) -> Bundle:
    """Writes it to `path`; its drift reference is of random pictures.

    `backbone` is that of the detector and the segmenter where it is not to be a car's. With
    `promised_gain` the bundle has prepared patches, of which its label-free gate predicts that
    gain, times the share of the answers that they change.
    """
    torch.manual_seed(0)
    specs = [spec_of(task) for task in CLASSES if task in tasks]
    if backbone is not None:
        other = {"backbone": backbone}
        specs = [
            spec if spec.task is Task.CLASSIFICATION else spec.model_copy(update=other)
            for spec in specs
        ]
    models = {spec.task: TaskModel(spec).eval() for spec in specs}
    with torch.inference_mode():
        batch = torch.stack([image_tensor(picture(seed)) for seed in range(64)])
        features = pooled(models[Task.SEGMENTATION].backbone(batch)[TAP]).numpy()
    reference = DriftReference.from_source(features, window=8, false_alarm=1000)
    pictures = {
        task: PictureRecord(
            trained_on=[], held_out=["one", "two"], examples=[picture(900), picture(901)]
        )
        for task in models
    }
    manifest = _manifest(models, reference, source_entropy)
    if promised_gain is not None:
        bundle = save_bundle(path, manifest, models, reference, pictures)
        prepared = {task: make_patch_set(bundle, task, 1) for task in models}
        entries = {task: _prepared(promised_gain) for task in models}
        manifest = manifest.model_copy(update={"prepared": entries})
        return save_bundle(path, manifest, models, reference, pictures, prepared=prepared)
    if learnt is None:
        return save_bundle(path, manifest, models, reference, pictures)
    entry = PredictorEntry(
        kind=learnt,
        vgg16="random weights" if learnt == "vgg16" else "",
        predicted=[LEARNT_PATCHES] * 3,
        accuracy=0.0,
        mean_absolute_error=2 / 3,
    )
    return save_bundle(
        path,
        manifest.model_copy(update={"patch_predictor": entry}),
        models,
        reference,
        pictures,
        to_file(predictor(models[Task.SEGMENTATION], learnt)),
    )


def _manifest(
    models: dict[Task, TaskModel], reference: DriftReference, source_entropy: float
) -> Manifest:
    return Manifest(
        name="tiny",
        source="sim",
        seed=0,
        models={
            task: ModelEntry(
                spec=model.spec,
                fingerprint=fingerprint(model),
                source_metric=0.5,
                source_entropy=source_entropy,
            )
            for task, model in models.items()
        },
        drift=DriftEntry(
            task=Task.SEGMENTATION,
            tap=TAP,
            window=reference.window,
            bandwidth=reference.bandwidth,
            threshold=reference.threshold,
        ),
        affinity={
            "perceptual_hash": _affinity(models, lambda one, two: 0.5),
            # By this one classification is like everything, and comes first.
            "cka": _affinity(
                models, lambda one, two: 0.9 if "classification" in (one, two) else 0.1
            ),
        },
        affinity_measure="perceptual_hash",
        patch_table=[PatchStep(mmd2=0.0, patches=1)],
        drift_labels=[
            _label("fog", 0.5, 1, 1),
            _label("fog", 1.0, 3, 1),
            _label("night", 0.8, 3, 3),
        ],
        label_margin=0.01,
        versions={},
        config={},
        files={},
    )


def with_prepared(bundle: Bundle, path: Path, promised_gain: float) -> Bundle:
    """Another bundle of the same models, with patches that change nothing but norm statistics.

    What its label-free gate predicts of them is as in `make_bundle`.
    """
    models = {task: bundle.model(task) for task in bundle.manifest.models}
    pictures = {
        task: PictureRecord(trained_on=bundle.trained_on[task], held_out=[], examples=[])
        for task in models
    }
    prepared = {}
    for task, model in models.items():
        metadata = PatchSetMetadata(
            task=task,
            version=1,
            base_fingerprint=bundle.fingerprint(task),
            method=PatchSettings(k=2),
            norm="source",
            seed=0,
        )
        prepared[task] = to_bytes(PatchedModel(model, PatchSettings(k=2)), metadata)
    entries = {task: _prepared(promised_gain) for task in models}
    manifest = bundle.manifest.model_copy(update={"prepared": entries, "files": {}})
    return save_bundle(path, manifest, models, bundle.drift_reference, pictures, prepared=prepared)


def _affinity(tasks: Iterable[Task], like: Callable[[str, str], float]) -> dict[str, list[float]]:
    names = sorted(map(str, tasks))
    return {f"{one} {two}": [like(one, two)] * 7 for one, two in combinations(names, 2)}


def _prepared(gain: float) -> PreparedEntry:
    """Patches whose gain is always the same share of what they change."""
    points = [
        GatePoint(
            corruption=corruption,
            severity=0.5,
            candidate="prepared",
            evidence=Evidence(
                agreement=agreement,
                steadiness_before=0.8,
                steadiness_after=0.8,
                confidence_before=0.8,
                confidence_after=0.8,
                entropy_before=0.0,
                entropy_after=0.0,
            ),
            before=0.5,
            after=0.5 + gain * (1 - agreement),
        )
        for corruption in ("fog", "night")
        for agreement in (0.0, 0.25, 0.5, 0.75)
    ]
    drifts = [("fog", 0.5), ("night", 0.5)]
    return PreparedEntry(
        drifts=drifts, source_metric=0.5, prepared_metric=0.6, gflops=1.0, gate=points
    )


def _label(corruption: str, severity: float, patches: int, predicted: int) -> DriftLabel:
    return DriftLabel(
        corruption=corruption,
        severity=severity,
        mmd2=severity / 2,
        metrics={0: [0.2], 1: [0.4], 3: [0.4 + patches / 10]},
        patches=patches,
        predicted=predicted,
    )


def make_patch_set(bundle: Bundle, task: Task, version: int, **metadata: object) -> bytes:
    """A patch set that changes the model's outputs; `metadata` replaces what it says of itself."""
    torch.manual_seed(version)
    model = PatchedModel(bundle.model(task), PatchSettings(k=2))
    with torch.no_grad():
        for parameter in model.patches.parameters():
            parameter.normal_(std=0.5)
    facts = {
        "task": task,
        "version": version,
        "base_fingerprint": bundle.fingerprint(task),
        "method": PatchSettings(k=2),
        "norm": "source",
        "seed": 0,
        **metadata,
    }
    return to_bytes(model, PatchSetMetadata.model_validate(facts))


def make_bright_blind_patch_set(bundle: Bundle, task: Task, version: int) -> bytes:
    """A patch set of finite weights that answers as the source does, and NaN on a white picture."""
    settings = PatchSettings(k=1, design=PatchDesign(norm=True))
    model = PatchedModel(bundle.model(task), settings)
    convolution, norm, _ = model.patches[0].layers
    with torch.no_grad():
        convolution.weight.fill_(1.0)
        # A white picture's channels add up to 7.3; those of noise, with which a node probes a new
        # model, hardly ever come to 6.5.
        norm.weight.fill_(1e30)
        norm.bias.fill_(-6.5e30)
        model.patches[0].scale.fill_(1e30)
    facts = {
        "task": task,
        "version": version,
        "base_fingerprint": bundle.fingerprint(task),
        "method": settings,
        "norm": "source",
        "seed": 0,
    }
    return to_bytes(model, PatchSetMetadata.model_validate(facts))


def export_graphs(bundle: Bundle, tasks: Iterable[Task], patched: bool = True) -> Bundle:
    """The bundle with ONNX graphs of its models, `patched` also those of `make_patch_set`."""
    from patchline_ros.runtime.onnx_graph import export_graph

    digests = {}
    for task in tasks:
        source = bundle.model(task)
        for method in (None, PatchSettings(k=2)) if patched else (None,):
            adapted = PatchedModel(source, method) if method else None
            run = ModelPass(source, adapted, TAP).eval()
            path = graph_path(bundle.path, source.spec, method, TAP)
            path.parent.mkdir(exist_ok=True)
            graph = export_graph(run, source.spec)
            write_file(path, graph)
            digests[listed_as(path)] = sha256(graph)
    return list_files(bundle, digests)
