"""Files of experiments: what they may say, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.bench.experiment import (
    Experiment,
    ExperimentError,
    run_config,
)
from patchline_ros.bench.experiment_files import (
    find_experiment,
    known_experiments,
    read_experiment,
)
from patchline_ros.bench.scenes import SCENES
from patchline_ros.patching.ladder import LadderSettings
from patchline_ros.patching.patched_model import PatchSettings
from patchline_ros.tasks import Task
from patchline_ros.vision.model import TaskModel

SMALL = """
name: small
scene: smoke
training: {epochs: 7}
rows:
  full: {method: {method: ft_full}, training: {batch_size: 4}}
  ours: {method: {method: patchline, k: 2}, warm_start: most_similar}
"""


def read(tmp_path: Path, text: str, *variants: str) -> Experiment:
    path = tmp_path / "small.yaml"
    path.write_text(text)
    return read_experiment(path, variants)


@pytest.mark.parametrize("name", known_experiments())
def test_every_shipped_experiment_is_valid(name: str) -> None:
    experiment = find_experiment(name)
    assert experiment.scene in SCENES
    assert experiment.name == name.replace(":", "-")
    for task in experiment.tasks:
        experiment.spec(task, ("a", "b"), (64, 64))


def test_the_rows_of_the_headline_are_there() -> None:
    rows = find_experiment("camvid-dusk").rows
    assert {"source", "norm", "ft_full", "ft_full+norm", "patchline_paper", "ours"} <= rows.keys()
    cached, uncached = rows["lst_stage_r4+cache"], rows["lst_stage_r4"]
    assert (cached.method, uncached.training.cache) == (uncached.method, "none")


def test_a_row_changes_only_what_it_names(tmp_path: Path) -> None:
    experiment = read(tmp_path, SMALL)
    assert experiment.training_of("full") == TrainingSettings(epochs=7, batch_size=4)
    assert experiment.training_of("ours") == TrainingSettings(epochs=7)
    assert experiment.source_seed(3) == 3


def test_likeness_and_variants(tmp_path: Path) -> None:
    read(tmp_path, SMALL)
    other = tmp_path / "other.yaml"
    other.write_text(
        "like: small\nname: other\nrows: {ours: {method: {k: 5}}}\n"
        "variants: {short: {training: {epochs: 1}}, fog: {scene: sim-fog}}"
    )
    experiment = read_experiment(other, ["short", "fog"])
    assert (experiment.name, experiment.scene) == ("other-short-fog", "sim-fog")
    assert experiment.training.epochs == 1
    assert experiment.rows["ours"].method.k == 5
    assert experiment.rows["ours"].warm_start == "most_similar"
    with pytest.raises(ExperimentError, match=r"no variant 'rain'; it has short, fog"):
        read_experiment(other, ["rain"])
    other.write_text("like: nothing")
    with pytest.raises(ExperimentError, match=r"is like 'nothing', but there is no"):
        read_experiment(other)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            ("scene:", "scenery:"),
            r"small\.yaml: scenery: there is no such key; did you mean scene\?",
        ),
        (("k: 2", "k: 0"), r"rows\.ours\.method\.patchline\.k: .*greater than or equal to 1"),
        (
            ("epochs: 7", "epoch: 7"),
            r"training\.epoch: there is no such key; did you mean epochs\?",
        ),
        (("ft_full", "all"), r'rows\.full\.method\.method: "all" is not allowed; known'),
        (("full:", "ours:"), r"small\.yaml is not YAML: the key 'ours' is there twice"),
        (("most_similar", "most_similar, rates_of: me"), "row ours: rates_of names 'me'"),
        (("most_similar", "most_similar, order: [signs]"), "its order does not name each task"),
        (("most_similar", "most_similar, affinity: hash"), "no similarity 'hash'; known are perce"),
        (("batch_size: 4}", "batch_size: 4}, warm_start: average"), "warm_start is for patches"),
        (("scene: smoke", "scene: smoke\nseeds: [1]\ntuning: {seeds: [1]}"), "seed 1 is tuned on"),
        (
            (
                "rows:",
                "preparation: bundle\nrows:\n  left: {label_free: true, leave_out: [fog]}",
            ),
            "row left leaves families out, which a bundle's patches have seen",
        ),
        (("ours: {", "ours: {start: prepared, "), "row ours needs prepared patches; say under"),
        (
            ("rows:", "rows:\n  few: {most_labelled: 3}"),
            "rows.few: most_labelled is for rows that train on labels",
        ),
        (("scene: smoke", "scene: ["), "is not YAML"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    tmp_path: Path, change: tuple[str, str], sentence: str
) -> None:
    with pytest.raises(ExperimentError, match=sentence) as error:
        read(tmp_path, SMALL.replace(*change, 1))
    assert "\n" not in str(error.value)


def test_names_that_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"no experiment 'smok'; did you mean smoke\?"):
        find_experiment("smok")
    with pytest.raises(ExperimentError, match=r"no experiment 'nothing'; known are .*camvid"):
        find_experiment("nothing")
    with pytest.raises(ExperimentError, match=r"file nothing\.yaml does not exist"):
        find_experiment("nothing.yaml")
    with pytest.raises(ExperimentError, match="no row 'theirs'; it has full, ours"):
        read(tmp_path, SMALL).row("theirs")


def test_a_declaration_holds_what_decides_a_run(tmp_path: Path) -> None:
    experiment = read(tmp_path, SMALL)
    plain = run_config(experiment, "ours", 0, {}, "random")
    assert plain.rates == dict.fromkeys(Task, 1.0)
    assert plain.settings.training == experiment.training_of("ours")
    # How a row is called decides nothing.
    titled = read(tmp_path, SMALL.replace("ours: {", "ours: {title: Ours, "))
    assert run_config(titled, "ours", 0, {}, "random") == plain
    longer = read(tmp_path, SMALL.replace("epochs: 7", "epochs: 8"))
    for other in (
        run_config(longer, "ours", 0, {}, "random"),
        run_config(experiment, "ours", 1, {}, "random"),
        run_config(experiment, "ours", 0, {Task.SEGMENTATION: 3.0}, "random"),
        run_config(experiment, "ours", 0, {}, "bundle b 1"),
    ):
        assert other != plain


@pytest.mark.parametrize("name", known_experiments())
def test_the_patches_of_every_shipped_experiment_fit_its_backbone(name: str) -> None:
    experiment = find_experiment(name)
    with torch.device("meta"):
        spec = experiment.spec(experiment.tasks[0], ("a", "b"), (64, 64))
        groups = len(TaskModel(spec).backbone.specs)
    for row in experiment.rows.values():
        if isinstance(row.method, PatchSettings):
            assert row.method.k <= groups
    if "ours" in experiment.rows:
        ours = experiment.rows["ours"].method
        assert isinstance(ours, PatchSettings)
        assert ours.k == groups


def test_a_variant_that_names_another_method_replaces_it() -> None:
    ladder = find_experiment("camvid-dusk-prepared:ladder").rows["prepared_1"]
    assert ladder.method == LadderSettings(rungs="stage", reduction=4)
    assert ladder.training.epochs == 1, "the rest of the row stays"
    side = find_experiment("camvid-dusk-prepared:side").rows["prepared_1"]
    assert side.method == PatchSettings(k=7, head="side")
