"""Labelled frames on disk: what stays, who goes, and what a kill or a full disk may not do."""

from __future__ import annotations

import random
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kills import killed_at_each_line, processes
from small_disk import SmallDisk

from patchline_ros.adaptation.store import DiskError, FrameStore, StoredFrames, StoreError
from patchline_ros.tasks import Boxes, Sample, Task


def noise(seed: int, height: int = 48, width: int = 64) -> Sample:
    """A picture that can't be compressed; the label tells its seed."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Sample(image, seed)


def stamps(store: StoredFrames) -> list[int]:
    return [frame.stamp_ns for frame in store.select(Task.CLASSIFICATION, 0)]


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "classification").iterdir()}


def check_whole(folder: Path, least: set[int], most: set[int] | None = None) -> None:
    """Nothing is half-written, and between `least` and `most` are there, each as it was stored."""
    store = FrameStore(folder, 10_000, 100)
    frames = store.select(Task.CLASSIFICATION, 0)
    assert files(folder) == {frame.path.name for frame in frames}
    there = {frame.stamp_ns for frame in frames}
    assert least <= there <= (there if most is None else most)
    for frame, sample in zip(frames, store.read(frames), strict=True):
        assert sample.label == frame.stamp_ns
        np.testing.assert_array_equal(sample.image, noise(frame.stamp_ns).image)


@pytest.mark.parametrize(
    "label", [7, Boxes.truth([[4, 4, 40, 40]], [1]), np.full((48, 64), 3, np.uint8)]
)
def test_the_store_gives_frames_back(tmp_path: Path, label: Any) -> None:
    task = {int: Task.CLASSIFICATION, Boxes: Task.DETECTION, np.ndarray: Task.SEGMENTATION}[
        type(label)
    ]
    put = Sample(noise(0).image, label)
    FrameStore(tmp_path, 10, 10).add("a-1", task, 5, put)
    for store in (StoredFrames(tmp_path), FrameStore(tmp_path, 10, 10)):
        assert store.count(task, 5) == 1 and store.count(task, 6) == 0
        (again,) = store.read(store.select(task, 0))
        np.testing.assert_array_equal(again.image, put.image)
        if isinstance(label, Boxes):
            np.testing.assert_array_equal(again.label.boxes, label.boxes)
        else:
            np.testing.assert_array_equal(again.label, label)


def test_what_can_not_be_stored_or_read_is_named(tmp_path: Path) -> None:
    store = FrameStore(tmp_path, 10, 1)
    with pytest.raises(StoreError, match="file name"):
        store.add("../x", Task.CLASSIFICATION, 0, noise(0))
    for bounds in ((0, 1), (1, 0)):
        with pytest.raises(StoreError, match="holds nothing"):
            FrameStore(tmp_path, *bounds)
    whole = store.add("cut", Task.CLASSIFICATION, 7, noise(0)).path
    with pytest.raises(StoreError, match=r"takes 1\.[0-9] MiB, and one frame may take 0\.1"):
        store.add("big", Task.CLASSIFICATION, 8, noise(0, 700, 700))
    assert stamps(store) == [7]
    data = whole.read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 3):
        whole.write_bytes(data[:length])
        with pytest.raises(StoreError, match="cut"):
            store.read(store.select(Task.CLASSIFICATION, 0))


def test_a_frame_that_comes_twice_is_kept_once(tmp_path: Path) -> None:
    store = FrameStore(tmp_path, 10, 10)
    store.add("a", Task.CLASSIFICATION, 5, noise(1))
    store.saw(Task.CLASSIFICATION, 5, 0.25)
    store.add("a", Task.CLASSIFICATION, 5, noise(2))
    (frame,) = StoredFrames(tmp_path).select(Task.CLASSIFICATION, 0)
    assert frame.entropy == 0.25
    assert store.read([frame])[0].label == 2


def test_a_reader_finds_what_changed_since_it_looked(tmp_path: Path) -> None:
    store = FrameStore(tmp_path, 2, 10)
    for stamp in (1, 2):
        store.add("x", Task.CLASSIFICATION, stamp, noise(stamp))
    reader = StoredFrames(tmp_path)
    listed = reader.select(Task.CLASSIFICATION, 0)
    store.saw(Task.CLASSIFICATION, 2, 0.5)
    store.add("x", Task.CLASSIFICATION, 3, noise(3))
    assert [sample.label for sample in reader.read(listed)] == [2]


@pytest.mark.parametrize("seed", range(4))
def test_the_oldest_and_least_informative_go_first(tmp_path: Path, seed: int) -> None:
    """Late labels, late and missing entropies, a drift that begins and passes, restarts."""
    rng = random.Random(seed)
    store, capacity = FrameStore(tmp_path, 12, 10), 12
    there: dict[int, float | None] = {}
    since = 0
    for turn in range(1, 100):
        stamp = 1000 * turn - rng.choice([0, 0, 0, 20_500 if turn > 20 else 0])
        if turn in (30, 80):
            store.protect(since := 1000 * turn)
        elif turn == 60:
            store.protect(since := 0)
        elif turn == 50:
            store = FrameStore(tmp_path, capacity, 10)
            store.protect(since)
        entropy = rng.choice([None, rng.uniform(0, 1)])
        early = rng.random() < 0.5
        if entropy is not None and early:
            store.saw(Task.CLASSIFICATION, stamp, entropy)
        store.add("x", Task.CLASSIFICATION, stamp, noise(stamp, 8, 8))
        if entropy is not None and not early:
            store.saw(Task.CLASSIFICATION, stamp, entropy)
        stays = {
            f.stamp_ns: f.entropy for f in StoredFrames(tmp_path).select(Task.CLASSIFICATION, 0)
        }
        assert stamp in stays and len(stays) == min(capacity, len(there | stays))
        for gone, gone_entropy in there.items():
            if gone in stays:
                continue
            others = {s: e for s, e in stays.items() if s != stamp}
            if 0 < since <= gone:
                assert all(s >= since for s in others), "only the drift is left"
            for other, other_entropy in others.items():
                same_side = (0 < since <= gone) == (0 < since <= other)
                if same_side and None not in (gone_entropy, other_entropy):
                    assert not (other < gone and other_entropy < gone_entropy)
        assert all(there[s] == pytest.approx(stays[s], abs=1e-6) for s in there.keys() & stays)
        there = stays
    assert (
        len(
            {
                store.count(Task.CLASSIFICATION, 0),
                StoredFrames(tmp_path).count(Task.CLASSIFICATION, 0),
                12,
            }
        )
        == 1
    )


def test_twice_as_old_must_be_twice_as_uncertain(tmp_path: Path) -> None:
    for old, goes in ((0.39, 2000), (0.41, 3000)):
        store = FrameStore(tmp_path / str(old), 2, 10)
        for stamp, entropy in ((2000, old), (3000, 0.2), (4000, 0.0)):
            store.saw(Task.CLASSIFICATION, stamp, entropy)
            store.add("x", Task.CLASSIFICATION, stamp, noise(stamp, 8, 8))
        assert stamps(store) == [stamp for stamp in (2000, 3000, 4000) if stamp != goes]


def test_it_is_bounded_in_bytes_too(tmp_path: Path) -> None:
    store = FrameStore(tmp_path, 1000, 4)
    for stamp in range(1, 70):
        # From 30 KB to 190 KB.
        store.add("x", Task.CLASSIFICATION, stamp, noise(stamp, 100 + 20 * (stamp % 9), 200))
        size = sum(path.stat().st_size for path in (tmp_path / "classification").iterdir())
        assert size <= 4 * 2**20
    assert size > 0.7 * 4 * 2**20
    # A store that is opened with closer bounds keeps them from the next frame on.
    smaller = FrameStore(tmp_path, 3, 4)
    smaller.add("x", Task.CLASSIFICATION, 50, noise(50))
    assert len(stamps(smaller)) == 3


def test_a_full_store_reads_no_other_frame(tmp_path: Path) -> None:
    store = FrameStore(tmp_path, 8, 10)
    opened: list[str] = []
    listening = False

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        # What is opened by its number was opened by its name before.
        by_number = event == "open" and isinstance(arguments[0], int)
        if listening and not by_number and event in ("open", "os.listdir", "os.scandir"):
            opened.append(str(arguments[0]))

    sys.addaudithook(hear)
    for stamp in range(1, 13):
        listening = stamp > 8
        store.saw(Task.CLASSIFICATION, stamp, 0.5)
        store.add("x", Task.CLASSIFICATION, stamp, noise(stamp, 8, 8))
        assert store.count(Task.CLASSIFICATION, 0) == min(stamp, 8)
        listening = False
    folder = tmp_path / "classification"
    own = [folder / f".{stamp:020d}_x+0.500000.npz.part" for stamp in range(9, 13)]
    assert opened == [str(path) for part in own for path in (part, folder)]


def store_frames(folder: Path, first: int, acknowledge: Any) -> None:
    store = FrameStore(folder, 10_000, 100)
    for stamp in range(first, first + 1000):
        store.saw(Task.CLASSIFICATION, stamp - 1, 0.5)
        store.add("x", Task.CLASSIFICATION, stamp, noise(stamp))
        acknowledge.send(stamp)


def test_kills_at_any_time_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(0)
    acknowledged: set[int] = set()
    for kill in range(1, 41):
        hears, says = processes.Pipe(duplex=False)
        child = processes.Process(target=store_frames, args=(tmp_path, 1000 * kill, says))
        child.start()
        says.close()
        acknowledged.add(hears.recv())
        time.sleep(rng.uniform(0, 0.03))
        child.kill()
        child.join()
        try:
            while True:
                acknowledged.add(hears.recv())
        except EOFError:
            pass
        there = set(stamps(FrameStore(tmp_path, 10_000, 100)))
        assert acknowledged <= there
        assert len(there - acknowledged) <= kill, "one at most was stored and not acknowledged"
    check_whole(tmp_path, acknowledged)


def store_one_more(folder: Path, stamp: int) -> None:
    store = FrameStore(folder, 3, 100)
    store.protect(2)
    store.add("x", Task.CLASSIFICATION, stamp, noise(stamp))
    store.saw(Task.CLASSIFICATION, stamp, 0.5)


def test_a_kill_at_any_line_loses_nothing(tmp_path: Path) -> None:
    store = FrameStore(tmp_path, 3, 100)
    for stamp in (1, 2, 3):
        store.add("x", Task.CLASSIFICATION, stamp, noise(stamp))
    lines = 0
    for _ in killed_at_each_line(store_one_more, tmp_path, 9):
        lines += 1
        check_whole(tmp_path, {2, 3}, {1, 2, 3, 9})
    assert lines > 40
    assert stamps(FrameStore(tmp_path, 3, 100)) == [2, 3, 9]


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_disk_that_refuses_loses_nothing_and_goes_on(small_disk: SmallDisk, trouble: str) -> None:
    folder = small_disk.path / "frames"
    store = FrameStore(folder, 3, 100)
    for stamp in (1, 2, 3):
        store.add("x", Task.CLASSIFICATION, stamp, noise(stamp))
    small_disk.fill() if trouble == "full" else small_disk.remount("ro")
    says = "No space left on device" if trouble == "full" else "Read-only file system"
    for stamp in (3, 4):
        with pytest.raises(DiskError, match=f"frame x could not be stored: .*{says}"):
            store.add("x", Task.CLASSIFICATION, stamp, noise(stamp))
    store.saw(Task.CLASSIFICATION, 2, 0.5)
    assert stamps(store) == [1, 2, 3]
    assert not list((folder / "classification").glob(".*")), "a half of a file takes no room"
    check_whole(folder, {1, 2, 3}, {1, 2, 3})
    small_disk.empty() if trouble == "full" else small_disk.remount("rw")
    store.add("x", Task.CLASSIFICATION, 4, noise(4))
    check_whole(folder, {2, 3, 4}, {2, 3, 4})


def test_a_file_that_may_not_grow_is_refused_whole(tmp_path: Path) -> None:
    store = FrameStore(tmp_path, 10, 10)
    store.add("x", Task.CLASSIFICATION, 1, noise(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(DiskError, match="File too large"):
            store.add("x", Task.CLASSIFICATION, 2, noise(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.add("x", Task.CLASSIFICATION, 3, noise(3))
    check_whole(tmp_path, {1, 3}, {1, 3})
