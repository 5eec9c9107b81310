"""Chooses the executor of jobs: a Ray cluster, or a pool of processes on this machine."""

from __future__ import annotations

import importlib.util

from patchline_ros.jobs.scheduler import Executor, ProcessPool


def executor_at(ray_address: str | None, workers: int, gpus: int = 0) -> Executor:
    """The Ray cluster at an address, or a pool of processes on this machine.

    Args:
        ray_address: address of the cluster; None: the jobs run on this machine.
        workers: number of processes where there is no cluster.
        gpus: number of GPUs that each job on a cluster takes.

    Raises:
        ValueError: there is no cluster at this address, or Ray is not installed.
    """
    if ray_address is None:
        return ProcessPool(workers)
    if importlib.util.find_spec("ray") is None:
        raise ValueError("--ray-address needs Ray: pip install 'patchline_ros[bench]'")
    from patchline_ros.jobs.ray_cluster import RayCluster

    return RayCluster(ray_address, gpus)
