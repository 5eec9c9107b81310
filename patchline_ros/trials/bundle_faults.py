"""Files of the bundle that are damaged or missing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.trials.case import Case
from patchline_ros.trials.file_damage import Spoil, garbage, half, nothing, spoiled
from patchline_ros.trials.trial_graph import ADAPTER, MONITOR, TrialGraph


def bundle_cases() -> list[Case]:
    """Files that a node needs at its start, and models that are damaged while it runs."""
    nodes = NODE_OF_TASK
    how: list[tuple[str, str, str, str, Spoil | None]] = [
        ("manifest-garbage", "is garbage", "manifest.json", ADAPTER, garbage),
        ("manifest-truncated", "is cut in half", "manifest.json", MONITOR, half),
        ("manifest-list", "is a list", "manifest.json", MONITOR, lambda _: b"[]"),
        ("manifest-missing", "is missing", "manifest.json", ADAPTER, None),
    ]
    for task, node in nodes.items():
        how.append((f"{task}-truncated", "is cut in half", f"{task}.safetensors", node, half))
    how += [
        ("reference-garbage", "is garbage", "reference.safetensors", MONITOR, garbage),
        ("reference-missing", "is missing", "reference.safetensors", ADAPTER, None),
        ("names-empty", "is empty", "trained_on.json", ADAPTER, nothing),
    ]
    cases = [
        Case(
            f"bundle-{name}",
            "file",
            f"bundle: {file} {what} when {node} starts again",
            partial(_bad_bundle, file, node, spoil),
            frozenset([node]),
        )
        for name, what, file, node, spoil in how
    ]
    what = "bundle: all models are garbage while the graph runs"
    return [*cases, Case("bundle-running", "file", what, _bundle_under_way)]


@contextmanager
def _bad_bundle(file: str, node: str, spoil: Spoil | None, trial: TrialGraph) -> Iterator[None]:
    """The node must refuse to start, with the file's name, and start once it is whole again."""
    with spoiled(trial.bundle_folder / file, spoil):
        trial.supervisor.signal(node, signal.SIGKILL)
        trial.until_said(node, file, 30)
        trial.wait(0.5)
    trial.forget(node)
    trial.over()
    yield


@contextmanager
def _bundle_under_way(trial: TrialGraph) -> Iterator[None]:
    with ExitStack() as damage:
        for task in trial.tasks:
            damage.enter_context(spoiled(trial.bundle_folder / f"{task}.safetensors", garbage))
        trial.over()
        yield
