"""Writes down what the graph says: `records.jsonl` and the lane masks, for the demo's score.

A line is written only after the mask file it names is in place, so whoever follows the log never
meets a file that is half there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
from sensor_msgs.msg import Image
from vision_msgs.msg import Classification, Detection2DArray

from patchline_ros.demo.records import MASKS, RECORDS_LOG, Kind, LineWriter, Record
from patchline_ros.files import write_file
from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.messages.labels import msg_to_boxes, msg_to_class
from patchline_ros.messages.pictures import image_to_classmap
from patchline_ros.msg import AdaptationStatus, DriftStatus, FrameFeatures, PatchStatus
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import stamp_to_ns
from patchline_ros.nodes.declared_parameters import declare
from patchline_ros.nodes.node_main import RunnableNode, run
from patchline_ros.nodes.parameter import Parameter
from patchline_ros.tasks import Task

RECORDER = (Parameter("out", "", "existing folder for records.jsonl and the lane masks"),)
READY_POLL_SECONDS = 0.2

PATCH_STATES = {
    PatchStatus.SOURCE: "source",
    PatchStatus.ACTIVE: "active",
    PatchStatus.REFUSED: "refused",
    PatchStatus.REMOVED: "removed",
}
ADAPTATION_STATES = {
    AdaptationStatus.IDLE: "idle",
    AdaptationStatus.COLLECTING: "collecting",
    AdaptationStatus.TRAINING: "training",
    AdaptationStatus.FINISHED: "finished",
    AdaptationStatus.FAILED: "failed",
    AdaptationStatus.VERIFYING: "verifying",
    AdaptationStatus.ANSWERING: "answering",
}


class RecorderNode(RunnableNode):
    """Subscribes to every result and status of the graph and appends what comes to the log."""

    def __init__(self) -> None:
        """Open the log in the folder of the parameter `out`; OSError when that is not possible."""
        super().__init__("recorder")
        declare(self, RECORDER)
        self._out = Path(self.get_parameter("out").value)
        (self._out / MASKS).mkdir(exist_ok=True)
        self._log = LineWriter(self._out / RECORDS_LOG)
        self._topics: list[str] = []
        for task, node in NODE_OF_TASK.items():
            self._listen_to_task(task, node)
        self._listen(DriftStatus, "drift_status", qos.RESULTS, self._on_drift)
        self._listen(AdaptationStatus, "adaptation_status", qos.LATCHED, self._on_adaptation)
        self._ready_timer = self.create_timer(READY_POLL_SECONDS, self.guarded(self._report_ready))

    def close(self) -> None:
        """Closes the log."""
        self._log.close()

    def _listen_to_task(self, task: Task, node: str) -> None:
        if task is Task.CLASSIFICATION:
            self._listen(Classification, f"{node}/classification", qos.RESULTS, self._on_sign)
        elif task is Task.DETECTION:
            self._listen(Detection2DArray, f"{node}/detections", qos.RESULTS, self._on_objects)
        else:
            self._listen(Image, f"{node}/mask", qos.RESULTS, self._on_lanes)
        features = partial(self._on_features, task)
        self._listen(FrameFeatures, f"{node}/features", qos.RESULTS, features)
        self._listen(
            PatchStatus, f"{node}/patch_status", qos.LATCHED, partial(self._on_patch, task)
        )

    def _listen(
        self, message_type: type, topic: str, profile: Any, callback: Callable[[Any], None]
    ) -> None:
        self.create_subscription(message_type, topic, self.guarded(callback), profile)
        self._topics.append(topic)

    def _report_ready(self) -> None:
        """Say once that every topic has a publisher: what is published from now on is recorded."""
        if all(self.count_publishers(topic) for topic in self._topics):
            self._ready_timer.cancel()
            now = self.get_clock().now().nanoseconds
            self._log.write(Record(kind=Kind.READY, stamp_ns=now, received_ns=now))

    def _write(self, kind: Kind, task: Task | None, header: Any, payload: dict[str, Any]) -> None:
        self._log.write(
            Record(
                kind=kind,
                task=task,
                stamp_ns=stamp_to_ns(header.stamp),
                received_ns=self.get_clock().now().nanoseconds,
                payload=payload,
            )
        )

    def _on_sign(self, msg: Classification) -> None:
        payload = {"label": msg_to_class(msg), "score": msg.results[0].score}
        self._write(Kind.RESULT, Task.CLASSIFICATION, msg.header, payload)

    def _on_objects(self, msg: Detection2DArray) -> None:
        found = msg_to_boxes(msg)
        payload = {
            "boxes": found.boxes.tolist(),
            "labels": found.labels.tolist(),
            "scores": found.scores.tolist(),
        }
        self._write(Kind.RESULT, Task.DETECTION, msg.header, payload)

    def _on_lanes(self, msg: Image) -> None:
        name = f"{MASKS}/{stamp_to_ns(msg.header.stamp)}.png"
        done, data = cv2.imencode(".png", image_to_classmap(msg))
        if not done:
            raise ValueError(f"the lane mask of {msg.width} x {msg.height} cannot be stored as PNG")
        write_file(self._out / name, data.tobytes())
        self._write(Kind.RESULT, Task.SEGMENTATION, msg.header, {"mask": name})

    def _on_features(self, task: Task, msg: FrameFeatures) -> None:
        payload = {"entropy": msg.entropy, "patch_version": msg.patch_version}
        self._write(Kind.FEATURES, task, msg.header, payload)

    def _on_drift(self, msg: DriftStatus) -> None:
        payload = {
            "mmd2": msg.mmd2,
            "threshold": msg.threshold,
            "p_value": msg.p_value,
            "drifting": msg.drifting,
        }
        self._write(Kind.DRIFT, None, msg.header, payload)

    def _on_patch(self, task: Task, msg: PatchStatus) -> None:
        payload = {
            "state": PATCH_STATES[msg.state],
            "version": msg.version,
            "reason": msg.reason,
            "build_seconds": msg.build_seconds,
            "swap_seconds": msg.swap_seconds,
        }
        self._write(Kind.PATCH, task, msg.header, payload)

    def _on_adaptation(self, msg: AdaptationStatus) -> None:
        payload = {
            "state": ADAPTATION_STATES[msg.state],
            "task": msg.task,
            "progress": msg.progress,
            "collected": msg.collected,
            "kept": msg.kept,
            "patches": msg.patches,
            "order": list(msg.order),
            "reason": msg.reason,
            "episode_json": msg.episode_json,
        }
        self._write(Kind.ADAPTATION, None, msg.header, payload)


def main() -> int:
    """Runs the node; returns the exit code."""
    return run(RecorderNode)


if __name__ == "__main__":
    raise SystemExit(main())
