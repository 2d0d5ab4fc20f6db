"""An iterator run ahead in a thread of its own: reading, network and writing side by side."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from queue import Full, Queue
from typing import Any, TypeVar

Item = TypeVar("Item")

#: How often a thread that waits for room looks whether it is still wanted.
POLL_SECONDS = 0.1


def in_background(items: Iterable[Item], *, ahead: int) -> Generator[Item, None, None]:
    """Yield ``items`` in order, made by another thread, at most ``ahead`` of them in advance.

    What they raise is raised here. Leaving early stops the thread after the item it is at.
    """
    made: Queue[tuple[str, Any]] = Queue(maxsize=ahead)
    left = threading.Event()

    def hand_over(kind: str, value: Any) -> None:
        while not left.is_set():
            try:
                made.put((kind, value), timeout=POLL_SECONDS)
                return
            except Full:
                continue

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                hand_over("item", item)
                if left.is_set():
                    break
            hand_over("end", None)
        except BaseException as error:
            hand_over("error", error)
        finally:
            if (close := getattr(iterator, "close", None)) is not None:
                close()

    thread = threading.Thread(target=work, daemon=True, name="audiform-ahead")
    thread.start()
    try:
        while True:
            kind, value = made.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        left.set()
        thread.join()
