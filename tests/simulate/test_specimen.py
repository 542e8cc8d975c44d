"""Specimens for 4D-STEM: bonds, columns and orientations, and the truth that their atoms tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from numpy.typing import NDArray

from picostem.errors import StructureError, UsageError
from picostem.simulate.specimen import Columns, Specimen, cut, graphene, make_specimen
from picostem.simulate.truth4d import KINDS, told_columns, truth_maps

FloatArray = NDArray[np.float64]
HERE = np.zeros(1)


def distances(specimen: Specimen) -> FloatArray:
    """From the origin of the plane of carbon to its nearest C."""
    carbon = specimen.atoms[specimen.atoms.numbers == 6]
    height = specimen.atoms.positions[specimen.atoms.numbers != 6, 2].sum()
    return np.sort(np.linalg.norm(carbon.positions - [0, 0, height], axis=1))


class TestGraphene:
    def test_pristine(self) -> None:
        specimen = graphene(None, 20.0)
        # Two atoms in 3 sqrt(3)/2 bonds²; a row of atoms more or less on two borders.
        assert len(specimen.atoms) == pytest.approx(2 * 400 / (3 * 3**0.5 / 2 * 1.42**2), rel=0.1)
        assert distances(specimen)[:4] == pytest.approx([0, 1.42, 1.42, 1.42])

    @pytest.mark.parametrize(
        ("defect", "expected", "next_one"),
        [("vacancy", [1.42] * 3, 2.46), ("Si3", [1.78] * 3, 2.6), ("Si4", [1.878] * 4, 2.56)],
    )
    def test_neighbours_of_defects(self, defect: str, expected: list[float], next_one: float) -> None:
        found = distances(graphene(defect, 20.0))
        assert found[: len(expected)] == pytest.approx(expected, abs=1e-3)
        assert found[len(expected)] == pytest.approx(next_one, abs=0.1)

    def test_silicon_strains_no_bond_by_more_than_7_percent(self) -> None:
        atoms = graphene("Si3", 24.0).atoms
        carbon = atoms.positions[(atoms.numbers == 6) & (np.abs(atoms.positions[:, :2]).max(axis=1) < 8)]
        apart = np.linalg.norm(carbon[:, None] - carbon, axis=-1)
        bonds = apart[(apart > 0) & (apart < 1.9)]
        assert 0.93 < bonds.min() / 1.42 < bonds.max() / 1.42 < 1.07

    def test_rotation_is_counter_clockwise_about_the_defect(self) -> None:
        straight, turned = (graphene("Si4", 30.0, angle).atoms.positions[:, :2] @ [1, 1j] for angle in (0.0, 0.4))
        inner = straight[np.abs(straight) < 10] * np.exp(0.4j)
        assert np.abs(inner[:, None] - turned).min(axis=1).max() < 1e-9  # rounding

    def test_other_defects_are_refused(self) -> None:
        with pytest.raises(UsageError, match="vacancy, Si3 or Si4"):
            graphene("Si5", 10.0)


class TestCrystals:
    def test_zinc_sulphide_along_110_has_pairs_of_columns(self) -> None:
        specimen = make_specimen("ZnS", 20.0, thickness=16.0)
        columns = specimen.columns()
        assert np.ptp(specimen.atoms.positions[:, 2]) < 2 * 5.41 * 2**0.5
        assert set(columns.species) == {"S4", "Zn4"}  # two repeats of a sqrt(2), two atoms in each
        assert set(columns.charge) == {64.0, 120.0}
        zinc, sulphur = (columns.places[[one == name for one in columns.species]] for name in ("Zn4", "S4"))
        inner = zinc[np.abs(zinc).max(axis=1) < 6]
        nearest = np.linalg.norm(inner[:, None] - sulphur, axis=-1).min(axis=1)
        assert nearest == pytest.approx(np.full(len(inner), 5.41 / 4))  # on the axis [001]

    @pytest.mark.parametrize("zone", [(0, 0, 1), (1, 1, 0), (1, 1, 1), (2, -1, 3)])
    def test_slabs_have_the_density_of_the_crystal(self, zone: tuple[int, int, int]) -> None:
        cell = bulk("ZnS", "zincblende", a=5.41, cubic=True)
        atoms = cut(cell, zone, 2, 40.0, 0.3)
        depth = 2 * np.linalg.norm(zone) * 5.41
        # Borders: a plane of atoms more or less on each side.
        assert len(atoms) == pytest.approx(8 * 40**2 * depth / 5.41**3, rel=0.05)
        assert atoms.positions[:, 2].min() == pytest.approx(0, abs=1e-6)
        assert atoms.positions[:, 2].max() < depth - 0.1

    def test_a_file_is_cut_along_its_zone_axis_or_gives_its_layer(self, tmp_path: Path) -> None:
        write(tmp_path / "zns.cif", bulk("ZnS", "zincblende", a=5.41, cubic=True))
        same = make_specimen(str(tmp_path / "zns.cif"), 15.0, zone=(1, 1, 0)).atoms
        assert len(same) == len(make_specimen("ZnS", 15.0).atoms)
        with pytest.raises(StructureError, match="network"):
            make_specimen(str(tmp_path / "zns.cif"), 15.0)

    def test_built_in_layers(self) -> None:
        specimen = make_specimen("MoS2", 15.0)
        assert set(specimen.columns().species) == {"Mo", "S2"}
        assert specimen.atoms.positions[:, 2].min() == 0

    @pytest.mark.parametrize(
        ("structure", "options", "message"),
        [
            ("graphene", {"zone": (0, 0, 1)}, "leave the zone axis out"),
            ("ZnS", {"zone": (0, 0, 0)}, "direction"),
            ("ZnS", {"thickness": -1.0}, "thickness"),
            ("grafene", {}, "did you mean graphene"),
        ],
    )
    def test_bad_requests(self, structure: str, options: dict[str, object], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            make_specimen(structure, 15.0, **options)


class TestTruth:
    def at(self, columns: Columns, point: complex) -> dict[str, complex]:
        maps = truth_maps(columns, HERE + point.real, HERE + point.imag, 0.46, None)
        return {name: complex(one[0, 0]) for name, one in maps.items()}

    def test_local_symmetry_of_graphene(self) -> None:
        columns = graphene(None, 20.0).columns()
        atom, ring = self.at(columns, 0), self.at(columns, 2.84j)
        other = self.at(columns, 1.42j)
        # Farther neighbours have other directions, and 2 % of the weight (atom) or none.
        assert atom["psi_3"] == pytest.approx(-1j, abs=0.05)  # neighbours at 90°, 210° and 330°: exp(3i 90°) = -i
        assert other["psi_3"] == pytest.approx(1j, abs=0.05)
        assert ring["psi_6"] == pytest.approx(-1, abs=0.05)  # at 30°, 90°, ...: exp(6i 30°) = -1
        for n in (1, 2, 3, 4):
            assert abs(ring[f"psi_{n}"]) < 1e-6
        assert abs(atom["psi_1"]) < 1e-6

    def test_the_first_order_points_to_the_nearest_column(self) -> None:
        columns = graphene(None, 20.0).columns()
        found = self.at(columns, 0.2 - 0.3j)
        # Farther columns turn it by 0.13.
        assert np.angle(found["psi_1"]) == pytest.approx(np.angle(-0.2 + 0.3j), abs=0.2)
        assert columns.places[int(found["column"].real)] == pytest.approx([0, 0], abs=1e-9)
        assert found["distance"] == pytest.approx(0.13**0.5)

    @pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
    def test_orders_turn_with_the_specimen(self, n: int) -> None:
        point, angle = 0.5 + 0.4j, 0.3
        still = self.at(graphene("Si3", 24.0).columns(), point)[f"psi_{n}"]
        turned = self.at(graphene("Si3", 24.0, angle).columns(), point * np.exp(1j * angle))[f"psi_{n}"]
        assert turned == pytest.approx(still * np.exp(1j * n * angle), abs=1e-5)  # complex64

    def test_points_near_the_defect_have_its_kind(self) -> None:
        x, y = np.arange(-3, 3.1, 0.5), np.arange(3, -3.1, -0.5)
        maps = truth_maps(graphene("Si4", 20.0).columns(), x, y, 0.46, "Si4")
        near = np.hypot(x, y[:, None]) <= 2
        np.testing.assert_array_equal(maps["kind"], near * KINDS.index("Si4"))
        assert not truth_maps(graphene(None, 20.0).columns(), x, y, 0.46, None)["kind"].any()

    def test_listed_columns_have_the_numbers_of_the_map(self) -> None:
        columns = graphene("Si3", 30.0).columns()
        told = told_columns(columns, HERE, HERE)
        assert max(np.abs(told["x_A"])) < 5
        silicon = told["species"].index("Si")
        maps = truth_maps(columns, HERE, HERE, 0.46, "Si3")
        assert told["index"][silicon] == maps["column"][0, 0]

    def test_no_atoms(self) -> None:
        far = Specimen("far", Atoms("C2", [(90, 0, 0), (90, 1, 0)]), "test").columns()
        with pytest.raises(UsageError, match="no atom"):
            truth_maps(far, HERE, HERE, 0.46, None)
