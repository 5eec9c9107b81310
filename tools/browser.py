"""A headless Chromium that reads and draws pages, over the DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome")


class NoBrowserError(RuntimeError):
    """No Chromium is installed."""


class Browser:
    """One page in a browser of its own, until `close`."""

    def __init__(self, profile: Path) -> None:
        """Starts it, with a folder of its own. Raises NoBrowserError."""
        found = next(filter(None, map(shutil.which, NAMES)), None)
        if found is None:
            raise NoBrowserError(f"needs a browser: none of {', '.join(NAMES)} is installed")
        self._process = subprocess.Popen(
            [
                found,
                *("--headless", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader"),
                *("--no-first-run", "--disable-extensions", "--remote-debugging-port=0"),
                *("--disable-background-networking", "--hide-scrollbars"),
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port = self._port(profile / "DevToolsActivePort")
        with urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            page = next(target for target in json.load(answer) if target["type"] == "page")
        self._socket = connect(
            # A busy browser may leave a ping unanswered for long.
            page["webSocketDebuggerUrl"],
            max_size=None,
            ping_interval=None,
        )
        self._numbers = itertools.count(1)
        self.complaints: list[str] = []
        """What the page has logged as an error, and exceptions that nothing caught."""
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer of the browser to one command."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message: dict[str, Any] = json.loads(self._socket.recv(timeout=30))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            if message.get("method") == "Runtime.exceptionThrown":
                details = message["params"]["exceptionDetails"]
                self.complaints.append(
                    details.get("exception", {}).get("description", str(details))
                )
            elif message.get("method") == "Log.entryAdded":
                entry = message["params"]["entry"]
                if entry["level"] == "error":
                    self.complaints.append(entry["text"])

    def open(self, url: str) -> None:
        """Goes there, and waits until the page is loaded."""
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + 60
        while self.value("document.readyState") != "complete":
            assert time.monotonic() < deadline, f"{url} is not loaded"
            time.sleep(0.05)

    def value(self, expression: str) -> Any:
        """What the expression is in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)[
            "result"
        ].get("value")

    def text(self, selector: str = "body") -> str:
        """What a person reads there."""
        return self.value(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def middle(self, selector: str) -> tuple[float, float]:
        """Where the middle of an element is in the window, once it is scrolled into view."""
        found: dict[str, float] | None = self.value(
            f"""(() => {{
                const node = document.querySelector({json.dumps(selector)});
                node?.scrollIntoView({{ block: "nearest" }});
                const box = node?.getBoundingClientRect();
                return box && {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }};
            }})()"""
        )
        assert found, f"there is no {selector}"
        return found["x"], found["y"]

    def click(self, selector: str) -> None:
        """The left mouse button on the middle of an element."""
        self.drag([self.middle(selector)])

    def drag(self, places: Sequence[tuple[float, float]]) -> None:
        """The left mouse button goes down at the first place and up at the last."""

        def mouse(kind: str, place: tuple[float, float], held: int) -> None:
            x, y = place
            button = "none" if kind == "mouseMoved" and not held else "left"
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button=button,
                buttons=held,
                clickCount=int(kind != "mouseMoved"),
            )

        mouse("mouseMoved", places[0], 0)
        mouse("mousePressed", places[0], 1)
        for place in places[1:]:
            mouse("mouseMoved", place, 1)
        mouse("mouseReleased", places[-1], 0)

    def stroke(self, places: Sequence[tuple[float, float]]) -> None:
        """A finger goes along the places."""
        self.call("Emulation.setTouchEmulationEnabled", enabled=True)
        for number, (x, y) in enumerate(places):
            kind = "touchMove" if number else "touchStart"
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def look(self, width: int, height: int, dark: bool) -> None:
        """The size of the window, and its colours."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        """Saves the whole page as PNG."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        """Ends the browser."""
        self._socket.close()
        self._process.terminate()
        self._process.wait(20)

    def _port(self, file: Path) -> int:
        deadline = time.monotonic() + 60
        while not (file.exists() and file.read_text().count("\n")):
            assert self._process.poll() is None, "the browser ended by itself"
            assert time.monotonic() < deadline, "the browser does not listen"
            time.sleep(0.1)
        return int(file.read_text().splitlines()[0])
