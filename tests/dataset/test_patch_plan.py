"""Plans of patches: what they say, what they refuse, and that JSON gives them back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from picostem.dataset.patch_plan import PatchCorruptions, PatchPlan
from picostem.errors import DataError, UsageError


@pytest.mark.parametrize(("task", "layers"), [("slip", 2), ("trilayer", 3), ("twist", 2), ("antiparallel", 2)])
def test_a_plan_names_its_stack(task: Any, layers: int) -> None:
    stack = PatchPlan("MoS2", task).stack()
    assert len(stack) == layers
    assert (stack[1] != stack[0]) == (task == "antiparallel")


def test_a_plan_keeps_pixels_and_size() -> None:
    assert PatchPlan("MoS2", side=64, pixel_A=0.25).extent_A == 16.0


def test_sources() -> None:
    assert PatchPlan("MoS2").style == ""
    assert PatchPlan("MoS2", source="styled:a/b").style == "a/b"
    assert (PatchPlan("MoS2", source="multislice:a/b").images, PatchPlan("MoS2").images) == ("a/b", "")


def test_json_gives_it_back() -> None:
    corruptions = PatchCorruptions(mask=(0.5, 0.2))
    plan = PatchPlan("WS2", "twist", twist_deg=(1.0, 9.0), twist_step_deg=0.5, step_A=0.2, corruptions=corruptions)
    assert PatchPlan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "slide"}, "no task 'slide': take one of slip"),
        ({"side": 8}, "side is 8; expected 16 to 2"),
        ({"pixel_A": 0.5}, "pixel_A is 0.5; expected 0.02 to 0.4"),
        ({"pixel_A": 0.42, "scale": 0.1}, "pixel_A is 0.42; expected 0.02 to 0.39"),
        ({"rotation_deg": 200.0}, "rotation_deg is 200"),
        ({"scale": 0.5}, "scale is 0.5"),
        ({"twist_deg": (5.0, 1.0)}, "change their order"),
        ({"twist_deg": (1.0, 5.0), "twist_step_deg": 6.0}, "twist_step_deg is 6; expected above 0 to 4"),
        ({"source": "styled:"}, "take fast, styled:NAME or multislice:FOLDER"),
        ({"source": "multislice:"}, "take fast, styled:NAME or multislice:FOLDER"),
        ({"source": "multislice:a", "step_A": 0.1}, "leave the step out"),
        ({"source": "multislice:a", "twist_step_deg": 1.0}, "leave the step out"),
        ({"source": "real"}, "take fast, styled:NAME or multislice:FOLDER"),
        ({"step_A": 3.0}, "step_A is 3"),
        ({"dose": (5.0, 1.0)}, "doses go from a least"),
    ],
)
def test_bad_plans(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PatchPlan("MoS2", **values)


@pytest.mark.parametrize("amount", [(1.5, 0.1), (0.5, -1.0), (0.5, 2.0), (0.5, float("nan"))])
def test_bad_corruptions(amount: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="hole is"):
        PatchCorruptions(hole=amount)


def test_bad_documents() -> None:
    values = PatchPlan("MoS2").as_dict()
    with pytest.raises(DataError, match="missing or unknown: colour"):
        PatchPlan.from_dict(values | {"colour": 1})
    with pytest.raises(DataError, match="make the set anew"):
        PatchPlan.from_dict(values | {"dose": 3})
