"""Files that are written where somebody else can write, too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny_bundle import picture

from patchline_ros.adaptation import worker_process
from patchline_ros.adaptation.patch_set_files import stored_patch_sets
from patchline_ros.adaptation.store import FrameStore, StoreError
from patchline_ros.adaptation.store_lock import StoreLock
from patchline_ros.files import write_file, write_files
from patchline_ros.tasks import Sample, Task


def test_a_link_that_was_planted_aside_is_not_followed(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_text("keep")
    path.with_name(".file.part").symlink_to(victim)
    write_file(path, b"new")
    assert (path.read_bytes(), victim.read_text()) == (b"new", "keep")
    path.unlink()
    path.symlink_to(victim)
    write_file(path, b"newer")
    assert (path.read_bytes(), victim.read_text()) == (b"newer", "keep")


def test_of_several_files_none_is_new_where_one_can_not_be_written(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_files({first: b"old", second: b"old"})
    # As root nothing but this stops a file from being written.
    aside = second.with_name(".second.part")
    aside.mkdir()
    with pytest.raises(OSError, match=r"\.second\.part"):
        write_files({first: b"new", second: b"new"})
    assert (first.read_bytes(), second.read_bytes()) == (b"old", b"old")
    assert sorted(os.listdir(tmp_path)) == [".second.part", "first", "second"]
    aside.rmdir()
    write_files({first: b"new", second: b"new"})
    assert (first.read_bytes(), second.read_bytes()) == (b"new", b"new")


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """As root the move would succeed."""
    os.mkfifo(tmp_path / "pipe")
    shared = [Path(name) for name in ("/dev/null", "/dev/stdout")]
    for path in (tmp_path / "pipe", tmp_path, *shared):
        before = path.lstat().st_mode
        with pytest.raises(OSError, match="only files are written"):
            write_file(path, b"new")
        assert path.lstat().st_mode == before
    assert sorted(os.listdir(tmp_path)) == ["pipe"]


def test_neither_is_one_in_place_of_the_log_or_the_lock(tmp_path: Path) -> None:
    victim, log = tmp_path / "victim", tmp_path / worker_process.SPARE_LOG
    victim.write_text("keep")
    log.symlink_to(victim)
    with worker_process.start_worker(tmp_path / "job.json") as worker:
        worker.kill()
    assert victim.read_text() == "keep" and not log.is_symlink()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="can't be made"):
        StoreLock(tmp_path / "store")
    assert not (tmp_path / "elsewhere").exists()


def test_names_that_were_planted_are_none_of_ours(tmp_path: Path) -> None:
    for version in ("9" * 60, "9223372036854775807", "²", "0x1", "7"):
        (tmp_path / f"segmentation.v{version}.safetensors").touch()
    assert list(stored_patch_sets(tmp_path)[Task.SEGMENTATION]) == [7]
    assert stored_patch_sets(tmp_path / "gone") == {}


def test_a_store_that_was_wiped_takes_labels_again(tmp_path: Path) -> None:
    import shutil

    store = FrameStore(tmp_path / "frames", 8, 16)
    store.add("a", Task.CLASSIFICATION, 1, Sample(picture(1), 0))
    shutil.rmtree(tmp_path / "frames")
    store.add("b", Task.CLASSIFICATION, 2, Sample(picture(2), 0))
    assert [frame.frame_id for frame in store.select(Task.CLASSIFICATION, 0)] == ["b"]
    assert store.read(store.select(Task.CLASSIFICATION, 0))[0].label == 0
