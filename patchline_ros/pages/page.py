"""A page from a template, in the house's style, and the pictures that stand in it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from patchline_ros.tasks import Image

JPEG_QUALITY = 88


def to_data_uri(image: Image) -> str:
    """The picture (RGB) as a `data:` address of a JPEG, to stand in a page of its own."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise ValueError(f"A picture of shape {image.shape} could not be encoded as JPEG.")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def render(template: Path, filters: Mapping[str, Callable[..., str]], **values: Any) -> str:
    """The page.

    Args:
        template: file that extends `page.html.jinja`.
        filters: functions that the template may use, by name.
        values: what the template shows; text is escaped.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(filters)
    return environment.get_template(template.name).render(**values)
