"""Which of its patch sets a perceiver watches after the swap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_bundle

from patchline_ros.bundle import Bundle
from patchline_ros.files import sha256
from patchline_ros.patching.expected import Expected
from patchline_ros.patching.patch_set import read_metadata, renumbered
from patchline_ros.runtime.model_runner import Perceiver
from patchline_ros.runtime.swap_monitor import COMPARED, EVERY
from patchline_ros.tasks import Task

PICTURE = np.full((32, 48, 3), 90, np.uint8)


def activate(perceiver: Perceiver, data: bytes) -> None:
    perceiver.activate(perceiver.build(data, sha256(data)))


def drive(perceiver: Perceiver) -> str | None:
    """What a watch that is under way comes to."""
    perception = perceiver.perceive(PICTURE)
    told = [perceiver.watch(PICTURE, perception) for _ in range(COMPARED * EVERY)]
    return next((reason for reason in told if reason), None)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle.make_bundle(tmp_path_factory.mktemp("perceiver") / "bundle")


def like(bundle: Bundle, version: int, ran: str | None) -> bytes:
    """A patch set that agreed on every picture with what ran at the gate."""
    seen = Expected(agreement=1, agreement_error=0.02, entropy=0.5, entropy_error=0.5, ran=ran)
    return tiny_bundle.make_patch_set(bundle, Task.SEGMENTATION, version, expected=seen)


def test_a_swap_is_watched_where_the_gates_other_model_ran_before_it(bundle: Bundle) -> None:
    first = tiny_bundle.make_patch_set(bundle, Task.SEGMENTATION, 1)
    second = like(bundle, 2, read_metadata(first).sha256)

    perceiver = Perceiver(bundle, Task.SEGMENTATION)
    activate(perceiver, renumbered(first, 1))
    activate(perceiver, second)
    assert drive(perceiver) is not None and perceiver.patch_version == 1, "it agrees by chance"

    # A node that has just started runs the source model, of which the gate said nothing.
    fresh = Perceiver(bundle, Task.SEGMENTATION)
    activate(fresh, second)
    assert drive(fresh) is None and fresh.patch_version == 2

    # Nor did it where the first was taken back while the second was trained.
    back = Perceiver(bundle, Task.SEGMENTATION)
    activate(back, first)
    back.rollback()
    activate(back, second)
    assert drive(back) is None and back.patch_version == 2


@pytest.mark.parametrize(("ran", "watched"), [("", True), (None, False)])
def test_the_source_model_is_named_and_an_older_patch_set_names_none(
    bundle: Bundle, ran: str | None, watched: bool
) -> None:
    perceiver = Perceiver(bundle, Task.SEGMENTATION)
    activate(perceiver, like(bundle, 1, ran))
    assert (drive(perceiver) is not None) == watched


def test_a_patch_set_that_is_older_than_the_field_is_read(bundle: Bundle, tmp_path: Path) -> None:
    data = like(bundle, 1, None)
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].replace(rb",\"ran\":null", b"")
    assert len(header) < length
    older = len(header).to_bytes(8, "little") + header + data[8 + length :]
    assert read_metadata(older) == read_metadata(data)
