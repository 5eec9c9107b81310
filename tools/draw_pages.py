"""Makes pictures of the pages that people look at: `patchline watch` and the report of a demo.

    python -m tools.draw_pages docs/pages -- --labels none

A demo runs, and a headless Chromium looks at it through `patchline watch` once its models have
patches, and at its report once it has ended. Each page is drawn whole, as wide as a phone and as a
desk. What stands behind -- are options of the demo.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import cv2
import typer

from patchline_ros.demo.report import REPORT_HTML
from patchline_ros.graph.description import ROAD_IMAGE_TOPIC, SIGN_IMAGE_TOPIC
from patchline_ros.graph.processes import Processes, local_environment
from patchline_ros.package_share import share_folder
from tools.browser import Browser

SIZES: Final = {"phone": (390, 844), "desk": (1280, 900)}
"""Width and height of the window, in pixels."""
LARGEST: Final = 300_000
"""Bytes of a picture."""
QUALITIES: Final = (90, 80, 65, 50, 35)
"""Of WebP, the best first."""
SHOWN: Final = 20.0
"""Seconds of the drive that the page has seen with patches when it is drawn."""
DEMO: Final = "runs/first"
PATCHLINE: Final = [sys.executable, "-m", "patchline_ros.cli"]


def until(what: str, condition: Callable[[], bool], seconds: float, processes: Processes) -> None:
    """Waits. Raises TimeoutError, and ProcessDiedError where one of the processes has ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:.0f} s there is still not {what}")
        processes.check()
        time.sleep(0.2)


def printed(log: Path, pattern: str) -> str:
    """The first group of what a process has printed; empty: not yet."""
    found = re.search(pattern, log.read_text(errors="replace")) if log.exists() else None
    return found[1] if found else ""


def draw(browser: Browser, name: str, out: Path) -> None:
    """The open page in both sizes, as OUT/NAME-SIZE.webp.

    Raises:
        ValueError: a picture can't be made small enough.
    """
    for size, (width, height) in SIZES.items():
        browser.look(width, height, dark=False)
        time.sleep(1.0)  # for what the page draws anew
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            browser.picture(Path(file.name))
            picture = cv2.imread(file.name)
        assert picture is not None, "the browser writes PNG"
        for quality in QUALITIES:
            data = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
            if data.size < LARGEST:
                break
        else:
            raise ValueError(f"the picture of {name} has {data.size} bytes, more than {LARGEST}")
        (out / f"{name}-{size}.webp").write_bytes(data.tobytes())
        print(f"{name}-{size}: {picture.shape[1]} x {picture.shape[0]}, {data.size} bytes")


def draw_watch(browser: Browser, domain: int, logs: Path, out: Path) -> None:
    """The watch page of the car in that domain, once its models have patches."""
    environment = local_environment(domain, share_folder() / "config" / "fastdds.xml")
    with Processes(logs, environment) as processes:
        topics = ["--image-topic", ROAD_IMAGE_TOPIC, "--sign-image-topic", SIGN_IMAGE_TOPIC]
        ports = ["--port", "0", "--websocket-port", "0"]
        processes.start("watch", [*PATCHLINE, "watch", *topics, *ports])
        log, address = logs / "watch.log", r"page: +(http://\S+)"
        until("an address", lambda: bool(printed(log, address)), 120, processes)
        browser.look(*SIZES["desk"], dark=False)
        browser.open(printed(log, address))
        adapted = "a model with patches"
        until(adapted, lambda: "Adapted" in browser.text("#state"), 600, processes)
        time.sleep(SHOWN)
        draw(browser, "watch", out)


def main(
    out: Annotated[Path, typer.Argument(help="Folder for the pictures.")],
    options: Annotated[list[str] | None, typer.Argument(help="Options of the demo.")] = None,
    demo: Annotated[
        Path | None, typer.Option(help="Folder of a demo that has ended: only its report is drawn.")
    ] = None,
) -> None:
    """Run a demo, and draw the watch page and the report."""
    out.mkdir(parents=True, exist_ok=True)
    out, ended = out.resolve(), demo and demo.resolve()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        browser = Browser(folder / "browser")
        try:
            if ended is None:
                # The report has the command, and no path of this machine is to be in it.
                os.chdir(folder)
                run_demo(browser, options or [], folder, out)
                ended = folder / DEMO
            browser.open((ended / REPORT_HTML).as_uri())
            draw(browser, "report", out)
        finally:
            browser.close()


def run_demo(browser: Browser, options: list[str], folder: Path, out: Path) -> None:
    """A whole demo in the current folder, with the watch page drawn on the way."""
    log = folder / "logs" / "demo.log"
    with Processes(log.parent, {**os.environ, "PYTHONUNBUFFERED": "1"}) as processes:
        process = processes.start("demo", [*PATCHLINE, "demo", *options, "--out", DEMO])
        domain = r"ROS domain (\d+)"
        until("a domain", lambda: bool(printed(log, domain)), 120, processes)
        draw_watch(browser, int(printed(log, domain)), folder / "watch", out)
        if process.wait(900):
            raise RuntimeError(f"the demo failed: {log.read_text()[-2000:]}")


if __name__ == "__main__":
    typer.run(main)
