"""The checks that read the code."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


SCRIPTS = Path(sys.executable).parent


@pytest.mark.parametrize("command", ["ruff check --quiet .", "mypy", "lint-imports"])
def test_style(command: str) -> None:
    name, *arguments = command.split()
    result = subprocess.run(
        [SCRIPTS / name, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
