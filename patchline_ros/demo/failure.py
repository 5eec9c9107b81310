"""What a demo that cannot go on says."""

from __future__ import annotations


class DemoFailedError(RuntimeError):
    """The demo cannot reach its end; the message says why in a sentence or two."""
