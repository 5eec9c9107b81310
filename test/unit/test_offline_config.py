"""The configuration of `patchline offline`: what is shipped, what is wrong, and who decides."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from patchline_ros.cli.app import app
from patchline_ros.config_files import ConfigFileError
from patchline_ros.host import all_cores
from patchline_ros.offline.config import OfflineConfig, find_config, known_configs
from patchline_ros.offline.offline_run import OfflineOptions, resolve_config
from patchline_ros.offline.recipe import Recipe
from patchline_ros.tasks import Task

SMALL = """
name: small
sources:
  detection: {set: sim}
  segmentation: {set: sim}
recipe: {width: 0.25, learning_rate: 1e-3}
"""


def read(folder: Path, text: str) -> OfflineConfig:
    path = folder / "small.yaml"
    path.write_text(text)
    return find_config(str(path))


def test_without_a_file_the_shipped_ones_are_read() -> None:
    sim = resolve_config(OfflineOptions())
    assert sim.recipe == Recipe(
        width=0.5,
        epochs=dict(zip(Task, (60, 10, 20), strict=True)),
        drifted_views={Task.CLASSIFICATION: 0.25, Task.SEGMENTATION: 0.5},
        learning_rate=2e-3,
        threads=1,
    )
    assert (sim.name, sim.weights) == ("sim_road", "none")
    camvid = resolve_config(OfflineOptions(data=Path("data"), seed=3))
    assert camvid.recipe == Recipe(
        epochs=dict(zip(Task, (20, 8, 16), strict=True)),
        drifted_views={Task.CLASSIFICATION: 0.5, Task.SEGMENTATION: 0.5},
        threads=all_cores(),
        seed=3,
    )
    assert (camvid.name, camvid.weights) == ("camvid", "auto")
    sets = {task: source.set for task, source in camvid.sources.items()}
    assert sets == {
        Task.CLASSIFICATION: "gtsrb",
        Task.DETECTION: "camvid",
        Task.SEGMENTATION: "camvid",
    }
    assert camvid.input_sizes == {
        Task.CLASSIFICATION: (64, 64),
        Task.DETECTION: (192, 256),
        Task.SEGMENTATION: (192, 256),
    }


def test_a_car_is_prepared_no_ladder(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match="preparation: method is lst, which no car runs"):
        read(tmp_path, f"{SMALL}preparation: {{method: {{method: lst}}}}\n")


@pytest.mark.parametrize("name", known_configs())
def test_every_shipped_configuration_is_right(name: str) -> None:
    assert find_config(name).sources


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    config = read(tmp_path, SMALL + "input_sizes: {segmentation: [64, 96]}")
    assert config.input_sizes == {Task.DETECTION: (192, 256), Task.SEGMENTATION: (64, 96)}
    assert config.recipe.learning_rate == 0.001
    plain = config.model_dump(mode="json")
    assert plain["recipe"]["batch_size"] == 16 and plain["predictor"]["margin"] == 0.01
    assert OfflineConfig.model_validate(plain) == config


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("width", "widht"), r"recipe\.widht: there is no such key; did you mean width\?"),
        (("recipe", "receipt"), r"receipt: there is no such key; did you mean recipe\?"),
        (
            ("detection:", "detecton:"),
            r"sources\.detecton: there is no such key; did you mean detection\?",
        ),
        (
            ("segmentation: {set: sim}", "segmentation: {set: sin}"),
            r'segmentation\.set: "sin" is not .*mean sim\?',
        ),
        (("{set: sim}", "{}"), r"sources\.detection\.set: this key is missing; known are .*camvid"),
        (("{set: sim}", "{set: sim, st: 1}"), r"sources\.detection\.st: there is no such key"),
        (("0.25", "-1"), r"recipe\.width: -1 is not allowed: it should be greater than 0"),
        (("0.25", "wide"), r'recipe\.width: "wide" is not allowed: it should be a valid number'),
        (("name: small", ""), r"small\.yaml: name: this key is missing"),
        (
            ("recipe:", "input_sizes: {classification: [64, 64]}\nrecipe:"),
            "names classification, but sources has",
        ),
        (
            ("recipe:", "input_sizes: {segmentation: [16, 64]}\nrecipe:"),
            r"segmentation\.0: 16 is not .*to 32",
        ),
        (
            ("width: 0.25", "heads: {segmentation: ssd}"),
            "segmentation can't be built: ssd is not a head for",
        ),
        (("recipe:", "patch_count: tabel\nrecipe:"), r'patch_count: "tabel" is not .* mean table'),
        (("recipe:", "patch_count: vgg16\nrecipe:"), "reads pictures by weights that you name"),
        (
            ("recipe:", "vgg16: {weights: none}\nrecipe:"),
            "vgg16 is for patch_count: vgg16, which is table here",
        ),
        (
            ("recipe:", "patch_count: vgg16\nvgg16: {size: [350, 350]}\nrecipe:"),
            r"vgg16\.weights: this key is missing",
        ),
        (
            ("recipe:", "patch_count: vgg16\nvgg16: {weights: none, size: [16, 350]}\nrecipe:"),
            r"vgg16\.size\.0: 16 is not .*to 32",
        ),
        (("width: 0.25", "width: ["), r"small\.yaml is not YAML: .* \(line \d+\)"),
        (("recipe:", "name: other\nrecipe:"), r"the key 'name' is there twice \(line 6\)"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    tmp_path: Path, change: tuple[str, str], sentence: str
) -> None:
    with pytest.raises(ConfigFileError, match=sentence) as error:
        read(tmp_path, SMALL.replace(*change, 1))
    assert "\n" not in str(error.value)


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    def said(*arguments: object) -> str:
        result = CliRunner().invoke(app, ["offline", *map(str, arguments)])
        assert result.exit_code == 2
        return result.output

    assert "no configuration 'sin'; known are" in said("--config", "sin")
    assert "none.yaml can't be read: No such file" in said("--config", tmp_path / "none.yaml")
    (tmp_path / "mine.yaml").write_text(SMALL + "weights: first.npz")
    # Relative to the file's folder.
    assert f"{tmp_path}/first.npz does not exist" in said("--config", tmp_path / "mine.yaml")
    assert f"{tmp_path}/data/first.npz does not exist" in said(
        *("--config", tmp_path / "mine.yaml", "--data", tmp_path / "data")
    )
