"""Patch sets by version: which are kept, and that no version is given twice."""

from __future__ import annotations

from pathlib import Path

from kills import killed_at_each_line

from patchline_ros.adaptation.episode_runner import KEPT_VERSIONS, EpisodeRunner
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.files import write_file
from patchline_ros.tasks import Task


def open_runner(work: Path) -> EpisodeRunner:
    return EpisodeRunner(work, work, work, TrainingSettings(), seed=0, threads=1)


def versions(work: Path) -> list[int]:
    return sorted(
        int(path.stem.split(".v")[1]) for path in work.glob("classification.v*.safetensors")
    )


def accept(work: Path, version: int) -> None:
    """As a worker does it, whose job names the version."""
    write_file(work / f"classification.v{version}.safetensors", b"%d" % version)


def test_the_last_versions_and_the_active_one_are_kept(tmp_path: Path) -> None:
    runner = open_runner(tmp_path)
    for version in range(1, 41, 2):
        accept(tmp_path, version)
        assert (
            runner.return_to_source(Task.CLASSIFICATION, "")[1].name
            == f"classification.v{version + 1}.safetensors"
        )
    runner.drop_old({Task.CLASSIFICATION: 3, Task.SEGMENTATION: 1})
    last = list(range(39 - 2 * (KEPT_VERSIONS - 1), 40, 2))
    assert versions(tmp_path) == [3, *last, 40]
    runner.drop_old({Task.CLASSIFICATION: 0})
    assert versions(tmp_path) == [*last, 40]
    assert (
        open_runner(tmp_path).return_to_source(Task.CLASSIFICATION, "")[1].name
        == "classification.v41.safetensors"
    )


def test_a_version_that_a_node_runs_is_not_given_again(tmp_path: Path) -> None:
    """The store was wiped while the nodes went on with what they had."""
    runner = open_runner(tmp_path)
    for version in (7, 3, 0):
        runner.heard(Task.CLASSIFICATION, version)
    assert runner.missing({Task.CLASSIFICATION: 7, Task.SEGMENTATION: 0}) == {
        Task.CLASSIFICATION: tmp_path / "classification.v7.safetensors"
    }
    assert (
        runner.return_to_source(Task.CLASSIFICATION, "")[1].name == "classification.v8.safetensors"
    )
    assert runner.return_to_source(Task.SEGMENTATION, "")[1].name == "segmentation.v1.safetensors"
    accept(tmp_path, 7)
    assert runner.missing({Task.CLASSIFICATION: 7}) == {}
    # What was undone is the newest one, stored or not.
    runner.heard(Task.CLASSIFICATION, 12)
    undone = runner.keep_undone(Task.CLASSIFICATION, {12}, running=0, base_fingerprint="")
    assert undone is not None and undone[0] == 13


def adapt_and_return(work: Path) -> None:
    """A patch set and the return to the source; notes each version that is given."""
    runner = open_runner(work)
    runner.drop_old({Task.CLASSIFICATION: 1})
    with (work / "given").open("a", buffering=1) as given:
        newest = runner.latest()[Task.CLASSIFICATION][0]
        accept(work, newest + 1)
        given.write(f"{newest + 1}\n")
        given.write(
            runner.return_to_source(Task.CLASSIFICATION, "")[1].name.split(".")[1][1:] + "\n"
        )
    runner.drop_old({Task.CLASSIFICATION: 1})


def test_kills_do_not_give_a_version_twice(tmp_path: Path) -> None:
    for version in range(1, 2 * KEPT_VERSIONS):
        accept(tmp_path, version)
    newest, lines = versions(tmp_path)[-1], 0
    for _ in killed_at_each_line(adapt_and_return, tmp_path):
        lines += 1
        runner = open_runner(tmp_path)
        assert not list(tmp_path.glob(".*"))
        there = runner.latest()[Task.CLASSIFICATION][0]
        assert there >= newest
        newest = there
        assert (tmp_path / "classification.v1.safetensors").read_bytes() == b"1"
        # Each holds what it was given, or stands for the source.
        for version in versions(tmp_path):
            data = (tmp_path / f"classification.v{version}.safetensors").read_bytes()
            assert data in (b"", b"%d" % version)
    assert lines > 40
    given = [int(version) for version in (tmp_path / "given").read_text().split()]
    assert len(given) == len(set(given)) and given == sorted(given)
    assert newest + 2 == versions(tmp_path)[-1] == given[-1]
    assert len(versions(tmp_path)) <= KEPT_VERSIONS + 2
