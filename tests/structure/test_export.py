from __future__ import annotations

import os
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from picostem.errors import OutputError, UsageError
from picostem.structure import Stack, load_monolayer, write_structure
from picostem.structure.symmetry import isometries, projection

BILAYER = Stack.bilayer(load_monolayer("ReS2"), (1.2, -0.7)).unit_cell()
NAMES = ["a.cif", "a.xyz", "a.extxyz", "a.vasp", "POSCAR", "CONTCAR", "A.CIF"]


def read_back(path: Path) -> Atoms:
    kind = "cif" if path.suffix.lower() == ".cif" else "extxyz" if "xyz" in path.suffix else "vasp"
    atoms = ase.io.read(path, format=kind)
    assert isinstance(atoms, Atoms)
    return atoms


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_what_is_read(tmp_path: Path, name: str) -> None:
    write_structure(BILAYER, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    found = read_back(tmp_path / name)
    assert found.cell.cellpar() == pytest.approx(BILAYER.cell.cellpar(), abs=1e-4)
    assert sorted(found.numbers) == sorted(BILAYER.numbers)
    # 1e-4 Å: the digits of a CIF. Distances do not depend on the frame, which a CIF does not keep.
    expected = np.sort(BILAYER.get_all_distances(mic=True), axis=None)
    found.pbc = BILAYER.pbc
    assert np.sort(found.get_all_distances(mic=True), axis=None) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_written_stack_can_be_loaded_as_layers(tmp_path: Path, name: str) -> None:
    original = load_monolayer("ReS2")
    write_structure(BILAYER, tmp_path / name)
    for layer in (1, 2):
        found = load_monolayer(tmp_path / name, layer)
        assert found.layer_spacing == pytest.approx(original.layer_spacing, abs=1e-4)
        assert isometries(projection(original), projection(found))


def test_coordinates_are_counted_from_the_corner_of_the_cell(tmp_path: Path) -> None:
    field = Stack.bilayer(load_monolayer("MoS2"), (0, 0)).atoms(extent=(20.0, 10.0))
    for name in ("a.xyz", "a.cif", "a.vasp"):
        write_structure(field, tmp_path / name)
        found = read_back(tmp_path / name)
        # 1e-4 Å: the digits of the formats.
        assert found.positions.min() > -1e-4
        assert (found.positions < found.cell.lengths() + 1e-4).all()
    assert field.positions[:, 0].min() < -9


def test_xyz_keeps_layer_and_site(tmp_path: Path) -> None:
    write_structure(BILAYER, tmp_path / "a.xyz")
    found = read_back(tmp_path / "a.xyz")
    for name in ("layer", "site"):
        assert (found.arrays[name] == BILAYER.arrays[name]).all()


def test_writing_leaves_the_atoms_as_they_were(tmp_path: Path) -> None:
    before = BILAYER.positions.copy(), BILAYER.get_celldisp().copy()
    write_structure(BILAYER, tmp_path / "a.vasp")
    assert (BILAYER.positions == before[0]).all() and (BILAYER.get_celldisp() == before[1]).all()


def test_an_older_file_is_replaced_and_survives_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.cif"
    path.write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ase.io, "write", full)
        with pytest.raises(OutputError, match=r"cannot write .*a.cif: No space left"):
            write_structure(BILAYER, path)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
    write_structure(BILAYER, path)
    assert "data_" in path.read_text()


def test_the_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    write_structure(BILAYER, tmp_path / "a.cif")
    assert (tmp_path / "a.cif").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file.* a folder you may write to"):
        write_structure(BILAYER, tmp_path / "missing" / "a.cif")


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Not by the folder's permissions, which do not hold for an administrator.
    monkeypatch.setattr(os, "mkdir", denied)
    with pytest.raises(OutputError, match="Permission denied"):
        write_structure(BILAYER, tmp_path / "a.cif")


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.cif").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        write_structure(BILAYER, tmp_path / "a.cif")


@pytest.mark.parametrize("name", ["a.pdb", "a", "a.cif.gz"])
def test_unknown_endings(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="expected a name ending in .cif"):
        write_structure(BILAYER, tmp_path / name)


def test_nothing_to_write(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there are no atoms"):
        write_structure(BILAYER[:0], tmp_path / "a.cif")
    assert not list(tmp_path.iterdir())
