"""`patchline`: the commands of the package. Only what is called is imported."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from patchline_ros import __version__
from patchline_ros.cli.bench import app as bench
from patchline_ros.cli.bundle import app as bundles
from patchline_ros.cli.data import app as data_sets
from patchline_ros.cli.trial import app as trial
from patchline_ros.word_lists import comma_separated

USER_ERROR = 2
FAILURE = 1
INTERRUPTED = 130

app = typer.Typer(
    name="patchline",
    help="Perception that notices when the world has changed, and adapts on the car.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(bench, name="bench")
app.add_typer(bundles, name="bundle")
app.add_typer(data_sets, name="data")
app.add_typer(trial, name="trial", callback=lambda: _require_ros())

Topics = Annotated[
    str, typer.Option(help="Such as /image_raw,/labelled_frames.", show_default="all")
]


@app.callback(invoke_without_command=True)
def patchline(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Perception that notices when the world has changed, and adapts on the car."""
    if version:
        typer.echo(f"patchline {__version__}")
        raise typer.Exit


@app.command()
def demo(
    frames: Annotated[
        Path | None,
        typer.Option(
            help="A recorded drive instead of the simulated road: a folder (CamVid's layout or "
            "plain pictures), a video, or a ROS bag. Frames that the bundle was trained on are "
            "left out."
        ),
    ] = None,
    then: Annotated[
        Path | None,
        typer.Option(
            help="The recording after the change. Without it the second half of --frames is "
            "played as if in --condition."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Folder of class maps for the recording after the change, where it has none of "
            "its own."
        ),
    ] = None,
    signs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of sign pictures in GTSRB's layout, to go with --frames.",
            show_default="the folder gtsrb beside that of --frames",
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Models to start from.",
            show_default="the shipped ones for the simulated road, bundles/camvid for --frames",
        ),
    ] = None,
    condition: Annotated[str, typer.Option(help="fog, night, rain or snow.")] = "fog",
    rate: Annotated[float, typer.Option(help="Frames a second.")] = 6.0,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn by chance.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="New or empty folder for the report.",
            show_default="runs/demo-DATE-TIME",
        ),
    ] = None,
) -> None:
    """Drive through a change of conditions, adapt, and write a report.

    Starts the whole ROS graph as separate processes and stops it again.
    """
    _require_ros()
    from rich.console import Console

    from patchline_ros.demo.options import DemoOptions, check_options
    from patchline_ros.demo.progress import DemoFailedError
    from patchline_ros.graph.processes import ProcessDiedError
    from patchline_ros.package_share import share_folder

    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        share = share_folder()
        options = DemoOptions(
            out=out or Path("runs") / time.strftime("demo-%Y%m%d-%H%M%S"),
            bundle=bundle,
            frames=frames,
            then=then,
            labels=labels,
            signs=signs,
            condition=condition,
            rate_hz=rate,
            seed=seed,
        )
        check_options(options)
        from patchline_ros.demo.demo_run import run_demo

        run_demo(options, share, shlex.join(["patchline", *sys.argv[1:]]), console)
    except (ValueError, ModuleNotFoundError) as error:
        _fail(str(error), USER_ERROR)
    except (DemoFailedError, ProcessDiedError) as error:
        _fail(str(error), FAILURE)
    except KeyboardInterrupt:
        _fail("interrupted; every process was stopped", INTERRUPTED)


@app.command()
def offline(
    config: Annotated[
        str | None,
        typer.Option(
            help="What the bundle is made from, and how: a .yaml file, or one of those that come "
            "with the package (sim, camvid, core50, sbd-plus, acdc).",
            show_default="camvid with --data, sim without",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder that the paths of the configuration are relative to; for camvid it has "
            "camvid/day (images, labels), gtsrb and perhaps weights.",
            show_default="the folder of the .yaml file",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="What the backbones start from: a .npz or .pth file of torchvision's weights, "
            "imagenet (torchvision fetches them), none, or auto: a file in DATA/weights, else "
            "imagenet, else none.",
            show_default="as the configuration says",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the bundle.", show_default="the configuration's name in bundles"
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of PyTorch; the same number gives the same bundle.",
            show_default="as the configuration says, else all cores",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Of everything that is drawn by chance.",
            show_default="as the configuration says, else 0",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many read pictures, and make predictor data, at a time.",
            show_default="as the configuration says, else all cores",
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="Make the predictor data on this Ray cluster (auto: the one of this machine); all "
            "its machines must see OUT under the same path.",
            show_default="on this machine, without Ray",
        ),
    ] = None,
    log: Annotated[
        Path | None,
        # torchrun takes --log for an abbreviation of options of its own.
        typer.Option(
            "--tensorboard",
            help="Folder for TensorBoard's curves: loss, learning rate, speed, held-out metric.",
            show_default="no curves",
        ),
    ] = None,
) -> None:
    """Train the source models and make the bundle that a car starts from.

    On several GPUs: torchrun --nproc-per-node 4 -m patchline_ros.cli offline ...
    """
    from rich.console import Console

    from patchline_ros.offline.offline_run import OfflineOptions, run_offline
    from patchline_ros.vision.fabric import is_first_process

    options = OfflineOptions(config, data, weights, out, threads, seed, workers, ray_address, log)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        run_offline(options, Console(highlight=False, quiet=not is_first_process()))
    except (ValueError, ModuleNotFoundError) as error:
        _fail(str(error), USER_ERROR)
    except OSError as error:
        _fail(f"can't read or write: {error}", USER_ERROR)
    except KeyboardInterrupt:
        _fail("interrupted; the same command goes on from here", INTERRUPTED)


@app.command()
def export(
    bundle: Annotated[Path, typer.Argument(help="Whose models; the graphs go into its folder.")],
    threads: Annotated[int, typer.Option(min=1, help="Of both in the comparison.")] = 1,
) -> None:
    """Export a bundle's models to ONNX, for each number of patches, and compare the speed.

    Perception nodes with the parameter `backend: onnx` run these graphs by ONNX Runtime. A graph
    has no weights in it: it serves every patch set with so many patches.
    """
    from rich.console import Console

    from patchline_ros.bundle import Bundle
    from patchline_ros.offline.export import export_bundle
    from patchline_ros.offline.export_table import print_exports

    try:
        print_exports(export_bundle(Bundle.load(bundle), threads), Console(highlight=False))
    except ModuleNotFoundError as error:
        _fail(f"{error}; it comes with pip install 'patchline_ros[onnx]'", USER_ERROR)
    except ValueError as error:
        _fail(str(error), USER_ERROR)
    except OSError as error:
        _fail(f"can't write the graphs: {error}", USER_ERROR)
    except KeyboardInterrupt:
        _fail("interrupted; the graphs that are done stay", INTERRUPTED)


@app.command()
def cost(
    model: Annotated[str, typer.Option(help="One of the known models, such as unet_resnet50.")],
    method: Annotated[
        str, typer.Option(help="patchline, ft_full, ft_norm, ft_last or lst.")
    ] = "patchline",
    patches: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Groups with a patch, counted from the input.",
            show_default="as many as the paper's Algorithm 1 affords",
        ),
    ] = None,
    wiring: Annotated[
        str | None,
        typer.Option(help="Of patches: inline, detached or side.", show_default="side"),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(help="With patches or a ladder: trained or frozen.", show_default="trained"),
    ] = None,
    size: Annotated[
        str, typer.Option(help="Of the input: one number, or height and width as 240x320.")
    ] = "350",
    classes: Annotated[int, typer.Option(min=1, help="That the model tells apart.")] = 6,
    batch: Annotated[int, typer.Option(min=2, help="Pictures a step, for the memory.")] = 8,
    epochs: Annotated[
        int, typer.Option(min=1, help="Over which the cached frozen part is averaged.")
    ] = 20,
    json: Annotated[
        Path | None, typer.Option(help="File to write all figures to.", show_default="none")
    ] = None,
) -> None:
    """Count what a training step costs, beside fine-tuning and a ladder: FLOPs and memory."""
    from rich.console import Console

    from patchline_ros.cost.comparison import CostOptions, compare, write_json
    from patchline_ros.cost.table import print_comparison

    # In a narrow terminal a long line is better than a figure without its last digits.
    console = Console(highlight=False, width=max(100, shutil.get_terminal_size().columns))
    options = CostOptions(
        model, method, patches, wiring, head, size, classes=classes, batch=batch, epochs=epochs
    )
    try:
        with console.status("counting"):
            comparison = compare(options)
        # First the file: the table may go to a reader that stops reading.
        if json is not None:
            write_json(comparison, json)
    except ValueError as error:
        _fail(str(error), USER_ERROR)
    except OSError as error:
        _fail(f"can't write {json}: {error.strerror}", USER_ERROR)
    print_comparison(comparison, console)


@app.command()
def replay(
    bag: Annotated[Path, typer.Argument(help="Folder or file of a ROS 2 bag, sqlite3 or mcap.")],
    topics: Topics = "",
    rate: Annotated[
        float, typer.Option(min=0.01, max=100, help="Seconds of the recording a second.")
    ] = 1.0,
    start: Annotated[float, typer.Option(min=0, help="Seconds to leave out.")] = 0.0,
    loop: Annotated[bool, typer.Option("--loop", help="From the start again, until Ctrl-C.")] = (
        False
    ),
    clock: Annotated[
        bool, typer.Option(help="Publish the time of the recording on /clock.")
    ] = True,
    remap: Annotated[
        list[str] | None,
        typer.Option(help="FROM:=TO, such as /cam:=/camera/color/image_raw; several times."),
    ] = None,
) -> None:
    """Play a bag into the graph: raw messages with their stamps, and /clock.

    Start the nodes with use_sim_time, so that they take the time of the recording.
    """
    _require_ros()
    from rich.console import Console

    from patchline_ros.nodes.bag_player import ReplayOptions
    from patchline_ros.nodes.replay import replay_bag

    options = ReplayOptions(bag, comma_separated(topics), rate, start, loop, clock)
    try:
        replay_bag(options, remap or [], Console(highlight=False))
    except (ValueError, ModuleNotFoundError) as error:
        _fail(str(error), USER_ERROR)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)


@app.command()
def record(
    bag: Annotated[Path, typer.Argument(help="New folder for the bag (mcap).")],
    topics: Topics = "",
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="How long.", show_default="until Ctrl-C")
    ] = None,
) -> None:
    """Record topics of the graph into a bag that `replay`, `demo --frames` and rosbag2 read."""
    _require_ros()
    from rich.console import Console

    from patchline_ros.nodes.bag_recorder import RecordOptions
    from patchline_ros.nodes.record import record_bag

    try:
        record_bag(RecordOptions(bag, comma_separated(topics)), seconds, Console(highlight=False))
    except (ValueError, ModuleNotFoundError) as error:
        _fail(str(error), USER_ERROR)
    except OSError as error:
        _fail(f"the disk refuses the bag: {error.strerror}; it ends before that", FAILURE)


@app.command()
def watch(
    namespace: Annotated[
        str, typer.Option(help="Of the car, such as /car1.", show_default="none")
    ] = "",
    image_topic: Annotated[
        str, typer.Option(help="The road camera.", show_default="that of car.launch.py")
    ] = "",
    sign_image_topic: Annotated[
        str, typer.Option(help="Pictures of signs.", show_default="those of --image-topic")
    ] = "",
    image_transport: Annotated[
        str, typer.Option(help="raw, or compressed for IMAGE_TOPIC/compressed.")
    ] = "raw",
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; 0.0.0.0 lets everyone on the network see the camera."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the page in a browser; 0: any free one.")
    ] = 8766,
    websocket_port: Annotated[
        int, typer.Option(min=0, max=65535, help="For Foxglove and the page; 0: any free one.")
    ] = 8765,
) -> None:
    """Show the running graph, live: a page for a browser, and a WebSocket for Foxglove.

    Pictures are only subscribed to while somebody looks at them.
    """
    _require_ros()
    if importlib.util.find_spec("foxglove") is None:
        _fail(
            "watch needs the library foxglove-sdk, the extra `watch`: pip install 'foxglove-sdk"
            ">=0.30'",
            USER_ERROR,
        )
    from rich.console import Console

    from patchline_ros.graph.description import GraphSettings
    from patchline_ros.nodes.watch import watch_car
    from patchline_ros.watch.topics import CarTopics

    try:
        camera = image_topic or GraphSettings.image_topic
        car = CarTopics(namespace, camera, sign_image_topic, image_transport)
        watch_car(car, host, port, websocket_port, Console(highlight=False))
    except ValueError as error:
        _fail(str(error), USER_ERROR)


@app.command()
def keys(
    path: Annotated[
        Path, typer.Argument(help="Where to: PATH.key is to sign with, PATH.pub to check with.")
    ],
) -> None:
    """Make a pair of keys, so that a car takes patch sets of your adapter only."""
    from patchline_ros.signing import SigningError, make_keys

    try:
        private, public = make_keys(path)
    except SigningError as error:
        _fail(str(error), USER_ERROR)
    typer.echo(f"{private}: for the adapter's parameter signing_key; keep it secret")
    typer.echo(f"{public}: for trusted_key of the perception nodes, with require_signature true")


def _require_ros() -> None:
    """End with a sentence when ROS 2 or the built messages are not there."""
    if importlib.util.find_spec("rclpy") is None:
        _fail(
            "this needs ROS 2: call ./patchline in a checkout, which sets it up, or "
            "source the setup file of your ROS 2",
            USER_ERROR,
        )
    if importlib.util.find_spec("patchline_ros.msg") is None:
        _fail(
            "the messages of patchline_ros are not built or not sourced: call ./patchline demo in "
            "a checkout, or colcon build and source install/setup.bash",
            USER_ERROR,
        )


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends a command as Ctrl-C does: with every process stopped."""
    raise KeyboardInterrupt


def _fail(sentence: str, code: int) -> NoReturn:
    print(f"patchline: {sentence}", file=sys.stderr)
    raise typer.Exit(code)
