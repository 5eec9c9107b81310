"""The WebSocket's own door: Foxglove's server looks at neither Host nor Origin, so this does.

A web page of anybody's may open a WebSocket to any address, and no browser asks that server first.
So it listens where no page can guess, on one of the 16 million addresses of this machine's loop,
and this stands at the port that everybody knows. What a client says first is read here. Whoever may
come in is joined to the server, byte by byte, and nothing more is looked at.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from patchline_ros.watch.page_server import Address, RefusedError, busy
from patchline_ros.watch.server_thread import ServerThread

MOST_CLIENTS: Final = 32
"""At the same time; each has two threads. One more is turned away."""
HEAD_SECONDS: Final = 10.0
"""In which a client has to say what it wants."""
_CHUNK: Final = 1 << 16


def hidden_host() -> str:
    """An address of this machine's loop that nobody knows: 127.x.y.z."""
    return ".".join(["127", *(str(secrets.randbelow(254) + 1) for _ in range(3))])


class _Handler(BaseHTTPRequestHandler):
    """One client."""

    server: _Server
    protocol_version = "HTTP/1.1"
    rbufsize = 0
    """What comes after the head is the other server's, so nothing of it is read ahead."""

    def do_GET(self) -> None:
        self.close_connection = True
        try:
            self.server.check(self.headers)
        except RefusedError as refused:
            self._refuse(refused)
            return
        try:
            inner = socket.create_connection((self.server.behind.host, self.server.behind.port))
        except OSError:  # It ends.
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        with inner:
            self.server.entered(self.connection)
            lines = [
                self.requestline,
                *(f"{name}: {value}" for name, value in self.headers.items()),
            ]
            inner.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            _join(self.connection, inner)

    def log_message(self, format: str, *arguments: Any) -> None:
        """A client is no news."""

    def _refuse(self, refused: RefusedError) -> None:
        sentence = str(refused).encode()
        self.send_response(refused.status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(sentence)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(sentence)


def _join(client: socket.socket, inner: socket.socket) -> None:
    """Hands on what either says, until one of them has ended."""
    answers = threading.Thread(target=_pour, args=(inner, client), daemon=True)
    answers.start()
    _pour(client, inner)
    answers.join()


def _pour(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # One of them is gone.
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    """Threads that are bounded in number, and in time until they have come in."""

    def __init__(self, address: Address, behind: Address, check: Callable[[Message], None]) -> None:
        self.behind, self.check = behind, check
        self._free = threading.BoundedSemaphore(MOST_CLIENTS)
        self._waiting: dict[Any, threading.Timer] = {}
        super().__init__((address.host, address.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            request.close()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        limit = threading.Timer(HEAD_SECONDS, _end, [request])
        limit.daemon = True
        self._waiting[request] = limit
        limit.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.entered(request)
            self._free.release()

    def entered(self, request: Any) -> None:
        """It has said what it wants: from now on it may take its time."""
        limit = self._waiting.pop(request, None)
        if limit is not None:
            limit.cancel()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error."""


def _end(request: socket.socket) -> None:
    with contextlib.suppress(OSError):  # It has ended by itself.
        request.shutdown(socket.SHUT_RDWR)


class WebSocketDoor(ServerThread):
    """Stands before a WebSocket server, in threads of its own, until `close`.

    Who is in by then ends with the server behind.
    """

    def __init__(self, address: Address, behind: Address, check: Callable[[Message], None]) -> None:
        """Listens from now on.

        Args:
            address: that everybody knows.
            behind: where the server listens.
            check: raises RefusedError for the headers of who may not come in.

        Raises:
            ValueError: the address can't be listened on.
        """
        try:
            server = _Server(address, behind, check)
        except OSError as error:
            raise busy("--websocket-port", address, error) from error
        super().__init__(server, "websocket door")
