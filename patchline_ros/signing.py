"""Signatures (Ed25519): who may change what a car's models do.

The adapter signs patch sets, which the nodes check; the nodes sign their statuses, by which the
adapter decides what to do; who labels signs the labelled frames. Each side has a key of its own.

    NAME.key    the private key, for who signs; readable by its owner alone
    NAME.pub    the public key, for who checks

Both are PEM files as openssl writes them.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Final

import numpy as np
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from numpy.typing import NDArray

from patchline_ros.files import write_file
from patchline_ros.tasks import Boxes, Sample, Task

_PATCH_SET: Final = "patchline patch set 2"
_STATUS: Final = "patchline status 1"
_LABEL: Final = "patchline label 1"
_BUNDLE: Final = "patchline bundle 1"
"""What a signature is for: one that was made for something else is none here."""
_ISSUED: Final = b"patchline issued 1\n"
_SENT_BYTES, _EPOCH_BYTES, _SIGNATURE_BYTES = 8, 8, 64
ISSUED_SECONDS: Final = 3600.0
"""For which an issued patch set is believed. The adapter issues those that are to run again and
again, so that only one that was recorded is older."""


class SigningError(ValueError):
    """A key can't be used, or a signature is not what it should be."""


def statement(car: str, task: Task, version: int, base_fingerprint: str, sha256: str) -> bytes:
    """What is signed of a patch set: all that its message says, and for which car it is.

    The gate signs it as it is, for the file. The adapter issues it for the message.

    Args:
        car: the namespace of its graph; the patch set of another car is none of this one.
        task: whose model it patches.
        version: of the patch set.
        base_fingerprint: of the source model, also where that is to return.
        sha256: of the data; empty without data.
    """
    return _joined(_PATCH_SET, car, str(task), str(version), base_fingerprint, sha256)


def status_statement(car: str, kind: str, *facts: object) -> bytes:
    """What is signed of a status: whose it is, of which kind, and what it says."""
    return _joined(_STATUS, car, kind, *map(str, facts))


def label_statement(topic: str, task: Task, frame_id: str, stamp_ns: int, sample: Sample) -> bytes:
    """What is signed of a labelled frame: all that an adapter keeps of it.

    Args:
        topic: full name of the one that it is sent on, which says for which car it is.
        task: whose label it is.
        frame_id: its name.
        stamp_ns: of the picture.
        sample: picture and label as they are read from the message.
    """
    label = sample.label
    parts = (label.boxes, label.labels) if isinstance(label, Boxes) else (np.asarray(label),)
    said = [_array_in_words(part) for part in (sample.image, *parts)]
    return _joined(_LABEL, topic, str(task), frame_id, str(stamp_ns), *said)


def bundle_statement(manifest: bytes) -> bytes:
    """What is signed of a bundle: its manifest, which holds the sha256 of each other file."""
    return _joined(_BUNDLE, hashlib.sha256(manifest).hexdigest())


def _array_in_words(array: NDArray[np.generic]) -> str:
    plain = np.ascontiguousarray(array)
    digest = hashlib.sha256(plain.tobytes()).hexdigest()
    return f"{plain.dtype.str} {array.shape} {digest}"


def _joined(*words: str) -> bytes:
    """Words with their lengths, so that no two lists of words are the same bytes."""
    encoded = [word.encode("utf-8", "surrogatepass") for word in words]
    return b"".join(b"%d:%s\n" % (len(word), word) for word in encoded)


def make_keys(path: Path) -> tuple[Path, Path]:
    """Makes a pair of keys, PATH.key and PATH.pub; the names of both files.

    Raises:
        SigningError: one of the files is there already, or can't be written.
    """
    private, public = path.with_name(f"{path.name}.key"), path.with_name(f"{path.name}.pub")
    there = [file for file in (private, public) if file.exists()]
    if there:
        raise SigningError(f"{there[0]} exists; a key is not replaced: name another file")
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        # Never readable by others, not for a moment.
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
        write_file(
            public,
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        )
    except OSError as error:
        raise SigningError(f"the keys can't be written: {error}") from error
    return private, public


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SigningError(f"key {path} can't be read: {error.strerror}") from error


class Signer:
    """Signs with a private key."""

    def __init__(self, path: Path) -> None:
        """Reads NAME.key.

        Raises:
            SigningError: it can't be read, or is no private Ed25519 key.
        """
        data = _read(path)
        try:
            key = load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SigningError(f"{path} holds no private key that can be read: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise SigningError(f"{path} is no Ed25519 key; make one with `patchline keys`")
        self._key = key

    @property
    def public(self) -> Verifier:
        """What checks its signatures."""
        return Verifier.of(self._key.public_key())

    def sign(self, text: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(text)

    def issue(self, text: bytes, epoch: int) -> bytes:
        """When it is issued and in which epoch (8 bytes each), and the signature of all that.

        Args:
            text: `statement` of a patch set.
            epoch: number of the adapter's start, which no earlier one had, 0..2^64 - 1.
        """
        issued = time.time_ns().to_bytes(_SENT_BYTES, "big") + epoch.to_bytes(_EPOCH_BYTES, "big")
        return issued + self.sign(_ISSUED + issued + text)

    def sign_now(self, text: bytes) -> bytes:
        """When it is sent (8 bytes, ns since 1970, big-endian), and the signature of both."""
        sent = time.time_ns().to_bytes(_SENT_BYTES, "big")
        return sent + self.sign(sent + text)


class Verifier:
    """Checks signatures with a public key."""

    def __init__(self, path: Path) -> None:
        """Reads NAME.pub.

        Raises:
            SigningError: it can't be read, or is no public Ed25519 key.
        """
        data = _read(path)
        try:
            key = load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SigningError(f"{path} holds no public key that can be read: {error}") from error
        if not isinstance(key, Ed25519PublicKey):
            raise SigningError(f"{path} is no Ed25519 key; make one with `patchline keys`")
        self._key = key

    @classmethod
    def of(cls, key: Ed25519PublicKey) -> Verifier:
        """One that checks with this key."""
        verifier = cls.__new__(cls)
        verifier._key = key
        return verifier

    @property
    def name(self) -> str:
        """What tells the key from others: hexadecimal."""
        return self._key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def check(self, text: bytes, signature: bytes) -> None:
        """Does nothing where the signature is right.

        Raises:
            SigningError: it is not.
        """
        try:
            self._key.verify(signature, text)
        except InvalidSignature as error:
            raise SigningError("its signature is not by the key that is trusted here") from error

    def check_issued(self, text: bytes, signature: bytes) -> int:
        """The epoch in which a patch set was issued.

        Args:
            text: its `statement`.
            signature: as `Signer.issue` gives it.

        Raises:
            SigningError: the key did not issue it, or too long ago.
        """
        if len(signature) == _SIGNATURE_BYTES:
            raise SigningError(
                "its signature does not say when it was issued, as those of earlier versions do "
                "not; update the adapter, which then issues its patch sets anew"
            )
        issued, rest = signature[:-_SIGNATURE_BYTES], signature[-_SIGNATURE_BYTES:]
        self.check(_ISSUED + issued + text, rest)
        age = (time.time_ns() - int.from_bytes(issued[:_SENT_BYTES], "big")) / 1e9
        if abs(age) > ISSUED_SECONDS:
            raise SigningError(
                f"it was issued {age:.0f} s ago, and is believed for {ISSUED_SECONDS:.0f}: "
                "somebody sends it again, or the clocks of the adapter and this node differ"
            )
        return int.from_bytes(issued[_SENT_BYTES:], "big")


class StatusVerifier:
    """Checks the signatures of one sender's statuses, of which each is newer than the one before.

    A status that was recorded and sent again says what was true once.
    """

    def __init__(self, verifier: Verifier, accept_unsigned: bool, most_age: float | None) -> None:
        """None has come yet.

        Args:
            verifier: of the sender's key.
            accept_unsigned: takes statuses without a signature.
            most_age: seconds since a status was sent; None: any, for what is latched.
        """
        self._verifier, self._accept_unsigned = verifier, accept_unsigned
        self._most_age = most_age
        self._last = 0

    def check(self, text: bytes, signature: bytes) -> None:
        """Does nothing where the signature is right, and the status not an old one.

        Raises:
            SigningError: it is not.
        """
        if not signature and self._accept_unsigned:
            return
        if len(signature) <= _SENT_BYTES:
            raise SigningError(
                "it is not signed, and those of trusted_key alone are believed here; give its "
                "node the parameter signing_key"
            )
        sent_bytes, rest = signature[:_SENT_BYTES], signature[_SENT_BYTES:]
        self._verifier.check(sent_bytes + text, rest)
        sent = int.from_bytes(sent_bytes, "big")
        age = (time.time_ns() - sent) / 1e9
        if sent < self._last or (self._most_age is not None and abs(age) > self._most_age):
            raise SigningError(f"it was sent {age:.0f} s ago, and is sent again by somebody")
        self._last = sent
