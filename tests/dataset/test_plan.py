"""Plans: what they say, what they refuse, and that JSON gives them back."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from picostem.dataset.plan import Corruptions, Plan
from picostem.errors import DataError, UsageError


def test_a_plan_names_its_stack() -> None:
    one, two = Plan("MoS2").stack()
    assert one is two
    lower, upper = Plan("MoS2", antiparallel=True).stack()
    assert upper == lower.turned()
    assert len(Plan("ReS2", layers=3).stack()) == 3


def test_json_gives_it_back() -> None:
    plan = Plan("WS2", layers=3, window_A=15.0, step_A=0.2, seed=4, corruptions=Corruptions(hole=(0.5, 0.25)))
    assert Plan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan


def test_layers_that_are_their_own_antiparallel_ones() -> None:
    with pytest.raises(UsageError, match="leave antiparallel out"):
        Plan("ReS2", antiparallel=True).stack()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": 4}, "expected 2 or 3"),
        ({"layers": 3, "antiparallel": True}, "2 where they are antiparallel"),
        ({"window_A": 2.0}, "window_A is 2; expected 8 to 500"),
        ({"count": 0}, "count is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"step_A": 0.0}, "step_A is 0"),
        ({"dose": (1e4, 1e3)}, "least to a most"),
        ({"dose": (math.nan, 1e3)}, "least to a most"),
        ({"outliers": 1.0}, "outliers is 1"),
    ],
)
def test_plans_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Plan("MoS2", **values)


@pytest.mark.parametrize("amount", [(1.2, 0.1), (-0.1, 0.1), (0.5, 1.5), (0.5, -0.1), (0.5, math.nan)])
def test_corruptions_that_cannot_be(amount: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="hole is"):
        Corruptions(hole=amount)
    with pytest.raises(UsageError, match="jitter is"):
        Corruptions(jitter=(0.5, math.inf))


def test_json_of_another_kind() -> None:
    document = Plan("MoS2").as_dict()
    with pytest.raises(DataError, match="unknown: seed"):
        Plan.from_dict({name: value for name, value in document.items() if name != "seed"})
    with pytest.raises(DataError, match="unknown: extra"):
        Plan.from_dict({**document, "extra": 1})
    for name, value in (("layers", 7), ("corruptions", [1]), ("dose", 3.0), ("corruptions", {"rain": [1, 1]})):
        with pytest.raises(DataError, match="no plan of a data set"):
            Plan.from_dict({**document, name: value})
