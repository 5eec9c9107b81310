"""`patchline bundle`, as a user calls it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny_bundle
from typer.testing import CliRunner

from patchline_ros.adaptation.affinity import training_order
from patchline_ros.bundle import Bundle
from patchline_ros.cli import app
from patchline_ros.tasks import Task


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["bundle", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_show_names_classes_metrics_and_the_order_for_each_number_of_patches(
    bundle: Bundle,
) -> None:
    code, said = call("show", bundle.path)
    assert code == 0
    assert "signs: stop, yield, limit" in said and "mean IoU 50.0" in said
    for patches in range(1, 8):
        order = training_order(bundle.manifest.affinity, list(Task), patches)
        (line,) = [row for row in said.splitlines() if row.startswith(f"│ {patches} ")]
        assert [word.strip("│, ") for word in line.split() if word.strip(",") in list(Task)] == [
            str(task) for task in order
        ]


def test_check_loads_everything(bundle: Bundle, tmp_path: Path) -> None:
    assert call("check", bundle.path)[0] == 0
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    (copy / "lanes.safetensors").write_bytes(b"nonsense")
    code, said = call("check", copy)
    assert code == 2 and "lanes.safetensors does not have the sha256" in said
    code, said = call("check", tmp_path / "none")
    assert code == 2 and "does not exist" in said


def test_diff_names_each_fact_that_differs(bundle: Bundle, tmp_path: Path) -> None:
    assert call("diff", bundle.path, bundle.path) == (0, "no difference\n")
    other = tiny_bundle.make_bundle(tmp_path / "other", source_entropy=0.25)
    code, said = call("diff", bundle.path, other.path)
    assert code == 1
    assert said.splitlines() == [
        f"models.{task}.source_entropy: 0.0 | 0.25" for task in sorted(map(str, Task))
    ]
