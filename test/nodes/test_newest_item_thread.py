"""The thread between the executor and the model."""

import threading
import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy and the built messages)")

from patchline_ros.nodes.newest_item_thread import NewestItemThread


def test_the_newest_items_are_worked_on_and_errands_come_between():
    done: list[object] = []
    first, go_on = threading.Event(), threading.Event()

    def work(item: int) -> None:
        done.append(item)
        first.set()
        assert go_on.wait(5)

    thread = NewestItemThread("test", 2, work)
    thread.put(0)
    assert first.wait(5)
    for item in (1, 2, 3):
        thread.put(item)
    errand = thread.between(lambda: done.append("errand") or 7)
    thread.between(lambda: done.append("last"))
    go_on.set()
    assert errand.result(5) == 7
    while len(done) < 5:
        time.sleep(0.01)
    thread.stop()
    assert done == [0, "errand", "last", 2, 3]
    assert thread.superseded == 1


def test_an_errand_hands_its_exception_to_who_waits_for_it():
    thread = NewestItemThread("test", 1, lambda item: None)
    future = thread.between(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        future.result(5)
    thread.stop()


def test_stop_drops_what_waits_and_joins():
    done: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def work(item: int) -> None:
        started.set()
        assert go_on.wait(5)
        done.append(item)

    thread = NewestItemThread("test", 5, work)
    thread.put(1)
    assert started.wait(5)
    thread.put(2)
    stopper = threading.Thread(target=thread.stop)
    stopper.start()
    while not thread._stopping:
        time.sleep(0.01)
    go_on.set()
    stopper.join(5)
    assert done == [1]
    assert not [thread for thread in threading.enumerate() if thread.name == "test"]
