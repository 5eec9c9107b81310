"""How the files of accepted patch sets are called."""

from __future__ import annotations

import re
from pathlib import Path

from patchline_ros.tasks import Task

_NAME = re.compile(rf"({'|'.join(Task)})\.v(\d+)\.safetensors")


def patch_set_file(folder: Path, task: Task, version: int) -> Path:
    """The file of a patch set in a folder."""
    return folder / f"{task}.v{version}.safetensors"


def stored_patch_sets(folder: Path) -> dict[Task, dict[int, Path]]:
    """Files in a folder by task and version, of the tasks that have any."""
    stored: dict[Task, dict[int, Path]] = {}
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match:
            stored.setdefault(Task(match[1]), {})[int(match[2])] = path
    return stored
