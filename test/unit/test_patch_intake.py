"""What a node decides about the patch sets that come, and what it does to its running model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from tiny_bundle import make_bundle, make_patch_set, picture

from patchline_ros.bundle import Bundle
from patchline_ros.files import sha256
from patchline_ros.patching.expected import Expected
from patchline_ros.patching.patch_set import PatchSetError, read_metadata, renumbered
from patchline_ros.runtime.model_runner import ModelRunner
from patchline_ros.runtime.patch_intake import (
    ModelState,
    ModelStatus,
    OfferedPatchSet,
    PatchIntake,
    Trust,
)
from patchline_ros.runtime.version_memory import VersionMemory
from patchline_ros.signing import Signer, Verifier, make_keys, statement
from patchline_ros.tasks import Task

MIB = 1 << 20
CAR = "/limo"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("intake") / "bundle")


EXPECTED = Expected(agreement=0.5, ran="none", agreement_error=1, entropy=1, entropy_error=1)


def signed(
    key: Path, patch_set: OfferedPatchSet, car: str = CAR, epoch: int = 1, **changes: object
) -> OfferedPatchSet:
    """Issued with a key, with `changes` after that."""
    named = (patch_set.version, patch_set.base_fingerprint, patch_set.sha256)
    signature = Signer(key).issue(statement(car, Task.SEGMENTATION, *named), epoch)
    return OfferedPatchSet(**{**vars(patch_set), "signature": signature, **changes})


def offered(data: bytes = b"", version: int = 1, **fields: object) -> OfferedPatchSet:
    """As the adapter would send it, with `fields` replaced."""
    facts = {
        "task": "segmentation",
        "version": version,
        "base_fingerprint": "",
        "sha256": sha256(data) if data else "",
        "data": memoryview(data),
        "signature": b"",
    }
    return OfferedPatchSet(**{**facts, **fields})


class Lanes:
    """A model that runs, and its intake."""

    def __init__(
        self,
        bundle: Bundle,
        verifier: Verifier | None = None,
        accept_unsigned: bool = False,
        memory: VersionMemory | None = None,
    ) -> None:
        self.bundle = bundle
        self.runner = ModelRunner(bundle, Task.SEGMENTATION)
        self.intake = PatchIntake(
            self.runner, Trust(verifier, accept_unsigned, CAR), MIB, memory or VersionMemory()
        )

    def take(self, patch_set: OfferedPatchSet) -> ModelStatus | None:
        decision = self.intake.examine(patch_set)
        return None if decision is None else self.intake.carry_out(decision)

    def source(self, version: int) -> OfferedPatchSet:
        return offered(version=version, base_fingerprint=self.bundle.fingerprint(self.runner.task))

    def take_version(self, version: int) -> ModelStatus | None:
        return self.take(offered(make_patch_set(self.bundle, Task.SEGMENTATION, version), version))

    def masks(self) -> list[bytes]:
        """What the model says about some pictures."""
        return [self.runner.infer(picture(number)).prediction.tobytes() for number in (1, 2, 3)]


@pytest.fixture
def lanes(bundle: Bundle) -> Lanes:
    return Lanes(bundle)


def test_a_patch_set_is_activated_once(lanes: Lanes) -> None:
    before = lanes.masks()
    status = lanes.take_version(1)
    assert (status.state, status.version) == (ModelState.ACTIVE, 1)
    assert status.sentence.startswith("patch set 1 is active: built in ")
    assert lanes.masks() != before
    # A restarted adapter sends it again.
    assert lanes.take_version(1) is None


def test_what_was_removed_is_not_taken_again_but_a_newer_one_is(lanes: Lanes) -> None:
    before = lanes.masks()
    assert lanes.intake.roll_back() is None
    lanes.take_version(1)
    removed = lanes.intake.roll_back()
    assert (removed.state, removed.removed, removed.version) == (ModelState.REMOVED, 1, 0)
    assert removed.sentence == "patch set for segmentation: version 1 was removed on request"
    assert lanes.masks() == before
    again = lanes.take_version(1)
    assert (again.state, again.removed) == (ModelState.REMOVED, 1)
    assert again.reason == "version 1 was removed here"
    assert lanes.take_version(2).state is ModelState.ACTIVE
    collapsed = lanes.intake.collapsed(2, "it is unsure")
    assert collapsed.reason == "version 2 was taken back: it is unsure"


def test_an_empty_patch_set_brings_the_source_back(lanes: Lanes) -> None:
    before = lanes.masks()
    lanes.take_version(1)
    status = lanes.take(lanes.source(version=2))
    # Not why: the drift has passed, or somebody has asked for a reset.
    reason = "the adapter returns to the source model"
    assert status == ModelStatus(
        ModelState.SOURCE, 0, reason, sentence=f"the source model runs: {reason}"
    )
    assert lanes.masks() == before
    older = lanes.take_version(2)
    assert older.state is ModelState.REFUSED and "not newer than 2" in older.reason
    assert lanes.take_version(3).state is ModelState.ACTIVE


def test_a_node_that_starts_with_the_source_takes_no_older_patch_set(lanes: Lanes) -> None:
    """It hears first that the source model is to run, as version 4: it is not to be undone."""
    assert lanes.take(lanes.source(version=4)).state is ModelState.SOURCE
    older = lanes.take_version(3)
    assert older.state is ModelState.REFUSED and "not newer than 4" in older.reason


def test_a_rollback_goes_back_step_by_step(lanes: Lanes) -> None:
    sources, seen = lanes.masks(), []
    for version in (1, 2, 3, 4):
        assert lanes.take_version(version).state is ModelState.ACTIVE
        seen.append(lanes.masks())
    # Two models before the running one are kept, then comes the source model.
    for expected, masks in ((3, seen[2]), (2, seen[1]), (0, sources)):
        assert lanes.intake.roll_back().version == expected
        assert lanes.masks() == masks
    assert lanes.intake.roll_back() is None


def test_the_same_model_as_another_version_is_not_swapped(lanes: Lanes) -> None:
    lanes.take_version(1)
    second = make_patch_set(lanes.bundle, Task.SEGMENTATION, 2)
    for data, version in ((second, 2), (renumbered(second, 3), 3)):
        status = lanes.take(offered(data, version))
        assert (status.state, status.version) == (ModelState.ACTIVE, version)
    back = lanes.intake.roll_back()
    assert (back.removed, back.version) == (3, 1)


def retensored(data: bytes, change: Callable[[dict[str, torch.Tensor]], object]) -> bytes:
    """The patch set with its tensors changed."""
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    tensors = load_tensors(data)
    change(tensors)
    return save_tensors(tensors, metadata=metadata)


def bad_patch_sets(bundle: Bundle) -> dict[str, OfferedPatchSet]:
    """A patch set for each way to be wrong, by what the reason must say."""
    good = make_patch_set(bundle, Task.SEGMENTATION, 3)
    name = next(key for key in sorted(load_tensors(good)) if key.startswith("patches."))
    missing = retensored(good, lambda tensors: tensors.pop(name))
    nan = retensored(good, lambda tensors: tensors[name].fill_(torch.nan))
    other_base = make_patch_set(bundle, Task.SEGMENTATION, 3, base_fingerprint="ab" * 32)
    signs = make_patch_set(bundle, Task.CLASSIFICATION, 3)
    return {
        "sha256": offered(good, 3, sha256="0" * 64),
        "another source model": offered(other_base, 3),
        f"lacks 1 tensors, the first {name}": offered(missing, 3),
        "not finite": offered(nan, 3),
        "not newer than 2": offered(make_patch_set(bundle, Task.SEGMENTATION, 1)),
        "for classification": offered(signs, 3),
        "it is for 'classification'": offered(signs, 3, task="classification"),
        "version 9, its data version 3": offered(good, 9),
        "safetensors": offered(b"no weights", 3),
        "it names a sha256, but has no data": offered(version=3, sha256=sha256(good)),
        "more than largest_patch_set_mib, 1": offered(bytes(MIB + 1), 3),
    }


def test_a_bad_patch_set_changes_nothing_and_says_why(lanes: Lanes, bundle: Bundle) -> None:
    lanes.take_version(2)
    before = lanes.masks()
    for says, patch_set in bad_patch_sets(bundle).items():
        status = lanes.take(patch_set)
        assert (status.state, status.version) == (ModelState.REFUSED, 2)
        assert says in status.reason
        assert status.sentence == (
            f"patch set {patch_set.version} for segmentation refused: {status.reason}"
        )
        assert lanes.masks() == before


def test_only_signed_patch_sets_run_where_they_are_required(bundle: Bundle, tmp_path: Path) -> None:
    private, public = make_keys(tmp_path / "car")
    stranger, _ = make_keys(tmp_path / "stranger")
    lanes = Lanes(bundle, Verifier(public))
    data = make_patch_set(bundle, Task.SEGMENTATION, 1, expected=EXPECTED)
    plain = offered(data)
    # A stranger's does not even wait.
    for patch_set in (plain, signed(stranger, plain), signed(private, plain, car="/other")):
        assert lanes.intake.turned_away(patch_set).reason
    assert lanes.intake.turned_away(signed(private, plain)) is None
    assert Lanes(bundle).intake.turned_away(plain) is None
    for says, patch_set in {
        "it is not signed, and this node takes those of trusted_key alone": plain,
        "not by the key that is trusted": signed(stranger, plain),
        "not by the key": signed(private, plain, version=2),
        "not by the key that is": signed(private, plain, car="/other"),
        "names a sha256, but has no data": signed(private, plain, data=memoryview(b"")),
    }.items():
        status = lanes.take(patch_set)
        assert status.state is ModelState.REFUSED and says in status.reason
    assert lanes.take(signed(private, plain)).state is ModelState.ACTIVE
    # That the source model is to return is signed, too.
    source = offered(version=2, base_fingerprint=bundle.fingerprint(Task.SEGMENTATION))
    assert lanes.take(source).state is ModelState.REFUSED
    assert lanes.take(signed(private, source)).state is ModelState.SOURCE
    # Who asks for it gets those without a signature, but none with a wrong one.
    lax = Lanes(bundle, Verifier(public), accept_unsigned=True)
    assert lax.take(signed(stranger, plain)).state is ModelState.REFUSED
    assert lax.take(plain).state is ModelState.ACTIVE


def test_what_is_signed_is_for_this_car_and_this_bundle(bundle: Bundle, tmp_path: Path) -> None:
    private, public = make_keys(tmp_path / "car")
    lanes = Lanes(bundle, Verifier(public))
    other = offered(version=3, base_fingerprint="ab" * 32)
    status = lanes.take(signed(private, other))
    assert status.reason == "it asks for the source model of another bundle"
    blind = offered(make_patch_set(bundle, Task.SEGMENTATION, 4), 4)
    assert "does not say what is expected" in lanes.take(signed(private, blind)).reason


def test_an_old_patch_set_stays_old_when_the_node_starts_anew(
    bundle: Bundle, tmp_path: Path
) -> None:
    private, public = make_keys(tmp_path / "car")
    path = tmp_path / "memory" / "lanes.json"

    def start() -> Lanes:
        memory = VersionMemory(path, Verifier(public).name)
        return Lanes(bundle, Verifier(public), memory=memory)

    sets = {
        version: signed(
            private,
            offered(make_patch_set(bundle, Task.SEGMENTATION, version, expected=EXPECTED), version),
        )
        for version in (1, 2, 3)
    }
    first = start()
    for version in (1, 2):
        assert first.take(sets[version]).state is ModelState.ACTIVE
    again = start()
    assert "not newer than 2" in again.take(sets[1]).reason
    # The adapter sends the newest once more, since nothing runs here yet.
    assert again.take(sets[2]).state is ModelState.ACTIVE
    assert again.take(sets[3]).state is ModelState.ACTIVE
    again.intake.roll_back()
    third = start()
    assert third.take(sets[3]).state is ModelState.REMOVED
    assert third.runner.patch_version == 0
    # Another key counts from 1 again.
    _, other = make_keys(tmp_path / "new")
    assert VersionMemory(path, Verifier(other).name).newest == 0
    path.write_text("{}")
    with pytest.raises(ValueError, match="does not say which patch sets ran here: delete it"):
        start()


def test_what_an_earlier_start_of_the_adapter_issued_is_old(bundle: Bundle, tmp_path: Path) -> None:
    """A store that is put back from a copy gives a number twice: the recorded one is refused."""
    private, public = make_keys(tmp_path / "car")
    path = tmp_path / "lanes.json"

    def start() -> Lanes:
        memory = VersionMemory(path, Verifier(public).name)
        return Lanes(bundle, Verifier(public), memory=memory)

    def lanes_set(version: int, epoch: int) -> OfferedPatchSet:
        data = make_patch_set(bundle, Task.SEGMENTATION, version, expected=EXPECTED)
        return signed(private, offered(data, version), epoch=epoch)

    recorded = lanes_set(3, epoch=10)
    first = start()
    assert first.take(lanes_set(1, epoch=10)).state is ModelState.ACTIVE
    # The adapter starts again, and sends what runs already.
    assert first.take(lanes_set(1, epoch=11)) is None
    for node in (first, start()):
        assert "before the adapter's last start" in node.take(recorded).reason
    again = start()
    assert again.take(lanes_set(2, epoch=11)).state is ModelState.ACTIVE
    assert "not newer than 2" in again.take(lanes_set(1, epoch=12)).reason
    # What an earlier version remembered says no epoch.
    kept = json.loads(path.read_text())
    del kept["epoch"]
    path.write_text(json.dumps(kept))
    assert start().take(recorded).state is ModelState.ACTIVE


def test_an_unsigned_patch_set_shuts_out_none_that_is_signed(
    bundle: Bundle, tmp_path: Path
) -> None:
    private, public = make_keys(tmp_path / "car")
    lanes = Lanes(bundle, Verifier(public), accept_unsigned=True)
    huge = 2**64 - 1
    data = make_patch_set(bundle, Task.SEGMENTATION, huge)
    assert lanes.take(offered(data, huge)).state is ModelState.ACTIVE
    honest = offered(make_patch_set(bundle, Task.SEGMENTATION, 1, expected=EXPECTED), 1)
    assert lanes.take(signed(private, honest)).state is ModelState.ACTIVE
    assert "not newer" in lanes.take(offered(data, huge)).reason


@pytest.mark.parametrize("field", ["agreement_error", "entropy", "entropy_error"])
def test_an_error_that_lets_everything_pass_is_refused(bundle: Bundle, field: str) -> None:
    data = make_patch_set(bundle, Task.SEGMENTATION, 5, expected=EXPECTED)
    text = data.replace(f'{field}\\":1.0'.encode(), f'{field}\\":1e308'.encode())
    assert text != data
    length = int.from_bytes(data[:8], "little") + len(text) - len(data)
    with pytest.raises(PatchSetError, match=f"expected.{field}: 1e"):
        read_metadata(length.to_bytes(8, "little") + text[8:])
