"""A teacher's bundle has to fit the car's."""

import pytest
import tiny_bundle

from patchline_ros.labelling.teacher import check_classes, read_teacher
from patchline_ros.tasks import Task


@pytest.fixture(scope="module")
def car(tmp_path_factory) -> str:
    return str(tiny_bundle.make_bundle(tmp_path_factory.mktemp("car") / "car").path)


def test_another_backbone_and_fewer_tasks_fit(car, tmp_path):
    tasks = (Task.CLASSIFICATION, Task.SEGMENTATION)
    path = tmp_path / "teacher"
    tiny_bundle.make_bundle(path, tasks=tasks, backbone="resnet50")
    teacher = read_teacher(str(path), 0.5)
    assert teacher.classes == {task: tiny_bundle.CLASSES[task] for task in tasks}
    assert (teacher.rate, teacher.is_prepared) == (0.5, False)
    check_classes(teacher, car)


def test_prepared_patches_are_known(tmp_path):
    path = tmp_path / "teacher"
    tiny_bundle.make_bundle(path, promised_gain=0.1)
    assert read_teacher(str(path), 1.0).is_prepared


@pytest.mark.parametrize("names", [("person", "car"), ("car", "person", "sign")])
def test_other_classes_are_one_sentence(names, car, tmp_path, monkeypatch):
    """In another order, too: ids are places."""
    monkeypatch.setitem(tiny_bundle.CLASSES, Task.DETECTION, names)
    path = tmp_path / "teacher"
    tiny_bundle.make_bundle(path)
    with pytest.raises(ValueError, match=r"teacher:=\S+ has other classes for detection") as caught:
        check_classes(read_teacher(str(path), 1.0), car)
    assert f"({', '.join(names)})" in str(caught.value) and "(car, person)" in str(caught.value)


def test_a_task_that_the_car_has_not_is_one_sentence(car, tmp_path):
    path = tmp_path / "car"
    tiny_bundle.make_bundle(path, tasks=(Task.CLASSIFICATION, Task.SEGMENTATION))
    with pytest.raises(ValueError, match=r"classes for detection .* than the car's .*\(none\)"):
        check_classes(read_teacher(car, 1.0), str(path))


def test_no_bundle_and_no_rate_are_one_sentence_each(car, tmp_path):
    with pytest.raises(ValueError, match=r"teacher:=\S+ is no bundle"):
        read_teacher(str(tmp_path), 1.0)
    for rate in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"teacher_rate:=.* pictures a second"):
            read_teacher(car, rate)
