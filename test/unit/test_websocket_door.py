"""Who may listen to the WebSocket, with a real server behind its door and real clients."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("websockets", reason="needs the package websockets")

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from patchline_ros.watch import websocket_door
from patchline_ros.watch.door import Door
from patchline_ros.watch.page_server import Address
from patchline_ros.watch.websocket_door import MOST_CLIENTS, WebSocketDoor, hidden_host


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@pytest.fixture
def door() -> Iterator[WebSocketDoor]:
    """Before a server that says again what it hears."""
    behind = Address(hidden_host(), 0)
    with serve(echo, behind.host, 0, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        inner = Address(behind.host, server.socket.getsockname()[1])
        made = WebSocketDoor(Address("127.0.0.1", 0), inner, Door("127.0.0.1").check_websocket)
        yield made
        made.close()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "origin",
    [None, "http://127.0.0.1:8766", "https://app.foxglove.dev", "file://", "app://foxglove"],
)
def test_what_may_listen_is_joined_to_the_server(door: WebSocketDoor, origin: str | None) -> None:
    with connect(f"ws://127.0.0.1:{door.port}", origin=origin, max_size=None) as client:  # type: ignore[arg-type]
        for message in ("first", bytes(3 << 20), "last"):
            client.send(message)
            assert client.recv(timeout=30) == message


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "https://app.foxglove.dev.evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Host": "evil.example"},
    ],
)
def test_a_page_of_somebody_else_hears_nothing(
    door: WebSocketDoor, headers: dict[str, str]
) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(f"ws://127.0.0.1:{door.port}", additional_headers=headers),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_a_foreign_name_for_this_machine_is_refused(door: WebSocketDoor) -> None:
    with socket.create_connection(("127.0.0.1", door.port), 30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\n\r\n")
        assert b"403" in client.recv(100)


def test_who_says_nothing_goes_and_who_listens_stays(
    door: WebSocketDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_door, "HEAD_SECONDS", 0.3)
    with connect(f"ws://127.0.0.1:{door.port}") as client:
        silent = [
            socket.create_connection(("127.0.0.1", door.port), 30) for _ in range(MOST_CLIENTS)
        ]
        for each in silent:
            with each:
                each.settimeout(30)
                assert each.recv(100) == b""
        client.send("still here")
        assert client.recv(timeout=30) == "still here"
    with connect(f"ws://127.0.0.1:{door.port}") as again:
        again.send("and again")
        assert again.recv(timeout=30) == "and again"


def test_a_port_in_use_is_named_with_its_option(door: WebSocketDoor) -> None:
    with pytest.raises(ValueError, match=rf"port {door.port} on 127.0.0.1 is in use; .*websocket"):
        WebSocketDoor(Address("127.0.0.1", door.port), Address("127.0.0.1", 1), lambda _: None)
