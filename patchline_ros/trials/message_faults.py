"""Messages that are not what they should be, on every topic that the graph hears."""

from __future__ import annotations

import json
import math
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2D, ObjectHypothesisWithPose

from patchline_ros.files import sha256
from patchline_ros.graph.description import NODE_OF_TASK, patch_set_topic
from patchline_ros.msg import DriftStatus, FrameFeatures, LabelledFrame, PatchSet, PatchStatus
from patchline_ros.nodes.conversions import bytes_field, mask_to_image, ns_to_stamp, stamp_to_ns
from patchline_ros.tasks import Task
from patchline_ros.trials.case import Case
from patchline_ros.trials.probe import Manner
from patchline_ros.trials.trial_graph import ADAPTER, MONITOR, World, made_patch_set

_SECOND: Final = 10**9
_TIMES: Final = 3
"""A spoiled picture or reading is sent so often: best effort may lose one."""
_FOREIGN: Final = "0" * 64
_TOO_LARGE_MIB: Final = 65


def message_cases() -> list[Case]:
    """Pictures, labelled frames, features, readings, statuses and patch sets."""
    return [
        *_picture_cases(),
        *_label_cases(),
        *_reading_cases(),
        *_patch_set_cases(),
    ]


# Pictures.


def _set(**fields: Any) -> Callable[[Any], None]:
    def change(msg: Any) -> None:
        for name, value in fields.items():
            setattr(msg, name, value)

    return change


def _cut_picture(msg: Image) -> None:
    msg.data = msg.data[: len(msg.data) // 2]


def _no_picture(msg: Image) -> None:
    msg.height = msg.width = msg.step = 0
    msg.data = array("B")


def _large_picture(msg: Image) -> None:
    msg.height, msg.width, msg.step = 3000, 4000, 12_000
    msg.data = array("B", bytes(3000 * 12_000))


def _tiny_picture(msg: Image) -> None:
    msg.height = msg.width = 1
    msg.step, msg.data = 3, array("B", bytes(3))


def _picture_cases() -> list[Case]:
    spoiled: list[tuple[str, str, Callable[[Image], None]]] = [
        ("encoding", "the encoding is unknown", _set(encoding="yuv422_yuy2")),
        ("encoding-empty", "the encoding is empty", _set(encoding="")),
        ("encoding-other", "bytes of rgb8 are said to be bgra8", _set(encoding="bgra8")),
        ("truncated", "half of the data is missing", _cut_picture),
        ("no-data", "there is no data", _set(data=array("B"))),
        ("step-short", "the step is shorter than a row", _set(step=100)),
        ("step-long", "the step is longer than the data", _set(step=4000)),
        ("empty", "0 x 0 pixels", _no_picture),
        ("huge", "2^32 - 1 pixels a side", _set(height=2**32 - 1, width=2**32 - 1)),
    ]
    cases = [
        Case(f"picture-{name}", "message", f"picture: {what}", partial(_unreadable, change))
        for name, what, change in spoiled
    ]
    odd: list[tuple[str, str, Callable[[Image], None]]] = [
        ("tiny", "one pixel", _tiny_picture),
        ("large", "12 megapixels", _large_picture),
        ("stamp-zero", "the stamp is 0", lambda msg: _stamp(msg, 0)),
        ("stamp-negative", "the stamp is negative", lambda msg: _stamp(msg, -5 * _SECOND)),
        ("stamp-future", "the stamp is of 2038", lambda msg: _stamp(msg, (2**31 - 1) * _SECOND)),
    ]
    cases += [
        Case(f"picture-{name}", "message", f"picture: {what}", partial(_odd_picture, change))
        for name, what, change in odd
    ]
    cases += [
        Case(f"pictures-{manner.name.lower()}", "message", f"pictures: {manner.value}", fault)
        for manner in (Manner.DROPPED, Manner.REORDERED, Manner.TWICE)
        for fault in [partial(_sent_so, manner)]
    ]
    return cases


def _stamp(msg: Any, stamp_ns: int) -> None:
    msg.header.stamp = ns_to_stamp(stamp_ns)


@contextmanager
def _unreadable(change: Callable[[Image], None], world: World) -> Iterator[None]:
    names = NODE_OF_TASK.values()
    before = {name: world.counted(name, "unreadable") for name in names}

    def all_say() -> bool:
        return all(world.counted(name, "unreadable") > before[name] for name in names)

    for _ in range(_TIMES):
        world.probe.show(change)
        world.wait(0.1)
    world.over()
    world.until(all_say, "all perception nodes count it as unreadable")
    yield


@contextmanager
def _odd_picture(change: Callable[[Image], None], world: World) -> Iterator[None]:
    for _ in range(_TIMES):
        world.probe.show(change)
        world.wait(0.3)
    world.over()
    yield


@contextmanager
def _sent_so(manner: Manner, world: World) -> Iterator[None]:
    world.probe.manner = manner
    try:
        world.wait(4.0)
    finally:
        world.probe.manner = Manner.STEADY
    world.over()
    yield


# Labelled frames.


def _sign(class_id: str) -> Callable[[LabelledFrame], None]:
    def change(msg: LabelledFrame) -> None:
        msg.sign.results[0].class_id = class_id

    return change


def _no_sign(msg: LabelledFrame) -> None:
    msg.sign.results = []


def _box(x: float, width: float) -> Callable[[LabelledFrame], None]:
    def change(msg: LabelledFrame) -> None:
        detection = _a_detection(msg)
        detection.bbox.center.position.x = x
        detection.bbox.size_x = width

    return change


def _a_detection(msg: LabelledFrame) -> Detection2D:
    """The first object; a message without any gets one."""
    if not msg.objects.detections:
        detection = Detection2D()
        detection.bbox.center.position.x = detection.bbox.center.position.y = 50.0
        detection.bbox.size_x = detection.bbox.size_y = 20.0
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id = "0"
        detection.results = [hypothesis]
        msg.objects.detections = [detection]
    return msg.objects.detections[0]


def _no_hypothesis(msg: LabelledFrame) -> None:
    _a_detection(msg).results = []


def _lanes(classes: np.ndarray[Any, Any]) -> Callable[[LabelledFrame], None]:
    def change(msg: LabelledFrame) -> None:
        msg.lanes = mask_to_image(classes.astype(np.uint8), msg.header)

    return change


def _lanes_rgb(msg: LabelledFrame) -> None:
    msg.lanes = msg.image


def _lanes_unknown(msg: LabelledFrame) -> None:
    msg.lanes.data = array("B", bytes([77]) * len(msg.lanes.data))


def _cut_image(msg: LabelledFrame) -> None:
    _cut_picture(msg.image)


def _label_cases() -> list[Case]:
    signs, objects, lanes = Task.CLASSIFICATION, Task.DETECTION, Task.SEGMENTATION
    spoiled: list[tuple[str, str, Task, Callable[[LabelledFrame], None]]] = [
        ("no-id", "it has no id", signs, _set(id="")),
        ("id-path", "its id is a path", signs, _set(id="../../../escaped")),
        ("id-long", "its id has 5000 letters", signs, _set(id="x" * 5000)),
        ("task", "its task is unknown", signs, _set(task="trees")),
        ("no-stamp", "its stamp is 0", signs, lambda msg: _stamp(msg, 0)),
        ("stamp-negative", "its stamp is negative", signs, lambda msg: _stamp(msg, -_SECOND)),
        ("picture", "its picture is cut in half", signs, _cut_image),
        ("sign-text", "its sign is no number", signs, _sign("stop")),
        ("sign-unknown", "its sign is class 99", signs, _sign("99")),
        ("sign-negative", "its sign is class -1", signs, _sign("-1")),
        ("sign-huge", "its sign is class 10^30", signs, _sign("1" + "0" * 30)),
        ("sign-none", "it has no sign", signs, _no_sign),
        ("box-nan", "a box is at NaN", objects, _box(math.nan, 10.0)),
        ("box-outside", "a box lies outside of the picture", objects, _box(5000.0, 10.0)),
        ("box-negative", "a box is -10 pixels wide", objects, _box(100.0, -10.0)),
        ("box-infinite", "a box is infinitely wide", objects, _box(100.0, math.inf)),
        ("box-no-class", "a box has no class", objects, _no_hypothesis),
        ("map-size", "the class map is of another size", lanes, _lanes(np.zeros((8, 8)))),
        ("map-unknown", "the class map has class 77", lanes, _lanes_unknown),
        ("map-encoding", "the class map is rgb8", lanes, _lanes_rgb),
    ]
    cases = [
        Case(f"label-{name}", "message", f"labelled frame: {what}", partial(_refused, task, change))
        for name, what, task, change in spoiled
    ]
    what = "labelled frames: the last first, each one twice"
    return [*cases, Case("labels-reordered", "message", what, _reordered_labels)]


@contextmanager
def _refused(task: Task, change: Callable[[LabelledFrame], None], world: World) -> Iterator[None]:
    before = world.counted(ADAPTER, "refused")
    stamp_ns = time.time_ns()
    sample = world.road.labelled[task][0]
    world.probe.teach("spoiled", task, sample, stamp_ns, change)
    world.over()
    world.until(
        lambda: world.counted(ADAPTER, "refused") > before, "the adapter counts it as refused"
    )
    if any(frame.frame_id == "spoiled" for kind in world.tasks for frame in world.select(kind)):
        world.trouble("the spoiled labelled frame was stored")
    yield


@contextmanager
def _reordered_labels(world: World) -> Iterator[None]:
    keys = [world.new_lesson(task) for task in [*world.tasks] * 4]
    for key in [*keys[::-1], *keys]:
        world.teach_again(*key)
    world.until(lambda: all(world.stored(*key) for key in keys), "all of them are stored", 15)
    world.over()
    yield


# Features, readings of the drift monitor, statuses.


def _features(world: World, **changes: Any) -> FrameFeatures:
    size = world.bundle.drift_reference.mean.size
    fields: dict[str, Any] = {"features": array("f", np.ones(size, np.float32).tobytes())}
    fields["task"] = str(world.bundle.manifest.drift.task)
    msg = FrameFeatures(**{**fields, **changes})
    msg.header.stamp = ns_to_stamp(time.time_ns())
    return msg


def _nan_features(world: World) -> FrameFeatures:
    size = world.bundle.drift_reference.mean.size
    nans = np.full(size, np.nan, np.float32)
    return _features(world, features=array("f", nans.tobytes()), entropy=math.nan)


def _short_features(world: World) -> FrameFeatures:
    return _features(world, features=array("f", [1.0, 2.0]))


def _no_features(world: World) -> FrameFeatures:
    return _features(world, features=array("f"))


def _reading_cases() -> list[Case]:
    spoiled: list[tuple[str, str, Callable[[World], FrameFeatures]]] = [
        ("nan", "all are NaN", _nan_features),
        ("short", "two instead of all", _short_features),
        ("none", "none at all", _no_features),
    ]
    cases = [
        Case(f"features-{name}", "message", f"features: {what}", partial(_bad_features, make))
        for name, what, make in spoiled
    ]
    cases.append(
        Case("features-stamps", "message", "features: stamps 0, -1 s and of 2038", _odd_features)
    )
    now = {"drifting": True, "mmd2": 1.0, "threshold": 0.1, "window": 8}
    future, past = ns_to_stamp((2**31 - 1) * _SECOND), ns_to_stamp(-_SECOND)
    readings: list[tuple[str, str, Mapping[str, Any]]] = [
        ("nan", "MMD^2 is NaN", {**now, "mmd2": math.nan, "since": ns_to_stamp(_SECOND)}),
        ("infinite", "MMD^2 is infinite", {**now, "mmd2": math.inf, "since": ns_to_stamp(_SECOND)}),
        ("negative", "the drift began before 1970", {**now, "since": past}),
        ("no-since", "a drift that never began", {**now, "since": ns_to_stamp(0)}),
    ]
    cases += [
        Case(f"drift-{name}", "message", f"drift status: {what}", partial(_bad_drift, fields))
        for name, what, fields in readings
    ]
    what = "drift status: the drift begins in 2038"
    cases.append(Case("drift-future", "message", what, partial(_odd_drift, future)))
    statuses: list[tuple[str, str, Mapping[str, Any]]] = [
        ("task", "the task is unknown", {"task": "trees"}),
        ("other-task", "it is of another task", {"task": "segmentation"}),
    ]
    cases += [
        Case(f"status-{name}", "message", f"patch status: {what}", partial(_bad_status, fields))
        for name, what, fields in statuses
    ]
    return cases


@contextmanager
def _bad_features(make: Callable[[World], FrameFeatures], world: World) -> Iterator[None]:
    before = world.counted(MONITOR, "refused")
    with _sending(world, FrameFeatures, _watched(world), [make(world)] * _TIMES):
        world.over()
        world.until(
            lambda: world.counted(MONITOR, "refused") > before, "the monitor counts it as refused"
        )
        yield


@contextmanager
def _odd_features(world: World) -> Iterator[None]:
    messages = [_features(world) for _ in range(3)]
    for msg, stamp_ns in zip(messages, (0, -_SECOND, (2**31 - 1) * _SECOND), strict=True):
        _stamp(msg, stamp_ns)
    with _sending(world, FrameFeatures, _watched(world), messages):
        world.over()
        yield


def _watched(world: World) -> str:
    return f"{NODE_OF_TASK[world.bundle.manifest.drift.task]}/features"


@contextmanager
def _bad_drift(fields: Mapping[str, Any], world: World) -> Iterator[None]:
    before = world.counted(ADAPTER, "ignored")
    with _sending(world, DriftStatus, "drift_status", [DriftStatus(**fields)] * _TIMES):
        world.over()
        world.until(lambda: world.counted(ADAPTER, "ignored") > before, "the adapter ignores it")
        yield


@contextmanager
def _odd_drift(since: Any, world: World) -> Iterator[None]:
    msg = DriftStatus(drifting=True, mmd2=1.0, threshold=0.1, since=since)
    with _sending(world, DriftStatus, "drift_status", [msg] * _TIMES):
        world.over()
        yield


@contextmanager
def _bad_status(fields: Mapping[str, Any], world: World) -> Iterator[None]:
    msg = PatchStatus(version=7, state=PatchStatus.ACTIVE, **fields)
    before = world.counted(ADAPTER, "ignored")
    publisher = world.probe.latched(
        PatchStatus, f"{NODE_OF_TASK[Task.CLASSIFICATION]}/patch_status"
    )
    try:
        _wait_for_listeners(world, publisher, 2)
        publisher.publish(msg)
        world.over()
        world.until(lambda: world.counted(ADAPTER, "ignored") > before, "the adapter ignores it")
        yield
    finally:
        world.probe.drop(publisher)


@contextmanager
def _sending(world: World, kind: type, topic: str, messages: list[Any]) -> Iterator[None]:
    """Sends them beside the node whose topic it is."""
    publisher = world.probe.publisher(kind, topic)
    try:
        _wait_for_listeners(world, publisher, 1)
        for msg in messages:
            publisher.publish(msg)
        yield
    finally:
        world.probe.drop(publisher)


def _wait_for_listeners(world: World, publisher: Any, least: int) -> None:
    world.until(
        lambda: publisher.get_subscription_count() >= least, f"{publisher.topic} is listened to"
    )
    world.wait(0.3)  # the listener, too, must have found the publisher


# Patch sets.

_Made = tuple[PatchSet, str]
"""A message, and what the refusal must say."""


def _task(world: World) -> Task:
    return world.tasks[0]


def _whole(world: World, version: int | None = None, **facts: Any) -> PatchSet:
    """A patch set that would be taken, if nothing were spoiled."""
    task = _task(world)
    version = version or world.newest_file(task) + 1
    data = made_patch_set(world.bundle, task, version, seed=100)
    if facts:
        data = _with_metadata(data, **facts)
    return _signed(world, version, data)


def _signed(world: World, version: int, data: bytes, **fields: Any) -> PatchSet:
    task = _task(world)
    given = {"fingerprint": world.bundle.fingerprint(task), "digest": sha256(data), **fields}
    return world.signed(task, version, given["fingerprint"], given["digest"], data)


def _header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    return header


def _with_header(data: bytes, header: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _with_metadata(data: bytes, **facts: Any) -> bytes:
    header = _header(data)
    metadata = {**json.loads(header["__metadata__"]["patchline"]), **facts}
    header["__metadata__"]["patchline"] = json.dumps(metadata)
    return _with_header(data, json.dumps(header).encode())


def _with_tensors(data: bytes, change: Callable[[dict[str, torch.Tensor]], None]) -> bytes:
    """The tensors changed, and the metadata's sha256 made right for them."""
    tensors = load_tensors(data)
    change(tensors)
    plain = save_tensors(tensors)
    length = int.from_bytes(plain[:8], "little")
    metadata = json.loads(_header(data)["__metadata__"]["patchline"])
    metadata["sha256"] = sha256(plain[8 + length :])
    return save_tensors(tensors, metadata={"patchline": json.dumps(metadata)})


def _spoiled(world: World, spoil: Callable[[bytes], bytes], **fields: Any) -> PatchSet:
    whole = _whole(world)
    return _signed(world, whole.version, spoil(whole.data.tobytes()), **fields)


def _nan_weight(tensors: dict[str, torch.Tensor]) -> None:
    first = next(value for value in tensors.values() if value.is_floating_point())
    first.view(-1)[0] = math.nan


def _enormous_weights(tensors: dict[str, torch.Tensor]) -> None:
    for value in tensors.values():
        if value.is_floating_point():
            value.fill_(3e38)


def _one_tensor_less(tensors: dict[str, torch.Tensor]) -> None:
    tensors.pop(sorted(tensors)[0])


def _one_tensor_more(tensors: dict[str, torch.Tensor]) -> None:
    tensors["stranger"] = torch.zeros(3)


def _other_shape(tensors: dict[str, torch.Tensor]) -> None:
    name = sorted(tensors)[0]
    tensors[name] = torch.zeros(7, 7)


def _bit_flipped(data: bytes) -> bytes:
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


def _of_another_task(world: World) -> _Made:
    other = world.tasks[1]
    version = world.newest_file(_task(world)) + 1
    data = made_patch_set(world.bundle, other, version)
    return _signed(world, version, data), "is for"


def _named_another_task(world: World) -> _Made:
    msg = _whole(world)
    msg.task = str(world.tasks[1])
    return msg, "this node runs"


def _not_signed(world: World) -> _Made:
    msg = _whole(world)
    msg.signature = bytes_field(b"")
    return msg, "not signed"


def _signed_otherwise(world: World) -> _Made:
    msg = _whole(world)
    msg.signature = bytes_field(bytes(64))
    return msg, "signature"


def _of_the_past(world: World) -> _Made:
    return _whole(world, world.newest_file(_task(world))), "not newer"


def _other_version(world: World) -> _Made:
    msg = _whole(world)
    data = msg.data.tobytes()
    return _signed(world, msg.version + 5, data), "its data version"


def _without_data(world: World) -> _Made:
    version = world.newest_file(_task(world)) + 1
    return _signed(world, version, b"", digest=_FOREIGN), "no data"


def _patch_set_cases() -> list[Case]:
    def data(spoil: Callable[[bytes], bytes], reason: str, **fields: Any) -> Callable[..., _Made]:
        return lambda world: (_spoiled(world, spoil, **fields), reason)

    def facts(reason: str, **changes: Any) -> Callable[..., _Made]:
        return lambda world: (_whole(world, **changes), reason)

    def tensors(
        change: Callable[[dict[str, torch.Tensor]], None], reason: str
    ) -> Callable[..., _Made]:
        return data(lambda whole: _with_tensors(whole, change), reason)

    deep = b"[" * 100_000
    spoiled: list[tuple[str, str, Callable[[World], _Made]]] = [
        ("sha256", "the sha256 is wrong", data(lambda whole: whole, "sha256", digest=_FOREIGN)),
        ("no-sha256", "there is no sha256", data(lambda whole: whole, "sha256", digest="")),
        ("no-data", "a sha256, but no data", _without_data),
        ("truncated", "half of it", data(lambda whole: whole[: len(whole) // 2], "read")),
        ("short", "five bytes", data(lambda whole: whole[:5], "safetensors")),
        ("garbage", "bytes drawn by chance", data(lambda _: _chance(20_000), "safetensors")),
        ("pickle", "a pickled model", data(lambda _: b"\x80\x04" + b"c" * 500, "safetensors")),
        (
            "header-huge",
            "a header of 2^63 bytes",
            data(lambda whole: (2**63).to_bytes(8, "little") + whole[8:], "safetensors"),
        ),
        (
            "header-deep",
            "a header of 100 000 brackets",
            data(lambda whole: _with_header(whole, deep), "metadata"),
        ),
        (
            "header-list",
            "a header that is a list",
            data(lambda whole: _with_header(whole, b"[1, 2]"), "metadata"),
        ),
        ("bit", "one bit of a weight is another", data(_bit_flipped, "damaged")),
        ("nan", "a weight is NaN", tensors(_nan_weight, "not finite")),
        ("enormous", "all weights are 3e38", tensors(_enormous_weights, "not finite")),
        ("tensor-less", "a tensor is missing", tensors(_one_tensor_less, "lacks")),
        ("tensor-more", "a tensor too many", tensors(_one_tensor_more, "unknown tensors")),
        ("tensor-shape", "a tensor has another shape", tensors(_other_shape, "the model needs")),
        ("foreign", "of another source model", facts("base", base_fingerprint=_FOREIGN)),
        ("format-1", "of an older format", facts("format", format=1)),
        ("method", "of an unknown method", facts("method", method={"method": "magic"})),
        ("k-huge", "10^6 patches", facts("fit", method={"method": "patchline", "k": 10**6})),
        ("task", "its data is for another task", _of_another_task),
        ("task-named", "it says another task", _named_another_task),
        ("old", "as old as what runs, with other weights", _of_the_past),
        ("version", "its data has another version", _other_version),
        ("unsigned", "it is not signed", _not_signed),
        ("signature", "signed by nobody", _signed_otherwise),
        (
            "large",
            f"{_TOO_LARGE_MIB} MiB",
            data(lambda _: bytes(_TOO_LARGE_MIB << 20), "largest_patch_set_mib"),
        ),
    ]
    return [
        Case(f"patch-set-{name}", "message", f"patch set: {what}", partial(_bad_patch_set, make))
        for name, what, make in spoiled
    ]


def _chance(size: int) -> bytes:
    return np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8).tobytes()


@contextmanager
def _bad_patch_set(make: Callable[[World], _Made], world: World) -> Iterator[None]:
    msg, reason = make(world)
    task = _task(world)
    publisher = world.probe.latched(PatchSet, patch_set_topic(task))
    try:
        _wait_for_listeners(world, publisher, 1)
        begun_ns = time.time_ns()
        publisher.publish(msg)
        world.over()

        def refused() -> bool:
            return any(
                status.state == PatchStatus.REFUSED
                and status.task == str(task)
                and reason in status.reason
                and stamp_to_ns(status.header.stamp) >= begun_ns
                for status in list(world.probe.patch_statuses)
            )

        world.until(refused, f"the node refuses it with '{reason}'", 15)
        yield
    finally:
        world.probe.drop(publisher)
