"""The files by which a hosted repository works, which nothing here runs."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ruamel.yaml import YAML

from patchline_ros import __version__

ROOT = Path(__file__).parents[2]
SCHEMAS = {
    ".github/workflows/test.yml": "vendor.github-workflows",
    ".github/ISSUE_TEMPLATE/bug.yml": "vendor.github-issue-forms",
    ".github/ISSUE_TEMPLATE/idea.yml": "vendor.github-issue-forms",
    ".github/ISSUE_TEMPLATE/config.yml": "vendor.github-issue-config",
    "docker/compose.yaml": "vendor.compose-spec",
    "CITATION.cff": "vendor.citation-file-format",
}


@pytest.mark.skipif(
    importlib.util.find_spec("check_jsonschema") is None,
    reason="check-jsonschema is not installed (tools/requirements/test.txt)",
)
@pytest.mark.parametrize("file", SCHEMAS)
def test_what_others_read_fits_their_schemas(file: str) -> None:
    program = "from check_jsonschema import main; main()"
    command = [sys.executable, "-c", program, "--builtin-schema", SCHEMAS[file], file]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_file_of_the_host_is_without_a_schema() -> None:
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / ".github").rglob("*.y*ml")}
    assert files == {file for file in SCHEMAS if file.startswith(".github/")}


def test_the_workflow_calls_what_people_call() -> None:
    workflow = YAML(typ="safe").load((ROOT / ".github/workflows/test.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands == ["./patchline test", "./patchline test --distro jazzy"]


def test_hooks_are_the_checks_of_the_tests() -> None:
    hooks = YAML(typ="safe").load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for repo in hooks["repos"] for hook in repo["hooks"]]
    scripts = Path(sys.executable).parent
    for entry in entries:
        name = Path(entry.split()[0]).name
        assert (scripts / name).exists(), entry


def test_one_version_is_stated() -> None:
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())
    manifest = ElementTree.parse(ROOT / "package.xml").findtext("version")
    assert citation["version"] == manifest == __version__
    released = re.findall(r"^## \[(\d.*)\] - (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert released[0] == (__version__, str(citation["date-released"]))
    licences = (ROOT / "docs" / "licences.md").read_text()
    assert f"| patchline_ros | {__version__} |" in licences
