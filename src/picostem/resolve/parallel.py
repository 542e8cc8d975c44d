"""Independent computations side by side on the cores of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

MOST_THREADS = 8  # NumPy lets go of the interpreter in its larger operations only; more threads would wait


def side_by_side(function: Callable[[Item], Outcome], items: Iterable[Item]) -> list[Outcome]:
    """The function of every item, in order. BLAS should be limited to one thread meanwhile."""
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, MOST_THREADS)) as pool:
        return list(pool.map(function, items))
