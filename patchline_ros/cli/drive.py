"""`patchline drive`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from patchline_ros.cli.errors import errors_in_a_sentence, treat_sigterm_as_ctrl_c
from patchline_ros.cli.ros import require_ros_domain


class Transport(str, Enum):
    """How a camera publishes."""

    RAW = "raw"
    COMPRESSED = "compressed"


class Reliability(str, Enum):
    """What is asked of a camera."""

    BEST_EFFORT = "best_effort"
    RELIABLE = "reliable"


Bundle = Annotated[
    str,
    typer.Option(help="Folder made by `patchline offline`.", show_default="of the simulated road"),
]
Store = Annotated[
    str,
    typer.Option(help="Folder that keeps labelled frames and patch sets; one for each car."),
]
Namespace = Annotated[
    str, typer.Option(help="Namespace of the car, such as /car1.", show_default="none")
]
ImageTopic = Annotated[
    str,
    typer.Option(help="Topic of the road camera.", show_default="the default of car.launch.py"),
]
SignImageTopic = Annotated[
    str,
    typer.Option(help="Topic of the sign classifier's pictures.", show_default="the road camera's"),
]
ImageTransport = Annotated[
    Transport,
    typer.Option(
        help="How the cameras publish: raw, or compressed, which is on IMAGE_TOPIC/compressed."
    ),
]
ImageReliability = Annotated[
    Reliability, typer.Option(help="Asked of the cameras; best_effort hears every one.")
]
UseSimTime = Annotated[
    bool, typer.Option("--use-sim-time", help="Take the time from /clock, as of a replay.")
]
ParamsFile = Annotated[
    Path | None,
    typer.Option(
        help="Parameters of the nodes, the keys of signatures among them.",
        show_default="config/car.yaml of the package",
    ),
]
LabellerTasks = Annotated[
    str,
    typer.Option(
        help="Tasks that others label, with commas between them, such as "
        "detection,segmentation (docs/labelling.md).",
        show_default="none",
    ),
]
Ground = Annotated[
    bool, typer.Option("--ground", help="Put the lanes on the ground (docs/ground.md).")
]
DepthTopic = Annotated[
    str,
    typer.Option(
        help="Topic of depth pictures, with which objects are found in space (docs/ground.md).",
        show_default="none",
    ),
]
Remap = Annotated[
    list[str] | None,
    typer.Option(
        help="Another name for a topic or a service, FROM:=TO; may be given several times."
    ),
]


def drive(
    bundle: Bundle = "",
    store: Store = "~/.ros/patchline",
    namespace: Namespace = "",
    image_topic: ImageTopic = "",
    sign_image_topic: SignImageTopic = "",
    image_transport: ImageTransport = Transport.RAW,
    image_reliability: ImageReliability = Reliability.BEST_EFFORT,
    use_sim_time: UseSimTime = False,
    params_file: ParamsFile = None,
    labeller_tasks: LabellerTasks = "",
    ground: Ground = False,
    depth_topic: DepthTopic = "",
    remap: Remap = None,
) -> None:
    """Start the nodes of the car, as car.launch.py does, where there is no `ros2 launch`.

    They write to this terminal until Ctrl-C ends them all. Where one ends by itself, the others
    are ended, too.
    """
    require_ros_domain()
    from patchline_ros.graph.description import GraphSettings, parse_remap
    from patchline_ros.graph.foreground import run_car
    from patchline_ros.graph.launch_needs import check_files
    from patchline_ros.graph.processes import ProcessDiedError
    from patchline_ros.package_share import SIM_BUNDLE, share_folder

    treat_sigterm_as_ctrl_c()
    with errors_in_a_sentence(failures=(ProcessDiedError,), os_error="a node can't be started"):
        share = share_folder()
        file = params_file or share / "config" / "car.yaml"
        settings = GraphSettings(
            bundle=bundle or str(share / SIM_BUNDLE),
            store=store,
            namespace=namespace,
            image_topic=image_topic or GraphSettings.image_topic,
            sign_image_topic=sign_image_topic,
            image_transport=image_transport.value,
            image_reliability=image_reliability.value,
            use_sim_time=use_sim_time,
            params_file=str(file.expanduser()),
            labeller_tasks=labeller_tasks,
            ground=ground,
            depth_topic=depth_topic,
            remap=parse_remap(remap or []),
        )
        check_files(settings, lambda name, value: f"--{name.replace('_', '-')} {value}")
        run_car(settings, share / "config" / "fastdds.xml")
