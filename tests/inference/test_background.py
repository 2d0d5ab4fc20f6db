"""Iterators run in another thread."""

import threading

import pytest

from audiform.inference.background import in_background


def test_the_same_items_in_order() -> None:
    assert list(in_background(range(100), ahead=3)) == list(range(100))


def test_they_are_made_elsewhere_and_not_far_ahead() -> None:
    made: list[int] = []
    threads = set()

    def items():
        for number in range(50):
            made.append(number)
            threads.add(threading.get_ident())
            yield number

    for number in in_background(items(), ahead=2):
        assert len(made) <= number + 1 + 2 + 1  # in the queue, and one in the making
    assert threads.isdisjoint({threading.get_ident()})


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def items():
        yield 1
        raise ValueError("broken")

    found = []
    with pytest.raises(ValueError, match="broken"):
        for item in in_background(items(), ahead=1):
            found.append(item)
    assert found == [1]


def test_leaving_early_ends_the_thread_and_closes_the_items() -> None:
    closed = threading.Event()

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    running = in_background(items(), ahead=1)
    next(running)
    running.close()
    assert closed.is_set()
    assert not [t for t in threading.enumerate() if t.name == "audiform-ahead"]
