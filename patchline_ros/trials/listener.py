"""What a trial hears of the graph: each result with the time at which it came."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from rclpy.publisher import Publisher

from patchline_ros.files import sha256
from patchline_ros.graph.description import NODE_OF_TASK, patch_set_topic
from patchline_ros.graph.processes import Processes
from patchline_ros.msg import AdaptationStatus, FrameFeatures, LabelledFrame, PatchSet, PatchStatus
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import stamp_to_ns
from patchline_ros.tasks import Task
from patchline_ros.trials.expected_answers import RESULTS, without_header
from patchline_ros.trials.own_node import OwnNode

_DEPTH: Final = 200
_START_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Heard:
    """A result.

    Attributes:
        stamp_ns: of its picture.
        latency_ms: from that stamp until it was heard.
        sha256: of the message without its header.
    """

    stamp_ns: int
    latency_ms: float
    sha256: str


class Listener(OwnNode):
    """Keeps what it hears. Its methods may be called while it listens."""

    def __init__(self, domain: int) -> None:
        """Joins the domain and listens."""
        super().__init__(domain)
        self.heard: dict[Task, list[Heard]] = {task: [] for task in Task}
        self.versions: dict[Task, dict[int, int]] = {task: {} for task in Task}
        """Version of the patch set that answered, by stamp."""
        self.statuses: dict[Task, PatchStatus] = {}
        self.adaptation = AdaptationStatus()
        self._listen()
        self.start()

    def _listen(self) -> None:
        deep = qos.images("reliable", _DEPTH)
        for task, (kind, topic) in RESULTS.items():
            name = NODE_OF_TASK[task]
            self.hear(kind, f"{name}/{topic}", partial(self._on_result, task), deep)
            self.hear(FrameFeatures, f"{name}/features", partial(self._on_features, task), deep)
            self.hear(PatchStatus, f"{name}/patch_status", self._on_status, qos.LATCHED)
        self.hear(AdaptationStatus, "adaptation_status", self._on_adaptation, qos.LATCHED)

    def forget(self) -> None:
        """Forgets the results, so that they are counted anew."""
        for task in Task:
            self.heard[task] = []
            self.versions[task] = {}

    def until(self, what: str, condition: Callable[[], bool], seconds: float) -> None:
        """Waits until it holds. Raises TimeoutError that says what did not happen."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")
            time.sleep(0.05)

    def until_started(self, processes: Processes, names: Collection[str]) -> None:
        """Waits for all nodes. Raises TimeoutError, or ProcessDiedError where one ends."""

        def started() -> bool:
            processes.check()
            return self.diagnoses.keys() >= set(names)

        self.until("the start of the graph", started, _START_SECONDS)

    def labelled_frames(self) -> Publisher[LabelledFrame]:
        """A publisher of labelled frames, to teach the adapter."""
        return self.node.create_publisher(LabelledFrame, "labelled_frames", qos.LABELLED_FRAMES)

    def patch_sets(self) -> dict[Task, Publisher[PatchSet]]:
        """Publishers of patch sets by task, to send some beside the adapter."""
        return {
            task: self.node.create_publisher(PatchSet, patch_set_topic(task), qos.LATCHED)
            for task in Task
        }

    def _on_result(self, task: Task, msg: Any) -> None:
        now = time.time_ns()
        stamp_ns = stamp_to_ns(msg.header.stamp)
        answer = Heard(stamp_ns, (now - stamp_ns) / 1e6, sha256(without_header(msg)))
        self.heard[task].append(answer)

    def _on_features(self, task: Task, msg: FrameFeatures) -> None:
        self.versions[task][stamp_to_ns(msg.header.stamp)] = msg.patch_version

    def _on_status(self, msg: PatchStatus) -> None:
        self.statuses[Task(msg.task)] = msg

    def _on_adaptation(self, msg: AdaptationStatus) -> None:
        self.adaptation = msg
