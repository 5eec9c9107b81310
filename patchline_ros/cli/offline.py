"""`patchline offline`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from patchline_ros.cli.errors import errors_in_a_sentence, treat_sigterm_as_ctrl_c
from patchline_ros.cli.export import export_graphs

Config = Annotated[
    str | None,
    typer.Option(
        help="The configuration, which says what the bundle is made from, and how: a .yaml file, "
        "or the name of one that comes with the package (sim, camvid, core50, sbd-plus, acdc).",
        show_default="camvid with --data, sim without",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder that the configuration's paths are relative to. For camvid it has camvid/day "
        "(images and labels), gtsrb and, where you have them, weights.",
        show_default="the folder of the .yaml file",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="Weights that the backbones start from: a .npz or .pth file of torchvision's weights; "
        "imagenet, which torchvision fetches; none; or auto, which takes a file in DATA/weights, "
        "else imagenet, else none.",
        show_default="as the configuration says",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder to write the bundle to.",
        show_default="the configuration's name, in bundles",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of PyTorch's threads. Only the same number gives the same bundle again.",
        show_default="as the configuration says, else all cores",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Seed of everything that is drawn at random.",
        show_default="as the configuration says, else 0",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of threads that read pictures, and of processes that train patches.",
        show_default="as the configuration says, else all cores",
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        help="Address of a Ray cluster that trains patches; auto is the one of this machine. All "
        "its machines must see the bundle's folder under the same path.",
        show_default="on this machine, without Ray",
    ),
]
Log = Annotated[
    Path | None,
    # torchrun takes --log for an abbreviation of options of its own.
    typer.Option(
        "--tensorboard",
        help="Folder for TensorBoard's curves: loss, learning rate, speed, held-out metric.",
        show_default="no curves",
    ),
]


def offline(
    config: Config = None,
    data: Data = None,
    weights: Weights = None,
    out: Out = None,
    threads: Threads = None,
    seed: Seed = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    log: Log = None,
) -> None:
    """Train the source models and make the bundle that a car starts from.

    On several GPUs: torchrun --nproc-per-node 4 -m patchline_ros.cli offline ...
    """
    from patchline_ros.offline.offline_run import OfflineOptions, run_offline
    from patchline_ros.terminal import terminal
    from patchline_ros.vision.fabric import is_first_process

    console = terminal(quiet=not is_first_process())
    options = OfflineOptions(config, data, weights, out, threads, seed, workers, ray_address, log)
    treat_sigterm_as_ctrl_c()
    with errors_in_a_sentence(
        interrupted="interrupted; the same command goes on from here",
        os_error="can't read or write",
    ):
        bundle = run_offline(options, console)
    if bundle is None or not bundle.manifest.config["onnx"]:
        return
    missing = [name for name in ("onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        console.print(
            f"no ONNX graphs, which cars with a CPU run faster: {missing[0]} is not installed (pip "
            f"install 'patchline_ros[onnx]'); then `patchline export {bundle.path}` makes them"
        )
        return
    export_graphs(bundle.path, bundle.manifest.config["recipe"]["threads"], console)
