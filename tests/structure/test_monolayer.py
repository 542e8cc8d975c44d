from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from picostem.errors import FileError, StructureError, UnknownMaterialError, UsageError
from picostem.structure import Monolayer, load_monolayer, material_names, rotation_matrix
from picostem.structure.symmetry import isometries, projection
from tests.strategies.structure import monolayers, seeded

SHARED = Path(__file__).parents[2].parent / "shared" / "structures.json"

# Shortest metal-chalcogen (or C-C, B-N) distance and coordination of the first species. Crystal structures: MoS2
# 2.417 Å (K. D. Bronsema et al. 1986), graphite 1.421 Å, h-BN 1.446 Å; ReS2 2.33 to 2.52 Å (H.-J. Lamfers et al. 1996).
BONDS = {"MoS2": (2.417, 6), "WSe2": (2.526, 6), "graphene": (1.421, 3), "hBN": (1.446, 3), "ReS2": (2.328, 6)}


def distances_from_first(monolayer: Monolayer) -> list[tuple[float, str]]:
    """Distance and species of all atoms within two cells of the first one, by brute force."""
    found = []
    for i, j in itertools.product(range(-2, 3), repeat=2):
        shift = np.array([*(np.array([i, j]) @ monolayer.cell), 0.0])
        for symbol, position in zip(monolayer.symbols, monolayer.positions, strict=True):
            found.append((float(np.linalg.norm(position + shift - monolayer.positions[0])), symbol))
    return sorted(found)[1:]


def test_the_ten_built_in_materials() -> None:
    expected = ["ReS2", "ReSe2", "1T'-MoTe2", "MoS2", "WS2", "MoSe2", "WSe2", "MoTe2", "graphene", "hBN"]
    assert material_names() == expected
    assert all(len(load_monolayer(name).source) > 20 for name in expected)


@pytest.mark.parametrize(("name", "bond"), BONDS.items())
def test_bond_length_and_coordination_are_those_of_the_literature(name: str, bond: tuple[float, int]) -> None:
    monolayer = load_monolayer(name)
    length, coordination = bond
    others = [(d, s) for d, s in distances_from_first(monolayer) if s != monolayer.symbols[0] or name == "graphene"]
    # 1 mÅ: the digits given above.
    assert others[0][0] == pytest.approx(length, abs=1e-3)
    # 1.1: bonds of one shell differ by less than 10 % in all these materials.
    assert sum(d < 1.1 * length for d, _ in others) == coordination


def test_known_cell_of_MoS2() -> None:
    monolayer = load_monolayer("MoS2")
    # 1e-12 Å: rounding.
    np.testing.assert_allclose(monolayer.cell, [[3.16, 0], [-1.58, 1.58 * np.sqrt(3)]], atol=1e-12)
    assert monolayer.area == pytest.approx(3.16**2 * np.sqrt(3) / 2, rel=1e-12)
    assert monolayer.thickness == pytest.approx(2 * 1.5859)
    assert monolayer.symbols == ("Mo", "S", "S")


@pytest.mark.skipif(not SHARED.exists(), reason="the shared structures are not here")
def test_built_in_materials_are_those_of_the_benchmark() -> None:
    table = json.loads(SHARED.read_text(encoding="utf8"))
    for name in material_names():
        entry, monolayer = table["MoTe2_1Tp" if name == "1T'-MoTe2" else name], load_monolayer(name)
        # 1e-12: rounding of the change from fractional to Cartesian coordinates and back.
        np.testing.assert_allclose(monolayer.scaled, [atom[1:3] for atom in entry["atoms"]], atol=1e-12)
        assert monolayer.positions[:, 2].tolist() == [atom[3] for atom in entry["atoms"]]
        assert np.linalg.norm(monolayer.cell, axis=1) == pytest.approx([entry["a"], entry["b"]], rel=1e-12)
        assert monolayer.layer_spacing == entry["layer_spacing"]


@seeded
@given(monolayers)
def test_frame_of_every_material(monolayer: Monolayer) -> None:
    a, b = monolayer.cell
    assert a[1] == 0 and a[0] > 0 and b[1] > 0
    # 1e-12: rounding, for all that follows.
    np.testing.assert_allclose(monolayer.reciprocal @ monolayer.cell.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(monolayer.scaled @ monolayer.cell, monolayer.positions[:, :2], atol=1e-12)
    z = monolayer.positions[:, 2]
    assert z.max() + z.min() == pytest.approx(0, abs=1e-12)
    assert monolayer.layer_spacing > monolayer.thickness + 2


@pytest.mark.parametrize("name", ["mos2", "MOS2", " MoS2 "])
def test_case_does_not_matter(name: str) -> None:
    assert load_monolayer(name).name == "MoS2"


def test_alias() -> None:
    assert load_monolayer("MoTe2_1Tp") is load_monolayer("1t'-mote2")


@pytest.mark.parametrize(
    ("name", "meant"), [("ReS", "ReS2"), ("MoS3", "MoS2"), ("grafene", "graphene"), ("wse", "WSe2")]
)
def test_unknown_material_names_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(UnknownMaterialError, match=f"did you mean {meant}"):
        load_monolayer(name)


def test_unknown_material_without_a_near_one_lists_all() -> None:
    with pytest.raises(UnknownMaterialError, match="ReS2, ReSe2.*hBN") as caught:
        load_monolayer("xyzzy")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("missing", ["crystal.cif", "folder/crystal", Path("MoS2")])
def test_missing_file_is_not_taken_for_a_material(missing: str | Path) -> None:
    with pytest.raises(FileError, match="no structure file"):
        load_monolayer(missing)


@pytest.mark.parametrize("layer", [0, 2, -1])
def test_a_built_in_material_has_one_layer(layer: int) -> None:
    with pytest.raises(UsageError, match="from 1 to 1"):
        load_monolayer("MoS2", layer)


@seeded
@given(monolayers)
def test_turned_upside_down_twice_is_the_same(monolayer: Monolayer) -> None:
    twice = monolayer.flipped().flipped()
    # 1e-12 Å: rounding.
    np.testing.assert_allclose(twice.cell, monolayer.cell, atol=1e-12)
    np.testing.assert_array_equal(twice.positions, monolayer.positions)


@seeded
@given(monolayers)
def test_turned_upside_down_is_the_mirror_image_in_projection(monolayer: Monolayer) -> None:
    flipped = monolayer.flipped()
    assert flipped.cell[0] @ flipped.cell[1] <= 1e-9  # Å²: rounding
    before, after = distances_from_first(monolayer)[:10], distances_from_first(flipped)[:10]
    # 1e-9 Å: rounding. A rotation in space keeps all distances.
    assert [d for d, _ in after] == pytest.approx([d for d, _ in before], abs=1e-9)
    matrices = [operation.matrix for operation in isometries(projection(monolayer), projection(flipped))]
    assert any(np.linalg.det(matrix) < 0 for matrix in matrices)


def test_ReS2_turned_upside_down_is_another_pattern() -> None:
    monolayer = load_monolayer("ReS2")
    maps = isometries(projection(monolayer), projection(monolayer.flipped()))
    # ReS2 has no mirror line: only improper maps lead to its mirror image.
    assert maps and all(np.linalg.det(operation.matrix) < 0 for operation in maps)


@seeded
@given(monolayers)
def test_turned_by_180_degrees(monolayer: Monolayer) -> None:
    turned = monolayer.turned()
    assert turned.name == monolayer.name and turned.turned() == monolayer
    np.testing.assert_array_equal(turned.cell, monolayer.cell)
    np.testing.assert_array_equal(turned.positions, monolayer.positions @ np.diag([-1, -1, 1]))


def test_MoS2_turned_is_the_layer_at_60_degrees() -> None:
    monolayer = load_monolayer("MoS2")
    rotation = rotation_matrix(np.pi / 3)
    at_60 = monolayer.positions[:, :2] @ rotation.T - monolayer.turned().positions[:, :2]
    steps = at_60 @ np.linalg.inv(monolayer.cell)
    # 1e-5: six digits of the fractional coordinates.
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-5)


def test_equality_is_by_content() -> None:
    monolayer = load_monolayer("MoS2")
    same = Monolayer("other name", monolayer.cell, monolayer.symbols, monolayer.positions, 6.147, "")
    assert same == monolayer and hash(same) == hash(monolayer)
    assert monolayer != load_monolayer("WS2") and monolayer != "MoS2"


def test_arrays_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load_monolayer("MoS2").positions[0, 0] = 1.0


GOOD = {"cell": [[3.0, 0.0], [0.0, 4.0]], "symbols": ("C",), "positions": [[0.0, 0.0, 0.0]], "layer_spacing": 3.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": [[3.0, 0.0, 0.0], [0.0, 4.0, 0.0]]}, "expected a .2, 2. cell"),
        ({"symbols": ("C", "C")}, "for 2 symbols"),
        ({"symbols": (), "positions": np.zeros((0, 3))}, "for 0 symbols"),
        ({"cell": [[0.0, 3.0], [4.0, 0.0]]}, r"a must lie along \+x"),
        ({"cell": [[3.0, 0.0], [0.0, -4.0]]}, r"a must lie along \+x"),
        ({"positions": [[0.0, np.nan, 0.0]]}, "finite"),
        ({"cell": [[np.inf, 0.0], [0.0, 4.0]]}, "finite"),
        ({"layer_spacing": 0.0}, "spacing must be positive"),
        ({"layer_spacing": float("nan")}, "spacing must be positive"),
    ],
)
def test_impossible_monolayers_are_turned_down(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"name": "x", "source": "test", **GOOD, **change}
    with pytest.raises(StructureError, match=message):
        Monolayer(**arguments)  # type: ignore[arg-type]
