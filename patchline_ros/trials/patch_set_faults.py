"""Patch sets that a perception node must refuse, and say why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeAlias

import torch

from patchline_ros.graph.description import patch_set_topic
from patchline_ros.msg import PatchSet, PatchStatus
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import stamp_to_ns
from patchline_ros.trials import spoiled_patch_sets as spoiled
from patchline_ros.trials.case import Case
from patchline_ros.trials.file_damage import Spoil, garbage, half
from patchline_ros.trials.message_changes import sending
from patchline_ros.trials.spoiled_patch_sets import FOREIGN_SHA256, Made
from patchline_ros.trials.trial_graph import TrialGraph

_TOO_LARGE_MIB: Final = 65
_DEEP: Final = b"[" * 100_000

_Make: TypeAlias = Callable[[TrialGraph], Made]
_Kind: TypeAlias = tuple[str, str, _Make]
"""The name of a case, what is wrong, and what makes the message."""


def patch_set_cases() -> list[Case]:
    """Patch sets whose files, tensors or facts are wrong, and messages that do not fit them."""
    kinds = [*_files(), *_headers(), *_contents(), *_facts_of_it(), *_messages(), *_strangers()]
    return [
        Case(f"patch-set-{name}", "message", f"patch set: {what}", partial(_bad_patch_set, make))
        for name, what, make in kinds
    ]


def _data(spoil: Spoil, reason: str, **fields: Any) -> _Make:
    return lambda trial: (spoiled.spoiled_patch_set(trial, spoil, **fields), reason)


def _facts(reason: str, **changes: Any) -> _Make:
    return lambda trial: (spoiled.whole_patch_set(trial, **changes), reason)


def _tensors(change: Callable[[dict[str, torch.Tensor]], None], reason: str) -> _Make:
    return _data(lambda whole: spoiled.with_tensors(whole, change), reason)


def _files() -> list[_Kind]:
    """What can be wrong before a tensor is read."""
    return [
        ("sha256", "the sha256 is wrong", _data(bytes, "sha256", digest=FOREIGN_SHA256)),
        ("no-sha256", "there is no sha256", _data(bytes, "sha256", digest="")),
        ("no-data", "a sha256, but no data", spoiled.without_data),
        ("truncated", "half of it", _data(half, "read")),
        ("short", "five bytes", _data(lambda whole: whole[:5], "safetensors")),
        ("garbage", "bytes drawn by chance", _data(garbage, "safetensors")),
        ("pickle", "a pickled model", _data(lambda _: b"\x80\x04" + b"c" * 500, "safetensors")),
        (
            "header-huge",
            "a header of 2^63 bytes",
            _data(lambda whole: (2**63).to_bytes(8, "little") + whole[8:], "safetensors"),
        ),
        (
            "header-deep",
            "a header of 100 000 brackets",
            _data(lambda whole: spoiled.with_header(whole, _DEEP), "metadata"),
        ),
        (
            "header-list",
            "a header that is a list",
            _data(lambda whole: spoiled.with_header(whole, b"[1, 2]"), "metadata"),
        ),
    ]


def _headers() -> list[_Kind]:
    """Headers that no writer of safetensors writes."""
    odd = {
        "digits": ("an integer of 5000 digits", b'{"a": ' + b"9" * 5000 + b"}"),
        "empty": ("nothing at all", b""),
        "zeros": ("zeros", bytes(200)),
        "utf-16": ("UTF-16", '{"__metadata__": {}}'.encode("utf-16")),
        "nan": ("NaN", b"NaN"),
        "half": ("half of one", b'{"__metadata__": {"patchline": "{'),
        "number": ("metadata that is a number", b'{"__metadata__": 7}'),
        "long": ("a key of a million letters", b'{"' + b"k" * 1_000_000 + b'": 1}'),
        "escapes": ("escape sequences of a terminal", b'{"\x1b[2J\x1b]0;x\x07": 1}'),
    }

    def of(header: bytes) -> _Make:
        return _data(lambda whole: spoiled.with_header(whole, header), "metadata")

    return [
        (f"header-{name}", f"a header of {what}", of(text)) for name, (what, text) in odd.items()
    ]


def _facts_of_it() -> list[_Kind]:
    """Metadata with values of another kind, or beyond all bounds."""
    error = {"agreement": 0.5, "agreement_error": 1e308, "entropy": 1.0, "entropy_error": 1.0}
    patches = {"method": "patchline"}
    odd: dict[str, tuple[str, str, dict[str, Any]]] = {
        "k-10-7": ("10^7 patches", "fit", {"method": {**patches, "k": 10**7}}),
        "k-3-10-8": ("3 * 10^8 patches", "fit", {"method": {**patches, "k": 3 * 10**8}}),
        "k-negative": ("-1 patches", "method", {"method": {**patches, "k": -1}}),
        "skip": (
            "a group is skipped that is none",
            "skip",
            {"method": {**patches, "k": 2, "skip": [9**9]}},
        ),
        "version-negative": ("version -3 in its data", "version", {"version": -3}),
        "version-text": ("a version that is a word", "version", {"version": "three"}),
        "version-huge": ("version 2^64 in its data", "version", {"version": 2**64}),
        "norm": ("another kind of norm", "norm", {"norm": "magic"}),
        "task-list": ("a task that is a list", "task", {"task": [1]}),
        "metrics": ("metrics that are words", "metrics", {"metrics": {"before": "good"}}),
        "stranger": ("a key that nobody knows", "stranger", {"stranger": 1}),
        "expected-none": ("nothing that is expected of it", "expected", {"expected": None}),
        "expected-1e308": ("an error of 1e308", "expected", {"expected": error}),
        "expected-entropy": (
            "an entropy of 1e308",
            "expected",
            {"expected": {**error, "agreement_error": 1.0, "entropy": 1e308}},
        ),
    }

    def of(facts: dict[str, Any], reason: str) -> _Make:
        return _data(lambda whole: spoiled.with_metadata(whole, **facts), reason)

    return [
        (f"facts-{name}", what, of(facts, reason)) for name, (what, reason, facts) in odd.items()
    ]


def _strangers() -> list[_Kind]:
    """What a stranger can make of messages that he hears, without a key."""
    return [
        ("unsigned-huge", "not signed, version 2^64 - 1", spoiled.unsigned_of_version_2_64),
        ("unsigned-source", "not signed, asks for the source model", spoiled.unsigned_source),
        ("other-car", "signed for another car", spoiled.of_another_car),
        ("other-bundle", "asks for another bundle's source model", spoiled.of_another_bundle),
        ("status-signature", "with the signature of a status", spoiled.signed_as_a_status),
        ("signature-file", "with the signature of its file", spoiled.signed_as_a_file),
        ("epoch-old", "issued by an earlier start of the adapter", spoiled.issued_before),
        ("signature-long", "with a signature of 10 000 bytes", spoiled.signed_at_length),
    ]


def _contents() -> list[_Kind]:
    """Weights and facts that the node's model can't use."""
    return [
        ("bit", "one bit of a weight is another", _data(spoiled.bit_flipped, "damaged")),
        ("nan", "a weight is NaN", _tensors(spoiled.nan_weight, "not finite")),
        ("enormous", "all weights are 3e38", _tensors(spoiled.enormous_weights, "not finite")),
        ("infinite", "a weight is infinite", _tensors(spoiled.infinite_weight, "not finite")),
        ("tensor-half", "weights of 16 bits", _tensors(spoiled.of_16_bits, "the model needs")),
        ("tensor-int", "weights are integers", _tensors(spoiled.of_integers, "the model needs")),
        ("tensor-empty", "a tensor is empty", _tensors(spoiled.emptied, "the model needs")),
        ("tensor-name", "a tensor's name has escapes", _tensors(spoiled.renamed, "lacks")),
        ("tensor-less", "a tensor is missing", _tensors(spoiled.one_tensor_less, "lacks")),
        ("tensor-more", "a tensor too many", _tensors(spoiled.one_tensor_more, "unknown tensors")),
        (
            "tensor-shape",
            "a tensor has another shape",
            _tensors(spoiled.other_shape, "the model needs"),
        ),
        ("foreign", "of another source model", _facts("base", base_fingerprint=FOREIGN_SHA256)),
        ("format-1", "of an older format", _facts("format", format=1)),
        ("method", "of an unknown method", _facts("method", method={"method": "magic"})),
        ("k-huge", "10^6 patches", _facts("fit", method={"method": "patchline", "k": 10**6})),
    ]


def _messages() -> list[_Kind]:
    """Messages that say something else than their data, or that are signed wrongly."""
    return [
        ("task", "its data is for another task", spoiled.of_another_task),
        ("task-named", "it says another task", spoiled.named_another_task),
        ("old", "as old as what runs, with other weights", spoiled.of_the_past),
        ("version", "its data has another version", spoiled.of_another_version),
        ("unsigned", "it is not signed", spoiled.not_signed),
        ("signature", "signed by nobody", spoiled.signed_otherwise),
        (
            "large",
            f"{_TOO_LARGE_MIB} MiB",
            _data(lambda _: bytes(_TOO_LARGE_MIB << 20), "largest_patch_set_mib"),
        ),
    ]


@contextmanager
def _bad_patch_set(make: _Make, trial: TrialGraph) -> Iterator[None]:
    msg, reason = make(trial)
    task = spoiled.first_task(trial)
    begun_ns = time.time_ns()

    def refused() -> bool:
        return any(
            status.state == PatchStatus.REFUSED
            and status.task == str(task)
            and reason in status.reason
            and stamp_to_ns(status.header.stamp) >= begun_ns
            for status in list(trial.probe.patch_statuses)
        )

    with sending(trial, PatchSet, patch_set_topic(task), [msg], qos.LATCHED):
        trial.over()
        trial.until(refused, f"the node refuses it with '{reason}'", 15)
        yield
