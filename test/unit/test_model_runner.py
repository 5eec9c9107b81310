"""Which of its patch sets a runner watches after the swap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_bundle

from patchline_ros.bundle import Bundle
from patchline_ros.files import sha256
from patchline_ros.patching.expected import Expected
from patchline_ros.patching.patch_set import read_metadata, renumbered
from patchline_ros.runtime.model_runner import AnswerError, ModelRunner
from patchline_ros.runtime.swap_monitor import COMPARED, EVERY
from patchline_ros.tasks import Task

PICTURE = np.full((32, 48, 3), 90, np.uint8)


def activate(runner: ModelRunner, data: bytes) -> None:
    runner.activate(runner.build(data, sha256(data)))


def drive(runner: ModelRunner) -> str | None:
    """What a watch that is under way comes to."""
    perception = runner.infer(PICTURE)
    told = [runner.watch(PICTURE, perception) for _ in range(COMPARED * EVERY)]
    return next((reason for reason in told if reason), None)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle.make_bundle(tmp_path_factory.mktemp("runner") / "bundle")


def like(bundle: Bundle, version: int, ran: str | None) -> bytes:
    """A patch set that agreed on every picture with what ran at the gate."""
    seen = Expected(agreement=1, agreement_error=0.02, entropy=0.5, entropy_error=0.5, ran=ran)
    return tiny_bundle.make_patch_set(bundle, Task.SEGMENTATION, version, expected=seen)


def test_a_swap_is_watched_where_the_gates_other_model_ran_before_it(bundle: Bundle) -> None:
    first = tiny_bundle.make_patch_set(bundle, Task.SEGMENTATION, 1)
    second = like(bundle, 2, read_metadata(first).sha256)

    runner = ModelRunner(bundle, Task.SEGMENTATION)
    activate(runner, renumbered(first, 1))
    activate(runner, second)
    assert drive(runner) is not None and runner.patch_version == 1, "it agrees by chance"

    # A node that has just started runs the source model, of which the gate said nothing.
    fresh = ModelRunner(bundle, Task.SEGMENTATION)
    activate(fresh, second)
    assert drive(fresh) is None and fresh.patch_version == 2

    # Nor did it where the first was taken back while the second was trained.
    back = ModelRunner(bundle, Task.SEGMENTATION)
    activate(back, first)
    back.rollback()
    activate(back, second)
    assert drive(back) is None and back.patch_version == 2


@pytest.mark.parametrize(("ran", "watched"), [("", True), (None, False)])
def test_the_source_model_is_named_and_an_older_patch_set_names_none(
    bundle: Bundle, ran: str | None, watched: bool
) -> None:
    runner = ModelRunner(bundle, Task.SEGMENTATION)
    activate(runner, like(bundle, 1, ran))
    assert (drive(runner) is not None) == watched


def test_a_patch_set_that_is_older_than_the_field_is_read(bundle: Bundle, tmp_path: Path) -> None:
    data = like(bundle, 1, None)
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].replace(rb",\"ran\":null", b"")
    assert len(header) < length
    older = len(header).to_bytes(8, "little") + header + data[8 + length :]
    assert read_metadata(older) == read_metadata(data)


def test_an_answer_that_is_not_finite_is_none(bundle: Bundle) -> None:
    runner = ModelRunner(bundle, Task.SEGMENTATION)
    activate(runner, tiny_bundle.make_bright_blind_patch_set(bundle, Task.SEGMENTATION, 1))
    assert np.isfinite(runner.infer(PICTURE).entropy)
    with pytest.raises(AnswerError, match="not finite"):
        runner.infer(np.full_like(PICTURE, 255))
