"""The keys that parameters name: one to sign patch sets with, one to check them with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchline_ros.nodes.parameter import ParameterError
from patchline_ros.signing import Signer, SigningError, Verifier


def signer(values: Mapping[str, Any]) -> Signer | None:
    """The key of `signing_key`; None where that is empty. ParameterError for a broken one."""
    path = values["signing_key"]
    try:
        return Signer(Path(path).expanduser()) if path else None
    except SigningError as error:
        raise ParameterError(f"parameter signing_key: {error}") from error


def verifier(values: Mapping[str, Any]) -> Verifier | None:
    """The key of `trusted_key`; None where it is empty.

    Raises ParameterError where it can't be read, or where unsigned patch sets are named an
    exception and there is no rule.
    """
    path = values["trusted_key"]
    if not path:
        if values["accept_unsigned"]:
            raise ParameterError(
                "accept_unsigned is true, but trusted_key names no key: every patch set is taken "
                "without one; leave accept_unsigned out, or name a key"
            )
        return None
    try:
        return Verifier(Path(path).expanduser())
    except SigningError as error:
        raise ParameterError(f"parameter trusted_key: {error}") from error
