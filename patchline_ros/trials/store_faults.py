"""What somebody else leaves in the adapter's folder, takes away from it, or puts in a memory."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from patchline_ros.adaptation.patch_set_files import signature_file
from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.trials.case import Case
from patchline_ros.trials.file_damage import Spoil, garbage, half, nothing, spoiled
from patchline_ros.trials.process_faults import ended
from patchline_ros.trials.random_patches import made_patch_set
from patchline_ros.trials.trial_graph import ADAPTER, TrialGraph

_VERSION = 9_000_000_000
_VICTIM = b"somebody else's file"


_ADAPTER_ENDS = frozenset([ADAPTER])
_NODE_ENDS = frozenset([next(iter(NODE_OF_TASK.values()))])


def store_cases() -> list[Case]:
    """Planted files and links, missing signatures, a store that is wiped, damaged memories."""
    log = "a link where the training's log is written, adapter killed"
    return [
        *_planted_cases(),
        *_signature_cases(),
        *_memory_cases(),
        Case("planted-unsigned", "file", "a patch set that nobody signed, sent again", _unsigned),
        Case("planted-link", "file", "a link where a labelled frame is written", _planted_link),
        Case("planted-log", "file", log, _planted_log, _ADAPTER_ENDS),
        Case("store-frames-gone", "file", "all labelled frames are deleted", _frames_gone),
        Case("store-republish", "file", "all patch sets are deleted, sent again", _episodes_gone),
    ]


def _planted_cases() -> list[Case]:
    versions = {
        "digits": ("a version of 60 digits", "9" * 60),
        "last": ("version 2^63 - 1", str(2**63 - 1)),
        "unicode": ("a version in digits of another script", "٣٤"),
    }
    return [
        Case(
            f"planted-{name}",
            "file",
            f"patch set with {what}, adapter killed",
            partial(_planted_file, version),
            _ADAPTER_ENDS,
        )
        for name, (what, version) in versions.items()
    ]


def _signature_cases() -> list[Case]:
    signatures: dict[str, tuple[str, Spoil | None]] = {
        "missing": ("is missing", None),
        "garbage": ("is bytes drawn by chance", garbage),
        "half": ("is cut in half", half),
        "empty": ("is empty", nothing),
    }
    return [
        Case(
            f"signature-{name}",
            "file",
            f"the signature of a stored patch set {what}",
            partial(_bad_signature, spoil),
        )
        for name, (what, spoil) in signatures.items()
    ]


def _memory_cases() -> list[Case]:
    huge = b'{"key": "", "newest": 18446744073709551616, "sha256": "", "removed": []}'
    memories: dict[str, tuple[str, Spoil]] = {
        "garbage": ("bytes drawn by chance", garbage),
        "half": ("half of it", half),
        "text": ("a version that is a word", lambda _: b'{"newest": "nine"}'),
        "huge": ("version 2^64", lambda _: huge),
    }
    return [
        Case(
            f"memory-{name}",
            "file",
            f"a node's memory of versions: {what}, node killed",
            partial(_bad_memory, spoil),
            _NODE_ENDS,
        )
        for name, (what, spoil) in memories.items()
    ]


@contextmanager
def _planted_file(version: str, trial: TrialGraph) -> Iterator[None]:
    path = trial.episodes / f"{trial.tasks[0]}.v{version}.safetensors"
    with spoiled(path, garbage), ended([ADAPTER], signal.SIGKILL, trial):
        yield


@contextmanager
def _unsigned(trial: TrialGraph) -> Iterator[None]:
    """It is named and not sent; once it is gone, what was there before is sent."""
    task = trial.tasks[0]
    path = trial.patch_file(task, _VERSION)
    trial.expected[task] = trial.newest_file(task)
    data = made_patch_set(trial.bundle, task, _VERSION, seed=9)
    with spoiled(path, lambda _: data):
        trial.probe.call("republish")
        trial.until_said(ADAPTER, f"{path.name} is not sent: it has no signature")
        trial.over()
        yield
    trial.expected.pop(task)


@contextmanager
def _bad_signature(spoil: Spoil | None, trial: TrialGraph) -> Iterator[None]:
    task = trial.tasks[0]
    path = trial.patch_file(task, trial.newest_file(task))
    with spoiled(signature_file(path), spoil):
        trial.probe.call("republish")
        trial.until_said(ADAPTER, f"{path.name} is not sent")
        trial.over()
        yield


@contextmanager
def _bad_memory(spoil: Spoil, trial: TrialGraph) -> Iterator[None]:
    """The node must refuse to start, with the file's name, and start once it is whole again."""
    node = next(iter(NODE_OF_TASK.values()))
    path = trial.setup.out / "memory" / f"{node}.json"
    with spoiled(path, spoil):
        trial.supervisor.signal(node, signal.SIGKILL)
        trial.until_said(node, path.name, 30)
        trial.wait(0.5)
    trial.forget(node)
    trial.over()
    yield


@contextmanager
def _planted_link(trial: TrialGraph) -> Iterator[None]:
    victim = trial.setup.out / "victim"
    victim.write_bytes(_VICTIM)
    key = trial.new_lesson(trial.tasks[0])
    folder = trial.frames / str(key[0])
    stamp_ns = trial.stamp_of(key)
    link = folder / f".{stamp_ns:020d}_{key[1]}.npz.part"
    link.symlink_to(victim)
    try:
        trial.teach_all([key])
        trial.over()
        yield
    finally:
        link.unlink(missing_ok=True)
    if victim.read_bytes() != _VICTIM:
        trial.trouble("a file outside of the store was overwritten")


@contextmanager
def _planted_log(trial: TrialGraph) -> Iterator[None]:
    victim, log = trial.setup.out / "victim", trial.episodes / "worker.log"
    victim.write_bytes(_VICTIM)
    with ended([ADAPTER], signal.SIGKILL, trial):
        log.unlink(missing_ok=True)
        log.symlink_to(victim)
        yield
    trial.probe.call("adapt_now", seconds=5)
    trial.wait(1.0)
    if victim.read_bytes() != _VICTIM:
        trial.trouble("a file outside of the store was overwritten")


@contextmanager
def _frames_gone(trial: TrialGraph) -> Iterator[None]:
    for task in trial.tasks:
        for frame in trial.select(task):
            trial.given_up((task, frame.frame_id))
    shutil.rmtree(trial.frames)
    trial.over()
    yield


@contextmanager
def _episodes_gone(trial: TrialGraph) -> Iterator[None]:
    """The nodes go on with what runs; with the files there again all is as it was."""
    aside = trial.setup.out / "episodes-aside"
    trial.episodes.rename(aside)
    try:
        response = trial.probe.call("republish")
        if response.success:
            trial.trouble("the adapter says that it sent what is gone")
        trial.over()
    finally:
        shutil.rmtree(trial.episodes, ignore_errors=True)
        aside.rename(trial.episodes)
    yield
