"""Signatures of patch sets (Ed25519): who may change what a car's models do.

    NAME.key    the private key, for the adapter that signs; readable by its owner alone
    NAME.pub    the public key, for the perception nodes that check

Both are PEM files as openssl writes them.
"""

from __future__ import annotations

import os
from pathlib import Path

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

from patchline_ros.files import write_file
from patchline_ros.tasks import Task

_PURPOSE = "patchline patch set 1"
"""What a signature is for: one that was made for something else is none here."""


class SigningError(ValueError):
    """A key can't be used, or a signature is not what it should be."""


def statement(task: Task, version: int, base_fingerprint: str, sha256: str) -> bytes:
    """What is signed: all that a patch set's message says, with the sha256 of its data."""
    return "\n".join([_PURPOSE, str(task), str(version), base_fingerprint, sha256]).encode()


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

    def sign(self, text: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(text)


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

    def check(self, text: bytes, signature: bytes) -> None:
        """Does nothing where the signature is right.

        Raises:
            SigningError: it is not.
        """
        try:
            self._key.verify(signature, text)
        except InvalidSignature as error:
            raise SigningError("its signature is not by the key that is trusted here") from error
