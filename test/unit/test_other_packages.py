"""The files in config/ with which other packages look after the nodes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from patchline_ros.config_files import read_mapping
from patchline_ros.graph.description import GraphSettings, Teacher, describe
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
