"""`patchline bundle`, as a user calls it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
import tiny_bundle
from typer.testing import CliRunner

from patchline_ros.adaptation.affinity import training_order
from patchline_ros.bundle import EXAMPLES, HELD_OUT, MANIFEST, Bundle
from patchline_ros.cli.app import app
from patchline_ros.signing import make_keys
from patchline_ros.tasks import Task

SHIPPED = Path(__file__).parents[2] / "resource" / "sim_road"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def old(bundle: Bundle, tmp_path: Path) -> Path:
    """What is left of a bundle of format 1: one measure, and neither labels nor pictures."""
    folder = shutil.copytree(bundle.path, tmp_path / "old")
    manifest = json.loads((folder / MANIFEST).read_text())
    one = {"perceptual_hash": manifest["affinity"]["perceptual_hash"]}
    manifest |= {"affinity": one, "affinity_measure": "perceptual_hash", "drift_labels": []}
    for name in (HELD_OUT, EXAMPLES):
        del manifest["files"][name]
        (folder / name).unlink()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["bundle", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_show_names_classes_metrics_and_the_order_for_each_number_of_patches(
    bundle: Bundle,
) -> None:
    code, said = call("show", bundle.path)
    assert code == 0
    assert "classification: stop, yield, limit" in said and "mean IoU 50.0" in said
    for patches in range(1, 8):
        order = training_order(bundle.manifest.training_affinity, list(Task), patches)
        (line,) = [row for row in said.splitlines() if row.startswith(f"│ {patches} ")]
        named = [word.strip("│, ") for word in line.split() if word.strip(",") in list(Task)]
        assert named[:3] == [str(task) for task in order]
        # By the other measure classification comes first.
        assert line.rstrip("│ ").endswith("classification, segmentation, detection by cka")


def test_one_measure_has_nothing_to_disagree_with(old: Path) -> None:
    code, said = call("show", old)
    assert code == 0
    assert (
        "segmentation, detection (0.500), classification (0.500)" in said and "disagree" not in said
    )


def test_a_bundle_of_two_tasks_and_of_one(tmp_path: Path) -> None:
    tasks = (Task.DETECTION, Task.SEGMENTATION)
    bundle = tiny_bundle.make_bundle(tmp_path / "two", tasks=tasks)
    code, said = call("show", bundle.path)
    assert code == 0 and "segmentation, detection (0.500)" in said and "classification" not in said
    assert call("check", bundle.path)[0] == call("card", bundle.path)[0] == 0
    alone = tiny_bundle.make_bundle(tmp_path / "one", tasks=(Task.SEGMENTATION,))
    code, said = call("show", alone.path)
    assert code == 0 and "order of training" not in said
    assert "nothing to order" in card(alone.path, tmp_path).text


def test_check_loads_everything(bundle: Bundle, tmp_path: Path) -> None:
    code, said = call("check", bundle.path)
    assert code == 0 and "pictures: 6 measured on, 6 shown on its card" in said
    code, said = call("check", SHIPPED)
    assert code == 0 and "pictures: 1920 trained on" in said
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    (copy / "segmentation.safetensors").write_bytes(b"nonsense")
    code, said = call("check", copy)
    assert code == 2 and "segmentation.safetensors does not have the sha256" in said
    code, said = call("check", tmp_path / "none")
    assert code == 2 and "does not exist" in said
    code, said = call("check", copy / "manifest.json")
    assert code == 2 and "is a file: give the folder that it lies in" in said


def test_a_signed_bundle_is_the_only_one_that_a_key_lets_load(
    bundle: Bundle, tmp_path: Path
) -> None:
    private, public = make_keys(tmp_path / "maker")
    _, other = make_keys(tmp_path / "other")
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    code, said = call("check", copy, "--key", public)
    assert code == 2 and "is not signed, and only one that" in said
    assert call("sign", copy, private)[0] == 0
    assert call("check", copy, "--key", public)[0] == 0
    assert Bundle.load(copy, public).key == public
    code, said = call("check", copy, "--key", other)
    assert code == 2 and "not by the key that is trusted here" in said
    code, said = call("check", copy, "--key", tmp_path / "none.pub")
    assert code == 2 and "can't be read" in said
    # One whole bundle in the place of another: its manifest is right, and not signed.
    stranger = tiny_bundle.make_bundle(tmp_path / "stranger", source_entropy=0.25)
    shutil.copy(copy / "manifest.sig", stranger.path)
    code, said = call("check", stranger.path, "--key", public)
    assert code == 2 and "sign it again with `patchline bundle sign`" in said
    code, said = call("sign", copy, public)
    assert code == 2 and "holds no private key" in said


def test_diff_names_each_fact_that_differs(bundle: Bundle, old: Path, tmp_path: Path) -> None:
    assert call("diff", bundle.path, bundle.path) == (0, "no difference\n")
    other = tiny_bundle.make_bundle(tmp_path / "other", source_entropy=0.25)
    code, said = call("diff", bundle.path, other.path)
    assert code == 1
    assert said.splitlines() == [
        f"models.{task}.source_entropy: 0.0 | 0.25" for task in sorted(map(str, Task))
    ]
    code, said = call("diff", bundle.path, old)
    assert code == 1
    assert (
        "affinity.cka.detection segmentation: [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1] | (missing)"
        in said
    )
    assert "drift_labels.1.patches: 3 | (missing)" in said and "\nformat:" not in said


class Page(HTMLParser):
    """Text, pictures and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.addresses: list[str] = []
        self.tags: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        names = ("src", "href", "xlink:href")
        self.addresses += [value or "" for name, value in attributes if name in names]

    def handle_data(self, data: str) -> None:
        self.text += data


def card(path: Path, tmp_path: Path) -> Page:
    code, said = call("card", path, "--out", tmp_path / "page.html")
    assert (code, said.strip()) == (0, f"written to {tmp_path / 'page.html'}")
    page, text = Page(), (tmp_path / "page.html").read_text()
    page.feed(text)
    # Everything that it shows is inside it.
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert page.tags["script"] == page.tags["link"] == 0 and "@import" not in text
    return page


def test_the_card_shows_each_part(bundle: Bundle, tmp_path: Path) -> None:
    page = card(bundle.path, tmp_path)
    # Two pictures a task; a plot for each measure, of the null, the drifts and the predictor.
    assert (page.tags["img"], page.tags["svg"]) == (6, 5)
    for expected in (
        "classification: stop, yield, limit",
        "fpn on mobilenet_v2 x 0.25",
        "32x32",
        "mean IoU",
        "segmentation, detection (0.500), classification (0.500)",
        "classification, segmentation, detection by cka",
        "perceptual hash",
        "Windows of the source (dashed: threshold)",
        "asks for what that drift needs in 2 of 3",
        "within 1.0 points",
        bundle.manifest.files["segmentation.safetensors"],
    ):
        assert expected in page.text
    # The drifts with what they need and what the table asks for.
    rows = page.text.split("asked for")[-1]
    assert "fog" in rows and "night" in rows and "70.0" in rows


def test_the_card_of_the_shipped_bundle_shows_its_preparation(tmp_path: Path) -> None:
    page = card(SHIPPED, tmp_path)
    assert "Prepared patches for segmentation: mean IoU" in page.text


def test_the_card_of_an_old_bundle_has_what_is_there(old: Path, tmp_path: Path) -> None:
    page = card(old, tmp_path)
    assert page.tags["img"] == 0
    assert "holds no pictures" in page.text and "What it was learnt from is not in" in page.text


def test_a_card_that_can_not_be_written(bundle: Bundle, tmp_path: Path) -> None:
    code, said = call("card", bundle.path, "--out", tmp_path / "none" / "page.html")
    assert code == 2 and "name another file with --out" in said


@pytest.mark.parametrize("command", ["show", "check", "diff", "card"])
def test_a_bundle_that_can_not_be_read(command: str, bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    (copy / "manifest.json").unlink()
    # A file that may be opened and whose first byte can't be read, not even by root.
    (copy / "manifest.json").symlink_to("/proc/self/mem")
    code, said = call(command, *[copy] * (2 if command == "diff" else 1))
    assert code == 2 and said.startswith("patchline: can't read the bundle: ")
    assert said.count("\n") == 1
