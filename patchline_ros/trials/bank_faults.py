"""Entries of the bank of earlier patch sets that are damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import save

from patchline_ros.adaptation.bank import PatchBank
from patchline_ros.adaptation.storage import bank_folder
from patchline_ros.drift.window import SIGNATURE_FRAMES
from patchline_ros.msg import AdaptationStatus
from patchline_ros.runtime.backend_pass import AS_IN_A_NODE
from patchline_ros.runtime.model_runner import ModelRunner
from patchline_ros.trials.case import Case
from patchline_ros.trials.file_damage import GARBAGE, Spoil, garbage, half
from patchline_ros.trials.random_patches import made_patch_set
from patchline_ros.trials.training_faults import TRAINING_SECONDS, ended_with
from patchline_ros.trials.trial_graph import ADAPTER, TrialGraph

_SIGNATURE: Final = "signature.safetensors"


def bank_cases() -> list[Case]:
    """Entries that can not be read, and one whose patch set can not be used."""
    how: list[tuple[str, str, Callable[[Path], None]]] = [
        ("garbage", "its signature is garbage", _signature_of(garbage)),
        ("truncated", "half of its signature is missing", _signature_of(half)),
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


def _signature_of(spoil: Spoil) -> Callable[[Path], None]:
    def change(entry: Path) -> None:
        path = entry / _SIGNATURE
        path.write_bytes(spoil(path.read_bytes()))

    return change


def _emptied(entry: Path) -> None:
    for path in entry.iterdir():
        path.unlink()


def _other_shape(entry: Path) -> None:
    (entry / _SIGNATURE).write_bytes(save({"features": np.zeros((8, 3), np.float32)}))


def _make_entry(trial: TrialGraph) -> Path:
    """An entry for the drift of the trial's pictures, as the adapter would keep it.

    It is the only one, and nothing was adapted to yet, so that the adapter asks for it.
    """
    watching = trial.bundle.manifest.drift.task
    folder = bank_folder(trial.setup.store, trial.bundle)
    if folder.exists():
        shutil.rmtree(folder)
    (trial.episodes / "episode.json").unlink(missing_ok=True)
    reference = trial.bundle.drift_reference
    runner = ModelRunner(trial.bundle, watching, AS_IN_A_NODE)
    pictures = trial.pictures.fixed[watching]
    features = np.stack(
        [
            runner.infer(pictures[number % len(pictures)]).features
            for number in range(SIGNATURE_FRAMES)
        ]
    )
    task = trial.tasks[0]
    bank = PatchBank(folder, reference)
    return folder / bank.add(features, {task: made_patch_set(trial.bundle, task, 1, seed=5)})


@contextmanager
def _bad_entry(spoil: Callable[[Path], None], trial: TrialGraph) -> Iterator[None]:
    trial.take_down([ADAPTER])
    entry = _make_entry(trial)
    spoil(entry)
    try:
        trial.bring_up([ADAPTER])
        yield
        named = f"bank/{entry.parent.name}/{entry.name}"
        trial.until(
            lambda: (
                trial.logs.said(ADAPTER, named) or trial.logs.said(ADAPTER, f"entry {entry.name}")
            ),
            f"the adapter names the entry {entry.name}",
            20,
        )
    finally:
        shutil.rmtree(entry)


@contextmanager
def _bad_kept_patch_set(trial: TrialGraph) -> Iterator[None]:
    """The adapter tries it, since the drift is the same; that must fail and change nothing."""
    task = trial.tasks[0]
    keys = [trial.new_lesson(kind) for kind in trial.tasks for _ in range(8)]
    trial.teach_all(keys)
    trial.take_down([ADAPTER])
    entry = _make_entry(trial)
    (entry / f"{task}.safetensors").write_bytes(GARBAGE)
    trial.probe.adaptation.clear()
    try:
        trial.bring_up([ADAPTER])
        yield
        status = ended_with(trial, TRAINING_SECONDS)
        if status.state == AdaptationStatus.FINISHED and '"accepted": {}' in status.episode_json:
            trial.trouble("nobody said that the entry's patch set is garbage")
    finally:
        shutil.rmtree(entry)
