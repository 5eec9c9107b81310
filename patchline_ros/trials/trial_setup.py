"""What a trial runs in: its folder, its ROS network, the graph's command lines, its result."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from patchline_ros.bundle import Bundle
from patchline_ros.files import write_file
from patchline_ros.graph import description
from patchline_ros.graph.description import Parameters
from patchline_ros.graph.processes import free_domain, installed_prefix, local_environment
from patchline_ros.host import library_versions
from patchline_ros.package_share import bundle_folder, share_folder
from patchline_ros.terminal import terminal

MARK = "PATCHLINE_TRIAL"
"""Environment variable that all processes of one trial share, also those that they start."""


@dataclass(frozen=True)
class TrialSetup:
    """What a trial needs before the first process starts.

    Attributes:
        name: of the trial.
        out: its folder; new.
        bundle: the models.
        command: the command line that was called.
        domain: ROS domain that nobody else is in.
        environment: of the graph's processes; also put into this process, for its probe.
        mark: value of the variable MARK.
    """

    name: str
    out: Path
    bundle: Path
    command: str
    domain: int
    environment: dict[str, str]
    mark: str

    @property
    def store(self) -> Path:
        """The adapter's folder."""
        return self.out / "store"

    def nodes(self, changes: Mapping[str, Parameters]) -> dict[str, list[str]]:
        """Command lines of the five processes by name; `changes` are parameters by node."""
        settings = description.GraphSettings(
            bundle=str(self.bundle),
            store=str(self.store),
            image_topic=description.ROAD_IMAGE_TOPIC,
            sign_image_topic=description.SIGN_IMAGE_TOPIC,
        )
        prefix = installed_prefix()
        described = description.describe(settings, changes)
        return {node.name: description.command(node, settings, prefix) for node in described}

    def left(self) -> list[int]:
        """Ids of the trial's processes that run, also of those that its processes started."""
        found = []
        for process in psutil.process_iter(["environ"]):
            # That of another user's process cannot be read; then it is None.
            environment = process.info["environ"] or {}
            if environment.get(MARK) == self.mark and process.pid != os.getpid():
                found.append(process.pid)
        return found

    def write_result(self, settings: Mapping[str, Any], result: Mapping[str, Any]) -> Path:
        """Writes NAME.json with versions and settings, and returns its path."""
        path = self.out / f"{self.name}.json"
        whole = {
            "trial": self.name,
            "command": self.command,
            "versions": {**library_versions(), "python": platform.python_version()},
            "ros": {
                "distribution": os.environ.get("ROS_DISTRO", ""),
                "rmw": self.environment.get("RMW_IMPLEMENTATION", ""),
            },
            "machine": {"cores": os.cpu_count(), "system": platform.platform()},
            "settings": {**settings, "bundle": self.bundle.name},
            **result,
        }
        write_file(path, json.dumps(whole, indent=1).encode())
        return path


def make_setup(name: str, bundle: Path | None, out: Path | None, command: str) -> TrialSetup:
    """Checks what was asked for and makes the folder.

    Raises:
        ValueError: a bundle that can't be used, or a folder that is not empty.
    """
    share = share_folder()
    bundle = (bundle or bundle_folder(share, recorded=False)).resolve()
    Bundle.load(bundle)
    out = (out or Path("runs") / time.strftime(f"trial-{name}-%Y%m%d-%H%M%S")).resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder; name another with --out")
    out.mkdir(parents=True, exist_ok=True)
    domain, mark = free_domain(), uuid.uuid4().hex
    environment = local_environment(domain, share / "config" / "fastdds.xml")
    os.environ.update(environment)
    return TrialSetup(name, out, bundle, command, domain, {**environment, MARK: mark}, mark)


def wide_console() -> Console:
    """A console in which a table has room: in a file long lines are better than broken ones."""
    return terminal(width=max(140, shutil.get_terminal_size().columns))
