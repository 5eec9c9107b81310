"""The bank of earlier drifts: what it finds, and that it is never half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kills import killed_at_each_line
from safetensors.numpy import save

from patchline_ros.adaptation.bank import PatchBank
from patchline_ros.drift.kernels import Features
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.tasks import Task

WIDTH = 12


def frames(mean: float, seed: int, count: int = 20) -> Features:
    return np.random.default_rng(seed).normal(mean, 1, (count, WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def reference() -> DriftReference:
    return DriftReference.from_source(frames(0, 0, 200), 20, 1000)


def test_a_drift_that_returns_is_known(tmp_path: Path, reference: DriftReference) -> None:
    bank = PatchBank(tmp_path / "bank", reference)
    broken: list[str] = []
    assert bank.find(frames(2, 1), broken.append) is None
    dusk = bank.add(frames(2, 2), {Task.SEGMENTATION: b"dusk", Task.CLASSIFICATION: b"too"})
    fog = bank.add(frames(-2, 3), {Task.SEGMENTATION: b"fog"})
    found = PatchBank(tmp_path / "bank", reference).find(frames(2, 4), broken.append)
    assert found is not None and found.name == dusk
    assert {task: path.read_bytes() for task, path in found.patch_sets.items()} == {
        Task.SEGMENTATION: b"dusk",
        Task.CLASSIFICATION: b"too",
    }
    assert found.mmd2 < 0.5 * found.from_source
    again = bank.find(frames(-2, 5), broken.append)
    assert again is not None and again.name == fog
    # The source itself, and a drift in another direction, are like neither.
    other = frames(0, 6)
    other[:, ::2] += 4
    other[:, 1::2] -= 4
    assert bank.find(frames(0, 7), broken.append) is None
    assert bank.find(other, broken.append) is None
    assert broken == []


def test_what_is_of_use_stays_and_the_others_go(tmp_path: Path, reference: DriftReference) -> None:
    bank = PatchBank(tmp_path, reference, capacity=3)
    for i in range(3):
        bank.add(frames(i, i), {Task.SEGMENTATION: bytes([i])})
    bank.used("000001")
    bank.add(frames(4, 4), {Task.SEGMENTATION: b"4"})
    assert bank.entries() == ["000001", "000003", "000004"]
    # The order of use is there after a restart, and a number that went is not given again.
    bank = PatchBank(tmp_path, reference, capacity=2)
    bank.used("000001")
    bank.used("000002")
    assert bank.add(frames(5, 5), {Task.SEGMENTATION: b"5"}) == "000005"
    assert bank.entries() == ["000001", "000005"]
    # Patch sets of 3000 bytes each: two do not fit, and the newest stays whatever it takes.
    small = PatchBank(tmp_path, reference, capacity_bytes=8000)
    for i in (6, 7):
        small.add(frames(i, i), {Task.SEGMENTATION: bytes(5000)})
    assert small.entries() == ["000007"]
    small.add(frames(8, 8), {Task.SEGMENTATION: bytes(9000)})
    assert small.entries() == ["000008"]


def test_an_entry_is_renewed_and_says_what_it_rests_on(
    tmp_path: Path, reference: DriftReference
) -> None:
    bank = PatchBank(tmp_path, reference, capacity=2)
    name = bank.add(
        frames(2, 2), {Task.SEGMENTATION: b"a", Task.CLASSIFICATION: b"b"}, "prediction"
    )
    bank.add(frames(-2, 3), {Task.SEGMENTATION: b"fog"})

    def found() -> tuple[str, dict[Task, bytes]]:
        known = PatchBank(tmp_path, reference, capacity=2).find(frames(2, 4), pytest.fail)
        assert known is not None and known.name == name
        return known.basis, {task: path.read_bytes() for task, path in known.patch_sets.items()}

    assert found()[0] == "prediction"
    bank.renew(name, {Task.SEGMENTATION: b"c"}, "labels")
    assert found() == ("labels", {Task.SEGMENTATION: b"c", Task.CLASSIFICATION: b"b"})
    # It was of use, so another goes; and one that has gone is not made anew.
    bank.add(frames(4, 5), {Task.SEGMENTATION: b"snow"})
    assert bank.entries() == [name, "000003"]
    bank.renew("000002", {Task.SEGMENTATION: b"d"}, "labels")
    assert bank.entries() == [name, "000003"]
    # Entries of before had patch sets that were trained on labels, and no such file.
    (tmp_path / name / "basis").unlink()
    assert found()[0] == "labels"


def keep_another(folder: Path, reference: DriftReference) -> None:
    bank = PatchBank(folder, reference, capacity=3)
    bank.used("000001")
    bank.add(frames(5, 5), {Task.SEGMENTATION: b"5", Task.CLASSIFICATION: b"5"})


def test_a_kill_at_any_line_leaves_whole_entries(tmp_path: Path, reference: DriftReference) -> None:
    bank = PatchBank(tmp_path, reference, capacity=3)
    for i in (1, 2, 3):
        bank.add(frames(i, i), {Task.SEGMENTATION: b"%d" % i, Task.CLASSIFICATION: b"%d" % i})
    lines, newest = 0, "000003"
    for _ in killed_at_each_line(keep_another, tmp_path, reference):
        lines += 1
        bank = PatchBank(tmp_path, reference, capacity=3)
        entries = bank.entries()
        assert {path.name for path in tmp_path.iterdir()} == set(entries)
        assert "000001" in entries and entries[-1] >= newest
        newest = entries[-1]
        for name in entries:
            assert bank._signature(name).shape == (20, WIDTH)
            lanes, signs = (
                tmp_path / name / f"{task}.safetensors"
                for task in ("segmentation", "classification")
            )
            assert lanes.read_bytes() == signs.read_bytes() != b""
    assert lines > 60
    assert len(bank.entries()) == 3


def test_the_oldest_goes_and_nothing_is_half_there(
    tmp_path: Path, reference: DriftReference
) -> None:
    folder = tmp_path / "bank"
    bank = PatchBank(folder, reference, capacity=2)
    names = [bank.add(frames(i, i), {Task.SEGMENTATION: bytes([i])}) for i in (1, 2, 3)]
    assert bank.entries() == names[1:]
    # As it is left by a process that died while it added, or while it took an entry away.
    for aside in (".adding", ".going"):
        (folder / aside).mkdir()
        (folder / aside / "segmentation.safetensors").write_bytes(b"half")
    # And by a write that failed, after which the same bank is used on.
    with pytest.raises(TypeError):
        bank.add(frames(4, 4), {Task.SEGMENTATION: b"4", Task.CLASSIFICATION: None})  # type: ignore[dict-item]
    assert bank.entries() == names[1:]
    assert bank.add(frames(4, 4), {Task.SEGMENTATION: b"4"}) == "000004"
    assert {path.name for path in folder.iterdir()} == {names[2], "000004"}


def test_what_is_broken_is_named(tmp_path: Path, reference: DriftReference) -> None:
    bank = PatchBank(tmp_path / "bank", reference)
    with pytest.raises(ValueError, match="nothing to keep"):
        bank.add(frames(2, 1), {})
    with pytest.raises(ValueError, match=r"two or more frames of 12 features.*\(20, 5\)"):
        bank.add(frames(2, 1)[:, :5], {Task.SEGMENTATION: b""})
    with pytest.raises(ValueError, match="not finite"):
        bank.find(np.full((3, WIDTH), np.nan, np.float32), pytest.fail)
    with pytest.raises(ValueError, match="capacity is 0"):
        PatchBank(tmp_path / "other", reference, capacity=0)


def test_a_broken_entry_is_named_and_hides_no_other(
    tmp_path: Path, reference: DriftReference
) -> None:
    bank = PatchBank(tmp_path, reference)
    name = bank.add(frames(2, 1), {Task.SEGMENTATION: b"x"})
    sound = bank.add(frames(2, 2), {Task.SEGMENTATION: b"y"})
    signature = tmp_path / name / "signature.safetensors"
    needed = f"frames of {WIDTH} are needed"
    wrong = [frames(2, 1)[:, :5], frames(2, 1)[:1], np.full((3, WIDTH), np.nan, np.float32)]
    for data, why in [
        (b"nonsense", "can't be read"),
        *((save({"features": features.copy()}), needed) for features in wrong),
    ]:
        signature.write_bytes(data)
        broken: list[str] = []
        found = bank.find(frames(2, 3), broken.append)
        assert found is not None and found.name == sound
        (sentence,) = broken
        assert name in sentence and why in sentence and "delete that folder" in sentence
