"""Which boxes are published, and that an object keeps its id."""

from __future__ import annotations

import numpy as np

from patchline_ros.runtime.object_tracks import ObjectTracks
from patchline_ros.tasks import Boxes
from patchline_ros.vision.box_selection import chosen

FRAME_NS = 100_000_000


def boxes(*rows: tuple[float, float, float, float, int, float]) -> Boxes:
    """Each row is x1, y1, x2, y2, class and score."""
    table = np.array(rows, dtype=np.float32).reshape(-1, 6)
    return Boxes(table[:, :4].copy(), table[:, 4].astype(np.int64), table[:, 5].copy())


def test_weak_boxes_and_those_that_overlap_a_better_one_are_left_out():
    found = boxes(
        (0, 0, 100, 100, 0, 0.6),
        (10, 0, 110, 100, 0, 0.9),
        (10, 0, 110, 100, 1, 0.5),
        (300, 0, 400, 100, 0, 0.2),
    )
    assert chosen(found, 0.3, 0.45).scores.tolist() == np.float32([0.9, 0.5]).tolist()
    assert len(chosen(found, 0.3, 0.9)) == 3 and len(chosen(found, 0.0, 1.0)) == 4
    assert len(chosen(boxes(), 0.0, 0.5)) == 0


def drive(tracks: ObjectTracks, frames: range, start_ns: int = 0) -> list[list[str]]:
    """Two cars that cross the picture in opposite directions, one above the other, and noise."""
    noise = np.random.default_rng(0)
    found = []
    for number in frames:
        x, y = 10.0 * number, noise.uniform(200, 400)
        seen = boxes(
            (x, 0, x + 80, 60, 0, 0.9),
            (500 - x, 90, 580 - x, 150, 0, 0.8),
            (y, y, y + 9, y + 9, 0, 0.1),
        )
        found.append(tracks.ids(seen, start_ns + FRAME_NS * number, 0.3))
    return found


def test_an_object_keeps_its_id_and_another_one_never_gets_it():
    tracks = ObjectTracks()
    ids = drive(tracks, range(30))
    assert ids[0] == ["", "", ""]
    first, second = ids[1][:2]
    assert first and second and first != second
    assert all(of_frame == [first, second, ""] for of_frame in ids[1:])
    later = drive(tracks, range(5), start_ns=FRAME_NS * 100)
    assert not {first, second} & {one for of_frame in later for one in of_frame}
    back = drive(tracks, range(5))
    assert not {first, second, *later[-1][:2]} & {one for frame in back for one in frame}


def test_an_object_that_was_hidden_for_some_pictures_is_the_same():
    tracks = ObjectTracks()
    (_, _, _), *ids = drive(tracks, range(15))
    for number in range(15, 20):
        assert tracks.ids(boxes(), FRAME_NS * number, 0.3) == []
    assert drive(tracks, range(20, 22))[-1][:2] == ids[0][:2]


def test_an_object_that_shrinks_out_of_sight_fills_no_log(caplog):
    tracks = ObjectTracks()
    for number in range(1, 20):
        half = max(20 - 4 * number, 0)
        gone = [(100 - half, 100 - half, 100 + half, 100 + half, 0, 0.9)] if half else []
        tracks.ids(boxes((300, 300, 340, 340, 0, 0.9), *gone), FRAME_NS * number, 0.3)
    assert not caplog.records
