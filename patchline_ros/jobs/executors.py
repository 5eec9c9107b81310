"""Where jobs are carried out."""

from __future__ import annotations

import importlib.util

from patchline_ros.jobs.scheduler import Carrier, Processes


def carrier_at(ray_address: str | None, workers: int, gpus: int = 0) -> Carrier:
    """The Ray cluster at an address, or so many processes on this machine.

    Args:
        ray_address: of the cluster; None: none.
        workers: processes where there is no cluster.
        gpus: that each job on a cluster takes.

    Raises:
        ValueError: there is no cluster at this address, or Ray is not installed.
    """
    if ray_address is None:
        return Processes(workers)
    if importlib.util.find_spec("ray") is None:
        raise ValueError("--ray-address needs Ray: pip install 'patchline_ros[bench]'")
    from patchline_ros.jobs.ray_cluster import RayCluster

    return RayCluster(ray_address, gpus)
