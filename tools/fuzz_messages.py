"""Messages as the nodes get them, from the bytes that the middleware hands on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from patchline_ros.msg import DriftStatus, FrameFeatures, LabelledFrame, PatchSet, PatchStatus
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Classification, Detection2DArray

from patchline_ros.adaptation.adaptation_loop import AdaptationLoop
from patchline_ros.adaptation.label_intake import LabelIntake
from patchline_ros.adaptation.label_policy import LabelPolicy
from patchline_ros.adaptation.patch_versions import PatchVersions
from patchline_ros.adaptation.planner import Drift
from patchline_ros.adaptation.storage import Storage, StorageSettings
from patchline_ros.adaptation.store import FrameStore
from patchline_ros.drift.window import SIGNATURE_FRAMES
from patchline_ros.files import sha256
from patchline_ros.labelling.foreign_labels import Certainty, read_label
from patchline_ros.messages.label_check import LabelError
from patchline_ros.messages.labels import ConversionError, msg_to_regions
from patchline_ros.messages.pictures import compressed_to_rgb, image_to_rgb
from patchline_ros.nodes.conversions import (
    boxes_to_msg,
    bytes_field,
    classification_to_msg,
    labelled_frame_to_msg,
    mask_to_image,
    msg_to_labelled_frame,
    ns_to_stamp,
    rgb_to_image,
    stamp_to_ns,
)
from patchline_ros.patching.patch_set import PatchSetMetadata, to_bytes
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.runtime.model_runner import ModelRunner
from patchline_ros.runtime.patch_intake import OfferedPatchSet, PatchIntake, Trust
from patchline_ros.runtime.version_memory import VersionMemory
from patchline_ros.tasks import Boxes, ClassMap, Label, Sample, Task
from patchline_ros.watch.label_json import read_label as read_page_label
from tools.fuzz_decoder import CLASSES, SIDE, Decoder, Silence, Target, picture, sim_bundle

_HEADER: Final = Header(stamp=ns_to_stamp(1_000_000_007), frame_id="camera")
_BOXES: Final = Boxes.truth([[4.0, 6.0, 20.0, 18.0]], [1])
_MAP: Final[ClassMap] = picture()[:, :, 0] % 2
_LABELS: Final[dict[Task, Label]] = {
    Task.CLASSIFICATION: 1,
    Task.DETECTION: _BOXES,
    Task.SEGMENTATION: _MAP,
}


def _bytes(message: Any) -> bytes:
    return bytes(serialize_message(message))


_ENCAPSULATION: Final = b"\x00\x01\x00\x00"
"""Little-endian CDR without padding. It is left whole: where it says more padding than there is,
Fast CDR 2 reads beyond the end and dies, before anything of this package is called."""


def _heard(data: bytes, kind: type) -> Any:
    """The message; None for what the middleware refuses, which comes to no node."""
    try:
        return deserialize_message(_ENCAPSULATION + data[4:], kind)
    except Exception:
        return None


def _of(kind: type, read: Callable[[Any], object]) -> Callable[[bytes], None]:
    def decode(data: bytes) -> None:
        message = _heard(data, kind)
        if message is not None:
            read(message)

    return decode


def _pictures(folder: Path) -> Decoder:
    raw = {"rgb8": (8, 3), "mono16": (8, 2), "nv12": (12, 1), "yuyv": (8, 2), "rgba8": (8, 4)}
    whole = []
    for encoding, (rows, size) in raw.items():
        image = Image(header=_HEADER, height=8, width=6, encoding=encoding, step=6 * size)
        image.data = bytes_field(bytes(rows * 6 * size))
        whole.append(_bytes(image))
    return Decoder(_of(Image, image_to_rgb), (ConversionError,), whole)


def _compressed(folder: Path) -> Decoder:
    whole = []
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".tiff"):
        for pixels in (picture(), picture()[:, :, 0], picture()[:, :, 0].astype(np.uint16)):
            if pixels.dtype == np.uint16 and suffix not in (".png", ".tiff"):
                continue
            done, data = cv2.imencode(suffix, pixels)
            assert done
            whole.append(data.tobytes())

    def decode(data: bytes) -> None:
        compressed_to_rgb(CompressedImage(format="rgb8; jpeg", data=bytes_field(data)))

    return Decoder(decode, (ConversionError,), whole)


def _labelled_frames(folder: Path) -> Decoder:
    intake = LabelIntake(sim_bundle(), FrameStore(folder / "frames", 4, 1), Silence())

    def take(message: LabelledFrame) -> None:
        try:
            frame_id, task, stamp_ns, sample = msg_to_labelled_frame(message)
        except ConversionError as error:
            intake.refuse(message.id, str(error))
            return
        intake.take(frame_id, task, stamp_ns, sample)

    whole = [
        _bytes(labelled_frame_to_msg("f1", task, Sample(picture(), label), _HEADER))
        for task, label in _LABELS.items()
    ]
    return Decoder(_of(LabelledFrame, take), (), whole)


def _foreign_labels(folder: Path) -> Decoder:
    certainty = Certainty(0.5, 0.2, label_empty_frames=True)
    messages = {
        Classification: (Task.CLASSIFICATION, classification_to_msg(1, 0.9, _HEADER)),
        Detection2DArray: (Task.DETECTION, boxes_to_msg(_BOXES, _HEADER)),
        Image: (Task.SEGMENTATION, mask_to_image(_MAP, _HEADER)),
    }
    kinds = list(messages)

    def decode(data: bytes) -> None:
        if not data:
            return
        kind = kinds[data[0] % len(kinds)]
        message = _heard(data[1:], kind)
        if message is None:
            return
        if kind is Detection2DArray:
            msg_to_regions(message, "1")
        read_label(messages[kind][0], message, CLASSES, certainty)

    whole = [bytes([place]) + _bytes(messages[kind][1]) for place, kind in enumerate(kinds)]
    return Decoder(decode, (ConversionError,), whole)


def _page_labels(folder: Path) -> Decoder:
    whole = [
        json.dumps(sent).encode()
        for sent in (
            {"class_id": 1},
            {"boxes": [{"class_id": 1, "x1": 1.0, "y1": 2.0, "x2": 9.5, "y2": 8.0}]},
            {"runs": [0, 500, 1, SIDE * SIDE - 500]},
        )
    ]

    def decode(data: bytes) -> None:
        for task in Task:
            try:
                read_page_label(task, data, list(CLASSES), picture())
            except (LabelError, ConversionError):
                continue

    return Decoder(decode, (), whole)


@dataclass
class _Statuses:
    """An adapter's loop without labels, and what it hears."""

    loop: AdaptationLoop

    def drift(self, message: DriftStatus) -> None:
        self.loop.heard_drift(
            Drift(
                drifting=message.drifting,
                mmd2=message.mmd2,
                since_ns=stamp_to_ns(message.since),
                stamp_ns=stamp_to_ns(message.header.stamp),
            )
        )

    def patch(self, message: PatchStatus) -> None:
        undone = message.state == PatchStatus.REMOVED
        self.loop.heard_version(
            Task.SEGMENTATION, message.task, message.version, message.removed, undone
        )

    def features(self, message: FrameFeatures) -> None:
        values = np.asarray(message.features, dtype=np.float32)
        self.loop.saw(Task.SEGMENTATION, stamp_to_ns(message.header.stamp), message.entropy, values)

    def sample(self, message: Image) -> None:
        try:
            pixels = image_to_rgb(message)
        except ConversionError:
            return
        self.loop.saw_picture(Task.SEGMENTATION, stamp_to_ns(message.header.stamp), pixels)


def _statuses(folder: Path) -> Decoder:
    bundle, log = sim_bundle(), Silence()
    settings = StorageSettings(capacity=4, capacity_mib=1, epochs=1, seed=0, threads=1)
    storage = Storage.open(folder, bundle, settings)
    versions = PatchVersions(bundle, storage.runner, storage.epoch, lambda sent: None, log)
    loop = AdaptationLoop(
        bundle, storage, versions, lambda: 99, LabelPolicy.REQUIRED, lambda status: None, log
    )
    hears, width = _Statuses(loop), bundle.drift_reference.width
    kinds: list[tuple[type, Callable[[Any], None]]] = [
        (DriftStatus, hears.drift),
        (PatchStatus, hears.patch),
        (FrameFeatures, hears.features),
        (Image, hears.sample),
    ]

    def decode(data: bytes) -> None:
        """Pieces: a kind, a length, that many bytes."""
        for kind, piece in _pieces(data):
            type_, hear = kinds[kind % len(kinds)]
            message = _heard(piece, type_)
            if message is not None:
                hear(message)
        loop.tick()

    numbers = np.random.default_rng(0).normal(size=(SIGNATURE_FRAMES, width))
    parts = [
        (2, FrameFeatures(header=_HEADER, task="segmentation", entropy=0.3, features=row.tolist()))
        for row in numbers[:2]
    ]
    drift = DriftStatus(header=_HEADER, drifting=True, mmd2=0.4, since=_HEADER.stamp)
    status = PatchStatus(header=_HEADER, task="segmentation", version=2, state=3, removed=1)
    parts += [(0, drift), (1, status), (3, rgb_to_image(picture(), _HEADER))]
    joined = b"".join(_piece(kind, _bytes(message)) for kind, message in parts)
    return Decoder(decode, (), [joined, *(_piece(k, _bytes(m)) for k, m in parts)])


def _piece(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + len(data).to_bytes(4, "little") + data


def _pieces(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) > 5:
        length = int.from_bytes(data[1:5], "little")
        yield data[0], data[5 : 5 + length]
        data = data[5 + length :]


def _offers(folder: Path) -> Decoder:
    bundle, task = sim_bundle(), Task.SEGMENTATION
    torch.manual_seed(0)
    metadata = PatchSetMetadata(
        task=task,
        version=3,
        base_fingerprint=bundle.fingerprint(task),
        method=PatchSettings(k=1),
        norm="source",
        seed=0,
    )
    data = to_bytes(PatchedModel(bundle.model(task), PatchSettings(k=1)), metadata)[:4000]
    whole = PatchSet(
        header=_HEADER,
        task=str(task),
        version=3,
        base_fingerprint=bundle.fingerprint(task),
        sha256=sha256(data),
        data=bytes_field(data),
        signature=bytes_field(bytes(64)),
    )
    runner = ModelRunner(bundle, task)

    def take(message: PatchSet) -> None:
        intake = PatchIntake(runner, Trust(), 64 << 20, VersionMemory())
        decision = intake.examine(
            OfferedPatchSet(
                task=message.task,
                version=message.version,
                base_fingerprint=message.base_fingerprint,
                sha256=message.sha256,
                data=memoryview(message.data),
                signature=bytes(message.signature),
            )
        )
        if decision is not None:
            intake.carry_out(decision)

    empty = PatchSet(header=_HEADER, task=str(task), version=4)
    return Decoder(_of(PatchSet, take), (), [_bytes(whole), _bytes(empty)])


TARGETS: Final = (
    Target("picture", _pictures),
    Target("compressed-picture", _compressed),
    Target("labelled-frame", _labelled_frames),
    Target("foreign-label", _foreign_labels),
    Target("page-label", _page_labels),
    Target("status", _statuses),
    Target("patch-set-message", _offers),
)
