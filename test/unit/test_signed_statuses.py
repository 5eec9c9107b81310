"""Statuses that the adapter believes: those of this car's nodes, each of them once."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchline_ros import signing
from patchline_ros.signing import (
    Signer,
    SigningError,
    StatusVerifier,
    Verifier,
    make_keys,
    status_statement,
)

TEXT = status_statement("/limo", "drift", 1, 2, "0x1p+0", True)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Signer, Verifier]:
    private, public = make_keys(tmp_path / "nodes")
    return Signer(private), Verifier(public)


def test_a_status_is_believed_once_and_only_as_it_was_signed(
    keys: tuple[Signer, Verifier], tmp_path: Path
) -> None:
    signer, verifier = keys
    check = StatusVerifier(verifier, accept_unsigned=False, most_age=10.0)
    first, second = signer.sign_now(TEXT), signer.sign_now(TEXT)
    check.check(TEXT, second)
    stranger = Signer(make_keys(tmp_path / "stranger")[0])
    moved = (int.from_bytes(second[:8], "big") + 1).to_bytes(8, "big") + second[8:]
    for says, signature in {
        "sent again by somebody": first,
        "not by the key": stranger.sign_now(TEXT),
        "by the key that is trusted here": moved,
        "is not signed": b"",
        "is not signed, and": b"12345678",
    }.items():
        with pytest.raises(SigningError, match=says):
            check.check(TEXT, signature)
    with pytest.raises(SigningError, match="not by the key"):
        check.check(
            status_statement("/other", "drift", 1, 2, "0x1p+0", True), signer.sign_now(TEXT)
        )
    StatusVerifier(verifier, accept_unsigned=True, most_age=None).check(TEXT, b"")


def test_one_that_was_recorded_long_ago_is_none_of_now(
    keys: tuple[Signer, Verifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    signer, verifier = keys
    old = signer.sign_now(TEXT)
    later = signing.time.time_ns() + 60 * 10**9
    monkeypatch.setattr(signing.time, "time_ns", lambda: later)
    with pytest.raises(SigningError, match="it was sent 60 s ago"):
        StatusVerifier(verifier, accept_unsigned=False, most_age=10.0).check(TEXT, old)
    # What is latched may be as old as it is.
    StatusVerifier(verifier, accept_unsigned=False, most_age=None).check(TEXT, old)


def test_no_two_lists_of_words_are_the_same_bytes() -> None:
    assert status_statement("/a", "b", "c\nd") != status_statement("/a", "b", "c", "d")
    assert status_statement("/a", "b\n1:c") != status_statement("/a", "b", "c")
