"""A package of others, as an installed one is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def install(monkeypatch: pytest.MonkeyPatch, prefix: Path, file: str, text: str) -> None:
    """A package of others that has this file alone."""
    package = file.split("/")[1]
    for path in (prefix / file, prefix / "share/ament_index/resource_index/packages" / package):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{prefix}:{os.environ['AMENT_PREFIX_PATH']}")
