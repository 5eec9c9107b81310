"""A server of the standard library in a thread of its own."""

from __future__ import annotations

import socketserver
import threading


class ServerThread:
    """Serves until `close`; `port` is where it listens."""

    def __init__(self, server: socketserver.TCPServer, name: str) -> None:
        """Serves from now on; `name` is the thread's."""
        self._server = server
        self.port: int = server.server_address[1]
        self._thread = threading.Thread(target=server.serve_forever, name=name)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and frees the port; who is being served is not cut off."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
