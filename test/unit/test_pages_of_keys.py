"""The pages on the files that people write name all their keys, and show files that are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from patchline_ros.bench.experiment import Row
from patchline_ros.offline.config import OfflineConfig, find_config

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "head", "model"),
    [
        ("bundle.md", "| key | what | default |", OfflineConfig),
        ("benchmarks.md", "| key of a row | values |", Row),
    ],
)
def test_a_page_has_a_line_for_each_key(page: str, head: str, model: type[BaseModel]) -> None:
    table = (DOCS / page).read_text(encoding="utf-8").split(head)[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.M)) == set(model.model_fields)


def test_the_configuration_that_the_page_shows_is_that_of_camvid(tmp_path: Path) -> None:
    page = (DOCS / "bundle.md").read_text(encoding="utf-8")
    shown = tmp_path / "shown.yaml"
    shown.write_text(page.split("```yaml\n")[1].split("```")[0])
    assert find_config(str(shown)) == find_config("camvid")
