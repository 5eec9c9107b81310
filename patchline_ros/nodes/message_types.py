"""Message types by their names: their classes, and their definitions as bags keep them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from patchline_ros.datasets.bag import recorded_hash

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.typesys.store import Typestore


class NoDefinitionError(ValueError):
    """A message type whose .msg file is not installed."""


def message_class(name: str, topic: str) -> type:
    """The class of a type such as sensor_msgs/msg/Image, also written sensor_msgs/Image.

    Raises:
        ValueError: its package is not built or not sourced, or has no such message.
    """
    package, _, message = name.replace("/msg/", "/").partition("/")
    try:
        found: type = getattr(importlib.import_module(f"{package}.msg"), message)
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        raise ValueError(
            f"topic {topic} is of {name}, which is not known here: build and source that package, "
            "or name the topics to play with --topics"
        ) from error
    return found


def register(types: Typestore, name: str) -> None:
    """Adds a message type and all that it is made of, from the installed .msg files.

    Raises:
        NoDefinitionError: there is no such file.
        ValueError: it was changed since the message was built.
    """
    from rosbags.interfaces import Nodetype
    from rosbags.typesys import get_types_from_msg

    if name in types.types:
        return
    package, _, message = name.partition("/msg/")
    try:
        file = Path(get_package_share_directory(package), "msg", f"{message}.msg")
        parsed = get_types_from_msg(file.read_text(encoding="utf-8"), name)
    except (PackageNotFoundError, OSError) as error:
        raise NoDefinitionError(
            f"the definition of {name} is not installed here: source the setup file of what "
            f"{package} was installed with ({error})"
        ) from error
    fields = parsed[name][1]
    built = getattr(importlib.import_module(f"{package}.msg"), message)
    if fields and [field for field, _ in fields] != [*built.get_fields_and_field_types()]:
        raise ValueError(f"the definition of {name} was changed since it was built: build it again")
    for _, kind in fields:
        while kind[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            kind = kind[1][0]
        if kind[0] is Nodetype.NAME:
            register(types, kind[1])
    types.register(parsed)


def check_definition(connection: Connection) -> None:
    """Compares the fields of the recorded messages with those of the type that is built here.

    Raw messages of other fields would be misread by whoever hears them. Nothing can be compared
    where the bag does not say what its messages were made of, or nobody here knows how to read it.

    Raises:
        ValueError: they differ.
    """
    from rosbags.typesys import Stores, get_typestore

    built = get_typestore(Stores.EMPTY)
    try:
        register(built, connection.msgtype)
    except NoDefinitionError:
        return
    here = built.hash_rihs01(connection.msgtype)
    of_the_bag = recorded_hash(connection)
    if of_the_bag and of_the_bag != here:
        raise ValueError(
            f"topic {connection.topic}: {connection.msgtype} had other fields when the bag was "
            "recorded than it has here; play it with the packages that recorded it, or name the "
            "topics to play with --topics"
        )
