"""A small web server for the pages: requests are bounded before anything of them is believed."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeAlias

from patchline_ros.watch.server_thread import ServerThread

LARGEST_BODY: Final = 4 << 20
"""Bytes of a request: a class map of a noisy picture of two million pixels is less."""
REQUEST_SECONDS: Final = 30.0
"""For a whole request and its answer. A connection that sends a byte now and then ends, too."""
MOST_REQUESTS: Final = 32
"""At the same time; each has a thread. One more is turned away."""
_LINGER_SECONDS: Final = 1.0


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


@dataclass(frozen=True)
class Request:
    """What a client asks for; `body` reads what it sends, once it is known who it is.

    Attributes:
        method: GET or POST.
        path: without what stands behind a question mark.
        headers: by their names, in whatever case.
        body: the bytes that were sent; raises RefusedError for none, or for too many.
    """

    method: str
    path: str
    headers: Message
    body: Callable[[], bytes]


@dataclass(frozen=True)
class Reply:
    """What a client gets."""

    content: bytes
    content_type: str
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusedError(ValueError):
    """A request that is not carried out; the message is one sentence for the one who sent it."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


Answer: TypeAlias = Callable[[Request], "Reply | None"]
"""What a request gets; None: there is no such page. It may be called in several threads."""


class _Handler(BaseHTTPRequestHandler):
    """One connection with one request."""

    server: _Server

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *arguments: Any) -> None:
        """A request is no news."""

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        try:
            reply = self.server.answer(Request(self.command, path, self.headers, self._body))
        except RefusedError as refused:
            sentence = str(refused).encode()
            reply = Reply(sentence, "text/plain; charset=utf-8", refused.status)
        if reply is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(reply.content)

    def _body(self) -> bytes:
        said = self.headers.get("Content-Length", "")
        # Not str.isdecimal: it takes digits of every script.
        if not (said.isascii() and said.isdigit()):
            raise RefusedError(
                HTTPStatus.LENGTH_REQUIRED, "the header Content-Length must say how much is sent"
            )
        if len(said) > len(str(LARGEST_BODY)) or int(said) > LARGEST_BODY:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"{said[:20]} bytes are sent; at most {LARGEST_BODY} are read",
            )
        content = self.rfile.read(int(said))
        if len(content) < int(said):
            raise RefusedError(
                HTTPStatus.BAD_REQUEST,
                f"{len(content)} bytes came of the {said} that Content-Length says",
            )
        return content


class _Server(ThreadingHTTPServer):
    """Threads that are bounded in number and in time."""

    def __init__(self, address: tuple[str, int], answer: Answer) -> None:
        self.answer = answer
        self._free = threading.BoundedSemaphore(MOST_REQUESTS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            request.close()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        end = threading.Timer(REQUEST_SECONDS, _end, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._free.release()

    def shutdown_request(self, request: Any) -> None:
        """Reads what still comes before it closes: else the client may lose the answer."""
        with contextlib.suppress(OSError):  # It is gone already.
            request.shutdown(socket.SHUT_WR)
            request.settimeout(_LINGER_SECONDS)
            left = 2 * LARGEST_BODY
            while left > 0 and (came := len(request.recv(1 << 16))):
                left -= came
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error; what else is raised is printed."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _end(request: socket.socket) -> None:
    with contextlib.suppress(OSError):  # It has ended by itself.
        request.shutdown(socket.SHUT_RDWR)


class PageServer(ServerThread):
    """Serves from a thread until `close`."""

    def __init__(self, address: Address, answer: Answer) -> None:
        """Raises ValueError when the address can't be listened on."""
        try:
            server = _Server((address.host, address.port), answer)
        except OSError as error:
            raise busy("--port", address, error) from error
        super().__init__(server, "page")
