"""Files that are damaged, while the graph runs and while it does not."""

from __future__ import annotations

import io
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from patchline_ros.adaptation.bank import PatchBank
from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.msg import AdaptationStatus
from patchline_ros.runtime.model_runner import ModelRunner
from patchline_ros.trials.case import Case
from patchline_ros.trials.process_faults import ended
from patchline_ros.trials.training_faults import TRAINING_SECONDS, ended_with, start_training
from patchline_ros.trials.trial_graph import ADAPTER, MONITOR, World, made_patch_set

Spoil = Callable[[bytes], bytes]

_GARBAGE = np.random.default_rng(1).integers(0, 256, 3000, dtype=np.uint8).tobytes()


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _garbage(_: bytes) -> bytes:
    return _GARBAGE


def _nothing(_: bytes) -> bytes:
    return b""


def _objects(_: bytes) -> bytes:
    """A stored frame whose arrays would have to be unpickled."""
    buffer = io.BytesIO()
    np.savez(buffer, image=np.array([{}], dtype=object), sign=np.array(1))
    return buffer.getvalue()


def file_cases() -> list[Case]:
    """Stored frames, patch sets, reports, the bank, the bundle."""
    return [
        *_frame_cases(),
        *_patch_set_cases(),
        *_report_cases(),
        *_bank_cases(),
        *_bundle_cases(),
    ]


@contextmanager
def spoiled(path: Path, spoil: Spoil) -> Iterator[None]:
    """The file is damaged while the block runs."""
    whole = path.read_bytes()
    path.write_bytes(spoil(whole))
    try:
        yield
    finally:
        path.write_bytes(whole)


# Stored frames.


def _frame_cases() -> list[Case]:
    how: list[tuple[str, str, Spoil]] = [
        ("truncated", "half of it is missing", _half),
        ("garbage", "it holds bytes drawn by chance", _garbage),
        ("empty", "it is empty", _nothing),
        ("pickle", "it holds pickled objects", _objects),
    ]
    cases = [
        Case(f"frame-{name}", "file", f"stored frame: {what}", partial(_bad_frame, spoil))
        for name, what, spoil in how
    ]
    what = "half-written and foreign files among the stored frames, adapter killed"
    return [
        *cases,
        Case("frame-leftovers", "file", what, _leftovers, frozenset([ADAPTER])),
    ]


@contextmanager
def _bad_frame(spoil: Spoil, world: World) -> Iterator[None]:
    """A training that meets it must name it and go on; the frame is whole again afterwards."""
    task, frame_id = key = world.teach()
    world.teach_all([key])
    path = next(found.path for found in world.select(task) if found.frame_id == frame_id)
    world.given_up(key)
    with spoiled(path, spoil):
        start_training(world)
        status = ended_with(world, TRAINING_SECONDS)
        if status.state != AdaptationStatus.FINISHED:
            world.trouble(f"the training ended with {status.reason!r}")
        world.until(lambda: world.said(ADAPTER, path.name), f"the adapter names {path.name}")
        world.over()
        yield
    world.whole_again(key)


@contextmanager
def _leftovers(world: World) -> Iterator[None]:
    task = world.tasks[0]
    folder = world.frames / str(task)
    kept = len(world.select(task))
    names = (".00000000000000000001_half.npz.part", "notes.txt", "1_short.npz", "lost+found")
    for name in names:
        (folder / name).write_bytes(_GARBAGE)
    try:
        with ended([ADAPTER], signal.SIGKILL, world):
            if len(world.select(task)) < kept:
                world.trouble("frames are gone")
            yield
    finally:
        for name in names:
            (folder / name).unlink(missing_ok=True)


# Patch sets in the store.


def _patch_set_cases() -> list[Case]:
    how: list[tuple[str, str, Spoil]] = [
        ("truncated", "half of it is missing", _half),
        ("garbage", "it holds bytes drawn by chance", _garbage),
    ]
    cases = []
    for name, what, spoil in how:
        cases += [
            Case(
                f"patch-file-{name}",
                "file",
                f"stored patch set: {what}, sent again",
                partial(_bad_patch_file, spoil),
            ),
            Case(
                f"patch-file-{name}-down",
                "file",
                f"stored patch set: {what}, adapter and node killed",
                partial(_bad_patch_file_down, spoil),
                frozenset([ADAPTER, *NODE_OF_TASK.values()]),
            ),
        ]
    what = "a patch set is left half-written, adapter killed"
    return [
        *cases,
        Case("patch-file-leftover", "file", what, _patch_leftover, frozenset([ADAPTER])),
    ]


def _newest_file(world: World) -> Path:
    task = world.tasks[0]
    return world.patch_file(task, world.newest_file(task))


@contextmanager
def _bad_patch_file(spoil: Spoil, world: World) -> Iterator[None]:
    path = _newest_file(world)
    with spoiled(path, spoil):
        world.probe.call("republish")
        world.until(lambda: world.said(ADAPTER, path.name), f"the adapter names {path.name}")
        world.over()
        yield


@contextmanager
def _bad_patch_file_down(spoil: Spoil, world: World) -> Iterator[None]:
    """Nobody has it any more: the source model runs until it is there again."""
    task = world.tasks[0]
    names = [ADAPTER, NODE_OF_TASK[task]]
    path = _newest_file(world)
    world.graph.hold(names, signal.SIGKILL)
    with spoiled(path, spoil):
        for name in names:
            world.forget(name)
        world.expected[task] = 0
        world.over()
        world.graph.release(names)
        yield
        world.until(lambda: world.said(ADAPTER, path.name), f"the adapter names {path.name}")
    world.expected.pop(task)
    world.probe.call("republish")
    world.over()
    world.until(lambda: world.answers_well(task), "the patch set runs again", 15)


@contextmanager
def _patch_leftover(world: World) -> Iterator[None]:
    left = world.episodes / f".{world.tasks[0]}.v999.safetensors.part"
    left.write_bytes(_GARBAGE)
    try:
        with ended([ADAPTER], signal.SIGKILL, world):
            yield
    finally:
        left.unlink(missing_ok=True)


# What the adapter wrote about episodes.


def _report_cases() -> list[Case]:
    how: list[tuple[str, str, Spoil]] = [
        ("garbage", "bytes drawn by chance", _garbage),
        ("truncated", "half a report", lambda _: b'{"since_ns": 12, "bank_en'),
        ("list", "a list", lambda _: b"[1, 2]"),
        ("keys", "a report without its keys", lambda _: b"{}"),
        ("types", "a report with wrong types", lambda _: b'{"since_ns": "x", "accepted": 3}'),
    ]
    adapter = frozenset([ADAPTER])
    cases = [
        Case(
            f"episode-{name}",
            "file",
            f"episode.json: {what}, adapter killed",
            partial(_bad_report, "episode.json", spoil, True),
            adapter,
        )
        for name, what, spoil in how
    ]
    what = "job.json: bytes drawn by chance, adapter killed"
    job = partial(_bad_report, "job.json", _garbage, False)
    return [*cases, Case("job-garbage", "file", what, job, adapter)]


@contextmanager
def _bad_report(name: str, spoil: Spoil, named: bool, world: World) -> Iterator[None]:
    path = world.episodes / name
    whole = path.read_bytes() if path.is_file() else None
    world.graph.hold([ADAPTER], signal.SIGKILL)
    world.forget(ADAPTER)
    path.write_bytes(spoil(whole or b""))
    try:
        world.over()
        world.graph.release([ADAPTER])
        yield
        if named:
            world.until(lambda: world.said(ADAPTER, name), f"the adapter names {name}")
    finally:
        if whole is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(whole)


# The bank of earlier patch sets.


def _bank_cases() -> list[Case]:
    how: list[tuple[str, str, Callable[[Path], None]]] = [
        ("garbage", "its signature is garbage", _signature_of(_garbage)),
        ("truncated", "half of its signature is missing", _signature_of(_half)),
        ("no-signature", "it has no signature", lambda entry: (entry / _SIGNATURE).unlink()),
        ("empty", "the folder is empty", _emptied),
        ("shape", "its signature is of another bundle", _other_shape),
    ]
    adapter = frozenset([ADAPTER])
    cases = [
        Case(
            f"bank-{name}",
            "file",
            f"entry of the bank: {what}, adapter killed",
            partial(_bad_entry, spoil),
            adapter,
        )
        for name, what, spoil in how
    ]
    what = "entry of the bank: its patch set is garbage, and the drift returns"
    return [*cases, Case("bank-patch-set", "file", what, _bad_kept_patch_set, adapter)]


_SIGNATURE = "signature.safetensors"


def _signature_of(spoil: Spoil) -> Callable[[Path], None]:
    def change(entry: Path) -> None:
        path = entry / _SIGNATURE
        path.write_bytes(spoil(path.read_bytes()))

    return change


def _emptied(entry: Path) -> None:
    for path in entry.iterdir():
        path.unlink()


def _other_shape(entry: Path) -> None:
    from safetensors.numpy import save

    (entry / _SIGNATURE).write_bytes(save({"features": np.zeros((8, 3), np.float32)}))


def _make_entry(world: World) -> Path:
    """An entry for the drift of the trial's pictures, as the adapter would keep it.

    It is the only one, and nothing was adapted to yet, so that the adapter asks for it.
    """
    watching = world.bundle.manifest.drift.task
    folder = world.setting.store / "bank" / world.bundle.fingerprint(watching)[:16]
    if folder.exists():
        shutil.rmtree(folder)
    (world.episodes / "episode.json").unlink(missing_ok=True)
    reference = world.bundle.drift_reference
    runner = ModelRunner(world.bundle, watching)
    pictures = world.road.pictures[watching]
    features = np.stack(
        [
            runner.infer(pictures[number % len(pictures)]).features
            for number in range(reference.window)
        ]
    )
    task = world.tasks[0]
    bank = PatchBank(folder, reference)
    return folder / bank.add(features, {task: made_patch_set(world.bundle, task, 1, seed=5)})


@contextmanager
def _bad_entry(spoil: Callable[[Path], None], world: World) -> Iterator[None]:
    world.graph.hold([ADAPTER], signal.SIGKILL)
    world.forget(ADAPTER)
    entry = _make_entry(world)
    spoil(entry)
    try:
        world.over()
        world.graph.release([ADAPTER])
        yield
        named = f"bank/{entry.parent.name}/{entry.name}"
        world.until(
            lambda: world.said(ADAPTER, named) or world.said(ADAPTER, f"entry {entry.name}"),
            f"the adapter names the entry {entry.name}",
            20,
        )
    finally:
        shutil.rmtree(entry)


@contextmanager
def _bad_kept_patch_set(world: World) -> Iterator[None]:
    """It is asked, since the drift is the same; verifying it must fail and change nothing."""
    task = world.tasks[0]
    keys = [world.new_lesson(kind) for kind in world.tasks for _ in range(8)]
    world.teach_all(keys)
    world.graph.hold([ADAPTER], signal.SIGKILL)
    world.forget(ADAPTER)
    entry = _make_entry(world)
    (entry / f"{task}.safetensors").write_bytes(_GARBAGE)
    world.probe.adaptation.clear()
    try:
        world.over()
        world.graph.release([ADAPTER])
        yield
        status = ended_with(world, TRAINING_SECONDS)
        if status.state == AdaptationStatus.FINISHED and '"accepted": {}' in status.episode_json:
            world.trouble("nobody said that the entry's patch set is garbage")
    finally:
        shutil.rmtree(entry)


# The bundle.


def _bundle_cases() -> list[Case]:
    nodes = NODE_OF_TASK
    how: list[tuple[str, str, str, str, Spoil | None]] = [
        ("manifest-garbage", "is garbage", "manifest.json", ADAPTER, _garbage),
        ("manifest-truncated", "is cut in half", "manifest.json", MONITOR, _half),
        ("manifest-list", "is a list", "manifest.json", MONITOR, lambda _: b"[]"),
        ("manifest-missing", "is missing", "manifest.json", ADAPTER, None),
    ]
    for task, node in nodes.items():
        how.append((f"{task}-truncated", "is cut in half", f"{task}.safetensors", node, _half))
    how += [
        ("reference-garbage", "is garbage", "reference.safetensors", MONITOR, _garbage),
        ("reference-missing", "is missing", "reference.safetensors", ADAPTER, None),
        ("names-empty", "is empty", "trained_on.json", ADAPTER, _nothing),
    ]
    cases = [
        Case(
            f"bundle-{name}",
            "file",
            f"bundle: {file} {what} when {node} starts again",
            partial(_bad_bundle, file, node, spoil),
            frozenset([node]),
        )
        for name, what, file, node, spoil in how
    ]
    what = "bundle: all models are garbage while the graph runs"
    return [*cases, Case("bundle-running", "file", what, _bundle_under_way)]


@contextmanager
def _bad_bundle(file: str, node: str, spoil: Spoil | None, world: World) -> Iterator[None]:
    """The node must refuse to start, with the file's name, and start once it is whole again."""
    path = world.bundle_folder / file
    whole = path.read_bytes()
    try:
        if spoil is None:
            path.unlink()
        else:
            path.write_bytes(spoil(whole))
        world.graph.signal(node, signal.SIGKILL)
        world.until(lambda: world.said(node, file), f"{node} names {file}", 30)
        world.wait(0.5)
    finally:
        path.write_bytes(whole)
    world.forget(node)
    world.over()
    yield


@contextmanager
def _bundle_under_way(world: World) -> Iterator[None]:
    paths = [world.bundle_folder / f"{task}.safetensors" for task in world.tasks]
    whole = [path.read_bytes() for path in paths]
    try:
        for path in paths:
            path.write_bytes(_GARBAGE)
        world.over()
        yield
    finally:
        for path, data in zip(paths, whole, strict=True):
            path.write_bytes(data)
