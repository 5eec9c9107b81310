"""Keys and signatures of patch sets."""

from __future__ import annotations

import stat
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from patchline_ros.adaptation.epoch import begin_epoch, read_epoch
from patchline_ros.adaptation.store import StoreError
from patchline_ros.cli.app import app
from patchline_ros.signing import (
    ISSUED_SECONDS,
    Signer,
    SigningError,
    Verifier,
    make_keys,
    statement,
)
from patchline_ros.tasks import Task

TEXT = statement("/limo", Task.SEGMENTATION, 3, "f" * 64, "a" * 64)


def test_a_signature_holds_for_what_was_signed_and_nothing_else(tmp_path: Path) -> None:
    private, public = make_keys(tmp_path / "car")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    signature = Signer(private).sign(TEXT)
    verifier = Verifier(public)
    verifier.check(TEXT, signature)
    others = [
        (statement("/limo", Task.CLASSIFICATION, 3, "f" * 64, "a" * 64), signature),
        (statement("/limo", Task.SEGMENTATION, 4, "f" * 64, "a" * 64), signature),
        (statement("/limo", Task.SEGMENTATION, 3, "e" * 64, "a" * 64), signature),
        (statement("/limo", Task.SEGMENTATION, 3, "f" * 64, "b" * 64), signature),
        (TEXT, signature[:-1]),
        (TEXT, bytes(64)),
        (TEXT, Signer(make_keys(tmp_path / "other")[0]).sign(TEXT)),
    ]
    for text, wrong in others:
        with pytest.raises(SigningError, match="not by the key that is trusted here"):
            verifier.check(text, wrong)


def test_an_issued_signature_says_its_epoch_and_grows_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = make_keys(tmp_path / "car")
    signer, verifier = Signer(private), Verifier(public)
    issued = signer.issue(TEXT, 2**64 - 1)
    assert verifier.check_issued(TEXT, issued) == 2**64 - 1
    for place in (0, 7, 8, 15, 16, 79):
        changed = bytearray(issued)
        changed[place] ^= 1
        with pytest.raises(SigningError, match="not by the key that is trusted here"):
            verifier.check_issued(TEXT, bytes(changed))
    for wrong in (signer.sign_now(TEXT), issued[:-1], issued[:30], bytes(10_000)):
        with pytest.raises(SigningError, match="not by the key that is trusted here"):
            verifier.check_issued(TEXT, wrong)
    # What is signed for one purpose is nothing for the other.
    with pytest.raises(SigningError, match="does not say when it was issued"):
        verifier.check_issued(TEXT, signer.sign(TEXT))
    with pytest.raises(SigningError, match="not by the key"):
        verifier.check(TEXT, issued[-64:])
    now = time.time_ns()
    for seconds, is_old in ((ISSUED_SECONDS - 60, False), (ISSUED_SECONDS + 60, True)):
        for sign in (1, -1):
            later = now + round(sign * seconds * 1e9)
            monkeypatch.setattr(time, "time_ns", lambda later=later: later)
            if is_old:
                with pytest.raises(SigningError, match="s ago, and is believed for 3600"):
                    verifier.check_issued(TEXT, issued)
            else:
                verifier.check_issued(TEXT, issued)


def test_an_epoch_follows_the_last_and_the_clock(tmp_path: Path) -> None:
    path = tmp_path / "epoch"
    before = int(time.time())
    first = begin_epoch(path)
    assert first >= before and read_epoch(path) == first
    second = begin_epoch(path)
    assert second > first
    # A clock that goes back, as that of a board without a battery does.
    path.write_text(str(2**40))
    assert begin_epoch(path) == 2**40 + 1
    # A store that was wiped, or is a copy of an earlier one.
    path.unlink()
    assert begin_epoch(path) >= first
    for text in ("", "-1", "3.0", "9" * 30, str(2**63), "\u0663"):
        path.write_text(text)
        with pytest.raises(StoreError, match="does not hold the number of the adapter's last"):
            begin_epoch(path)


def test_openssl_agrees(tmp_path: Path) -> None:
    private, public = make_keys(tmp_path / "car")
    (tmp_path / "text").write_bytes(TEXT)
    (tmp_path / "signature").write_bytes(Signer(private).sign(TEXT))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin"]
    files = ["-in", str(tmp_path / "text"), "-sigfile", str(tmp_path / "signature")]
    try:
        done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    assert done.returncode == 0, done.stdout + done.stderr


def test_keys_that_can_not_be_used_are_named(tmp_path: Path) -> None:
    private, public = make_keys(tmp_path / "car")
    with pytest.raises(SigningError, match=r"car\.key exists; a key is not replaced"):
        make_keys(tmp_path / "car")
    with pytest.raises(SigningError, match="can't be written"):
        make_keys(tmp_path / "missing" / "car")
    with pytest.raises(SigningError, match="none can't be read: No such file"):
        Verifier(tmp_path / "none")
    with pytest.raises(SigningError, match="holds no public key"):
        Verifier(private)
    with pytest.raises(SigningError, match="holds no private key"):
        Signer(public)
    other = tmp_path / "x25519.pub"
    key = X25519PrivateKey.generate().public_key()
    other.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(SigningError, match="is no Ed25519 key"):
        Verifier(other)


def test_the_command(tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["keys", str(tmp_path / "car")])
    assert made.exit_code == 0
    assert f"{tmp_path / 'car.key'}: for signing_key" in made.output
    again = CliRunner().invoke(app, ["keys", str(tmp_path / "car")])
    assert again.exit_code == 2
    assert "exists" in again.output
