"""What ROS_DOMAIN_ID may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VARIABLE: Final = "ROS_DOMAIN_ID"
LAST: Final = 232
"""RTPS: the ports of higher domains lie above 65535."""


def wrong_domain(environment: Mapping[str, str]) -> str:
    """A sentence where the environment's domain is none, which ROS 2 answers with a traceback."""
    given = environment.get(VARIABLE, "")
    if not given:
        return ""
    # More digits than 9 are no domain, and thousands of them no number to Python.
    if given.isascii() and given.isdecimal() and len(given) <= 9 and int(given) <= LAST:
        return ""
    return f"{VARIABLE} is {given[:40]!r}: give a whole number from 0 to {LAST}, or unset it"
