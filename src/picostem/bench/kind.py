"""What all kinds of questions have in common: an answer is scored, and scores become tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from picostem.bench.case import Case
from picostem.bench.table import Table
from picostem.resolve.result import Result

Number = float | int | None
Scored = Sequence[tuple[str, Any]]
"""Names of images, each with its score."""


@dataclass(frozen=True)
class Kind:
    """One kind of question.

    Attributes:
        name: of the totals.
        score: what became of one image, a frozen dataclass; None where there is nothing to score.
        tables, totals: of all images of this kind.
        options: what `resolve` is asked beside what it is told of the truth, fields of `Settings`.
    """

    name: str
    score: Callable[[Result, Case], Any]
    tables: Callable[[Scored], list[Table]]
    totals: Callable[[Scored], dict[str, Number]]
    options: Mapping[str, Any] = field(default_factory=dict)


def rms(values: ArrayLike) -> float | None:
    """Root mean square, None of nothing."""
    array = np.asarray(values, dtype=np.float64)
    return float(np.sqrt(np.mean(array**2))) if array.size else None


def mean(values: ArrayLike) -> float | None:
    """Mean, None of nothing."""
    array = np.asarray(values, dtype=np.float64)
    return float(array.mean()) if array.size else None


def largest(values: ArrayLike) -> float | None:
    """The largest, None of nothing."""
    array = np.asarray(values, dtype=np.float64)
    return float(array.max()) if array.size else None


def ratio(value: float, unit: float | None) -> float | None:
    """value / unit, None where the unit is 0 or not known."""
    return value / unit if unit else None
