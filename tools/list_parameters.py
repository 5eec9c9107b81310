"""Prints docs/parameters.md: every parameter of the nodes."""

from patchline_ros.nodes import parameters
from patchline_ros.nodes.parameter import Parameter

TABLES = {
    "sign_classifier, object_detector, lane_segmenter": parameters.PERCEPTION,
    "sign_classifier": tuple(
        p for p in parameters.SIGN_CLASSIFIER if p not in parameters.PERCEPTION
    ),
    "object_detector": tuple(
        p for p in parameters.OBJECT_DETECTOR if p not in parameters.PERCEPTION
    ),
    "drift_monitor": parameters.DRIFT_MONITOR,
    "adapter": parameters.ADAPTER,
    "labeller (docs/labelling.md)": parameters.LABELLER,
    "ground_projector (docs/ground.md)": parameters.GROUND_PROJECTOR,
    "object_locator (with `depth_topic`)": parameters.OBJECT_LOCATOR,
    "camera (of `sim.launch.py`)": parameters.SIM_CAMERA,
    "bag_player (of `replay.launch.py`)": parameters.BAG_PLAYER,
}
HEAD = """\
# Parameters of the nodes

Written by `python -m tools.list_parameters` from `patchline_ros/nodes/parameters.py`; a test
compares. A value outside its range is refused, at the start and by `ros2 param set`. A name that no
node has is warned of at the start, with the nearest one. A *fixed* parameter is read when a node is
configured; the others take effect at once. `config/car.yaml` is the file for a car.

History, depth and reliability of the perception nodes' subscriptions can also be set as ROS 2's own
`qos_overrides./TOPIC.subscription.POLICY`.
"""
COLUMNS = ["| name | default | allowed | fixed | |", "|---|---|---|---|---|"]


def _range(parameter: Parameter) -> str:
    if parameter.choices:
        return ", ".join(f"`{choice}`" for choice in parameter.choices)
    if parameter.minimum is None:
        return ""
    return f"{parameter.minimum} to {parameter.maximum}"


def _default(parameter: Parameter) -> str:
    value = parameter.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != "" else ""


def page() -> str:
    """The page, in Markdown."""
    parts = [HEAD]
    for nodes, table in TABLES.items():
        lines = [f"## {nodes}", "", *COLUMNS]
        lines += [
            f"| `{p.name}` | {_default(p)} | {_range(p)} | {'yes' if p.read_only else 'no'} | "
            f"{p.description} |"
            for p in table
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
