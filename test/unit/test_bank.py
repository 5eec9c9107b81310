"""The bank of earlier drifts: what it finds, and that it is never half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patchline_ros.adaptation.bank import BankError, PatchBank
from patchline_ros.drift.kernels import Features
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.tasks import Task

WIDTH = 12


def frames(mean: float, seed: int, count: int = 20) -> Features:
    return np.random.default_rng(seed).normal(mean, 1, (count, WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def reference() -> DriftReference:
    return DriftReference.from_source(frames(0, 0, 200), 20, 0.01, 200, 0)


def test_a_drift_that_returns_is_known(tmp_path: Path, reference: DriftReference) -> None:
    bank = PatchBank(tmp_path / "bank", reference)
    assert bank.find(frames(2, 1)) is None
    dusk = bank.add(frames(2, 2), {Task.LANES: b"dusk", Task.SIGNS: b"too"})
    fog = bank.add(frames(-2, 3), {Task.LANES: b"fog"})
    found = PatchBank(tmp_path / "bank", reference).find(frames(2, 4))
    assert found is not None and found.name == dusk
    assert {task: path.read_bytes() for task, path in found.patch_sets.items()} == {
        Task.LANES: b"dusk",
        Task.SIGNS: b"too",
    }
    assert found.mmd2 < 0.5 * found.from_source
    again = bank.find(frames(-2, 5))
    assert again is not None and again.name == fog
    # The source itself, and a drift in another direction, are like neither.
    other = frames(0, 6)
    other[:, ::2] += 4
    other[:, 1::2] -= 4
    assert bank.find(frames(0, 7)) is None
    assert bank.find(other) is None


def test_the_oldest_goes_and_nothing_is_half_there(
    tmp_path: Path, reference: DriftReference
) -> None:
    folder = tmp_path / "bank"
    bank = PatchBank(folder, reference, capacity=2)
    names = [bank.add(frames(i, i), {Task.LANES: bytes([i])}) for i in (1, 2, 3)]
    assert bank.entries() == names[1:]
    # As it is left by a process that died while it added, or while it took an entry away.
    for aside in (".adding", ".going"):
        (folder / aside).mkdir()
        (folder / aside / "lanes.safetensors").write_bytes(b"half")
    # And by a write that failed, after which the same bank is used on.
    with pytest.raises(TypeError):
        bank.add(frames(4, 4), {Task.LANES: b"4", Task.SIGNS: None})  # type: ignore[dict-item]
    assert bank.entries() == names[1:]
    assert bank.add(frames(4, 4), {Task.LANES: b"4"}) == "000004"
    assert {path.name for path in folder.iterdir()} == {names[2], "000004"}


def test_what_is_broken_is_named(tmp_path: Path, reference: DriftReference) -> None:
    bank = PatchBank(tmp_path / "bank", reference)
    with pytest.raises(ValueError, match="nothing to keep"):
        bank.add(frames(2, 1), {})
    with pytest.raises(ValueError, match=r"two or more frames of 12 features.*\(20, 5\)"):
        bank.add(frames(2, 1)[:, :5], {Task.LANES: b""})
    with pytest.raises(ValueError, match="not finite"):
        bank.find(np.full((3, WIDTH), np.nan, np.float32))
    with pytest.raises(ValueError, match="capacity is 0"):
        PatchBank(tmp_path / "other", reference, capacity=0)
    name = bank.add(frames(2, 1), {Task.LANES: b"x"})
    (tmp_path / "bank" / name / "signature.safetensors").write_bytes(b"nonsense")
    with pytest.raises(BankError, match=f"{name}.*delete that folder"):
        bank.find(frames(2, 2))
