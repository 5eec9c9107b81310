"""The lock files hold what is installed, each with digests, and nothing of a machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.supply_chain import ENVIRONMENTS, LICENCES, LOCKS, REQUIREMENTS, locked

ALL = {"python_version": "3.10", "python_full_version": "3.10.0"}


def pins(path: Path) -> dict[str, str]:
    """What a requirement file asks for on the oldest Python."""
    found = {}
    for line in path.read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text and not text.startswith("-"):
            asked = Requirement(text)
            if asked.marker is None or asked.marker.evaluate(ALL):
                found[canonicalize_name(asked.name)] = str(asked.specifier)
    return found


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_lock_file_holds_what_its_requirement_files_ask_for(name: str) -> None:
    lock = LOCKS / f"{name}.txt"
    there = {canonicalize_name(package): version for package, version in locked(lock).items()}
    for file in ENVIRONMENTS[name]:
        for package, specifier in pins(REQUIREMENTS / f"{file}.txt").items():
            assert package in there, f"{file}.txt: make the locks again"
            assert specifier in ("", f"=={there[package]}") or "," in specifier or ">" in specifier
    text = lock.read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text and "--index" not in text


def test_the_licences_name_what_a_car_needs() -> None:
    rows = [line.split("|") for line in LICENCES.read_text().splitlines() if line.startswith("| ")]
    named = {canonicalize_name(row[1].strip()): row[3].strip() for row in rows[1:]}
    for package in pins(REQUIREMENTS / "packages.txt"):
        assert package in named, f"{package} is not in {LICENCES.name}: make it again"
