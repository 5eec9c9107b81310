"""Declares the parameters of a table on a node, and reads them; what was misspelt is named."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from patchline_ros.nodes.parameter import Parameter, ParameterError
from patchline_ros.nodes.parameters import OF_ALL_NODES

_OWN_OF_ROS: Final = ("use_sim_time", "start_type_description_service", "qos_overrides.")
"""Names, and beginnings of names, of parameters that every node of ROS 2 may be given."""


def unknown_overrides(given: Iterable[str], table: tuple[Parameter, ...]) -> list[str]:
    """A sentence for each parameter that was given and that no node knows; with the nearest name.

    Args:
        given: names of the parameters that a node was started with.
        table: those that it has.
    """
    own = [parameter.name for parameter in table]
    sentences = []
    for name in sorted(set(given) - set(own) - OF_ALL_NODES):
        if name.startswith(_OWN_OF_ROS):
            continue
        near = get_close_matches(name, own, n=1)
        meant = f"did you mean {near[0]}?" if near else f"the parameters are {', '.join(own)}"
        sentences.append(f"parameter {name} does not exist and has no effect; {meant}")
    return sentences


def declare(node: Node, table: tuple[Parameter, ...]) -> None:
    """Declare every parameter of the table on the node; ranges and choices hold at run time, too.

    A parameter that was given but does not exist is warned of, not refused: a file for `/**` may
    hold parameters of other packages' nodes, and rclpy does not say where one comes from.

    Raises rclpy's InvalidParameterTypeException or InvalidParameterValueException when an override
    has the wrong type or lies outside the range.
    """
    choices = {p.name: p.choices for p in table if p.choices and not p.read_only}

    def check(changes: list[RosParameter[Any]]) -> SetParametersResult:
        """ROS itself only knows ranges of numbers."""
        for change in changes:
            if change.name in choices and change.value not in choices[change.name]:
                reason = _wrong_choice(change.name, change.value, choices[change.name])
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    # rclpy has no public name for them.
    for sentence in unknown_overrides(node._parameter_overrides, table):
        node.get_logger().warning(sentence)
    if choices:
        node.add_on_set_parameters_callback(check)
    for parameter in table:
        node.declare_parameter(parameter.name, parameter.default, parameter.descriptor())


def read(node: Node, table: tuple[Parameter, ...]) -> dict[str, Any]:
    """The values by name. Raises ParameterError for a string outside its choices."""
    values = {parameter.name: node.get_parameter(parameter.name).value for parameter in table}
    for parameter in table:
        value = values[parameter.name]
        if parameter.choices and value not in parameter.choices:
            raise ParameterError(_wrong_choice(parameter.name, value, parameter.choices))
    return values


def _wrong_choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    return f"parameter {name} is {value!r}; use one of {', '.join(choices)}"
