"""Events of an episode as lines of JSON, between the worker and the runner."""

from __future__ import annotations

import json
from typing import get_args

from pydantic import TypeAdapter

from patchline_ros.adaptation.episode import Event

_KINDS: dict[str, TypeAdapter[Event]] = {
    kind.__name__: TypeAdapter(kind) for kind in get_args(Event)
}


def to_line(event: Event) -> str:
    """One line of JSON with the event's kind."""
    kind = type(event).__name__
    return json.dumps({"kind": kind, **_KINDS[kind].dump_python(event, mode="json")})


def from_line(line: str) -> Event:
    """The event of a line.

    Raises:
        ValueError: the line is not an event.
    """
    try:
        fields = json.loads(line)
    except RecursionError as error:
        raise ValueError("an event is nested too deeply") from error
    if not isinstance(fields, dict):
        raise ValueError(f"an event is a JSON object, not {type(fields).__name__}")
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"an episode has no event of the kind {kind!r}")
    return _KINDS[kind].validate_python(fields)
