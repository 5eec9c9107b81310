"""What a perception node takes for a picture beyond the bare forward pass of its model."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psutil
import torch
from rich.table import Table
from std_srvs.srv import SetBool

from patchline_ros.bundle import Bundle
from patchline_ros.graph.description import NODE_OF_TASK
from patchline_ros.graph.processes import Processes
from patchline_ros.runtime.backend import Backend
from patchline_ros.runtime.backend_pass import Engine, graph_path, listed_as, runnable
from patchline_ros.runtime.model_pass import ModelPass
from patchline_ros.tasks import Task
from patchline_ros.trials.listener import Listener

PICTURES: Final = 200
"""As many as those over which a node's own times are."""
_RATE_HZ: Final = 10.0


@dataclass(frozen=True)
class NodeCost:
    """Medians of one task, in ms of a core, with the other perception nodes idle.

    Both are the processor time of the thread that runs the model: what else the machine does, and
    who waits for whom, is not in it.

    Attributes:
        bare_ms: the source model's pass over a picture that is ready as a tensor.
        node_ms: the node's work on a picture, from the message to the answer that went out.
        memory_mib: resident memory of the node's process after that, its libraries included, which
            processes share.
    """

    bare_ms: float
    node_ms: float
    memory_mib: float

    @property
    def added(self) -> float:
        """What the node adds, as a share of the bare pass."""
        return self.node_ms / self.bare_ms - 1


def measure_node_costs(
    bundle: Bundle,
    backend: Backend,
    listener: Listener,
    pids: Mapping[str, int],
    environment: dict[str, str],
    logs: Path,
) -> dict[Task, NodeCost]:
    """Each task in turn: its node at 10 Hz, and its bare pass here, while the others are idle.

    Both at the same time, since other work on the machine comes and goes.

    Args:
        bundle: of the models that the graph runs.
        backend: that runs them.
        listener: in the graph's network.
        pids: processes of the graph's nodes, by name.
        environment: of the graph's processes.
        logs: folder for those of the camera.

    Raises:
        TimeoutError: a node or the camera does not answer.
    """
    found = {}
    for task in Task:
        bare_pass = _bare_pass(bundle, task, backend)
        times = []
        with _alone(task, listener), Processes(logs / str(task), environment) as cameras:
            seconds = str(PICTURES / _RATE_HZ)
            program = [sys.executable, "-m", "patchline_ros.trials.trial_camera"]
            camera = cameras.start("camera", [*program, seconds, str(_RATE_HZ)])
            while camera.poll() is None:
                listener.check()
                if listener.heard[task]:
                    begun = time.thread_time()
                    bare_pass()
                    times.append(time.thread_time() - begun)
                time.sleep(0.5 / _RATE_HZ)
            if not times:
                raise TimeoutError(f"the node of {task} answered no picture")
            memory = psutil.Process(pids[NODE_OF_TASK[task]]).memory_info().rss
            bare_ms = 1e3 * float(np.median(times))
            found[task] = NodeCost(bare_ms, _node_ms(task, listener), memory / 2**20)
        listener.forget()
    return found


@contextmanager
def _alone(task: Task, listener: Listener) -> Iterator[None]:
    """The other perception nodes take no pictures meanwhile."""
    others = [node for other, node in NODE_OF_TASK.items() if other is not task]
    for node in others:
        listener.call("enable", SetBool, node=node, data=False)
    yield
    for node in others:
        listener.call("enable", SetBool, node=node, data=True)


def _bare_pass(bundle: Bundle, task: Task, backend: Backend) -> Callable[[], object]:
    """The same pass that the node runs, features for the drift monitor included."""
    spec, tap = bundle.spec(task), bundle.manifest.drift.tap
    source = bundle.model(task).requires_grad_(False)
    graph = graph_path(bundle.path, spec, None, tap)
    digest = bundle.manifest.files.get(listed_as(graph))
    run, _ = runnable(Engine(backend), ModelPass(source, None, tap).eval(), spec, graph, digest)
    picture = torch.rand((1, 3, *spec.input_size), generator=torch.Generator().manual_seed(0))

    def infer() -> object:
        with torch.inference_mode():
            return run(picture)

    return infer


def _node_ms(task: Task, listener: Listener) -> float:
    """From what the node says of its last pictures."""
    time.sleep(1.0)  # for what is on its way
    asked_ns, node = time.time_ns(), NODE_OF_TASK[task]
    listener.until(
        f"a diagnosis of {node}", lambda: listener.diagnoses[node].stamp_ns > asked_ns, 10.0
    )
    return float(listener.diagnoses[node].values["processor_ms_p50"])


def cost_table(found: dict[Task, NodeCost]) -> Table:
    """Beside each task the bare pass, the node, and the share that the node adds."""
    table = Table(
        box=None, caption="ms of a core, median, the other perception nodes idle; resident memory"
    )
    for title in ("", "bare pass", "node", "added", "MiB"):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for task, cost in found.items():
        times = (f"{cost.bare_ms:.1f}", f"{cost.node_ms:.1f}", f"{cost.added:.0%}")
        table.add_row(str(task), *times, f"{cost.memory_mib:.0f}")
    return table
