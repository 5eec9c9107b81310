"""A thread beside the executor that works off the newest items."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class NewestItemThread(Generic[Item]):
    """One thread, a short queue that drops its oldest item, and errands between two items."""

    def __init__(self, name: str, depth: int, work: Callable[[Item], object]) -> None:
        """Starts the thread. `work` must not raise: nobody would see it."""
        self._work = work
        self._items: deque[Item] = deque(maxlen=depth)
        self._errands: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self.superseded = 0
        """Items dropped because newer ones came before they were worked on."""
        self._thread = threading.Thread(target=self._loop, name=name)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Hands over an item; when `depth` items wait already, the oldest is dropped."""
        with self._changed:
            self.superseded += len(self._items) == self._items.maxlen
            self._items.append(item)
            self._changed.notify()

    def between(self, errand: Callable[[], Result]) -> Future[Result]:
        """Runs `errand` in the thread before the next item; the future has its result."""
        future: Future[Result] = Future()
        with self._changed:
            self._errands.append((errand, future))
            self._changed.notify()
        return future

    def stop(self) -> None:
        """Finishes the item in hand and every errand, drops the rest and joins the thread."""
        with self._changed:
            self._stopping = True
            self._items.clear()
            self._changed.notify()
        self._thread.join()

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._errands or self._stopping)
                if self._errands:
                    errand, future = self._errands.popleft()
                elif self._stopping:
                    return
                else:
                    item = self._items.popleft()
                    future = None
            if future is None:
                self._work(item)
            else:
                _settle(future, errand)


def _settle(future: Future[Any], errand: Callable[[], Any]) -> None:
    try:
        future.set_result(errand())
    except Exception as error:  # handed on to whoever waits for the future
        future.set_exception(error)
