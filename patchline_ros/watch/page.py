"""The page in a browser: one file, served together with where to find the car's messages."""

from __future__ import annotations

import errno
import json
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, Final

from patchline_ros.graph.description import NODE_OF_TASK, ROAD_NAME_OF_TASK
from patchline_ros.watch.topics import PREVIEW, CarTopics

_SETTINGS: Final = '{"place": "of the settings"}'
"""What stands in the page where its settings go."""
_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    # The page has all it needs, and talks to nobody but the bridge.
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src "
    "'unsafe-inline'; img-src blob: data:; connect-src ws:",
}


@dataclass(frozen=True)
class Address:
    """Where a server listens; port 0 is any free one."""

    host: str
    port: int


def busy(option: str, address: Address, error: Exception) -> ValueError:
    """The sentence for an address that can't be listened on."""
    if f"os error {errno.EADDRINUSE}" in str(error) or (
        isinstance(error, OSError) and error.errno == errno.EADDRINUSE
    ):
        return ValueError(
            f"port {address.port} on {address.host} is in use; choose another with {option}, or 0 "
            "for any"
        )
    return ValueError(f"can't listen on {address.host}, port {address.port}: {error}")


def page(car: CarTopics, websocket_port: int) -> bytes:
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
    text = files("patchline_ros.watch").joinpath("page.html").read_text(encoding="utf-8")
    return text.replace(_SETTINGS, json.dumps(settings)).encode()


class PageServer:
    """Serves the page from a thread until `close`."""

    def __init__(self, address: Address, content: bytes) -> None:
        """Raises ValueError when the address can't be listened on."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.partition("?")[0] != "/":
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
                self.send_response(HTTPStatus.OK)
                for name, value in _HEADERS.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: Any) -> None:
                """A request is no news."""

        try:
            self._server = ThreadingHTTPServer((address.host, address.port), Handler)
        except OSError as error:
            raise busy("--port", address, error) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="page")
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and frees the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
