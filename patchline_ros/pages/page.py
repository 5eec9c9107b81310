"""A page from a template, in the house's style."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


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
