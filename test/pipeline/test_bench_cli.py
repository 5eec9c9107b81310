"""`patchline bench`: the smallest experiment from end to end, and what is said of wrong options."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from patchline_ros.bench.result import read_results
from patchline_ros.cli.app import app
from patchline_ros.tasks import Task


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", *arguments])


def test_smoke(tmp_path: Path) -> None:
    options = ("--out", str(tmp_path), "--workers", "1")
    result = call("smoke", *options)
    assert result.exit_code == 0, result.output
    results = read_results(tmp_path / "smoke")
    rows = ("ft_full", "ours", "product", "source")
    assert [(one.config.row, one.config.seed) for one in results] == [(row, 0) for row in rows]
    for one in results:
        assert all(0 <= task.test.final <= 1 for task in one.tasks.values())
        assert all(task.untrained == "" for task in one.tasks.values())
    used = json.loads((tmp_path / "smoke" / "pictures-0.json").read_text())
    assert {task: len(parts["test"]) for task, parts in used.items()} == dict.fromkeys(used, 8)
    assert set(used) == {"classification", "detection", "segmentation"}
    page = (tmp_path / "results.md").read_text()
    assert "## How much accuracy for how much compute?" in page
    assert "(./smoke/README.md)" in page
    assert (tmp_path / "smoke" / "figures" / "epochs.png").is_file()
    again = call("run", "smoke", *options)
    assert again.exit_code == 0
    assert "4 of 4 runs are finished already" in again.output


def test_the_experiments_are_listed() -> None:
    result = call("list")
    assert result.exit_code == 0
    assert "camvid-dusk " in result.output
    assert "sim-weather:rain" in result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "nothing"), "there is no experiment 'nothing'; known are"),
        (("run", "smoke", "--rows", "theirs"), "smoke has no row 'theirs'; it has source"),
        (("run", "smoke", "--seeds", "0,one"), "--seeds: 'one' is no whole number"),
        (("run", "smoke", "--device", "tpu"), "--device 'tpu' is not known; write cpu or cuda"),
        (("run", "camvid-dusk"), "no data folder was given: name one that has camvid"),
        (("run", "camvid-dusk", "--data", "/nowhere"), "there is no folder /nowhere: name one"),
        (
            ("run", "camvid-dusk-prepared"),
            "starts from a bundle's prepared patches; name one with --bundle",
        ),
        (("report", "/nowhere"), "there are no results in /nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    out = () if arguments[0] == "report" else ("--out", str(tmp_path))
    result = call(*arguments, *out)
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_runs_use_the_rates_that_were_tuned(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(
        "{name: one, scene: smoke, width: 0.25, tasks: [signs], seeds: [0], "
        "source: {start: random, epochs: {classification: 1}, batch_size: 4}, "
        "training: {epochs: 1}, "
        "tuning: {rates: [3], seeds: [9]}, rows: {full: {method: {method: ft_full}}}}"
    )
    options = (str(path), "--out", str(tmp_path), "--workers", "1")
    tuned = call("tune", *options)
    assert tuned.exit_code == 0
    assert "full: classification 3" in tuned.output
    # What is named twice is run once.
    run = call("run", *options, "--rows", "full,full", "--seeds", "0, 0")
    assert run.exit_code == 0
    assert re.search(r"^runs .* 1 of 1 ", run.output, re.MULTILINE)
    (result,) = read_results(tmp_path / "one")
    assert result.config.rates == {Task.CLASSIFICATION: 3.0}
    report = call("report", str(tmp_path))
    assert report.exit_code == 0
    assert "    patchline bench tune one.yaml" in (tmp_path / "one" / "README.md").read_text()


def test_a_failed_run_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(
        "{name: one, scene: smoke, width: 0.25, tasks: [signs], seeds: [0], "
        "source: {start: random, epochs: {classification: 1}, batch_size: 4}, "
        "rows: {bad: {method: {method: patchline, k: 9}}, good: {}}}"
    )
    result = call("run", str(path), "--out", str(tmp_path), "--workers", "1")
    assert result.exit_code == 1
    assert "failed: bad, seed 0: 9 patches asked for" in result.output
    assert "1 failed; the same command does what is left" in result.output
    assert [one.config.row for one in read_results(tmp_path / "one")] == ["good"]
