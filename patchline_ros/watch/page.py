"""The pages in a browser: one file each, served together with what it has to know."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

from patchline_ros.graph.description import NODE_OF_TASK, ROAD_NAME_OF_TASK
from patchline_ros.palette import PALETTE
from patchline_ros.tasks import IGNORE, TRAINING_ORDER
from patchline_ros.watch.door import Door
from patchline_ros.watch.page_server import Answer, Reply, Request
from patchline_ros.watch.topics import PREVIEW, CarTopics

_SETTINGS: Final = '{"place": "of the settings"}'
"""What stands in a page where its settings go."""
_STYLE: Final = "/* place of style.css */"
"""What stands in a page where the style goes that all pages share."""


def watch_page(car: CarTopics, websocket_port: int) -> bytes:
    """The page for one car, whose messages come from that port of the page's own host."""
    suffix = PREVIEW if car.image_transport == "raw" else ""
    settings: dict[str, Any] = {
        "websocket_port": websocket_port,
        "namespace": car.full("").rstrip("/") or "/",
        "cameras": {
            name: {"topic": topic, "shown": topic + suffix}
            for name, topic in (("road", car.road_camera), ("signs", car.sign_camera))
        },
        "tasks": {
            task.value: {
                "road_name": ROAD_NAME_OF_TASK[task],
                "node": car.full(node),
                "overlay": car.of_task(task, "debug/image") + PREVIEW,
                "status": car.of_task(task, "patch_status"),
            }
            for task, node in NODE_OF_TASK.items()
        },
        "drift": car.full("drift_status"),
        "adaptation": car.full("adaptation_status"),
        "diagnostics": "/diagnostics",
    }
    return _filled("page.html", settings)


def label_page(car: CarTopics) -> bytes:
    """The page on which a person labels."""
    settings: dict[str, Any] = {
        "namespace": car.full("").rstrip("/") or "/",
        "tasks": {task.value: ROAD_NAME_OF_TASK[task].capitalize() for task in TRAINING_ORDER},
        "palette": PALETTE,
        "ignore": IGNORE,
    }
    return _filled("label.html", settings)


def html(content: bytes, talks_to: str) -> Reply:
    """A page that has all it needs, and talks to nobody but `talks_to`, a source of its policy."""
    policy = (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: "
        f"data:; connect-src {talks_to}; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
    return Reply(content, "text/html; charset=utf-8", headers=headers)


def only_page(content: bytes, host: str) -> Answer:
    """Answers with the page that talks to the bridge, and with nothing else.

    Args:
        content: the page.
        host: that the server listens on; requests by another machine's name are refused.
    """
    found, door = html(content, "ws:"), Door(host)

    def answer(request: Request) -> Reply | None:
        door.check(request.headers)
        return found if (request.method, request.path) == ("GET", "/") else None

    return answer


def _filled(name: str, settings: dict[str, Any]) -> bytes:
    """A page with its style and settings."""
    folder = files("patchline_ros.watch")
    text = folder.joinpath(name).read_text(encoding="utf-8")
    style = folder.joinpath("style.css").read_text(encoding="utf-8")
    # A page is made of our own names, but one with </script> in it would end the block.
    told = json.dumps(settings).replace("<", "\\u003c")
    return text.replace(_STYLE, style).replace(_SETTINGS, told).encode()
