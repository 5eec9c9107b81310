"""Prints docs/launch.md: every argument of the launch files."""

from patchline_ros.graph.launch_arguments import CAR, REPLAY, SIM, LaunchArgument

TABLES = {"car.launch.py": CAR, "sim.launch.py": SIM, "replay.launch.py": REPLAY}
NOTES = {
    "car.launch.py": "The car's graph. [The first day on a car](car.md) starts it.",
    "sim.launch.py": "A simulated road instead of a camera. It takes the arguments of "
    "`car.launch.py`, too, and these:",
    "replay.launch.py": "A recorded drive instead of a camera ([a bag of your car]"
    "(tutorials/own-bag.md#play-it-into-the-graph)). It takes the arguments of `car.launch.py`, "
    "too, and these.\nIt sets `use_sim_time` to true itself.",
}
HEAD = """\
# Arguments of the launch files

Written by `python -m tools.list_launch_arguments` from `patchline_ros/graph/launch_arguments.py`; a
test compares. Give them as `NAME:=VALUE`; `ros2 launch patchline_ros FILE --show-args` prints the
same. What is no argument here stands in the file that `params_file` names, with the
[parameters of the nodes](parameters.md). Arguments win over that file.

In a default, SHARE is the folder that `ros2 pkg prefix --share patchline_ros` prints, and DATE-TIME
is the time of the launch.

A topic that begins with `/` is *absolute*: the same for every car. All others are relative, and
`namespace` goes before them. So with `namespace:=car1` the default of `image_topic` is
`/car1/camera/color/image_raw`. The tutorials have one car, and write `/camera/color/image_raw`. Two
cars that are both given this topic hear the same camera ([how to](howto.md#run-two-cars)).
"""
COLUMNS = ["| name | default | allowed | |", "|---|---|---|---|"]
TIME = "%Y%m%d-%H%M%S"
"""How a default says the time of the launch."""


def _default(argument: LaunchArgument) -> str:
    if argument.default is None:
        return "must be given"
    return f"`{argument.default.replace(TIME, 'DATE-TIME')}`" if argument.default else ""


def _row(argument: LaunchArgument) -> str:
    allowed = ", ".join(f"`{choice}`" for choice in argument.choices)
    # Markdown takes a name in angle brackets for a tag.
    described = argument.description.replace("<", "&lt;").replace(">", "&gt;")
    return f"| `{argument.name}` | {_default(argument)} | {allowed} | {described} |"


def page() -> str:
    """The page, in Markdown."""
    parts = [HEAD]
    for file, table in TABLES.items():
        lines = [f"## {file}", "", NOTES[file], "", *COLUMNS, *map(_row, table)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
