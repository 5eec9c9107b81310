"""Patch sets at a perception node: what swaps in, is refused, or is taken back."""

import threading
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from lanes import Lanes, patch_set_msg, picture_msg
from patchline_ros.msg import PatchSet, PatchStatus
from std_srvs.srv import Trigger
from tiny_bundle import make_bright_blind_patch_set, make_patch_set

from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import bytes_field, rgb_to_image
from patchline_ros.nodes.lane_segmenter import LaneSegmenter
from patchline_ros.patching.expected import Expected
from patchline_ros.patching.patch_set import read_metadata
from patchline_ros.runtime.patch_intake import ModelState
from patchline_ros.runtime.swap_monitor import COMPARED, EVERY
from patchline_ros.signing import Signer, make_keys, statement
from patchline_ros.tasks import Task


def test_a_patch_set_swaps_in_and_its_removal_restores_the_source_bit_for_bit(lanes, bundle):
    before = lanes.masks_of(1, 2, 3)
    status = lanes.send(patch_set_msg(make_patch_set(bundle, Task.SEGMENTATION, 1)))
    assert (status.state, status.version) == (PatchStatus.ACTIVE, 1), status.reason
    assert 0 < status.swap_seconds < 0.05 < status.build_seconds + 0.05
    patched = lanes.masks_of(1, 2, 3)
    assert patched != before

    answer = lanes.bench.call(Trigger, "lane_segmenter/rollback")
    assert answer.success and "1 was removed" in answer.message
    lanes.bench.until(lambda: lanes.statuses[-1].state == PatchStatus.REMOVED)
    assert lanes.masks_of(1, 2, 3) == before
    assert not lanes.bench.call(Trigger, "lane_segmenter/rollback").success

    again = lanes.send(patch_set_msg(make_patch_set(bundle, Task.SEGMENTATION, 1)))
    assert again.state == PatchStatus.REMOVED and "1 was removed here" in again.reason
    newer = make_patch_set(bundle, Task.SEGMENTATION, 2)
    assert lanes.send(patch_set_msg(newer, version=2)).state == PatchStatus.ACTIVE


def test_a_patch_set_without_an_answer_is_taken_back_and_the_picture_is_answered(lanes, bundle):
    white = rgb_to_image(np.full((24, 40, 3), 255, np.uint8), picture_msg(7).header)
    lanes.camera.publish(white)
    lanes.bench.until(lambda: len(lanes.masks) == 1)
    blind = make_bright_blind_patch_set(bundle, Task.SEGMENTATION, 1)
    assert lanes.send(patch_set_msg(blind)).state == PatchStatus.ACTIVE
    lanes.camera.publish(white)
    lanes.bench.until(lambda: len(lanes.masks) == 2)
    assert lanes.masks[1].data == lanes.masks[0].data
    status = lanes.statuses[-1]
    assert (status.state, status.version, status.removed) == (PatchStatus.REMOVED, 0, 1)
    assert "taken back: its outputs on a picture are not finite" in status.reason


def test_a_patch_set_that_collapses_after_its_swap_is_taken_back(lanes, bundle):
    numbers = range(COMPARED * EVERY)
    sources = lanes.masks_of(1, 2)
    ran = ""
    for version, agreement in ((1, 0.0), (2, 1.0)):
        # Version 1 is as unlike the source as was expected; version 2, which is as unlike, is not.
        seen = Expected(
            agreement=agreement, agreement_error=0.05, entropy=0.5, entropy_error=0.5, ran=ran
        )
        data = make_patch_set(bundle, Task.SEGMENTATION, version, expected=seen)
        assert lanes.send(patch_set_msg(data, version=version)).state == PatchStatus.ACTIVE
        ran = read_metadata(data).sha256
        if version == 1:
            first = lanes.masks_of(*numbers)[:2]
            assert lanes.statuses[-1].state == PatchStatus.ACTIVE
    lanes.masks_of(*numbers)
    lanes.bench.until(lambda: lanes.statuses[-1].state == PatchStatus.REMOVED)
    status = lanes.statuses[-1]
    assert (status.version, status.removed) == (1, 2)
    assert "version 2 was taken back: on 16 pictures it agrees" in status.reason
    assert lanes.masks_of(0, 1) == first != sources


class RolledBackAtOnce(LaneSegmenter):
    """A rollback comes right behind each swap, and the thread that builds is slow to go on."""

    def _publish_status(self, status):
        if threading.current_thread().name == "builder":
            time.sleep(0.3)
        elif status.state is ModelState.ACTIVE:
            ask = (Trigger.Request(), Trigger.Response())
            threading.Thread(target=self._on_rollback, args=ask).start()
            while not self._inference._errands:
                time.sleep(0.001)
        super()._publish_status(status)


def test_statuses_come_in_the_order_of_the_changes(bench, bundle):
    at = bench(bundle=str(bundle.path))
    statuses = at.collect(PatchStatus, "lane_segmenter/patch_status", qos.RESULTS)
    at.start(RolledBackAtOnce)
    adapter = at.publisher(PatchSet, "patch_sets/lanes", qos.LATCHED)
    adapter.publish(patch_set_msg(make_patch_set(bundle, Task.SEGMENTATION, 1)))
    at.until(lambda: {PatchStatus.ACTIVE, PatchStatus.REMOVED} <= {s.state for s in statuses})
    found = [(status.state, status.version) for status in statuses[-2:]]
    assert found == [(PatchStatus.ACTIVE, 1), (PatchStatus.REMOVED, 0)]


def test_only_signed_patch_sets_run_where_they_are_required(bench, bundle, tmp_path):
    private, public = make_keys(tmp_path / "car")
    at = bench(
        bundle=str(bundle.path),
        image_reliability="reliable",
        queue_depth=20,
        trusted_key=str(public),
        largest_patch_set_mib=1,
        memory=str(tmp_path / "memory"),
    )
    lanes = Lanes(at)
    too_large = PatchSet(task="segmentation", version=1, data=bytes_field(bytes((1 << 20) + 1)))
    expected = Expected(agreement=0.5, agreement_error=1, entropy=1, entropy_error=1)
    plain = patch_set_msg(make_patch_set(bundle, Task.SEGMENTATION, 1, expected=expected))
    for says, msg in {
        "more than largest_patch_set_mib, 1": too_large,
        "it is not signed": plain,
    }.items():
        status = lanes.send(msg)
        assert status.state == PatchStatus.REFUSED and says in status.reason
        assert at.said(f"patch set 1 for segmentation refused: {status.reason}")
    text = statement("/", Task.SEGMENTATION, 1, plain.base_fingerprint, plain.sha256)
    plain.signature = bytes_field(Signer(private).issue(text, epoch=1))
    assert lanes.send(plain).state == PatchStatus.ACTIVE
    # That the source model is to return is signed, too.
    base = bundle.fingerprint(Task.SEGMENTATION)
    source = PatchSet(task="segmentation", version=2, base_fingerprint=base)
    text = statement("/", Task.SEGMENTATION, 2, base, "")
    source.signature = bytes_field(Signer(private).issue(text, epoch=1))
    assert lanes.send(source).state == PatchStatus.SOURCE
    assert at.said("the source model runs: the adapter returns to the source model")
    assert at.said(f"takes only patch sets signed with the key of {public}")


def test_a_signature_that_can_not_be_checked_is_named_at_configure(bench, bundle, tmp_path):
    at = bench(bundle=str(bundle.path), accept_unsigned=True)
    assert not at.start(LaneSegmenter).started
    at.until(lambda: at.said("accept_unsigned is true, but trusted_key names no key"))
    at.close()
    missing = bench(bundle=str(bundle.path), trusted_key=str(tmp_path / "none.pub"))
    assert not missing.start(LaneSegmenter).started
    missing.until(lambda: missing.said("parameter trusted_key: key"))


def test_no_picture_is_lost_to_a_swap(lanes, bundle):
    msg = patch_set_msg(make_patch_set(bundle, Task.SEGMENTATION, 1))
    for number in range(40):
        lanes.camera.publish(picture_msg(number))
        if number == 10:
            lanes.adapter.publish(msg)
        lanes.bench.spin(0.04)
    lanes.bench.until(lambda: len(lanes.masks) == 40)
    assert [mask.header.stamp for mask in lanes.masks] == [
        picture_msg(number).header.stamp for number in range(40)
    ]
    assert lanes.statuses[-1].state == PatchStatus.ACTIVE
