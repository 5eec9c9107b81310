"""The keys that parameters name: one to sign with, one to check what others have signed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from patchline_ros.adaptation.patch_set_files import Seal
from patchline_ros.nodes.parameter import ParameterError
from patchline_ros.nodes.signed_labels import LabelCheck
from patchline_ros.nodes.signed_statuses import StatusCheck
from patchline_ros.runtime.patch_intake import Trust
from patchline_ros.runtime.version_memory import VersionMemory
from patchline_ros.signing import Signer, SigningError, StatusVerifier, Verifier
from patchline_ros.tasks import Task

_OLDEST_READING: Final = 10.0
"""Seconds between the sending of a drift status and its coming, on a car that is very busy."""


def said(values: Mapping[str, Any], signs: str, trusts: str = "") -> list[str]:
    """What a node says of its keys when it is configured.

    Args:
        values: of its parameters.
        signs: what it signs.
        trusts: what it checks with the trusted key; empty: it has none.
    """
    sentences = []
    if values["signing_key"]:
        sentences.append(f"signs {signs} with {Path(values['signing_key']).expanduser()}")
    if trusts and values["trusted_key"]:
        path = Path(values["trusted_key"]).expanduser()
        lax = ", and unsigned ones (accept_unsigned)" if values["accept_unsigned"] else ""
        sentences.append(f"takes only {trusts} signed with the key of {path}{lax}")
    if values.get("labels_key"):
        path = Path(values["labels_key"]).expanduser()
        sentences.append(f"takes only labelled frames signed with the key of {path}")
    return sentences


def signer(values: Mapping[str, Any]) -> Signer | None:
    """The key of `signing_key`; None where that is empty. ParameterError for a broken one."""
    path = values["signing_key"]
    try:
        return Signer(Path(path).expanduser()) if path else None
    except SigningError as error:
        raise ParameterError(f"parameter signing_key: {error}") from error


def seal(values: Mapping[str, Any], car: str) -> Seal:
    """How the adapter's patch sets are signed. ParameterError for a broken key."""
    if signer(values) is None:
        return Seal(car=car)
    return Seal(key=Path(values["signing_key"]).expanduser().absolute(), car=car)


def _verifier(values: Mapping[str, Any], name: str = "trusted_key") -> Verifier | None:
    """The key that a parameter names; None where it is empty. ParameterError for a broken one."""
    path = values[name]
    try:
        return Verifier(Path(path).expanduser()) if path else None
    except SigningError as error:
        raise ParameterError(f"parameter {name}: {error}") from error


def label_check(values: Mapping[str, Any], topic: str) -> LabelCheck:
    """Whose labels the adapter takes on a topic, by its full name. ParameterError for no key."""
    return LabelCheck(_verifier(values, "labels_key"), topic)


def trust(values: Mapping[str, Any], car: str) -> Trust:
    """Whose patch sets a perception node takes.

    Args:
        values: of its parameters.
        car: namespace of the graph.

    Raises ParameterError where the key can't be read, or where unsigned patch sets are named an
    exception and there is no rule.
    """
    verifier = _verifier(values)
    if verifier is None and values["accept_unsigned"]:
        raise ParameterError(
            "accept_unsigned is true, but trusted_key names no key: every patch set is taken "
            "without one; leave accept_unsigned out, or name a key"
        )
    return Trust(verifier, values["accept_unsigned"], car)


def version_memory(values: Mapping[str, Any], node: str) -> VersionMemory:
    """What a perception node remembers of signed patch sets, in a file of its own.

    Without a trusted key anybody's patch set would be remembered, and shut out others.

    Raises ParameterError where the file is damaged, or its folder can't be made.
    """
    verifier = _verifier(values)
    if verifier is None:
        return VersionMemory()
    folder = Path(values["memory"] or _default_memory()).expanduser()
    path = folder / f"{node.strip('/').replace('/', '.')}.json"
    try:
        return VersionMemory(path, verifier.name)
    except (ValueError, OSError) as error:
        raise ParameterError(f"parameter memory: {error}") from error


def _default_memory() -> Path:
    """Where ROS keeps what outlasts a run."""
    return Path(os.environ.get("ROS_HOME") or "~/.ros") / "patchline_ros"


def status_check(values: Mapping[str, Any], tasks: Mapping[Task, object], car: str) -> StatusCheck:
    """Which statuses the adapter believes.

    Raises ParameterError where it signs, and would sign what anybody's statuses ask for.
    """
    verifier, lax = _verifier(values), values["accept_unsigned"]
    if verifier is None:
        if values["signing_key"] and not lax:
            raise ParameterError(
                "signing_key names a key, but trusted_key names none: whatever statuses ask for "
                "would be signed, whoever sent them; name the key that the other nodes sign with, "
                "or set accept_unsigned to true"
            )
        return StatusCheck(None, {}, car)
    return StatusCheck(
        StatusVerifier(verifier, lax, _OLDEST_READING),
        {task: StatusVerifier(verifier, lax, None) for task in tasks},
        car,
    )
