"""Makes a moving picture of a demo from what its nodes published: before, drift, swap, after.

    ./patchline demo --labels none --out runs/picture
    python -m tools.animate_demo runs/picture docs/demo.webp

It shows the camera's pictures, the lanes as the lane segmenter said them, and the distance to the
source. Stretches in which nothing happens are left out.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image as Pictures

from patchline_ros.demo.drive import Shot, open_drive
from patchline_ros.demo.graph_session import DRIVE_FILE
from patchline_ros.demo.logs import Answer, Logs, read_label, sort_logs
from patchline_ros.demo.records import CAMERA_LOG, RECORDS_LOG, CameraLine, LineReader, Record
from patchline_ros.demo.report import REPORT_JSON
from patchline_ros.tasks import ClassMap, Image, Task
from patchline_ros.vision.drawing import overlay_mask

BEFORE, DRIFT, AFTER = 12, 24, 36
"""Frames that are shown of the clear road, from the change on, and from the swap on."""
WIDTH, HEIGHT, STRIP = 320, 240, 110
"""Of the camera's picture and of the answer beside it, and of what stands below, in pixels."""
INK, RED, GREEN = (40, 40, 40), (200, 60, 0), (0, 130, 80)
MILLISECONDS: Final = 167
"""That each frame is shown: about as fast as the camera sends them."""


@dataclass(frozen=True)
class Story:
    """What the logs of a demo say of when something happened.

    Attributes:
        switch: stamp of the first frame after the change.
        noticed: stamp of the reading that says so.
        swapped: when the lane segmenter took a patch set, by the same clock.
        readings: (stamp, MMD^2) of the drift monitor.
        threshold: MMD^2 above which there is drift.
        scores: of the lanes in the drift, before and after, in percent.
    """

    switch: int
    noticed: int
    swapped: int
    readings: Sequence[tuple[int, float]]
    threshold: float
    scores: tuple[float, float]


def read_logs(folder: Path) -> Logs:
    """What a demo has written while it ran.

    Raises:
        ValueError: the folder holds no demo.
    """
    camera = LineReader(folder / CAMERA_LOG, CameraLine).new_lines()
    records = LineReader(folder / RECORDS_LOG, Record).new_lines()
    if not camera or not records:
        raise ValueError(f"{folder} holds no demo: it has no {CAMERA_LOG} and {RECORDS_LOG}")
    return sort_logs(camera, records, folder)


def story_of(logs: Logs) -> Story:
    """When what happened in a demo.

    Raises:
        ValueError: no drift was noticed, or the lanes were not answered.
    """
    swaps = logs.swaps(Task.SEGMENTATION)
    if logs.switch_ns is None or logs.noticed is None or not swaps:
        raise ValueError("in this demo no patch set for lanes was swapped in; make another one")
    lanes = json.loads((logs.folder / REPORT_JSON).read_text())["tasks"]["segmentation"]
    return Story(
        switch=logs.switch_ns,
        noticed=logs.noticed.stamp_ns,
        swapped=swaps[0].received_ns,
        readings=[(record.stamp_ns, float(record.payload["mmd2"])) for record in logs.drift],
        threshold=float(logs.noticed.payload["threshold"]),
        scores=(lanes["before"], lanes["after"]),
    )


def shown(answers: Sequence[Answer], story: Story) -> list[Answer]:
    """The answers on frames of the three stretches."""
    stamps = [answer.line.stamp_ns for answer in answers]
    first, last = np.searchsorted(stamps, [story.switch, story.swapped])
    return [
        *answers[max(0, first - BEFORE) : first],
        *answers[first : min(first + DRIFT, last)],
        *answers[last : last + AFTER],
    ]


def words_at(stamp: int, swapped: bool, story: Story) -> tuple[str, tuple[int, int, int]]:
    """What happens at a frame, and the colour to say it in."""
    if stamp < story.switch:
        return "clear road: the source model runs", INK
    if swapped:
        before, after = story.scores
        return f"patches were swapped in: mean IoU from {before:.1f}% to {after:.1f}%", GREEN
    if stamp < story.noticed:
        return "the weather changes", RED
    return "drift noticed: the source model still runs", RED


def drawn(shot: Shot, answer: Answer, mask: ClassMap, story: Story) -> Image:
    """A frame, its answer beside it, and the curve up to it below."""
    pictures = (shot.frame.image, overlay_mask(shot.frame.image, mask))
    beside = np.hstack([cv2.resize(picture, (WIDTH, HEIGHT)) for picture in pictures])
    below = np.full((STRIP, 2 * WIDTH, 3), 255, np.uint8)
    words, colour = words_at(answer.line.stamp_ns, bool(answer.version), story)
    write(below, words, 22, 0.55, colour)
    write(below, "distance to the source (MMD^2), and its threshold", 42, 0.4, INK)
    highest = max(value for _, value in story.readings) * 1.1

    def height(value: float) -> int:
        return round(STRIP - 6 - (STRIP - 54) * max(0.0, value) / highest)

    line = height(story.threshold)
    cv2.line(below, (0, line), (2 * WIDTH, line), (150, 150, 150), 1)
    past = [value for stamp, value in story.readings if stamp <= answer.line.stamp_ns][-80:]
    points = np.array([(8 * n, height(value)) for n, value in enumerate(past)], np.int32)
    cv2.polylines(below, [points], isClosed=False, color=colour, thickness=2)
    return np.vstack([beside, below])


def write(picture: Image, words: str, y: int, size: float, colour: tuple[int, int, int]) -> None:
    """A line of text that stands on y."""
    cv2.putText(picture, words, (10, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def frames(folder: Path) -> Iterator[Image]:
    """The pictures of a demo's story, uint8 RGB (HEIGHT + STRIP, 2 * WIDTH, 3)."""
    logs = read_logs(folder)
    story = story_of(logs)
    chosen = shown(logs.answers[Task.SEGMENTATION], story)
    places = {answer.line.index for answer in chosen}
    shots = open_drive(folder / DRIVE_FILE)
    by_place = {shot.index: shot for shot in shots.play(0) if shot.index in places}
    for answer in chosen:
        mask = read_label(answer, folder)
        assert isinstance(mask, np.ndarray)
        yield drawn(by_place[answer.line.index], answer, mask, story)


def main() -> None:
    """Writes the moving picture."""
    parser = argparse.ArgumentParser(description="A moving picture of a demo.")
    parser.add_argument("demo", type=Path, help="the folder that patchline demo wrote")
    parser.add_argument("out", type=Path, help="a .webp file")
    options = parser.parse_args()
    try:
        first, *rest = (Pictures.fromarray(frame) for frame in frames(options.demo))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    first.save(
        options.out, save_all=True, append_images=rest, duration=MILLISECONDS, loop=0, quality=55
    )
    print(f"{1 + len(rest)} frames, {options.out.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
