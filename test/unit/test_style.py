"""The checks that read the code."""

import ast
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


def test_no_file_is_over_400_lines_and_no_function_over_60() -> None:
    long = []
    for path in (ROOT / "patchline_ros").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > 400:
            long.append(f"{path.name}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > 60:
                    long.append(f"{path.name}, {node.name}: {lines} lines")
    assert long == []
