"""Files that nodes and commands read: patch sets, bundles, what is stored, keys, settings."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from safetensors.numpy import save

from patchline_ros.adaptation.bank import PatchBank
from patchline_ros.adaptation.episode import Event, Failed, LeftOut, Progress
from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.adaptation.events import from_line, to_line
from patchline_ros.adaptation.planner import settled_in
from patchline_ros.adaptation.predictor import Classifier, NetworkPredictor
from patchline_ros.adaptation.predictor_file import PredictorError, from_bytes
from patchline_ros.adaptation.predictor_file import to_bytes as predictor_to_bytes
from patchline_ros.adaptation.readers import TapReader
from patchline_ros.adaptation.store import StoredFrame, StoredFrames, StoreError
from patchline_ros.adaptation.unlabelled_frames import read_unlabelled
from patchline_ros.bench.experiment import ExperimentError
from patchline_ros.bench.experiment_files import read_experiment
from patchline_ros.bundle import (
    EXAMPLES,
    HELD_OUT,
    MANIFEST,
    REFERENCE,
    SOURCE_FRAMES,
    TRAINED_ON,
    Bundle,
)
from patchline_ros.config_files import ConfigFileError, read_config_file
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.files import sha256
from patchline_ros.manifest import BundleError, read_manifest
from patchline_ros.offline.config import OfflineConfig
from patchline_ros.package_share import config_folder
from patchline_ros.patching.patch_set import (
    PatchSetError,
    PatchSetMetadata,
    apply,
    checked_metadata,
    renumbered,
    to_bytes,
)
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.signing import Signer, SigningError, Verifier
from patchline_ros.tasks import Task
from patchline_ros.vision.model import ModelSpec, TaskModel, fingerprint
from patchline_ros.vision.sample_tensors import sample_tensors
from tools.fuzz_decoder import CLASSES, SIDE, Decoder, Target, picture, sim_bundle


def _mended_tensors(data: bytes) -> bytes:
    """The length of the header, and the sha256 in it, as the bytes ask for them."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        length = max(data.find(b"}}", 8) + 2 - 8, 0)
    header, tensors = data[8 : 8 + length], data[8 + length :]
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        plain = json.loads(header)
        inner = json.loads(plain["__metadata__"]["patchline"])
        inner["sha256"] = sha256(tensors)
        plain["__metadata__"]["patchline"] = json.dumps(inner)
        header = json.dumps(plain).encode()
    return len(header).to_bytes(8, "little") + header + tensors


def _patch_sets(folder: Path) -> Decoder:
    torch.manual_seed(0)
    spec = ModelSpec(task=Task.CLASSIFICATION, classes=CLASSES, input_size=(SIDE, SIDE), width=0.25)
    source = TaskModel(spec).eval()
    base, settings = fingerprint(source), PatchSettings(k=1)
    metadata = PatchSetMetadata(
        task=spec.task, version=3, base_fingerprint=base, method=settings, norm="source", seed=0
    )

    def decode(data: bytes) -> None:
        with suppress(PatchSetError):
            renumbered(data, 4)
        checked_metadata(data)
        apply(source, base, data)

    whole = to_bytes(PatchedModel(source, settings), metadata)
    return Decoder(decode, (PatchSetError,), [whole])


def _predictors(folder: Path) -> Decoder:
    rows = np.random.default_rng(0).normal(size=(4, 12)).astype(np.float32)
    reader = TapReader.from_source([2, 4], rows)
    classifier = Classifier(reader.width, reader.hidden, 3)
    whole = predictor_to_bytes(NetworkPredictor(reader, classifier))
    return Decoder(from_bytes, (PredictorError,), [whole])


def _manifests(folder: Path) -> Decoder:
    path = sim_bundle().path / MANIFEST
    plain = json.loads(path.read_bytes())
    # The points of the gates are most of it, and all alike.
    for entry in plain["prepared"].values():
        entry["gate"] = entry["gate"][:2]
    affinity = plain["affinity"][plain["affinity_measure"]]
    versions = [plain, {**plain, "format": 3}, {**plain, "format": 2}]
    first = {"format": 1, "affinity": affinity, "affinity_measure": None, "drift_labels": None}
    first = {**plain, **first, "label_margin": None}
    kept = {key: value for key, value in first.items() if value is not None}
    whole = [json.dumps(version).encode() for version in (*versions, kept)]
    return Decoder(lambda data: read_manifest(data, path), (BundleError,), whole)


def _source_frames(bundle: Bundle) -> bytes:
    """Two signs, which are small."""
    signs = sample_tensors(bundle.source_frames[Task.CLASSIFICATION][:2])
    named = {f"{Task.CLASSIFICATION}.{name}": value.numpy() for name, value in signs.items()}
    return save(named)


def _bundle_files(folder: Path) -> Decoder:
    """Each file of a bundle whose manifest names the sha256 of the spoiled one."""
    real = sim_bundle()
    names = {task: ["a", "b"] for task in Task}
    text = json.dumps(names).encode()
    files = {
        REFERENCE: (real.path / REFERENCE).read_bytes(),
        TRAINED_ON: text,
        HELD_OUT: text,
        EXAMPLES: save({str(task): picture()[None] for task in Task}),
        SOURCE_FRAMES: _source_frames(real),
    }
    manifest = real.manifest.model_copy(update={"files": dict.fromkeys(files, "")})
    opened: dict[str, Callable[[Bundle], object]] = {
        REFERENCE: lambda bundle: bundle.drift_reference,
        TRAINED_ON: lambda bundle: bundle.trained_on,
        HELD_OUT: lambda bundle: bundle.held_out,
        EXAMPLES: lambda bundle: bundle.examples,
        SOURCE_FRAMES: lambda bundle: bundle.source_frames,
    }
    order = list(files)

    def decode(data: bytes) -> None:
        if data:
            name = order[data[0] % len(order)]
            (folder / name).write_bytes(data[1:])
            opened[name](Bundle(folder, manifest))

    whole = [bytes([place]) + files[name] for place, name in enumerate(order)]
    return Decoder(decode, (BundleError,), whole)


def _stored_frames(folder: Path) -> Decoder:
    done, png = cv2.imencode(".png", picture())
    assert done
    grey = cv2.imencode(".png", picture()[:, :, 0])[1]
    boxes = {"boxes": np.ones((1, 4), np.float32), "labels": np.ones(1, np.int64)}
    whole = []
    for label in ({"sign": np.array(1)}, boxes, {"classes": grey}):
        buffer = io.BytesIO()
        np.savez(buffer, image=png, **label)
        whole.append(buffer.getvalue())
    path, store = folder / "frame.npz", StoredFrames(folder)

    def decode(data: bytes) -> None:
        path.write_bytes(data)
        store.read([StoredFrame(1, "f", path)])

    return Decoder(decode, (StoreError,), whole)


def _reports(folder: Path) -> Decoder:
    report = EpisodeReport(since_ns=1, until_ns=2, mmd2=0.3, seed=0, versions={}, accepted={})
    return Decoder(settled_in, (ValueError,), [report.as_json().encode()])


def _events(folder: Path) -> Decoder:
    events: list[Event] = [Progress(Task.DETECTION, 0.5), Failed("no room"), LeftOut("a frame")]
    whole = [to_line(event).encode() for event in events]
    # The pipe replaces what is no text, too.
    return Decoder(lambda data: from_line(data.decode(errors="replace")), (ValueError,), whole)


def _unlabelled(folder: Path) -> Decoder:
    path = folder / "unlabelled.safetensors"

    def decode(data: bytes) -> None:
        path.write_bytes(data)
        read_unlabelled(path)

    return Decoder(decode, (ValueError,), [save({"images": picture()[None]})])


def _banks(folder: Path) -> Decoder:
    """Each file of an entry, while the drift of now is asked for."""
    rng = np.random.default_rng(0)
    source = rng.normal(size=(64, 6)).astype(np.float32)
    now = rng.normal(3, 1, (16, 6)).astype(np.float32)
    reference = DriftReference.from_source(source, 16, false_alarm=1000)
    bank = PatchBank(folder / "bank", reference)
    entry = folder / "bank" / bank.add(now, {Task.DETECTION: b"patches"})
    order = ("signature.safetensors", "turn", "basis")
    files = {name: (entry / name).read_bytes() for name in order}

    def decode(data: bytes) -> None:
        if data:
            name = order[data[0] % len(order)]
            (entry / name).write_bytes(data[1:])
            try:
                bank.find(now, lambda sentence: None)
                bank.used(entry.name)
            finally:
                for kept, content in files.items():
                    (entry / kept).write_bytes(content)

    whole = [bytes([place]) + files[name] for place, name in enumerate(order)]
    return Decoder(decode, (), whole)


def _keys(folder: Path) -> Decoder:
    key, path = Ed25519PrivateKey.from_private_bytes(bytes(32)), folder / "any"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def decode(data: bytes) -> None:
        path.write_bytes(data[1:])
        if data[:1] == b"S":
            Signer(path)
        else:
            Verifier(path)

    return Decoder(decode, (SigningError,), [b"S" + private, b"V" + public])


def _settings(folder: Path) -> Decoder:
    path, whole = folder / "any.yaml", []
    for kind in ("offline", "bench"):
        for file in sorted(config_folder(kind).glob("*.yaml"))[:4]:
            # What an experiment is like would have to lie beside it.
            if not file.read_text().startswith("like") and b"\nlike:" not in file.read_bytes():
                whole.append(kind[:1].encode() + file.read_bytes())

    def decode(data: bytes) -> None:
        path.write_bytes(data[1:])
        if data[:1] == b"o":
            read_config_file(path, OfflineConfig)
        else:
            read_experiment(path)

    return Decoder(decode, (ConfigFileError, ExperimentError), whole)


TARGETS: Final = (
    Target("patch-set", _patch_sets, _mended_tensors),
    Target("predictor", _predictors, _mended_tensors),
    Target("manifest", _manifests),
    Target("bundle-file", _bundle_files),
    Target("stored-frame", _stored_frames),
    Target("report", _reports),
    Target("event", _events),
    Target("unlabelled", _unlabelled),
    Target("bank", _banks),
    Target("key", _keys),
    Target("yaml", _settings),
)
