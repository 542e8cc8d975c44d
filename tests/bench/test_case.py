"""Folders of images with their truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from picostem.bench.case import Case, load_cases
from picostem.errors import FileError


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
        ("slip", None, "slip"),
        ("interface", None, "slip"),
        ("negative", "monolayer ReS2", "monolayer"),
        ("negative", "vacuum", "unresolved"),
        ("twist", None, None),
        ("trilayer", None, None),
    ],
)
def test_the_verdict_that_is_right(task: str, negative: str | None, expected: str | None) -> None:
    assert Case("x", Path("x.tif"), {"task": task, "negative": negative}).expected == expected


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
