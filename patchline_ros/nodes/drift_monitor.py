"""The node that says whether the pictures still look like the source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from patchline_ros.drift.monitor import DriftMonitor, DriftReading
from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.msg import DriftStatus, FrameFeatures
from patchline_ros.nodes import parameters, qos, signing_keys
from patchline_ros.nodes.conversions import ns_to_stamp, stamp_to_ns
from patchline_ros.nodes.input_watchdog import InputWatchdog
from patchline_ros.nodes.managed import ManagedNode
from patchline_ros.nodes.node_main import run
from patchline_ros.nodes.refusals import Refusals
from patchline_ros.nodes.signed_statuses import sign_drift_status
from patchline_ros.nodes.trouble import Trouble

_LOG_AGAIN_SECONDS = 5.0


class DriftMonitorNode(ManagedNode):
    """Features of one perception node to DriftStatus on `drift_status`, once the window is full."""

    def __init__(self) -> None:
        super().__init__("drift_monitor", parameters.DRIFT_MONITOR)

    def configure(self, values: Mapping[str, Any]) -> None:
        """Loads the reference. Raises BundleError or ParameterError."""
        bundle = self.load_bundle(values)
        self._reference = bundle.drift_reference
        self._topic = f"{NODE_OF_TASK[bundle.manifest.drift.task]}/features"
        self._signer = signing_keys.signer(values)
        for sentence in signing_keys.said(values, "drift statuses"):
            self.get_logger().info(sentence)
        self._publisher = self.advertise(DriftStatus, "drift_status", qos.RESULTS)

    def activate(self) -> None:
        """Starts with an empty window."""
        self._monitor = DriftMonitor(self._reference)
        self._frames = 0
        self._refused = Refusals("features refused")
        self._reading: DriftReading | None = None
        features = self.subscribe(FrameFeatures, self._topic, self._on_features, qos.RESULTS)
        node = self._topic.partition("/")[0]
        self._watchdog = InputWatchdog(
            self, "features", features, f"check that the {node} runs and gets pictures"
        )

    def report(self) -> tuple[Trouble, Mapping[str, object]]:
        """Frames and the last reading; also the watchdog that names topic and QoS."""
        trouble = self._watchdog.trouble() or self._refused.trouble()
        values: dict[str, object] = {"frames": self._frames, "refused": self._refused.count}
        if self._reading is not None:
            values |= {
                "mmd2": f"{self._reading.mmd2:.6f}",
                "threshold": f"{self._reading.threshold:.6f}",
                "drifting": self._reading.drifting,
            }
        return trouble, values

    def _on_features(self, msg: FrameFeatures) -> None:
        self._watchdog.heard()
        features = np.frombuffer(msg.features, dtype=np.float32)
        try:
            reading = self._monitor.update(features, stamp_to_ns(msg.header.stamp))
        except ValueError as error:
            self._refused.add(str(error))
            self.get_logger().error(str(error), throttle_duration_sec=_LOG_AGAIN_SECONDS)
            return
        self._frames += 1
        self._refused.taken()
        if reading is None:
            return
        self._report_change(reading)
        status = DriftStatus(
            header=msg.header,
            mmd2=reading.mmd2,
            threshold=reading.threshold,
            p_value=reading.p_value,
            drifting=reading.drifting,
            window=reading.window,
            since=ns_to_stamp(reading.since_ns),
        )
        sign_drift_status(status, self._signer, self.get_namespace())
        self._publisher.publish(status)

    def _report_change(self, reading: DriftReading) -> None:
        """Once for each drift: MMD^2 of one that hovers at the threshold crosses it often."""
        before = self._reading.since_ns if self._reading is not None else 0
        self._reading = reading
        if reading.since_ns != before:
            verdict = "drift" if reading.since_ns else "no drift any more"
            self.get_logger().info(
                f"{verdict}: MMD^2 {reading.mmd2:.4f}, threshold {reading.threshold:.4f}"
            )


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(DriftMonitorNode)


if __name__ == "__main__":
    main()
