"""The colours of classes, in pictures and on pages."""

from __future__ import annotations

from typing import Final

PALETTE: Final = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (160, 160, 160),
)
"""Okabe and Ito's colours, RGB, by class id; more classes than colours start again."""
