"""The thread between the executor and the model."""

import threading
import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from patchline_ros.nodes.newest_item_thread import Worker


def test_the_newest_items_are_worked_on_and_errands_come_between():
    done: list[object] = []
    first, go_on = threading.Event(), threading.Event()

    def work(item: int) -> None:
        done.append(item)
        first.set()
        assert go_on.wait(5)

    worker = Worker("test", 2, work)
    worker.put(0)
    assert first.wait(5)
    for item in (1, 2, 3):
        worker.put(item)
    errand = worker.between(lambda: done.append("errand") or 7)
    worker.between(lambda: done.append("last"))
    go_on.set()
    assert errand.result(5) == 7
    while len(done) < 5:
        time.sleep(0.01)
    worker.stop()
    assert done == [0, "errand", "last", 2, 3]
    assert worker.superseded == 1


def test_an_errand_hands_its_exception_to_who_waits_for_it():
    worker = Worker("test", 1, lambda item: None)
    future = worker.between(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        future.result(5)
    worker.stop()


def test_stop_drops_what_waits_and_joins():
    done: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def work(item: int) -> None:
        started.set()
        assert go_on.wait(5)
        done.append(item)

    worker = Worker("test", 5, work)
    worker.put(1)
    assert started.wait(5)
    worker.put(2)
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    while not worker._stopping:
        time.sleep(0.01)
    go_on.set()
    stopper.join(5)
    assert done == [1]
    assert not [thread for thread in threading.enumerate() if thread.name == "test"]
