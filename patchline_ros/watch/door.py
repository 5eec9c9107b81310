"""Who may ask a page server anything: whoever calls this machine by its own name."""

from __future__ import annotations

import ipaddress
import socket
from email.message import Message
from http import HTTPStatus
from urllib.parse import urlsplit

from patchline_ros.watch.page_server import RefusedError


class Door:
    """Turns away requests that a web page of somebody else's makes a browser send."""

    def __init__(self, host: str) -> None:
        """`host` is what the server listens on."""
        name = socket.gethostname().lower()
        self._names = {"localhost", host.lower(), name, f"{name}.local"} - {"", ".local"}

    def check(self, headers: Message) -> None:
        """Raises RefusedError for a foreign name in Host, or a page of another origin."""
        host = headers.get("Host", "")
        if not self._is_ours(host):
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                f"{host[:100]!r} is no name of this machine; open the page by its address",
            )
        origin = headers.get("Origin")
        if origin is not None and _place(origin) != host.lower():
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                f"a page of {origin[:100]!r} may not ask for this, only that of {host[:100]!r}",
            )

    def _is_ours(self, host: str) -> bool:
        """Whether it is an address, or a name of this machine.

        A name of somebody else's may lead here: a web page of that name could then ask as if it
        were ours (DNS rebinding). No address can.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
            ipaddress.ip_address(name)
        except ValueError:
            return host.lower().rpartition(":")[0] in self._names or host.lower() in self._names
        return True


def _place(origin: str) -> str:
    """Host and port of an origin; empty where there is none, as in `null`."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
