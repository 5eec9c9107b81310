"""Every QoS profile of the graph (docs/architecture.md has the table of topics)."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

IMAGE_RELIABILITIES = {
    "best_effort": ReliabilityPolicy.BEST_EFFORT,
    "reliable": ReliabilityPolicy.RELIABLE,
}


def images(reliability: str = "best_effort", depth: int = 1) -> QoSProfile:
    """Pictures: volatile, the newest `depth` kept. `reliability` is a key of IMAGE_RELIABILITIES.

    A best-effort subscription hears reliable publishers too; a reliable one does not hear a
    best-effort camera.
    """
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=IMAGE_RELIABILITIES[reliability],
        durability=DurabilityPolicy.VOLATILE,
    )


def _reliable(depth: int, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=durability,
    )


RESULTS = _reliable(10, DurabilityPolicy.VOLATILE)
"""Results, features, drift status, diagnostics."""

LABELLED_FRAMES = _reliable(200, DurabilityPolicy.VOLATILE)
"""Labels come in bursts and each one counts, also while the adapter's core is busy."""

LATCHED = _reliable(1, DurabilityPolicy.TRANSIENT_LOCAL)
"""State that a late joiner must see: label info, patch sets, statuses."""
