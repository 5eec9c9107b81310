"""Commands as processes of their own: how they end when they are told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

INTERRUPTED = 130


def hold(fifo: Path, process: subprocess.Popen[str]) -> int:
    """A FIFO that a process has begun to read, opened to write: it waits now."""
    while process.poll() is None:
        with suppress(OSError):
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.02)
    raise AssertionError("it ended before it read")


def test_offline_ends_on_sigterm_as_on_ctrl_c(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    os.mkfifo(config)
    command = [sys.executable, "-m", "patchline_ros.cli", "offline", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        held = hold(config, process)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    os.close(held)
    assert process.returncode == INTERRUPTED
    assert said == "patchline: interrupted; the same command goes on from here\n"
