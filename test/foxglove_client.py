"""A client of Foxglove's WebSocket protocol, which collects what comes."""

from __future__ import annotations

import json
import threading
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


class FoxgloveClient:
    """Connected from the start until `close`; a thread reads."""

    def __init__(self, port: int) -> None:
        address = f"ws://127.0.0.1:{port}"
        self._socket = connect(address, subprotocols=["foxglove.sdk.v1"], max_size=None)  # type: ignore[list-item]
        self.channels: dict[str, dict[str, Any]] = {}
        self.statuses: dict[str, str] = {}
        self.messages: dict[str, list[bytes]] = {}
        self._topics: dict[int, str] = {}
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def watch(self, topic: str) -> list[bytes]:
        """Subscribes; the list grows with each message."""
        number = self.channels[topic]["id"]
        self._topics[number] = topic
        self.messages[topic] = []
        self._send("subscribe", subscriptions=[{"id": number, "channelId": number}])
        return self.messages[topic]

    def look_away(self, topic: str) -> None:
        """Ends the subscription."""
        self._send("unsubscribe", subscriptionIds=[self.channels[topic]["id"]])

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()
        self._thread.join()

    def _send(self, operation: str, **values: Any) -> None:
        self._socket.send(json.dumps({"op": operation, **values}))

    def _read(self) -> None:
        try:
            for message in self._socket:
                self._take(message)
        except ConnectionClosed:
            return

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            assert message[0] == 1
            topic = self._topics[int.from_bytes(message[1:5], "little")]
            self.messages[topic].append(message[13:])
            return
        told = json.loads(message)
        if told["op"] == "advertise":
            self.channels |= {channel["topic"]: channel for channel in told["channels"]}
        elif told["op"] == "status":
            self.statuses[told["id"]] = told["message"]
        elif told["op"] == "removeStatus":
            for name in told["statusIds"]:
                del self.statuses[name]
