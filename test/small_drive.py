"""A small result of a demo, made by hand, with figures that are easy to find again."""

from __future__ import annotations

import numpy as np

from patchline_ros.adaptation.episode_report import CurvePoint, EpisodeReport
from patchline_ros.demo.report_text import headline
from patchline_ros.demo.result import (
    AnswerReport,
    DriftReport,
    FramesReport,
    Latency,
    Report,
    Segment,
    SourceReport,
    Swap,
    TaskAnswer,
    TaskReport,
    Timeline,
)
from patchline_ros.demo.strip import Picture, Row, draw_sign_tile
from patchline_ros.pages.page import to_data_uri
from patchline_ros.tasks import Boxes, Task
from patchline_ros.vision.drawing import draw_boxes, overlay_mask

SOURCE = SourceReport(kind="sim", frames=48, condition="night", drift_frames=120)
DRIFT = DriftReport(
    mmd2_source=0.0123, mmd2_drift=0.456, threshold=0.0789, frames_to_detect=9, false_alarms=0
)
FRAMES = FramesReport(
    published=731,
    processed={"sign_classifier": 731, "object_detector": 730, "lane_segmenter": 731},
    lost_during_swap=0,
    latency_ms={"sign_classifier": Latency(p50=11.2, p95=31.8)},
)
ADAPTATION = EpisodeReport.model_validate(
    {
        "patches": 4,
        "order": ["classification", "segmentation", "detection"],
        "collected": {"classification": 58, "detection": 58, "segmentation": 58},
        "kept": {"classification": 51, "detection": 47, "segmentation": 55},
        "seconds": {"classification": 6.5, "detection": 21.4, "segmentation": 18.2},
        "train_gflops": {"classification": 33.0, "detection": 412.0, "segmentation": 377.0},
        "accepted": {"classification": True, "detection": True, "segmentation": True},
        "warm_start": {"segmentation": "classification"},
        "gate": {"classification": {"before": 0.41, "after": 0.91, "error": 0.02, "frames": 11}},
        "since_ns": 1,
    }
)


ANSWER = AnswerReport(
    seconds_to_swap=4.26,
    tasks={
        Task.CLASSIFICATION: TaskAnswer(
            candidate="prepared", predicted=28.14, error=9.3, gain=22.2, accepted=True
        ),
        Task.SEGMENTATION: TaskAnswer(
            candidate="norm statistics", predicted=2.61, error=7.7, gain=None, accepted=False
        ),
    },
)


def tasks(swapped: bool = True, answered: bool = False) -> dict[Task, TaskReport]:
    """Three rows with figures that are easy to find again."""
    rows = {
        Task.CLASSIFICATION: (97.5, 41.3, 63.5, 88.8),
        Task.DETECTION: (61.2, 22.4, None, 44.4),
        Task.SEGMENTATION: (74.1, 31.7, None, 66.6),
    }
    return {
        task: TaskReport(
            metric="metric",
            source=source,
            before=before,
            answered=then if answered else None,
            after=after,
            test_frames=40,
            swapped=swapped,
        )
        for task, (source, before, then, after) in rows.items()
    }


def report(
    answer: AnswerReport | None = None, training: EpisodeReport | None = ADAPTATION
) -> Report:
    """A whole result."""
    rows = tasks(answered=answer is not None)
    return Report(
        headline=headline(SOURCE, DRIFT, rows, answer, training, FRAMES),
        source=SOURCE,
        drift=DRIFT,
        tasks=rows,
        answer=answer,
        adaptation=training,
        frames=FRAMES,
        seed=3,
        versions={"patchline_ros": "0.1.0"},
        config={"rate_hz": 6.0, "cpus": 2},
        seconds=121.6,
    )


def timeline() -> Timeline:
    """Curves as a drive of two minutes gives them."""
    rng = np.random.default_rng(0)
    seconds = np.arange(4.0, 120.0, 0.17)
    level = np.clip((seconds - 8) / 4, 0, 1) * 0.42 + 0.02
    stretches = (
        (2.0, 8.0, "source"),
        (10.0, 14.0, "before"),
        (14.5, 70.0, "answered"),
        (76.0, 120.0, "after"),
    )

    def segments(row: TaskReport) -> list[Segment]:
        levels = (row.source, row.before, row.answered or row.before, row.after)
        return [
            Segment(
                stage=stage,
                seconds=(times := np.arange(start, end, 1.5)).tolist(),
                values=np.clip(value + rng.normal(0, 4, len(times)), 0, 100).tolist(),
            )
            for value, (start, end, stage) in zip(levels, stretches, strict=True)
        ]

    return Timeline(
        switch=8.0,
        end=120.0,
        detected=9.5,
        swaps={
            Task.CLASSIFICATION: [
                Swap(second=14.0, stage="answered"),
                Swap(second=52.0, stage="after"),
            ],
            Task.SEGMENTATION: [Swap(second=63.0, stage="after")],
            Task.DETECTION: [Swap(second=72.0, stage="after")],
        },
        mmd2=[
            (float(s), float(v))
            for s, v in zip(seconds, level + rng.normal(0, 0.01, len(level)), strict=True)
        ],
        threshold=0.0789,
        metrics={task: segments(row) for task, row in tasks(answered=True).items()},
        curves={
            task: [CurvePoint(epoch=e, loss=1.8 / e, metric=0.5) for e in range(1, 21)]
            for task in Task
        },
    )


def strip() -> list[Row]:
    """A grey road with something drawn on it for each task."""
    road = np.full((90, 120, 3), 90, dtype=np.uint8)
    mask = np.repeat(np.arange(6, dtype=np.uint8), 15)[:, None].repeat(120, axis=1)
    boxes = Boxes.truth([[20, 20, 60, 60]], [0])
    pictures = {
        Task.SEGMENTATION: overlay_mask(road, mask),
        Task.DETECTION: draw_boxes(road, boxes, ["car"]),
        Task.CLASSIFICATION: draw_sign_tile(road[:60, :60], False, 120),
    }
    return [
        Row(task, (Picture(to_data_uri(image), ""), None, Picture(to_data_uri(image), "stop <3")))
        for task, image in pictures.items()
    ]
