"""The node that says whether the pictures still look like the source."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription

from patchline_ros.drift.monitor import DriftMonitor, DriftReading, DriftReference
from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.msg import DriftStatus, FrameFeatures
from patchline_ros.nodes import parameters, qos
from patchline_ros.nodes.conversions import ns_to_stamp, stamp_to_ns
from patchline_ros.nodes.input_watchdog import InputWatchdog
from patchline_ros.nodes.managed import RECENT_SECONDS, ManagedNode
from patchline_ros.nodes.node_main import run

_LOG_AGAIN_SECONDS = 5.0


class DriftMonitorNode(ManagedNode):
    """Features of one perception node to DriftStatus on `drift_status`, once the window is full."""

    def __init__(self) -> None:
        super().__init__("drift_monitor", parameters.DRIFT_MONITOR)
        self._reference: DriftReference | None = None
        self._monitor: DriftMonitor | None = None
        self._publisher: Publisher[DriftStatus] | None = None
        self._subscription: Subscription[FrameFeatures] | None = None

    def configure(self, values: Mapping[str, Any]) -> None:
        """Loads the reference. Raises BundleError or ParameterError."""
        bundle = self.load_bundle(values)
        self._reference = bundle.drift_reference
        self._topic = f"{NODE_OF_TASK[bundle.manifest.drift.task]}/features"
        self._publisher = self.create_publisher(DriftStatus, "drift_status", qos.RESULTS)

    def activate(self) -> None:
        """Starts with an empty window."""
        assert self._reference is not None
        self._monitor = DriftMonitor(self._reference)
        self._frames = self._refused = 0
        self._last_refused = ("", 0.0)
        self._reading: DriftReading | None = None
        self._subscription = self.create_subscription(
            FrameFeatures, self._topic, self.guarded(self._on_features), qos.RESULTS
        )
        node = self._topic.partition("/")[0]
        self._watchdog = InputWatchdog(
            self, "features", self._subscription, f"check that the {node} runs and gets pictures"
        )

    def deactivate(self) -> None:
        """Unsubscribes; the window is of no use any more."""
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
            self._subscription = None
        self._monitor = None

    def cleanup(self) -> None:
        """Frees the reference."""
        if self._publisher is not None:
            self.destroy_publisher(self._publisher)
            self._publisher = None
        self._reference = None

    def report(self) -> tuple[str, Mapping[str, object]]:
        """Frames and the last reading; also the watchdog that names topic and QoS."""
        trouble = self._watchdog.trouble()
        last, when = self._last_refused
        if last and not trouble and time.monotonic() - when < RECENT_SECONDS:
            trouble = f"{self._refused} features refused, the last: {last}"
        values: dict[str, object] = {"frames": self._frames, "refused": self._refused}
        if self._reading is not None:
            values |= {
                "mmd2": f"{self._reading.mmd2:.6f}",
                "threshold": f"{self._reading.threshold:.6f}",
                "drifting": self._reading.drifting,
            }
        return trouble, values

    def _on_features(self, msg: FrameFeatures) -> None:
        assert self._publisher is not None and self._monitor is not None
        self._watchdog.heard()
        features = np.frombuffer(msg.features, dtype=np.float32)
        try:
            reading = self._monitor.update(features, stamp_to_ns(msg.header.stamp))
        except ValueError as error:
            self._refused += 1
            self._last_refused = (str(error), time.monotonic())
            self.get_logger().error(str(error), throttle_duration_sec=_LOG_AGAIN_SECONDS)
            return
        self._frames += 1
        if reading is None:
            return
        self._report_change(reading)
        self._publisher.publish(
            DriftStatus(
                header=msg.header,
                mmd2=reading.mmd2,
                threshold=reading.threshold,
                p_value=reading.p_value,
                drifting=reading.drifting,
                window=reading.window,
                since=ns_to_stamp(reading.since_ns),
            )
        )

    def _report_change(self, reading: DriftReading) -> None:
        before = self._reading is not None and self._reading.drifting
        self._reading = reading
        if reading.drifting != before:
            verdict = "drift" if reading.drifting else "no drift any more"
            self.get_logger().info(
                f"{verdict}: MMD^2 {reading.mmd2:.4f}, threshold {reading.threshold:.4f}"
            )


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(DriftMonitorNode)


if __name__ == "__main__":
    main()
