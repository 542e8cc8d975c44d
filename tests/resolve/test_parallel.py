"""Computations side by side: in order, and failures come through."""

from __future__ import annotations

import threading

import pytest

from picostem.resolve.parallel import side_by_side


def test_outcomes_are_in_the_order_of_the_items() -> None:
    first_may_end = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            first_may_end.wait(0.05)  # so that later items end first where there are several cores
        else:
            first_may_end.set()
        return item**2

    assert side_by_side(work, range(20)) == [n**2 for n in range(20)]


def test_nothing_is_nothing() -> None:
    assert side_by_side(str, []) == []


def test_a_failure_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda n: 1 / n, [1, 0, 2])
