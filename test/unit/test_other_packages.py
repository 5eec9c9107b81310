"""The files in config/ with which other packages look after the nodes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from patchline_ros.config_files import read_mapping
from patchline_ros.graph.description import GraphSettings, Teacher, describe, is_output
from patchline_ros.tasks import Task

CONFIG = Path(__file__).parents[2] / "config"
CLASSES = {task: ("one", "two") for task in Task}


def graph(namespace: str, *, whole: bool) -> list[str]:
    """The full names of a car's nodes; the whole graph has a labeller and a teacher."""
    teacher = Teacher("bundle", CLASSES, is_prepared=True, rate=1.0)
    settings = GraphSettings(
        bundle="bundle",
        store="store",
        namespace=namespace,
        labeller_tasks="detection" if whole else "",
        ground=whole,
        depth_topic="depth" if whole else "",
        teacher=teacher if whole else None,
    )
    nodes = describe(settings)
    places = [node.namespace_below(settings.namespace).strip("/") for node in nodes]
    return [
        "/".join(["", *filter(None, [place]), node.name])
        for place, node in zip(places, nodes, strict=True)
    ]


def matches(analyzer: Mapping[str, Any], name: str) -> bool:
    """Whether a GenericAnalyzer takes a status of that name."""
    whole = any(re.fullmatch(pattern, name) for pattern in analyzer.get("regex", ()))
    return whole or any(part in name for part in analyzer.get("contains", ()))


@pytest.mark.parametrize("namespace", ["", "car1", "fleet/car1"])
@pytest.mark.parametrize("whole", [True, False])
def test_one_analyzer_takes_each_nodes_diagnostics(namespace: str, whole: bool) -> None:
    parameters = read_mapping(CONFIG / "diagnostics.yaml")["/**"]["ros__parameters"]
    analyzers = {key: value for key, value in parameters.items() if isinstance(value, dict)}
    taken = dict.fromkeys(analyzers, 0)
    for name in graph(namespace, whole=whole):
        (by,) = [key for key, analyzer in analyzers.items() if matches(analyzer, name)]
        taken[by] += 1
    for key, analyzer in analyzers.items():
        assert analyzer["type"] == "diagnostic_aggregator/GenericAnalyzer"
        # 0 stands for what a car may have.
        assert analyzer["num_items"] in (0, taken[key]), key
    assert taken["teacher"] == (6 if whole else 0)


def test_nav2_manages_the_nodes_of_a_car_in_the_order_of_their_start() -> None:
    (parameters,) = read_mapping(CONFIG / "nav2_lifecycle_manager.yaml").values()
    assert parameters["ros__parameters"] == {
        "autostart": True,
        "node_names": [name.strip("/") for name in graph("", whole=False)],
        "bond_timeout": 0.0,
    }


# What Nav2's source declares, with the types of the defaults: of nav2_costmap_2d costmap_2d_ros.cpp
# (commit 0062e22b), static_layer.cpp (014bf235), obstacle_layer.cpp (021483b4) and
# inflation_layer.cpp (01ad1289). Nav2 takes no whole number where the default is a real one.
COSTMAP = {
    **dict.fromkeys(("global_frame", "robot_base_frame"), str),
    **dict.fromkeys(("rolling_window", "track_unknown_space", "trinary_costmap"), bool),
    **dict.fromkeys(("width", "height", "lethal_cost_threshold"), int),
    **dict.fromkeys(("resolution", "update_frequency", "publish_frequency"), float),
    "transform_tolerance": float,
    "plugins": list,
}
LAYERS = {
    "nav2_costmap_2d::StaticLayer": {
        **dict.fromkeys(("enabled", "map_subscribe_transient_local", "subscribe_to_updates"), bool),
        "map_topic": str,
    },
    "nav2_costmap_2d::ObstacleLayer": {
        "enabled": bool,
        "combination_method": int,
        "observation_sources": str,
    },
    "nav2_costmap_2d::InflationLayer": {
        "enabled": bool,
        **dict.fromkeys(("cost_scaling_factor", "inflation_radius"), float),
    },
}
SOURCE = {
    **dict.fromkeys(("topic", "data_type", "sensor_frame"), str),
    **dict.fromkeys(("marking", "clearing", "inf_is_valid"), bool),
    **dict.fromkeys(("observation_persistence", "expected_update_rate"), float),
    **dict.fromkeys(("min_obstacle_height", "max_obstacle_height"), float),
    **dict.fromkeys(("obstacle_max_range", "obstacle_min_range"), float),
    **dict.fromkeys(("raytrace_max_range", "raytrace_min_range"), float),
}


def test_the_costmap_of_nav2_has_parameters_that_nav2_knows() -> None:
    text = read_mapping(CONFIG / "nav2_costmap.yaml")
    given = text["local_costmap"]["local_costmap"]["ros__parameters"]
    layers = {name: given.pop(name) for name in given["plugins"]}
    sources = []
    for layer in layers.values():
        known = LAYERS[layer.pop("plugin")]
        sources += [layer.pop(name) for name in layer.get("observation_sources", "").split()]
        assert {name: type(value) for name, value in layer.items()} == {
            name: known.get(name) for name in layer
        }
    for values, known in ((given, COSTMAP), *((source, SOURCE) for source in sources)):
        assert {name: type(value) for name, value in values.items()} == {
            name: known.get(name) for name in values
        }
    outputs = [layers["road_layer"]["map_topic"], sources[0]["topic"]]
    assert all(is_output(topic) for topic in outputs)
    assert [topic.rpartition("/")[2] for topic in outputs] == ["drivable", "boundary_points"]
