from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule, mx2
from ase.geometry.dimensionality import analyze_dimensionality
from ase.spacegroup import crystal
from hypothesis import given

from picostem.errors import StructureError
from picostem.structure import Monolayer, Stack, layer_operations, load_monolayer, write_structure
from picostem.structure.exfoliate import TYPICAL_GAP, exfoliate
from picostem.structure.symmetry import isometries, projection
from tests.strategies.structure import DISGUISE_GAP, disguised_crystals, seeded

# Published crystals, space group and cell: what a layer must be. Graphite and 2H-MoS2 (Bronsema 1986) with two layers
# per cell; Bi2Te3 (Nakajima 1963) with three; FeSe (Lehman 2010) and PdTe2 with one; black phosphorus (Brown 1965) and
# SnSe (Wiedemeier 1978) with layers along other axes than c.
GRAPHITE = crystal(
    ["C", "C"], [(0, 0, 0.25), (1 / 3, 2 / 3, 0.25)], spacegroup=194, cellpar=[2.461, 2.461, 6.711, 90, 90, 120]
)
MOS2 = crystal(
    ["Mo", "S"],
    [(1 / 3, 2 / 3, 0.25), (1 / 3, 2 / 3, 0.621)],
    spacegroup=194,
    cellpar=[3.16, 3.16, 12.294, 90, 90, 120],
)
BI2TE3_SITES: tuple[list[str], list[tuple[float, float, float]]] = (
    ["Bi", "Te", "Te"],
    [(0, 0, 0.4), (0, 0, 0), (0, 0, 0.2097)],
)
BI2TE3_CELL = [4.384, 4.384, 30.49, 90, 90, 120]
BI2TE3 = crystal(*BI2TE3_SITES, spacegroup=166, cellpar=BI2TE3_CELL)
BI2TE3_PRIMITIVE = crystal(*BI2TE3_SITES, spacegroup=166, cellpar=BI2TE3_CELL, primitive_cell=True)
FESE = crystal(["Fe", "Se"], [(0, 0, 0), (0, 0.5, 0.267)], spacegroup=129, cellpar=[3.77, 3.77, 5.52, 90, 90, 90])
PDTE2 = crystal(
    ["Pd", "Te"], [(0, 0, 0), (1 / 3, 2 / 3, 0.267)], spacegroup=164, cellpar=[4.037, 4.037, 5.126, 90, 90, 120]
)
PHOSPHORUS = crystal(["P"], [(0, 0.10168, 0.08056)], spacegroup=64, cellpar=[3.3136, 10.478, 4.3763, 90, 90, 90])
SNSE = crystal(
    ["Sn", "Se"], [(0.118, 0.25, 0.103), (0.855, 0.25, 0.482)], spacegroup=62, cellpar=[11.50, 4.15, 4.45, 90, 90, 90]
)

CRYSTALS = {
    "graphite": (GRAPHITE, 2, "C", 2, (2.461, 2.461, 120), 3.3555, 12),
    "2H-MoS2": (MOS2, 2, "MoS2", 3, (3.16, 3.16, 120), 6.147, 6),
    "Bi2Te3": (BI2TE3, 3, "Bi2Te3", 5, (4.384, 4.384, 120), 10.1633, 12),
    "Bi2Te3, rhombohedral cell": (BI2TE3_PRIMITIVE, 1, "Bi2Te3", 5, (4.384, 4.384, 120), 10.1633, 12),
    "FeSe": (FESE, 1, "FeSe", 4, (3.77, 3.77, 90), 5.52, 8),
    "PdTe2": (PDTE2, 1, "PdTe2", 3, (4.037, 4.037, 120), 5.126, 12),
    "black phosphorus": (PHOSPHORUS, 2, "P", 4, (3.3136, 4.3763, 90), 5.239, 4),
    "SnSe": (SNSE, 2, "SnSe", 4, (4.15, 4.45, 90), 5.75, 2),
}


def cellpar(monolayer: Monolayer) -> tuple[float, float, float]:
    a, b = monolayer.cell
    lengths = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    return *lengths, float(np.degrees(np.arccos(a @ b / lengths[0] / lengths[1])))


@pytest.mark.parametrize("name", CRYSTALS)
def test_published_crystals(name: str) -> None:
    atoms, count, formula, sites, cell, spacing, operations = CRYSTALS[name]
    layers = exfoliate(atoms, name)
    assert len(layers) == count
    for layer in layers:
        assert (layer.name, len(layer.symbols), len(layer_operations(layer))) == (formula, sites, operations)
        # 1e-3: the digits that the cells are published with.
        assert cellpar(layer) == pytest.approx(cell, abs=1e-3)
        assert layer.layer_spacing == pytest.approx(spacing, abs=1e-3)


@pytest.mark.parametrize("name", CRYSTALS)
def test_number_of_layers_agrees_with_an_independent_analysis(name: str) -> None:
    atoms, count = CRYSTALS[name][:2]
    # The topological scaling of M. Ashton et al., Phys. Rev. Lett. 118, 106101 (2017), which scans all bond lengths.
    best = analyze_dimensionality(atoms, method="TSA", merge=False)[0]
    assert best.dimtype == "2D"
    assert best.h[2] == count


def test_layer_of_2H_MoS2_is_the_built_in_one() -> None:
    (first, second), built_in = exfoliate(MOS2, "bulk"), load_monolayer("MoS2")
    for layer in (first, second):
        assert isometries(projection(layer), projection(built_in))
        # 1e-3 Å: z(S) = 0.621 has three digits of 12.3 Å, and the built-in one comes from the same number.
        assert sorted(layer.positions[:, 2]) == pytest.approx(sorted(built_in.positions[:, 2]), abs=1e-3)
    # The two layers of 2H are antiparallel: one is the other turned by 60° (or 180°), not moved only.
    maps = isometries(projection(first), projection(second))
    assert all(np.abs(operation.matrix - np.eye(2)).max() > 0.1 for operation in maps)


def same_layer(found: Monolayer, original: Monolayer) -> bool:
    """Whether one is the other, moved, turned or upside down: heights must follow the same map as the plane."""
    for operation in isometries(projection(original), projection(found)):
        for side in (1.0, -1.0):
            moved = operation(original.positions[:, :2])
            heights = side * original.positions[:, 2]
            scaled = (moved[:, None] - found.positions[:, :2]) @ np.linalg.inv(found.cell)
            plane = np.linalg.norm((scaled - np.round(scaled)) @ found.cell, axis=-1)
            distance = np.hypot(plane, heights[:, None] - found.positions[:, 2])
            same = np.array(original.symbols)[:, None] == np.array(found.symbols)
            # 1e-4 Å: coordinates have six digits, and each atom has one partner of its kind.
            if ((distance < 1e-4) & same).sum() == len(original.symbols):
                return True
    return False


@seeded
@given(disguised_crystals())
def test_a_disguised_crystal_gives_its_layer_back(case: tuple[Monolayer, Atoms]) -> None:
    original, disguised = case
    for layer in exfoliate(disguised, "disguise"):
        assert same_layer(layer, original)
        # 1e-9: rounding.
        assert cellpar(layer) == pytest.approx(cellpar(original), rel=1e-9)
        assert layer.layer_spacing == pytest.approx(original.thickness + DISGUISE_GAP, abs=1e-9)


def test_axes_of_the_file_are_kept_where_there_is_a_choice() -> None:
    original = load_monolayer("MoS2")
    (layer,) = exfoliate(Stack.of([original]).unit_cell(), "cell")
    maps = isometries(projection(original), projection(layer))
    # 1e-6: rounding.
    assert any(np.abs(operation.matrix - np.eye(2)).max() < 1e-6 for operation in maps)
    assert layer.positions[0] == pytest.approx([0, 0, 0], abs=1e-9)  # Å: rounding


def test_a_cell_of_60_degrees_becomes_one_of_120() -> None:
    atoms = make_supercell(Stack.of([load_monolayer("MoS2")]).unit_cell(), [[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    (layer,) = exfoliate(atoms, "cell")
    assert cellpar(layer) == pytest.approx((3.16, 3.16, 120))


def test_handedness_decides_the_side_and_is_noted() -> None:
    original = load_monolayer("ReS2")
    (upright,) = exfoliate(Stack.of([original]).unit_cell(), "cell")
    (turned,) = exfoliate(Stack.of([original.flipped()]).unit_cell(), "cell")
    assert "upside down" not in upright.note and "upside down" in turned.note
    assert cellpar(turned) == pytest.approx(cellpar(original))
    # Both are the same pattern, not mirror images.
    assert all(np.linalg.det(operation.matrix) > 0 for operation in isometries(projection(upright), projection(turned)))


def test_lone_layer_has_an_assumed_spacing() -> None:
    (layer,) = exfoliate(mx2("MoS2", vacuum=8.0), "slab")
    assert layer.layer_spacing == pytest.approx(layer.thickness + TYPICAL_GAP)
    assert layer.note == "layer 1 of 1 in the cell of slab; no layer next to it, so that a gap of 3.0 Å is assumed"


def test_a_bilayer_with_empty_space_has_the_spacing_of_its_layers() -> None:
    stack = Stack.bilayer(load_monolayer("WSe2"), (0.3, 0.8), spacing=6.7).unit_cell(vacuum=20.0)
    for periodic in (stack.pbc, True):
        stack.pbc = periodic
        layers = exfoliate(stack, "bilayer")
        assert [layer.layer_spacing for layer in layers] == pytest.approx([6.7, 6.7])
        assert layers[1].note.startswith("layer 2 of 2 in the cell of bilayer; spacing 6.700 Å")


def test_layers_of_a_heterostructure_are_named() -> None:
    lower = load_monolayer("MoS2")
    upper = Monolayer("WS2", lower.cell, ("W", "S", "S"), lower.positions, 6.16, "strained")
    layers = exfoliate(Stack.bilayer(lower, (0, 0), upper=upper).unit_cell(), "pair")
    assert [layer.name for layer in layers] == ["MoS2", "WS2"]
    assert "layer 1 of 2 (MoS2, WS2)" in layers[0].note


def test_a_layer_of_the_file_can_be_chosen(tmp_path: Path) -> None:
    write_structure(MOS2, tmp_path / "bulk.cif")
    first, second = (load_monolayer(tmp_path / "bulk.cif", layer) for layer in (1, 2))
    assert first.note.startswith("layer 1 of 2 in the cell of bulk.cif") and second.note.startswith("layer 2 of 2")
    assert first.source == "file bulk.cif" and first.name == "MoS2"


@pytest.mark.parametrize(
    ("atoms", "what"),
    [
        (bulk("Si"), r"a three-dimensional network \(1\)"),
        (bulk("NaCl", "rocksalt", a=5.64), r"a three-dimensional network \(1\)"),
        (bulk("Cu"), r"a three-dimensional network \(1\)"),
        (molecule("C6H6", vacuum=4.0, pbc=True), r"molecules or single atoms \(1\)"),
        (Atoms("Ar", cell=[5, 5, 5], pbc=True), r"molecules or single atoms \(1\)"),
        (Atoms("C", cell=[1.3, 9, 9], pbc=True), r"chains \(1\)"),
    ],
)
def test_what_is_not_layered_is_turned_down(atoms: Atoms, what: str) -> None:
    with pytest.raises(StructureError, match=f"expected a crystal of layers, but its bonds form {what}"):
        exfoliate(atoms, "crystal")


def test_something_between_the_layers_is_turned_down() -> None:
    atoms = Stack.of([load_monolayer("MoS2")]).unit_cell(vacuum=10.0)
    atoms += Atoms("Ar", positions=[[0.0, 0.0, 6.6]])
    with pytest.raises(StructureError, match=r"molecules or single atoms \(1\) and layers \(1\).*intercalated"):
        exfoliate(atoms, "crystal")


def test_interwoven_nets_are_turned_down() -> None:
    # A square net of 10 Å whose rows pass under and columns over those of its copy, 5 Å further along both.
    along, wave = np.arange(8) * 1.25, 1.6 * np.sin(np.arange(8) * np.pi / 8)
    columns = np.column_stack([0 * along, along, wave])
    rows = np.column_stack([along, 0 * along, -wave])[1:]
    cell = [[5, 5, 0], [5, -5, 0], [0, 0, 15]]
    net = Atoms("C15", positions=np.concatenate([columns, rows]), cell=cell, pbc=True)
    with pytest.raises(StructureError, match="interwoven"):
        exfoliate(net, "net")
