"""Folders of images with their truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from picostem.bench.case import Case, load_cases
from picostem.errors import FileError
from picostem.structure import load_monolayer
from tests.bench.made import case


def write(folder: Path, name: str, truth: object, image: bool = True) -> None:
    (folder / f"{name}.json").write_text(json.dumps(truth))
    if image:
        (folder / f"{name}.tif").write_bytes(b"")


def test_cases_are_pairs_of_image_and_truth(tmp_path: Path) -> None:
    truth = {"task": "slip", "layers": [{"structure": "MoS2"}], "slip": {"D_cart_A": [1.0, 2.0]}}
    write(tmp_path, "b", truth)
    write(tmp_path, "a", {**truth, "task": "negative", "negative": "monolayer MoS2"})
    write(tmp_path, "without_image", truth, image=False)
    write(tmp_path, "manifest", {"images": []})
    write(tmp_path, "list", [1, 2])
    first, second = load_cases(tmp_path)
    assert (first.name, second.name) == ("a", "b")
    assert second.material == "MoS2"
    assert np.array_equal(second.slips, [[1.0, 2.0]])
    assert second.path == tmp_path / "b.tif"


@pytest.mark.parametrize(
    ("task", "negative", "expected"),
    [
        ("slip", None, ("slip",)),
        ("interface", None, ("slip",)),
        ("negative", "monolayer ReS2", ("monolayer",)),
        ("negative", "vacuum", ("unresolved",)),
        ("twist", None, ("twist",)),
        ("trilayer", None, ("slip",)),
        ("twisted trilayer", None, ("twist",)),
        ("twist domains", None, ("twist",)),
        ("slip field", None, ("slip", "twist")),
        ("stack", None, ()),
    ],
)
def test_the_verdicts_that_are_right(task: str, negative: str | None, expected: tuple[str, ...]) -> None:
    assert Case("x", Path("x.tif"), {"task": task, "negative": negative}).expected == expected


def test_material_names_all_layers_unless_they_are_of_one() -> None:
    assert case("slip", ("WSe2", "WSe2")).material == "WSe2"
    assert case("twist", ("MoS2", "WSe2"), (10.0,)).material == "MoS2/WSe2"


def test_layers_upside_down_and_their_twists() -> None:
    made = case("twisted trilayer", ("ReS2",) * 3, (10.0, -15.0), flipped=(1,))
    res2 = load_monolayer("ReS2")
    assert made.monolayers == (res2, res2.flipped(), res2)
    assert made.twists == pytest.approx(np.radians([10.0, -15.0]))
    turned = made.ordered((2, 1, 0), mirrored=True)
    assert turned.twists == pytest.approx(np.radians([-15.0, 10.0]))  # 5, -10, 0
    assert made.twists[0] > 0  # the case itself stays as it was


def test_spread_of_domains() -> None:
    assert case("twist").twist_spread == 0.0
    assert case("twist domains", domain_twists_deg=[9.8, 11.8]).twist_spread == pytest.approx(np.radians(1.0))


def test_sides_of_a_boundary() -> None:
    truth = {"boundary": {"point_image_A": [2.0, 1.0], "normal_angle_deg": 30.0}}
    distance = Case("x", Path("x.tif"), truth).side(np.array([[2.0, 1.0], [2.0, 3.0], [1.0, 1.0]]))
    assert distance == pytest.approx([0, 1, -np.sqrt(3) / 2])  # by the sine and the cosine of 30°


def test_a_folder_without_cases(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="found none"):
        load_cases(tmp_path)
    with pytest.raises(FileError, match="found none"):
        load_cases(tmp_path / "missing")


def test_a_truth_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(FileError, match="cannot be read as JSON"):
        load_cases(tmp_path)
