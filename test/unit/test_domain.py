"""That a wrong ROS_DOMAIN_ID is said before ROS 2 ends with a traceback."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from patchline_ros.cli.app import app
from patchline_ros.graph.domain import wrong_domain


@pytest.mark.parametrize("given", ["abc", "500", "233", "-1", "1 2", "101.5", "٣", " ", "9" * 5000])
def test_what_is_no_domain(given: str) -> None:
    sentence = wrong_domain({"ROS_DOMAIN_ID": given})
    assert sentence.endswith("give a whole number from 0 to 232, or unset it")
    assert len(sentence) < 150


@pytest.mark.parametrize("environment", [{}, *({"ROS_DOMAIN_ID": n} for n in ("", "0", "232"))])
def test_what_is_one(environment: dict[str, str]) -> None:
    assert wrong_domain(environment) == ""


def test_commands_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("patchline_ros.msg", reason="needs the built messages")
    monkeypatch.setenv("ROS_DOMAIN_ID", "abc")
    for command in (["watch"], ["call", "pause", "adapter"], ["record", "bag"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 2, done.output
        assert "ROS_DOMAIN_ID is 'abc'" in done.output
