"""Who may ask a page server anything: whoever calls this machine by its own name."""

from __future__ import annotations

import ipaddress
import socket
from email.message import Message
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from patchline_ros.watch.page_server import RefusedError

_FOXGLOVE: Final = frozenset({"https://app.foxglove.dev"})
"""Where Foxglove's own page comes from."""


class Door:
    """Turns away requests that a web page of somebody else's makes a browser send."""

    def __init__(self, host: str) -> None:
        """`host` is what the server listens on."""
        name = socket.gethostname().lower()
        self._names = {"localhost", host.lower(), name, f"{name}.local"} - {"", ".local"}

    def check(self, headers: Message) -> None:
        """Raises RefusedError for a foreign name in Host, or a page of another origin."""
        host = self._host(headers)
        origin = headers.get("Origin")
        if origin is not None and _place(origin) != host.lower():
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                f"a page of {origin[:100]!r} may not ask for this, only that of {host[:100]!r}",
            )

    def check_websocket(self, headers: Message) -> None:
        """The same for a WebSocket, to which the page comes from another port of the same name.

        Programs that are no web page send no origin, or one of their own that no web page has.

        Raises:
            RefusedError: a foreign name in Host, or a page of another name.
        """
        host = self._host(headers)
        for origin in headers.get_all("Origin", []):
            scheme, name = _scheme_and_name(origin)
            own = name != "" and name == _scheme_and_name(f"http://{host}")[1]
            if not own and origin not in _FOXGLOVE and scheme in ("", "http", "https"):
                raise RefusedError(
                    HTTPStatus.FORBIDDEN,
                    f"a page of {origin[:100]!r} may not listen here, only that of {host[:100]!r} "
                    "and Foxglove",
                )

    def _host(self, headers: Message) -> str:
        """What the client calls this machine. Raises RefusedError for no name of ours, or two."""
        hosts = headers.get_all("Host", [""])
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                f"{', '.join(hosts)[:100]!r} is no name of this machine; open the page by its "
                "address",
            )
        return hosts[0]

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


def _scheme_and_name(origin: str) -> tuple[str, str]:
    """Scheme and host of an origin in lower case, without a port; empty where there is none."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return "", ""
    return parts.scheme, parts.hostname or ""


def _place(origin: str) -> str:
    """Host and port of an origin; empty where there is none, as in `null`."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
