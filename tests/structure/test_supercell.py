from __future__ import annotations

import itertools
import time
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.errors import StructureError, UsageError
from picostem.structure import (
    Commensurate,
    Monolayer,
    Stack,
    commensurate,
    load_monolayer,
    rotation_matrix,
    write_structure,
)
from picostem.structure.coincidence import ROUNDING
from tests.strategies.structure import monolayers, seeded

FloatArray = NDArray[np.float64]

# Twists and numbers of cells of commensurate hexagonal bilayers: J. M. B. Lopes dos Santos et al., Phys. Rev. B 86,
# 155449 (2012): cos t = (3 m² + 3 m r + r²/2) / (3 m² + 3 m r + r²), here (m, r) = (1, 1), (1, 2), (2, 1), (3, 1).
HEXAGONAL = [(21.7868, 7), (38.2132, 7), (27.7958, 13), (13.1736, 19), (9.4300, 37)]


def known(found: Commensurate) -> None:
    """What holds for every commensurate cell, by its definition."""
    lower = found.lower_matrix @ found.lower.cell
    upper = found.upper_matrix @ found.upper.cell @ rotation_matrix(found.twist).T
    stretches = [np.linalg.inv(rows) @ found.cell for rows in (lower, upper)]
    for stretch, sign in zip(stretches, (-1, 1), strict=True):
        # 1e-9: rounding. Symmetric: neither layer is turned.
        np.testing.assert_allclose(stretch, stretch.T, atol=1e-9)
        logarithms = np.log(np.linalg.eigvalsh(stretch))
        np.testing.assert_allclose(np.sort(logarithms), np.sort(sign * found.strain / 2), atol=1e-9)
    assert np.linalg.det(found.cell) > 0 and abs(found.strain[0]) >= abs(found.strain[1])


@pytest.mark.parametrize(("twist_deg", "cells"), HEXAGONAL)
@pytest.mark.parametrize("name", ["MoS2", "graphene"])
def test_hexagonal_bilayers_without_strain(name: str, twist_deg: float, cells: int) -> None:
    layer = load_monolayer(name)
    found = commensurate(layer, layer, np.radians(twist_deg), max_strain=0.0)
    assert found.count == 2 * cells * len(layer.symbols)
    # 1e-4°: the digits of the twist above.
    assert np.degrees(found.twist) == pytest.approx(twist_deg, abs=1e-4)
    assert np.abs(found.strain).max() < ROUNDING
    # By length alone: sqrt(cells) lattice constants. 1e-9: rounding.
    np.testing.assert_allclose(
        np.linalg.norm(found.cell, axis=1), np.sqrt(cells) * layer.cell[0, 0] * np.ones(2), rtol=1e-9
    )
    known(found)


def test_the_usual_limits_find_the_same_exact_cells() -> None:
    layer = load_monolayer("MoS2")
    for twist_deg, atoms in ((21.79, 42), (27.80, 78), (13.17, 114)):
        found = commensurate(layer, layer, np.radians(twist_deg))
        assert found.count == atoms and np.abs(found.strain).max() < ROUNDING


@pytest.mark.parametrize(("twist_deg", "rows"), [(0, [[1, 0], [0, 1]]), (180, [[-1, 0], [0, -1]])])
def test_layers_that_share_their_lattice(twist_deg: float, rows: list[list[int]]) -> None:
    layer = load_monolayer("ReS2")
    found = commensurate(layer, layer, np.radians(twist_deg))
    assert found.lower_matrix.tolist() == [[1, 0], [0, 1]] and found.upper_matrix.tolist() == rows


def test_MoS2_on_WSe2() -> None:
    lower, upper = load_monolayer("MoS2"), load_monolayer("WSe2")
    # 3.282/3.160 = 1.0386, the nearest fraction below 30 is 27/26, off by 0.01 %.
    found = commensurate(lower, upper, 0.0, max_strain=2e-4, max_atoms=5000, twist_tolerance=0.0)
    assert found.lower_matrix.tolist() == [[27, 0], [0, 27]] and found.upper_matrix.tolist() == [[26, 0], [0, 26]]
    np.testing.assert_allclose(found.strain, np.log(27 * 3.160 / (26 * 3.282)), atol=1e-9)
    known(found)
    # The lattices themselves, if 3.9 % may be.
    assert commensurate(lower, upper, 0.0, max_strain=0.04).count == 6


def brute_force(
    lower: Monolayer, upper: Monolayer, twist: float, max_strain: float, tolerance: float
) -> tuple[float, float]:
    """Fewest atoms and then least strain of all integer matrices of up to 7 cells, by singular values."""
    entries = np.array(list(itertools.product(range(-8, 9), repeat=4))).reshape(-1, 2, 2)
    sizes = entries[:, 0, 0] * entries[:, 1, 1] - entries[:, 0, 1] * entries[:, 1, 0]
    best = (np.inf, np.inf)
    for cells in range(1, 8):
        expected = cells * lower.area / upper.area
        near = entries[(sizes > 0) & (np.abs(np.log(np.maximum(sizes, 1) / expected)) < 2.1 * max_strain)]
        q = near @ (upper.cell @ rotation_matrix(twist).T)
        for i in (i for i in range(1, cells + 1) if cells % i == 0):
            for k in range(cells // i):
                maps = np.linalg.solve(q, np.array([[i, k], [0, cells // i]]) @ lower.cell)
                u, values, v = np.linalg.svd(maps)
                turn = u @ v
                fits = np.abs(np.log(values)).max(axis=1) <= max_strain
                fits &= np.abs(np.arctan2(turn[:, 0, 1], turn[:, 0, 0])) <= tolerance
                for matrix, value in zip(near[fits], values[fits], strict=True):
                    atoms = cells * len(lower.symbols) + round(np.linalg.det(matrix)) * len(upper.symbols)
                    best = min(best, (atoms, round(float(np.abs(np.log(value)).max()), 9)))
    return best


@pytest.mark.parametrize(
    ("lower", "upper", "twist_deg", "max_strain"),
    [
        ("MoS2", "MoS2", 20.0, 0.06),
        ("MoS2", "WSe2", 19.0, 0.08),
        ("graphene", "MoS2", 12.0, 0.06),
        ("MoS2", "graphene", -12.0, 0.04),
        ("ReS2", "ReS2", 37.0, 0.08),
        ("ReS2", "ReSe2", 59.0, 0.07),
        ("1T'-MoTe2", "MoS2", 33.0, 0.06),
        ("graphene", "hBN", 21.0, 0.03),
        ("MoSe2", "WS2", 27.0, 0.06),
        ("MoS2", "MoS2", 3.0, 0.01),
    ],
)
def test_nothing_smaller_by_brute_force(lower: str, upper: str, twist_deg: float, max_strain: float) -> None:
    layers = load_monolayer(lower), load_monolayer(upper)
    twist, tolerance = np.radians(twist_deg), np.radians(2.0)
    atoms, strain = brute_force(*layers, twist, max_strain, tolerance)
    # The oracle stops at 7 cells of the lower layer.
    limit = round(7 * (len(layers[0].symbols) + 0.9 * len(layers[1].symbols) * layers[0].area / layers[1].area))
    if atoms > limit:
        with pytest.raises(StructureError):
            commensurate(*layers, twist, max_strain=max_strain, max_atoms=limit, twist_tolerance=tolerance)
        return
    found = commensurate(*layers, twist, max_strain=max_strain, twist_tolerance=tolerance)
    assert found.count == atoms
    # 2e-9: rounded to 1e-9 both here and there.
    assert np.abs(found.strain).max() == pytest.approx(strain, abs=2e-9)
    known(found)


@seeded
@given(monolayers, monolayers, st.floats(-4.0, 4.0), st.floats(0.01, 0.1))
def test_every_cell_is_within_its_limits(lower: Monolayer, upper: Monolayer, twist: float, max_strain: float) -> None:
    try:
        found = commensurate(lower, upper, twist, max_strain=max_strain, max_atoms=800)
    except StructureError:
        return
    known(found)
    assert found.count <= 800 and np.abs(found.strain).max() <= max_strain + 2 * ROUNDING
    assert abs(found.twist - twist) <= np.radians(0.1) + 2 * ROUNDING
    assert len(found.stack_atoms()) == found.count


def test_atoms_of_an_exact_cell_are_those_of_a_field() -> None:
    layer = load_monolayer("MoS2")
    found = commensurate(layer, layer, np.radians(21.79), max_strain=0.0)
    cell = found.stack_atoms((0.4, 1.1), spacing=6.0)
    field = Stack.bilayer(layer, (0.4, 1.1), found.twist, spacing=6.0).atoms(extent=(30.0, 30.0))
    for position, symbol, number, site in zip(
        field.positions, field.symbols, field.arrays["layer"], field.arrays["site"], strict=True
    ):
        alike = (cell.arrays["layer"] == number) & (cell.arrays["site"] == site)
        difference = cell.positions[alike] - position
        steps = difference[:, :2] @ np.linalg.inv(found.cell)
        misses = np.hstack([(steps - np.round(steps)) @ found.cell, difference[:, 2:]])
        # 1e-6 Å: rounding, enlarged by the cell.
        assert np.count_nonzero(np.linalg.norm(misses, axis=1) < 1e-6) == 1
        assert set(np.array(cell.symbols)[alike]) == {symbol}
    assert cell.pbc.tolist() == [True, True, False]


@pytest.mark.parametrize(("lower", "upper"), [("ReS2", "ReS2"), ("WSe2", "MoS2"), ("ReS2", "1T'-MoTe2")])
def test_a_strained_cell_keeps_its_bonds(lower: str, upper: str) -> None:
    layers = load_monolayer(lower), load_monolayer(upper)
    found = commensurate(*layers, np.radians(18.0), max_strain=0.05, twist_tolerance=np.radians(1.0))
    atoms = found.stack_atoms(slip=(1.0, 2.0))
    for number, layer in enumerate(layers, start=1):
        sheet = atoms[atoms.arrays["layer"] == number]
        single = Stack((Stack.bilayer(layer, (0, 0)).layers[0],)).unit_cell()
        copies = len(sheet) // len(single)
        shortest = [neighbor_list("d", part, 3.2).min() for part in (sheet, single)]
        # A distance changes by no more than half the mismatch, in part.
        assert shortest[0] == pytest.approx(shortest[1], rel=np.abs(found.strain).max() / 2 + 1e-9)
        assert np.bincount(sheet.arrays["site"]).tolist() == [copies] * len(layer.symbols)


@pytest.mark.parametrize("name", ["moire.cif", "moire.xyz", "moire.vasp"])
def test_the_cell_can_be_written(tmp_path: Path, name: str) -> None:
    layer = load_monolayer("ReS2")
    found = commensurate(layer, layer, np.radians(20.0), max_strain=0.05, twist_tolerance=np.radians(0.5))
    atoms = found.stack_atoms()
    write_structure(atoms, tmp_path / name)
    again = ase.io.read(tmp_path / name)
    assert isinstance(again, ase.Atoms)
    assert len(again) == found.count
    # 1e-4: CIF keeps four to eight digits.
    np.testing.assert_allclose(again.cell.lengths(), atoms.cell.lengths(), rtol=1e-4)
    np.testing.assert_allclose(again.cell.angles(), atoms.cell.angles(), rtol=1e-4)
    assert neighbor_list("d", again, 2.0).size == 0


def test_oblique_layers_need_strain_and_the_message_says_what_would_do() -> None:
    layer = load_monolayer("ReS2")
    with pytest.raises(
        StructureError, match=r"ReS2 and ReS2 have no common cell.*one of \d+ atoms.*max_strain"
    ) as told:
        commensurate(layer, layer, np.radians(20.0), max_strain=0.001)
    assert "20.000° ± 0.100°" in str(told.value) and "0.10% strain" in str(told.value)
    with pytest.raises(StructureError, match="raise max_atoms"):
        commensurate(layer, layer, np.radians(20.0), max_atoms=30)


@pytest.mark.parametrize(
    "change", [{"max_strain": -0.1}, {"twist": float("nan")}, {"twist_tolerance": -1.0}, {"max_strain": float("inf")}]
)
def test_impossible_limits(change: dict[str, float]) -> None:
    layer = load_monolayer("MoS2")
    arguments: dict[str, float] = {"twist": 0.3, **change}
    with pytest.raises(UsageError, match="expected a finite twist"):
        commensurate(layer, layer, **arguments)  # type: ignore[arg-type]


def test_a_small_twist_of_thousands_of_atoms_takes_no_time() -> None:
    layer = load_monolayer("graphene")
    start = time.perf_counter()
    found = commensurate(layer, layer, np.radians(1.05), max_strain=0.0, max_atoms=12_000, twist_tolerance=2e-4)
    # 1 s: it takes 0.02 s on an idle processor.
    assert time.perf_counter() - start < 1.0
    # (m, r) = (31, 1): 4 (3 m² + 3 m + 1) atoms at 1.05°, the magic angle.
    assert found.count == 11_908 and np.degrees(found.twist) == pytest.approx(1.05, abs=0.003)
